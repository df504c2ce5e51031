"""A closure as an equation: its action in terms of velocities and derivatives, evaluated on other simulations."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from closura.interpretation.collect import Trajectories
from closura.interpretation.regression import Fit, Moments, least_squares, stepwise
from closura.interpretation.terms import (
    Factor,
    Term,
    candidate_terms,
    evaluate_terms,
    write_equation,
    write_term,
)
from closura.interpretation.truncation import truncation_of, velocity_channels
from closura.problems.problem import Problem


@dataclass(frozen=True)
class Equation:
    """An equation for the action on one component.

    Parameters
    ----------
    component
        Name of the component that the action is subtracted from.
    kind
        "found": terms and coefficients from the data. "theory": those of the truncation error.
        "theory, fitted": its terms with coefficients from the data.
    text
        The equation, in the units of the action.
    terms, coefficients
        Its terms in words and their coefficients, which have no unit.
    r2
        Share of the variance explained on held-out simulations (negative: worse than the mean).
    r2_fit
        The same on the simulations that it was fitted to.
    simulations
        Numbers of simulations: fitted to, held out.
    """

    component: str
    kind: str
    text: str
    terms: tuple[str, ...]
    coefficients: tuple[float, ...]
    r2: float
    r2_fit: float
    simulations: tuple[int, int]

    def __str__(self) -> str:
        """The equation with its R2."""
        return f"{self.text}   (R2 = {self.r2:.3f} on {self.simulations[1]} held-out simulations)"


def symbolic_reading(
    problem: Problem,
    trajectories: Trajectories,
    *,
    scale: float,
    step: int,
    order: int = 3,
    maximum_terms: int = 8,
    minimum_gain: float = 0.005,
) -> list[Equation]:
    """Read equations from the actions at a step: fitted to every other simulation, evaluated on the rest.

    ``scale`` is what actions are multiplied by (:func:`closura.interpretation.collect.action_scale`), ``order`` the
    highest order of derivatives; ``maximum_terms`` and ``minimum_gain`` are those of
    :func:`closura.interpretation.regression.stepwise`. For every component there is the equation that was found; for a
    field in a given, steady velocity also the theory's. ValueError if fewer than two simulations are finite.
    """
    seen, actions = (np.asarray(x)[:, step] for x in (trajectories.observation, trajectories.action))
    finite = [s for s in range(len(seen)) if np.isfinite(seen[s]).all() and np.isfinite(actions[s]).all()]
    if len(finite) < 2:
        raise ValueError(
            f"an equation needs two simulations, one to fit and one to test on; {len(finite)} of {len(seen)} "
            f"are finite at step {step}"
        )
    terms = candidate_terms(problem.spec, order=order)
    expected = theoretical_terms(problem)
    terms += [term for term in expected if term not in terms]
    parts: list[list[Moments]] = [[] for _ in problem.components]
    for s in finite:
        values = evaluate_terms(terms, seen[s], problem.grid, problem.time_step)
        for component, kept in enumerate(parts):
            # Times the scale, the action has the unit of the field, as all terms have.
            kept.append(Moments.of(values, scale * actions[s, component].astype(np.float64)))

    equations = []
    for name, kept in zip(problem.components, parts, strict=True):
        fitted, held_out = Moments.join(kept[0::2]), Moments.join(kept[1::2])
        fits = {"found": stepwise(fitted, maximum_terms=maximum_terms, minimum_gain=minimum_gain)}
        if expected:
            chosen = tuple(terms.index(term) for term in expected)
            fits["theory"] = Fit(chosen, tuple(expected.values()))
            fits["theory, fitted"] = least_squares(fitted, chosen)
        for kind, fit in fits.items():
            in_words = [terms[i] for i in fit.chosen]
            text, words = _written(problem, name, scale, in_words, fit.coefficients)
            found = held_out.r2(*fit), fitted.r2(*fit)
            simulations = len(kept[0::2]), len(kept[1::2])
            equations.append(Equation(name, kind, text, words, fit.coefficients, *found, simulations))
    return equations


def _written(
    problem: Problem, component: str, scale: float, terms: Sequence[Term], coefficients: Sequence[float]
) -> tuple[str, tuple[str, ...]]:
    """An equation in words, and its terms."""
    spec, grid, less_time = problem.spec, problem.grid, int(scale == problem.time_step)
    name = "A" if len(problem.components) == 1 else f"A_{component}"
    if not less_time and scale != 1:
        name = f"{scale:.4g} {name}"
    text = write_equation(terms, coefficients, spec, grid, name=name, less_time=less_time)
    return text, tuple(write_term(term, spec, grid, less_time=less_time) for term in terms)


def theoretical_terms(problem: Problem) -> dict[Term, float]:
    """The truncation error as terms of the present state, for a field in a given, steady velocity; else empty.

    With ``d_t q = - c . grad q`` the second derivative in time is ``c_i c_j q_ij + c_j (d_j c_i) q_i``, summed.
    """
    spec, n = problem.spec, problem.spec.dimensions
    try:
        truncation_of(problem)
        velocities = velocity_channels(spec)
    except ValueError:
        return {}
    if len(spec.acts_on) != 1 or spec.acts_on[0] in velocities:
        return {}
    field, zero = spec.acts_on[0], (0,) * n

    def along(*axes: int) -> tuple[int, ...]:
        return tuple(axes.count(axis) for axis in range(n))

    speed = [Factor(channel, zero, along=axis) for axis, channel in enumerate(velocities)]
    terms: dict[Term, float] = {}
    for i in range(n):
        size = Factor(velocities[i], zero, absolute=True, along=i)
        terms[Term((size,), Factor(field, along(i, i)))] = 0.5
    for i in range(n):
        for j in range(i, n):
            terms[Term((speed[i], speed[j]), Factor(field, along(i, j)))] = -0.5 if i == j else -1.0
    for i in range(n):
        for j in range(n):
            gradient = Factor(velocities[i], along(j), along=i)
            terms[Term((speed[j], gradient), Factor(field, along(i)))] = -0.5
    return terms
