r"""A finite-difference solver of a conservation law whose closure weighs the candidate fluxes at the interfaces.

    dq_i/dt = - sum_a (F_{i + 1/2} - F_{i - 1/2}) / dx_a,      F = sum_k w^+_k f^+_k + sum_k w^-_k f^-_k.

The weights are a convex combination by construction - the softmax of what agents answer - and every interface has
one flux: the scheme is conservative and keeps constants whatever the agents do. All agents (interfaces, components
and directions) share one closure and stand in one flat axis, so one question a stage serves every dimension.

Source: Way, Kapilavai, Fu, Yu, "Backpropagation through Time and Space: Learning Numerical Methods with Multi-Agent
Reinforcement Learning" (arXiv:2203.08937) and its public code.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from closura.core import ClosureSpec
from closura.core.case import Case
from closura.core.solver import Closure, Solver
from closura.grids import Grid
from closura.numerics import get_integrator
from closura.numerics.stability import symbol_limit
from closura.numerics.weno import candidates, get_weno, optimal_weights
from closura.problems.laws.fluxes import (
    PROJECTIONS,
    SPLITTINGS,
    Projection,
    Splitting,
    Stencils,
    Sweep,
    interface_flux,
    keep_positive,
    split_stencils,
)
from closura.problems.laws.law import ConservationLaw, State
from closura.problems.reference import Step

Parameters = dict[str, Any]
"""``spacing (axis,)``, ``ends (axis,)`` int32, ``time_step ()``; what else a problem adds."""

ANY = Grid((1,))
"""Stands for the grid of a solver that takes states and parameters as they are given, on any grid."""

WEAKLY_UNSTABLE = 0.6
"""Largest Courant number of integrators that let smooth waves grow, slowly, at every step."""

SLOWEST = 0.01
"""Speeds below this count as this where they set the time step, as published."""

DEVIATION = 1e-10
"""Added to the standard deviation of a stencil, as published."""
LARGEST_SEEN = 5.0


def weights_spec(r: int, *, sizes: bool = False) -> ClosureSpec:
    """What agents at interfaces see, two standardised stencils, and what they answer, logits of two sets of weights.

    With ``sizes`` they also see how large the two stencils' deviations are beside each other.
    """
    sides, cells = ("plus", "minus"), range(2 * r - 1)
    extra = tuple(f"{side} size" for side in sides) if sizes else ()
    return ClosureSpec(
        observation=(*(f"{side} {k}" for side in sides for k in cells), *extra),
        action=tuple(f"{side} weight {k}" for side in sides for k in range(r)),
        boundary=("outflow",),
        acts_on=(r - 1,) * r + (3 * r - 2,) * r,
        bound=math.inf,
        where="interfaces",
    )


def sees_sizes(observation: Sequence[str]) -> bool:
    """Whether agents with these observed channels see the sizes of their stencils."""
    return "plus size" in observation


def standardise(stencils: Stencils) -> tuple[Stencils, Float[Array, "side component *interfaces"]]:
    """Each stencil less its mean, by its standard deviation, clipped to five, and the standard deviations.

    What agents see is blind to offset and size of the fluxes.
    """
    centred = stencils - jnp.mean(stencils, axis=1, keepdims=True)
    variance = jnp.mean(centred * centred, axis=1, keepdims=True)
    # The root of zero has no derivative, and stencils are exactly constant away from a jump.
    still = variance == 0
    deviation = jnp.where(still, 0, jnp.sqrt(jnp.where(still, 1, variance)))
    return jnp.clip(centred / (deviation + DEVIATION), -LARGEST_SEEN, LARGEST_SEEN), deviation[:, 0]


class WeightedFluxes(Solver):
    """The solver; without a closure it weighs as ``scheme`` does.

    Parameters
    ----------
    law
        What is solved.
    scheme
        Name of a classical scheme (:data:`closura.numerics.weno.WENO_SCHEMES`): its order decides the stencil.
    integrator
        Name of the Runge-Kutta method; closures are called at every stage.
    splitting, projection
        See :mod:`closura.problems.laws.fluxes`.
    ratio
        Cells of the grid of initial states per cell of this one and axis; odd.
    refined
        Cells of this grid per cell that the ``spacing`` of a case speaks of.
    sizes
        Show closures the sizes of their two stencils' deviations too, as shares of their sum.
    positivity
        Limit fluxes so that density and pressure stay positive at Courant numbers up to 1/2
        (:func:`closura.problems.laws.fluxes.keep_positive`).
    grid
        Where initial states are put; by default states are taken as they come.
    """

    law: ConservationLaw
    scheme: str = eqx.field(static=True, default="weno5-js")
    integrator: str = eqx.field(static=True, default="ssp-rk3")
    splitting: Splitting = eqx.field(static=True, default="global")
    projection: Projection = eqx.field(static=True, default="component")
    ratio: int = eqx.field(static=True, default=1)
    sizes: bool = eqx.field(static=True, default=False)
    positivity: bool = eqx.field(static=True, default=False)
    refined: int = eqx.field(static=True, default=1)
    grid: Grid = eqx.field(static=True, default=ANY)

    def __check_init__(self) -> None:
        get_weno(self.scheme)
        if self.splitting not in SPLITTINGS or self.projection not in PROJECTIONS:
            raise ValueError(
                f"unknown splitting {self.splitting!r} or projection {self.projection!r}; valid: "
                f"{', '.join(SPLITTINGS)}; {', '.join(PROJECTIONS)}"
            )
        for ratio in (self.ratio, self.refined):
            if ratio < 1 or ratio % 2 == 0:
                raise ValueError(f"only odd ratios have cells at the centres of coarse ones; got {ratio}")

    @property
    def calls_per_step(self) -> int:
        return get_integrator(self.integrator).stages

    @property
    def r(self) -> int:
        """Number of sub-stencils."""
        return get_weno(self.scheme).r

    def spec(self) -> ClosureSpec:
        return weights_spec(self.r, sizes=self.sizes)

    def init(self, case: Case) -> tuple[State, Parameters]:
        """The initial state at the centres of this grid's cells, with their spacing."""
        parameters: Parameters = case.parameters
        if self.refined > 1:
            parameters = {**parameters, "spacing": parameters["spacing"] / self.refined}
        return centres(case.initial, self.ratio, self.law.dimensions), parameters

    def to_grid(self, state: State, grid: Grid) -> Float[Array, "component *coarse"]:
        """Values at the centres of the grid's cells, which are centres of this one's too."""
        return centres(state, state.shape[1] // grid.shape[0], self.law.dimensions)

    def sweeps(self, state: State, parameters: Parameters) -> list[Sweep]:
        return [
            split_stencils(
                self.law, jnp.moveaxis(state, 1 + axis, -1), parameters["ends"][axis], axis=axis, r=self.r,
                splitting=self.splitting, projection=self.projection,
            )
            for axis in range(self.law.dimensions)
        ]  # fmt: skip

    def observe(self, state: State, parameters: Parameters) -> Float[Array, "observation agent"]:
        """Both standardised stencils of every interface, ``(2 (2 r - 1), agent)``, plus before minus; sizes last."""
        return self.questions(self.sweeps(state, parameters))

    def questions(self, sweeps: list[Sweep]) -> Float[Array, "observation agent"]:
        """What agents are shown of the stencils."""
        seen = []
        for sweep in sweeps:
            stencils, deviations = standardise(sweep.stencils)
            seen.append(stencils.reshape(2 * (2 * self.r - 1), -1))
            if self.sizes:
                shares = deviations / (jnp.sum(deviations, axis=0) + DEVIATION)
                seen[-1] = jnp.concatenate([seen[-1], shares.reshape(2, -1)])
        return jnp.concatenate(seen, axis=1) if len(seen) > 1 else seen[0]

    def weights(
        self, sweeps: list[Sweep], closure: Closure | None
    ) -> list[Float[Array, "side r component *interfaces"]]:
        """Weights of both sides at all interfaces, swept axis last."""
        if closure is None:
            weigh = get_weno(self.scheme).weigh
            return [jax.vmap(weigh)(s.stencils) for s in sweeps]
        answer = closure(self.questions(sweeps))
        first, found = 0, []
        for sweep in sweeps:
            part = answer[:, first : first + sweep.agents].astype(sweep.stencils.dtype)
            first += sweep.agents
            found.append(jax.nn.softmax(part.reshape(2, self.r, *sweep.stencils.shape[2:]), axis=1))
        return found

    def tendency(self, state: State, parameters: Parameters, closure: Closure | None) -> State:
        return self._change(state, parameters, self.sweeps(state, parameters), closure)

    def _change(self, state: State, parameters: Parameters, sweeps: list[Sweep], closure: Closure | None) -> State:
        change = jnp.zeros_like(state)
        for axis, (sweep, weights) in enumerate(zip(sweeps, self.weights(sweeps, closure), strict=True)):
            flux = interface_flux(sweep.stencils, weights, sweep.back)
            if self.positivity:
                flux = keep_positive(self.law, flux, sweep.edges)
            change = change - jnp.moveaxis(jnp.diff(flux, axis=-1), -1, 1 + axis) / parameters["spacing"][axis]
        return change

    def advance(self, state: State, parameters: Parameters, dt: Step) -> State:
        return self.step(state, parameters, dt)

    def corrected_step(
        self, state: State, parameters: Parameters, dt: Step, closure: Closure | None
    ) -> tuple[State, State]:
        """One step; nothing is done to the state before it."""
        rhs = lambda q: self.tendency(q, parameters, closure)
        return get_integrator(self.integrator).step(rhs, state, dt), state

    def step_each(
        self, state: State, parameters: Parameters, dt: Step, closures: Sequence[Closure | None]
    ) -> list[State]:
        """One step from the same state with each of several closures.

        Where the integrator has one stage the stencils are made once, and so is what leads back through them.
        """
        if self.calls_per_step > 1:
            return super().step_each(state, parameters, dt, closures)
        sweeps, method = self.sweeps(state, parameters), get_integrator(self.integrator)

        def one(closure: Closure | None) -> State:
            return method.step(lambda q: self._change(q, parameters, sweeps, closure), state, dt)

        return [one(closure) for closure in closures]

    invalid: ClassVar[str] = "negative density or pressure"

    def valid_cells(self, state: State) -> Bool[Array, "*grid"]:
        """Which cells hold a state of the law (a gas with positive density and pressure)."""
        return self.law.admissible(state)

    def is_valid(self, state: State) -> Bool[Array, ""]:
        return jnp.all(self.valid_cells(state))

    @property
    def courant_limit(self) -> float:
        return largest_courant(self.integrator, self.r)

    def rate(self, state: State, parameters: Parameters) -> Float[Array, ""]:
        """``sum_a (speed_a / dx_a)``."""
        return jnp.sum(jnp.maximum(self.largest_speed(state), SLOWEST) / parameters["spacing"])

    def alone(self) -> "WeightedFluxes":
        """Without what closures see."""
        return replace(self, sizes=False)

    def largest_speed(self, state: State) -> Float[Array, " axis"]:
        return jnp.stack([jnp.max(self.law.speed(state, axis)) for axis in range(self.law.dimensions)])


def centres(state: State, ratio: int, dimensions: int) -> Float[Array, "component *coarse"]:
    """The values in the centre cells of blocks of ``ratio`` (odd) cells along each axis."""
    keep = slice(ratio // 2, None, ratio)
    return state[(slice(None), *(keep,) * dimensions)]


@lru_cache
def largest_courant(integrator: str, r: int) -> float:
    """Courant number beyond which a WENO scheme with ``r`` sub-stencils is not stable with an integrator.

    That of the upwind scheme of order ``2 r - 1`` that it becomes on smooth data (von Neumann analysis). Forward Euler,
    and SSP-RK2 with long stencils, are weakly unstable with it at every step: 0.6 there, and the smaller the better.
    """
    angles = np.linspace(-np.pi, np.pi, 4097)
    value = np.zeros(2 * r - 1)
    for k, (weight, row) in enumerate(zip(optimal_weights(r), candidates(r), strict=True)):
        value[k : k + r] += weight * row
    cells = np.exp(1j * np.outer(angles, np.arange(2 * r - 1) - (r - 1)))
    limit = symbol_limit((1 - np.exp(-1j * angles)) * (cells @ value), get_integrator(integrator))
    return limit if limit > 0 else WEAKLY_UNSTABLE
