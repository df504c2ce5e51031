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
                    "r2": e.r2 if np.isfinite(e.r2) else None,
                    "r2_fit": e.r2_fit if np.isfinite(e.r2_fit) else None,
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

    Parameters
    ----------
    problem
        The problem; its split decides what the initial conditions are drawn from.
    closure
        The closure.
    simulations
        Number of simulations.
    step
        Step whose actions are interpreted (published: 17); at least 3.
    key
        Random key of the initial conditions.
    maximum_terms, minimum_gain
        See :func:`closura.interpretation.regression.stepwise`.

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
    reason = missing_theory(problem)
    comparisons = [] if reason else compare(problem, trajectories, scale=scale, step=step)
    equations = symbolic_reading(
        problem, trajectories, scale=scale, step=step, maximum_terms=maximum_terms, minimum_gain=minimum_gain
    )
    return Study(problem, step, scale, trajectories, tuple(comparisons), tuple(equations), reason)


def missing_theory(problem: Problem) -> str:
    """Why there is no optimal action for a problem's coarse solver; empty where there is one."""
    try:
        truncation_of(problem)
        velocity_channels(problem.spec)
    except ValueError as error:
        return str(error)
    return ""


def _correlation(comparison: Comparison) -> dict[str, Any]:
    r, slope = comparison.correlation, comparison.slope
    known = r[np.isfinite(r)]
    slope = slope[np.isfinite(slope)]
    return {
        "component": comparison.component,
        "formula": comparison.formula,
        "mean": float(known.mean()) if known.size else None,
        "std": float(known.std()) if known.size else None,
        "simulations": int(known.size),
        "undefined": int(r.size - known.size),
        "slope": float(slope.mean()) if slope.size else None,
        "each": [float(x) if np.isfinite(x) else None for x in r],
    }
