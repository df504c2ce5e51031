"""Named initial conditions in turn: simulation k of a batch takes number k mod n."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Scalar

from closura.core.case import Case, CaseSampler
from closura.initial.condition import InitialCondition
from closura.problems.laws.cases import place
from closura.problems.laws.law import ConservationLaw
from closura.problems.laws.stability import check_courant
from closura.problems.laws.weighted_fluxes import Parameters


class Schedule(CaseSampler):
    """Several initial conditions on one grid, in turn.

    Parameters
    ----------
    initial
        States on the fine grid, ``(condition, component, *fine)``.
    parameters
        ``spacing`` (coarse) and ``ends`` of each.
    rate
        ``sum_a speed_a / dx_a`` of each: a Courant number divided by it is a time step.
    time_step
        Length of all steps; 0 draws a Courant number for each simulation.
    courant
        Range that it is drawn from.
    """

    initial: Float[Array, "condition component *fine"]
    parameters: Parameters
    rate: Float[Array, " condition"]
    time_step: float = eqx.field(static=True)
    courant: tuple[float, float] = eqx.field(static=True)

    def sample(self, *, key: Key[Scalar, ""]) -> Case:
        """A random one."""
        which, key = jax.random.split(key)
        return self.member(jax.random.randint(which, (), 0, self.rate.size, dtype=jnp.int32), key=key)

    def member(self, number: Int[Array, ""], *, key: Key[Scalar, ""]) -> Case:
        """The one of simulation ``number`` of a batch."""
        index = number % self.rate.size
        step = jnp.asarray(self.time_step, jnp.float64)
        if not self.time_step:
            step = jax.random.uniform(key, (), jnp.float64, *self.courant) / self.rate[index]
        own = jax.tree.map(lambda leaf: leaf[index], self.parameters)
        return Case(self.initial[index], {**own, "time_step": step})


def schedule(
    law: ConservationLaw,
    conditions: Sequence[InitialCondition],
    cells: int,
    *,
    ratio: int = 1,
    time_step: float = 0.0,
    courant: tuple[float, float] = (0.1, 0.1),
    integrator: str = "forward-euler",
    r: int = 3,
    reserve: float = 1.0,
) -> Schedule:
    """Put conditions on a grid.

    Parameters
    ----------
    law
        What is solved.
    conditions
        The conditions, in their turn.
    cells
        Coarse cells along the first axis.
    ratio
        Fine cells per coarse cell and axis.
    time_step, courant
        See :class:`Schedule`.
    integrator, r
        What the largest Courant number is checked against.
    reserve
        Waves are taken to become this much faster than they are at the start.
    """
    if not conditions:
        raise ValueError("a schedule needs at least one initial condition")
    states, parameters, rates = [], [], []
    for condition in conditions:
        state, own = place(law, condition, cells * ratio)
        own = {**own, "spacing": own["spacing"] * ratio}
        speeds = jnp.stack([jnp.max(law.speed(state, axis)) for axis in range(law.dimensions)])
        rate = reserve * jnp.sum(speeds / own["spacing"])
        if time_step:
            try:
                check_courant(time_step * float(rate), integrator, r)
            except ValueError as error:
                raise ValueError(f"{condition.name} with a time step of {time_step:g}: {error}") from error
        states.append(state)
        parameters.append(own)
        rates.append(jnp.maximum(rate, 1e-12))
    shapes = {state.shape for state in states}
    if len(shapes) > 1:
        raise ValueError(
            f"initial conditions of one batch need grids of one shape; {', '.join(c.name for c in conditions)} give "
            f"{sorted(shapes)}: train on them one by one"
        )
    return Schedule(
        jnp.stack(states),
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *parameters),
        jnp.stack(rates),
        time_step,
        courant,
    )
