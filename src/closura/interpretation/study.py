"""One closure, interpreted: rollouts, comparisons, equations, and their numbers as plain data."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Key, Scalar

from closura.core.solver import Closure
from closura.interpretation.collect import Trajectories, action_scale, collect
from closura.interpretation.correlation import PUBLISHED_STEP, Comparison, compare
from closura.interpretation.equation import Equation, symbolic_reading
from closura.interpretation.truncation import truncation_of, velocity_channels
from closura.plain import plain
from closura.problems.problem import Problem


@dataclass(frozen=True)
class Study:
    """What :func:`interpret` returns.

    ``no_theory`` says why there are no comparisons, where there are none.
    """

    problem: Problem
    step: int
    scale: float
    trajectories: Trajectories
    comparisons: tuple[Comparison, ...]
    equations: tuple[Equation, ...]
    no_theory: str = ""

    def numbers(self) -> dict[str, Any]:
        """All results as JSON can hold them; correlations that are not defined are null."""
        return {
            "problem": self.problem.name,
            "description": dict(self.problem.description),
            "simulations": len(self.trajectories.state),
            "step": self.step,
            "scale": self.scale,
            "correlations": [_correlation(c) for c in self.comparisons],
            "no_theory": self.no_theory,
            "equations": [
                {
                    "component": e.component,
                    "kind": e.kind,
                    "equation": e.text,
                    "terms": list(e.terms),
                    "coefficients": list(e.coefficients),
                    "r2": plain(e.r2),
                    "r2_fit": plain(e.r2_fit),
                    "simulations_fitted": e.simulations[0],
                    "simulations_held_out": e.simulations[1],
                }
                for e in self.equations
            ],
        }


def interpret(
    problem: Problem,
    closure: Closure,
    *,
    simulations: int = 50,
    step: int = PUBLISHED_STEP,
    key: Key[Scalar, ""],
    maximum_terms: int = 8,
    minimum_gain: float = 0.005,
) -> Study:
    """Roll a closure out, compare its actions with the optimal ones, and read equations from them.

    The problem's split decides what the initial conditions are drawn from; actions are those at ``step`` (published:
    17; at least 3). ``maximum_terms`` and ``minimum_gain`` are those of
    :func:`closura.interpretation.regression.stepwise`.

    Raises
    ------
    ValueError
        If an option is out of range, actions are not subtracted from the state, or fewer than two simulations
        stay finite.
    """
    if step < 3 or simulations < 2:
        raise ValueError(f"need a step from 3 on and at least two simulations; got {step} and {simulations}")
    scale = action_scale(problem, key=key)
    trajectories = collect(problem, closure, simulations=simulations, times=step + 2, key=key, scale=scale)
    reason = ""
    try:
        truncation_of(problem)
        velocity_channels(problem.spec)
    except ValueError as error:
        reason = str(error)
    comparisons = [] if reason else compare(problem, trajectories, scale=scale, step=step)
    equations = symbolic_reading(
        problem, trajectories, scale=scale, step=step, maximum_terms=maximum_terms, minimum_gain=minimum_gain
    )
    return Study(problem, step, scale, trajectories, tuple(comparisons), tuple(equations), reason)


def _correlation(comparison: Comparison) -> dict[str, Any]:
    r, slope = (x[np.isfinite(x)] for x in (comparison.correlation, comparison.slope))
    return {
        "component": comparison.component,
        "formula": comparison.formula,
        "mean": float(r.mean()) if r.size else None,
        "std": float(r.std()) if r.size else None,
        "simulations": int(r.size),
        "undefined": int(comparison.correlation.size - r.size),
        "slope": float(slope.mean()) if slope.size else None,
        "each": plain(comparison.correlation),
    }
