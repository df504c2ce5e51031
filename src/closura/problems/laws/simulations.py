"""Simulations of several initial conditions in one compiled batch; each stops by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, PyTree

from closura.initial.condition import InitialCondition
from closura.problems.laws.dynamics import Parameters
from closura.problems.laws.march import March, begin, check_courant, check_positivity, march_to, place, stacked
from closura.problems.laws.methods import Method, smallest_grid
from closura.simulation.timing import milliseconds_per_step

NEGATIVE = "negative density or pressure"
"""What is wrong with a state of a gas that is finite and none of the law's."""

LARGEST_BATCH = 32
"""Simulations in one batch: larger ones leave the cache and are no faster."""


@dataclass(frozen=True)
class Steps:
    """The length of steps: by a Courant number, or fixed where ``time_step`` is given.

    With ``positive`` those at which limited fluxes promise nothing are refused.
    """

    courant: float = 0.4
    time_step: float | None = None
    positive: bool = False

    def __post_init__(self) -> None:
        if self.time_step is not None and not self.time_step > 0:
            raise ValueError(f"the time step must be positive; got {self.time_step:g}")

    @property
    def arguments(self) -> tuple[float, float]:
        """Courant number and time step, zero for the one that does not count."""
        return (self.courant, 0.0) if self.time_step is None else (0.0, self.time_step)


@dataclass(frozen=True, eq=False)
class Simulated:
    """Where one simulation ended.

    Parameters
    ----------
    state
        Conserved variables, ``(component, *grid)``: at the end, or after the step that failed.
    time, steps
        How far it came.
    failed_step, failed_cell
        The first step after which the state was none of the law's, and the first such cell as an index along each
        axis; None where all went well.
    """

    state: Float64[np.ndarray, "component *grid"]
    time: float
    steps: int
    failed_step: int | None = None
    failed_cell: tuple[int, ...] | None = None

    @property
    def failure(self) -> str | None:
        """What went wrong: ``"not finite"``, or :data:`NEGATIVE`."""
        if self.failed_cell is None:
            return None
        finite = np.isfinite(np.moveaxis(self.state, 0, -1)[self.failed_cell]).all()
        return NEGATIVE if finite else "not finite"


def simulate(
    method: Method, conditions: Sequence[InitialCondition], cells: int, ends: Sequence[float], steps: Steps
) -> list[Simulated]:
    """Run all conditions to their ends, those of one shape side by side.

    Raises
    ------
    ValueError
        If the grid is too small for the stencil, the steps are too long to be stable, or an initial state is none of
        the law's.
    """
    placed = prepare(method, conditions, cells, steps)
    results: list[Simulated | None] = [None] * len(placed)
    for members in _batches(placed):
        now = stacked([begin(placed[m][0]) for m in members])
        parameters = stacked([placed[m][1] for m in members])
        times = jnp.asarray([ends[m] for m in members], jnp.float64)
        for m, one in zip(members, _advance(method, now, parameters, times, steps)[1], strict=True):
            results[m] = one
    return [one for one in results if one is not None]


def snapshots(
    method: Method,
    conditions: Sequence[InitialCondition],
    cells: int,
    times: Sequence[Sequence[float]],
    steps: Steps,
) -> list[list[Simulated]]:
    """The same at several times of each condition (as many for all), which do not decrease."""
    placed = prepare(method, conditions, cells, steps)
    results: list[list[Simulated]] = [[] for _ in placed]
    for members in _batches(placed):
        now = stacked([begin(placed[m][0]) for m in members])
        parameters = stacked([placed[m][1] for m in members])
        for moment in range(len(times[0])):
            moments = jnp.asarray([times[m][moment] for m in members], jnp.float64)
            now, found = _advance(method, now, parameters, moments, steps)
            for m, one in zip(members, found, strict=True):
                results[m].append(one)
    return results


def prepare(
    method: Method, conditions: Sequence[InitialCondition], cells: int, steps: Steps
) -> list[tuple[Array, Parameters]]:
    """Initial states and parameters, checked.

    Raises
    ------
    ValueError
        As :func:`simulate`.
    """
    if steps.time_step is None:
        _check_steps(steps.courant, method, steps)
    placed = []
    for condition in conditions:
        shape = [round(cells * length / condition.extent[0]) for length in condition.extent]
        if cells < 1 or min(shape) < smallest_grid(method):
            raise ValueError(
                f"a grid of {' x '.join(map(str, shape))} cells ({condition.name}) is too small for {method.name}: its "
                f"stencil needs at least {smallest_grid(method)} cells along every axis; take more --cells"
            )
        state, parameters = place(method.dynamics.law, condition, cells)
        if steps.time_step is not None:
            speeds = method.dynamics.largest_speed(state) / parameters["spacing"]
            number = float(jnp.sum(speeds)) * steps.time_step
            if number > 0:
                try:
                    _check_steps(number, method, steps)
                except ValueError as error:
                    raise ValueError(
                        f"--time-step {steps.time_step:g} on {cells} cells ({condition.name}): {error}"
                    ) from None
        placed.append((state, parameters))
    return placed


def _check_steps(courant: float, method: Method, steps: Steps) -> None:
    check_courant(courant, method.dynamics.integrator, method.r)
    if steps.positive:
        check_positivity(courant, method.dynamics.integrator)


def weights_at(
    method: Method, condition: InitialCondition, state: Float64[np.ndarray, "component *grid"]
) -> list[Float64[np.ndarray, "side r component *interfaces"]]:
    """The weights that a method gives a state's stencils along each axis; the swept axis is the last."""
    _, parameters = place(method.dynamics.law, condition, state.shape[1])
    found = method.dynamics.weights(method.dynamics.sweeps(jnp.asarray(state), parameters), method.ask)
    return [np.asarray(weights) for weights in found]


def step_cost(method: Method, condition: InitialCondition, cells: int) -> float:
    """Milliseconds of one step on this machine, after compilation: the median of five loops of 100 steps."""
    state, parameters = place(method.dynamics.law, condition, cells)
    speeds = method.dynamics.largest_speed(state) / parameters["spacing"]
    # Hundredths of a usual step: the cost is the same, and the loops stay close to the initial state.
    dt = 0.001 / jnp.maximum(jnp.sum(speeds), 1e-3)
    advance = eqx.Partial(method.dynamics.step, parameters=parameters, dt=dt, closure=method.ask)
    return milliseconds_per_step(advance, state, steps=100)


@eqx.filter_jit
def _march(method: PyTree, now: March, parameters: Parameters, ends: Array, lengths: tuple[Array, Array]) -> March:
    dynamics, ask = method

    def one(now: March, parameters: Parameters, end: Float[Array, ""]) -> March:
        return march_to(dynamics, now, parameters, ask, end, courant=lengths[0], time_step=lengths[1])

    return jax.vmap(one)(now, parameters, ends)


def _advance(
    method: Method, now: March, parameters: Parameters, ends: Array, steps: Steps
) -> tuple[March, list[Simulated]]:
    courant, time_step = (jnp.asarray(value, jnp.float64) for value in steps.arguments)
    now = _march((method.dynamics, method.ask), now, parameters, ends, (courant, time_step))
    host = jax.device_get(now)
    found = []
    for m in range(len(ends)):
        state = np.asarray(host.state[m])
        failed = int(host.failed_at[m])
        cell = None
        if failed >= 0:
            cell = tuple(int(i) for i in np.unravel_index(int(host.failed_cell[m]), state.shape[1:]))
        found.append(Simulated(state, float(host.time[m]), int(host.steps[m]), failed if failed >= 0 else None, cell))
    return now, found


def _batches(placed: Sequence[tuple[Array, Parameters]]) -> list[list[int]]:
    """Members by shape of their state, in batches that are not too large."""
    shapes: dict[tuple[int, ...], list[int]] = {}
    for member, (state, _) in enumerate(placed):
        shapes.setdefault(state.shape, []).append(member)
    return [
        members[first : first + LARGEST_BATCH]
        for members in shapes.values()
        for first in range(0, len(members), LARGEST_BATCH)
    ]
