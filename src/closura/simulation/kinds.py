"""The kinds of closures on a solver, untrained: what a step with one costs is known before anything is learned."""

import jax

from closura.closures import CLOSURES, build
from closura.core import ClosureSpec, Method, Role, StepRule
from closura.core.solver import Solver


def closure_kinds(solver: Solver, spec: ClosureSpec, step: StepRule) -> dict[str, Method]:
    """By name the solver with a closure of every registered kind that acts where the specification says.

    Kinds are built with their usual settings; one that refuses this specification is left out.
    """
    found = {}
    for name, kind in CLOSURES.all().items():
        if kind.where != spec.where:
            continue
        try:
            closure = build(name, spec, key=jax.random.key(0))
        except ValueError:
            continue
        found[name] = Method(solver, Role.CLOSURE, step, spec.limit(closure), family=name)
    return found
