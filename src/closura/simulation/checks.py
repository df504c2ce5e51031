"""Whether a problem is one that a closure can be learned on: what its author may have forgotten, and what pays."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from closura.core import Method, Role, StepRule
from closura.core.case import Case
from closura.core.solver import Solver
from closura.core.specification import ClosureSpec
from closura.metrics.criterion import Estimate, Measurements, criterion
from closura.metrics.envelope import QUARTILE
from closura.problems.problem import Problem, SimulatedBegin, measure
from closura.problems.reference import SolverReference
from closura.simulation.cost import Timing, time_steps, work
from closura.simulation.kinds import closure_kinds
from closura.simulation.march import AsStateOf
from closura.simulation.simulate import run

Status = Literal["ok", "note", "wrong"]
FACTORS = (1, 2)
"""Grids on which the coarse solver is run, over its own: from their errors comes what refinement is worth."""
CASES = 4
LONGER = (1.25, 1.5, 2.0, 4.0)
"""Multiples of the time step that are tried."""
SMALL = 1e-5
"""Typical actions below this are near the smallest spread of a policy."""
LOWEST_ORDER = 0.1
"""Below this errors do not fall with the spacing."""
NO_DEARER = 1.05
"""Times as long that are no longer."""
HARD = 5.0
"""Errors that have to be divided by more than this by every kind of closure: refining is easier."""
TIMING = Timing(repetitions=9, seconds=0.02)
ALIGNED = 1e-3
"""Relative difference of the two initial states beyond which grids are said not to agree: far above rounding."""


@dataclass(frozen=True)
class Finding:
    """What a check has found: "ok", a "note" to think about, or "wrong"."""

    check: str
    status: Status
    words: str


def check_problem(
    make: Callable[[str], Problem],
    learners: Callable[[bool], str],
    *,
    steps: int = 50,
    report: Callable[[str], None] = lambda _: None,
) -> Iterator[Finding]:
    """Check a problem, one thing after the other.

    Parameters
    ----------
    make
        ``make(split)`` builds the problem.
    learners
        ``learners(differentiable)``: names of the learners that can do with such a solver.
    steps
        Coarse steps of the simulations that are run.
    report
        Called with what is being done.
    """
    report("building")
    problem = make("train")
    yield _described(problem, learners)
    report("drawing cases")
    yield from _cases(problem, make)
    report("stepping")
    yield _repeats(problem)
    yield _zero_closure(problem)
    begin = problem.begin
    if not isinstance(begin, SimulatedBegin) or not isinstance(problem.reference, SolverReference):
        yield Finding(
            "convergence", "note", "the reference is no solver: convergence, stability and cost are not checked"
        )
        return
    keys = jax.random.split(jax.random.key(1), CASES)
    cases = jax.lax.map(
        lambda item: begin.cases.member(item[0], key=item[1]), (jnp.arange(CASES, dtype=jnp.int32), keys)
    )
    yield _aligned(problem, problem.reference, cases)
    steps = begin.cases.at_most(steps)
    report(f"simulating {steps} steps")
    seen = _Seen(problem, problem.reference, cases, steps)
    yield from seen.converges()
    yield from seen.conserves()
    report("longer time steps")
    yield seen.stable()


def _described(problem: Problem, learners: Callable[[bool], str]) -> Finding:
    grid, differentiable = problem.grid, problem.coarse.differentiable
    points, names = " x ".join(map(str, grid.shape)), ", ".join(problem.components)
    gradient = "has a gradient" if differentiable else "runs outside JAX and has no gradient"
    small = problem.spec.where == "cells" and problem.spec.scale < SMALL
    return Finding(
        "problem", "note" if small else "ok",
        f"{names} on {points} points, dt {problem.time_step:.4g}; the solver {gradient}: learners "
        f"{learners(differentiable)}; typical action {problem.spec.scale:.2g}"
        + (": give fields in units in which they are of order one, for networks in single precision" if small else ""),
    )  # fmt: skip


def _cases(problem: Problem, make: Callable[[str], Problem]) -> Iterator[Finding]:
    def first(of: Problem, seed: int) -> np.ndarray:
        return np.asarray(of.begin.member(jnp.zeros((), jnp.int32), key=jax.random.key(seed)).state)

    one, again, other = first(problem, 0), first(problem, 0), first(problem, 1)
    if not np.array_equal(one, again):
        yield Finding(
            "cases", "wrong", "the same random key draws different initial states: use the key, or rng, alone"
        )
    elif np.array_equal(one, other):
        yield Finding(
            "cases", "wrong", "different random keys draw the same initial state: training sees one simulation"
        )
    elif not np.isfinite(one).all():
        yield Finding("cases", "wrong", "the initial state is not finite")
    else:
        yield Finding("cases", "ok", f"differ by their keys; first one from {one.min():.3g} to {one.max():.3g}")
    test = make("test")
    if test.reference.follows_state == problem.reference.follows_state and not isinstance(test.begin, SimulatedBegin):
        same = np.array_equal(first(test, 0), one)
        status: Status = "wrong" if same else "ok"
        words = "training and test begin from the same data" if same else "training and test data differ"
        yield Finding("splits", status, words)


def _begun(problem: Problem) -> tuple[Any, Any]:
    begun = problem.begin(key=jax.random.key(0))
    return begun.state, begun.parameters


@eqx.filter_jit
def _step(problem: Problem, state: Any, parameters: Any, closure: Any) -> Any:
    return problem.step(state, parameters, closure)[0]


def _repeats(problem: Problem) -> Finding:
    state, parameters = _begun(problem)
    states = [np.asarray(_step(problem, state, parameters, None)) for _ in range(3)]
    if not np.isfinite(states[0]).all():
        return Finding("step", "wrong", "a step from the first initial state is not finite: take a smaller dt")
    if not all(np.array_equal(states[0], each) for each in states[1:]):
        size = max(float(np.abs(states[0] - each).max()) for each in states[1:])
        return Finding(
            "step", "wrong",
            f"steps from one state differ, by {size:.2g}: a solver with a memory or random numbers of its own needs "
            "has_memory=True (closura.Program), and runs cannot be repeated",
        )  # fmt: skip
    return Finding("step", "ok", "the same from the same state, bit for bit")


class _Zero(eqx.Module):
    spec: ClosureSpec = eqx.field(static=True)

    def __call__(self, observation: Float[Array, "channel *grid"]) -> Float[Array, "action *grid"]:
        return jnp.zeros((len(self.spec.action), *observation.shape[1:]), jnp.float32)


def _zero_closure(problem: Problem) -> Finding:
    if problem.spec.where != "cells":
        return Finding("zero closure", "note", "closures act at interfaces: their zero is another scheme")
    state, parameters = _begun(problem)
    without, zero = (np.asarray(_step(problem, state, parameters, closure)) for closure in (None, _Zero(problem.spec)))
    size = float(np.abs(without - zero).max()) / max(float(np.abs(without).max()), 1e-30)
    if size > 1e-6:  # single precision
        return Finding("zero closure", "wrong", f"an action of zero changes a step by {size:.2g} of the largest value")
    return Finding("zero closure", "ok", "an action of zero changes nothing")


def _aligned(problem: Problem, reference: SolverReference, cases: Case) -> Finding:
    first = jax.tree.map(lambda leaf: leaf[0], cases)
    coarse = jnp.asarray(problem.coarse.init(first)[0])
    fine = reference.field(reference.init(first))
    size = float(jnp.linalg.norm(coarse - fine)) / max(float(jnp.linalg.norm(fine)), 1e-30)
    if size > ALIGNED:
        return Finding(
            "grids", "wrong",
            f"the coarse initial state and the reference's, taken to the coarse grid, differ by {100 * size:.2g} %: "
            "restriction and grids must agree (points at i L / n, or cell means: restrict=)",
        )  # fmt: skip
    return Finding("grids", "ok", f"initial states agree on the coarse grid ({size:.1g})")


class _Seen:
    """Simulations of a problem's solvers, and what they show."""

    def __init__(self, problem: Problem, reference: SolverReference, cases: Case, steps: int) -> None:
        self.problem, self.reference, self.cases, self.steps = problem, reference, cases, steps
        self.end = steps * problem.time_step
        self.true = self._fields(reference.solver, problem.time_step / reference.substeps)
        self.alone = self._fields(problem.coarse, problem.time_step)

    def _fields(self, solver: Solver, dt: float, end: float | None = None) -> np.ndarray:
        method = Method(solver, Role.BASELINE, StepRule(dt))
        return np.asarray(run(method, [end or self.end], AsStateOf(self.problem.coarse), self.cases).fields[:, -1])

    def _errors(self, fields: np.ndarray) -> np.ndarray:
        each = jax.vmap(self.problem.error)(jnp.asarray(fields), jnp.asarray(self.true))
        return np.asarray(each, np.float64)

    def converges(self) -> Iterator[Finding]:
        """Errors on the coarse grid and a finer one, and what a closure has to achieve to be worth more."""
        problem, points = self.problem, self.problem.grid.shape[0]
        if not np.isfinite(self.true).all():
            yield Finding("reference", "wrong", f"the reference is not finite after {self.steps} coarse steps")
            return
        scale = 100 if problem.percent else 1
        unit = " %" if problem.percent else ""
        methods = {f"{points}": Method(problem.coarse, Role.UNCORRECTED, StepRule(problem.time_step))}
        errors = {f"{points}": self._errors(self.alone)}
        if not np.isfinite(errors[f"{points}"]).all():
            yield Finding("coarse solver", "wrong", f"it is not finite after {self.steps} steps: take a smaller dt")
            return
        for factor in FACTORS[1:]:
            finer = problem.methods and problem.methods(problem.names[0], problem.grid.with_points(factor * points))
            if not finer:
                continue
            state, parameters = self._begun(problem.coarse)
            fine_state, theirs = self._begun(finer)
            rates = float(problem.coarse.rate(state, parameters)), float(finer.rate(fine_state, theirs))
            dt = problem.time_step * (rates[0] / rates[1] if all(rates) else 1 / factor)
            methods[f"{factor * points}"] = Method(finer, Role.FINE_BASELINE, StepRule(dt))
            errors[f"{factor * points}"] = self._errors(self._fields(finer, dt))
        typical = [float(np.mean(each)) for each in errors.values()]
        said = ", ".join(f"{scale * e:.3g}{unit} on {name}" for e, name in zip(typical, errors, strict=True))
        if len(typical) < 2 or not math.isfinite(typical[1]):
            yield Finding(
                "convergence", "note", f"error after {self.steps} steps {said} points; no finer grid to compare"
            )
            return
        order = math.log2(typical[0] / max(typical[1], 1e-30))
        if order < LOWEST_ORDER:
            yield Finding("convergence", "wrong", f"error {said} points: the solver does not converge to the reference")
            return
        yield Finding("convergence", "ok", f"error after {self.steps} steps {said} points: order {order:.2g}")
        yield pays(self._measured(methods, errors))

    def _measured(self, methods: dict[str, Method], errors: dict[str, np.ndarray]) -> Measurements:
        """Errors, and the costs of all grids and of closures on the coarse one, in turns."""
        coarse = next(iter(methods.values()))
        rule = StepRule(self.problem.time_step, exact=True)
        kinds = closure_kinds(coarse.solver, self.problem.spec, rule)
        works = {name: partial(work, method, self.cases) for name, method in (methods | kinds).items()}
        times = time_steps(works, TIMING)
        turns = {name: np.asarray(times[name].single.turns) / (m.step.dt or 1) for name, m in (methods | kinds).items()}
        return Measurements(
            tuple(methods), next(iter(methods)), errors, {name: turns[name] for name in methods},
            kinds={name: turns[name] for name in kinds},
        )  # fmt: skip

    def _begun(self, solver: Solver) -> tuple[Any, Any]:
        return solver.init(jax.tree.map(lambda leaf: leaf[0], self.cases))

    def conserves(self) -> Iterator[Finding]:
        """Whether what is said to be conserved is, by the coarse solver and by the reference."""
        if not self.problem.quantities:
            return
        before = jnp.stack([self.problem.coarse.init(_one(self.cases, i))[0] for i in range(CASES)])
        for number, quantity in enumerate(self.problem.quantities):
            changes = []
            for fields in (self.alone, self.true):
                each = jax.vmap(lambda f: measure(self.problem.quantities, f))
                totals = [np.asarray(each(jnp.asarray(f)))[:, number] for f in (before, fields)]
                changes.append(float(np.max(np.abs(totals[1] - totals[0]) / np.maximum(np.abs(totals[0]), 1e-30))))
            status: Status = "ok" if max(changes) < 1e-3 else "note"
            words = f"{quantity.name} changes by {changes[0]:.2g} (coarse) and {changes[1]:.2g} (reference) of itself"
            yield Finding("conservation", status, words)

    def stable(self) -> Finding:
        """How much longer the coarse time step may be."""
        stable = 1.0
        for factor in LONGER:
            # As many steps: what grows needs a number of them to be seen.
            fields = self._fields(self.problem.coarse, factor * self.problem.time_step, factor * self.end)
            if not np.isfinite(fields).all() or np.abs(fields).max() > 10 * np.abs(self.true).max():
                margin = f"stable up to {stable:g} times the time step, not at {factor:g}"
                return Finding("stability", "ok" if stable > 1 else "note", margin)
            stable = factor
        return Finding("stability", "note", f"stable at {stable:g} times the time step: a longer one would be cheaper")


def _one(cases: Case, number: int) -> Case:
    found: Case = jax.tree.map(lambda leaf: leaf[number], cases)
    return found


def pays(m: Measurements) -> Finding:
    """What a closure has to achieve to be worth more than the finer grid (:mod:`closura.metrics.criterion`)."""
    c = criterion(m)
    coarse, fine = (np.percentile(m.turns[name], QUARTILE) for name in m.classical[:2])
    finer = fine / coarse
    if finer < NO_DEARER:
        return Finding(
            "cost", "note",
            f"the finer grid takes {finer:.3g} times as long: it takes no longer, and k^p has no bound. Refine, unless "
            "the solver's grid is given",
        )  # fmt: skip
    demands = "; ".join(
        f"{each.name}: k = {each.k.value:.3g}, {'at least ' if each.at_least else ''}{_said(each.needed)}"
        for each in c.kinds
    )
    words = (
        f"the finer grid takes {finer:.3g} times as long: p = {_said(c.local)}. A closure that multiplies the cost of "
        f"a step by k pays if it divides the error by more than k^p. {demands}"
    )
    if c.kinds and min(each.needed.value for each in c.kinds) > HARD:
        return Finding("cost", "note", f"{words}. Refining is the better buy, unless the solver's grid is given")
    return Finding("cost", "ok", words)


def _said(found: Estimate) -> str:
    return f"{found.value:.3g}" + ("" if math.isnan(found.low) else f" [{found.low:.3g}, {found.high:.3g}]")
