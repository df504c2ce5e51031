"""The front of conservation laws in one dimension: WENO schemes and agents from random initial conditions.

The truth is the exact solution (entropy solution, exact Riemann solution), known everywhere: each method is judged
on its own grid, as ``closura evaluate`` judges it, and no field has to be carried from one grid to another.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from closura.core import Metric, Role
from closura.initial.condition import InitialCondition
from closura.problems.laws.catalogue import LawProblem
from closura.problems.laws.dynamics import WeightedFluxes
from closura.problems.laws.march import courant_step, largest_courant, place, stacked
from closura.problems.laws.methods import Method as Scheme
from closura.problems.laws.methods import classical
from closura.problems.laws.metrics import cell_size
from closura.problems.laws.random_conditions import FAMILIES
from closura.problems.laws.references import references
from closura.problems.laws.simulations import Steps, snapshots
from closura.seeds import generator_of
from closura.simulation.stepping import BENIGN
from closura.simulation.sweep import Benchmark, Method, Outcome, Sweep, Work

GRIDS = (32, 64, 128, 256, 512, 1024)
SCHEMES = ("weno3-js", "weno5-js", "weno5-z", "teno5")
REMARKS = (
    "Each is judged on its own grid against the exact solution at its cell centres: nothing is restricted or "
    "interpolated.",
    "Closures run on all grids but the finest: beside each stands a classical method on a finer grid.",
    "Courant numbers are those of closura evaluate: steps follow the largest speed of each simulation.",
)


def held_out_conditions(problem: LawProblem, simulations: int, seed: int) -> list[InitialCondition]:
    """Random initial conditions, the problem's families in turn; other random numbers than trainings use.

    Raises
    ------
    ValueError
        If the problem has no random families with an exact solution.
    """
    families = list(FAMILIES.get(problem.name, {}).values())
    if not families:
        raise ValueError(f"{problem.name} has no random initial conditions; valid: {', '.join(FAMILIES)}")
    rng = generator_of(seed, 0xF407)
    drawn = [families[number % len(families)](rng) for number in range(simulations)]
    # Their names are the keys of caches elsewhere.
    return [replace(condition, name=f"{condition.name}-{number}") for number, condition in enumerate(drawn)]


def law_benchmark(
    problem: LawProblem,
    sweep: Sweep,
    closures: Mapping[str, Callable[..., Scheme]],
    *,
    simulations: int,
    seed: int,
) -> Benchmark:
    """The benchmark of a conservation law.

    Parameters
    ----------
    problem
        The law with its usual settings: integrator, splitting, norm.
    sweep
        Grids, time steps, schemes, times.
    closures
        ``closures[name](integrator=, splitting=, projection=) -> Scheme``.
    simulations, seed
        How many initial conditions, and the seed of their random numbers.

    Raises
    ------
    ValueError
        If a scheme is unknown or a time outlasts an initial condition's own end (its waves would leave the domain).
    """
    draws = held_out_conditions(problem, simulations, seed)
    how: dict[str, Any] = {
        "integrator": problem.integrator, "splitting": problem.splitting, "projection": "component",
    }  # fmt: skip
    schemes = {name: classical(name, problem.law, **how) for name in sweep.chosen(SCHEMES)}
    schemes |= {name: make(**how) for name, make in closures.items()}
    times: tuple[str, ...]
    if not sweep.times and problem.time is None:
        ends, times = [[condition.time] for condition in draws], ("end",)
    else:
        chosen = sweep.times or (float(problem.time or 0),)
        ends, times = [list(chosen)] * len(draws), tuple(f"{time:.4g}" for time in chosen)
        first = min(draws, key=lambda condition: condition.time)
        if problem.time is None and chosen[-1] > first.time:
            raise ValueError(
                f"--times {chosen[-1]:g} is too late: the first waves leave the domain at {first.time:.3g}"
            )
    grids = sorted(sweep.grids or GRIDS[: 3 if sweep.quick else None])
    methods = [
        _method(name, scheme, cells, courant, ends)
        for name, scheme in schemes.items()
        for cells in (grids[:-1] if scheme.learned and len(grids) > 1 else grids)
        for courant in sweep.steps(largest_courant(problem.integrator, scheme.r))
    ]
    size = np.asarray([cell_size(condition, (1,)) for condition in draws])

    def exact(method: Method) -> np.ndarray:
        if method.points not in known:
            known[method.points] = _exact(problem, draws, ends, method.points)
        return known[method.points]

    known: dict[int, np.ndarray] = {}
    return Benchmark(
        problem=problem.name,
        draws=draws,
        simulations=simulations,
        times=times,
        methods=tuple(methods),
        references={"exact": exact},
        reference_words={"exact": "exact solution"},
        error=Metric(
            "error",
            partial(_error, problem.norm, size),
            f"{problem.norm.upper()} error of {problem.quantity}",
            aggregate="geometric",
        ),
        coarse=problem.cells,
        remarks=REMARKS,
    )


def _method(name: str, scheme: Scheme, cells: int, courant: float, ends: Sequence[Sequence[float]]) -> Method:
    rule = f"C {courant:.3g}"
    return Method(
        name=f"{name} {cells} {rule}",
        family=name,
        role=Role.CLOSURE if scheme.learned else Role.BASELINE,
        points=cells,
        rule=rule,
        run=partial(_run, scheme, cells, courant, ends),
        work=partial(_work, scheme, cells),
        work_key=f"{name} {cells}",
    )


def _run(
    scheme: Scheme, cells: int, courant: float, ends: Sequence[Sequence[float]], draws: list[InitialCondition]
) -> Outcome:
    found = snapshots(scheme, draws, cells, ends, Steps(courant=courant))
    # A simulation that failed stands still where it failed: it has no field from then on.
    fields = np.stack(
        [np.stack([m.state if m.failed_step is None else np.full_like(m.state, np.nan) for m in one]) for one in found]
    )
    frequency = np.asarray([one[-1].steps / one[-1].time if one[-1].time > 0 else np.nan for one in found])
    return Outcome(fields, frequency, np.asarray([one[-1].failed_step is not None for one in found]))


def _exact(
    problem: LawProblem, draws: Sequence[InitialCondition], ends: Sequence[Sequence[float]], cells: int
) -> np.ndarray:
    return np.stack(
        [
            np.stack(references(problem.law, condition, condition.points((cells,)), tuple(times)))
            for condition, times in zip(draws, ends, strict=True)
        ]
    )


def _error(norm: str, lengths: np.ndarray, fields: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """L1 or L2 over the domain of the first conserved variable, ``(simulation, time)``."""
    with np.errstate(all="ignore"):
        difference = np.abs(fields[:, :, 0] - truth[:, :, 0])
        size = lengths[:, None] / difference.shape[-1]
        return size * difference.sum(-1) if norm == "l1" else np.sqrt(size * (difference**2).sum(-1))


class _LawStep(eqx.Module):
    """One step of a march: its length from the state, the step, and whether the state is one of the law's."""

    dynamics: WeightedFluxes
    ask: Any

    def __call__(self, state: Array, parameters: PyTree[Array]) -> Array:
        dt = courant_step(self.dynamics, state, parameters, BENIGN)
        following = self.dynamics.step(state, parameters, dt, self.ask)
        return jnp.where(jnp.any(~self.dynamics.law.admissible(following)), state, following)


def _work(scheme: Scheme, cells: int, draws: Sequence[InitialCondition], members: int) -> Work:
    placed = [place(scheme.dynamics.law, draws[m % len(draws)], cells) for m in range(members)]
    states, contexts = stacked([state for state, _ in placed]), stacked([parameters for _, parameters in placed])
    return Work(_LawStep(scheme.dynamics, scheme.ask), states, jax.tree.map(jnp.asarray, contexts))
