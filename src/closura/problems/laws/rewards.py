r"""What closures at interfaces learn by: rewards, errors, and the reference of one step.

Rewards are one for each interface, in the flat order in which closures are asked:

``difference`` (as published)
    ``arctan(-1000 E)`` with ``E`` the mean, over the two cells at the interface, of the absolute difference between
    the state after the step and the target's. Against one step of WENO from the agents' own state it is the published
    reward, which can prefer nothing better than WENO; against a finer simulation it has no such ceiling.
``free``
    The same squashing of what needs no target at all:

        E = mean over both cells of  max(0, u' - max of neighbours, min of neighbours - u')
            + s |u' - u'_linear|

    with ``u'_linear`` the step of the optimal linear scheme and ``s`` one where all sub-stencils are about equally
    smooth, zero where they are not. The first part is what makes the total variation grow (new extrema), the second
    is what a scheme of the full order does not have.

At the ends of an axis: an outflow end has the value of its cell, the two ends of a periodic axis the mean of the first
and the last. In two dimensions the published code takes averages of the first and last *pairs* of cells instead of
the cells; so does this.

Sources: Way et al. (arXiv:2203.08937) and its public code for the first; the second follows the idea of Wang, Yu and
Xiao, "First-principle-like reinforcement learning of nonlinear numerical schemes for conservation laws" (2023), in
our own form.
"""

import math
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from closura.core.case import Case
from closura.core.solver import Closure, Solver
from closura.initial.condition import ENDS
from closura.numerics.weno import global_smoothness, smoothness
from closura.problems.laws.fluxes import pad_ends
from closura.problems.laws.law import ConservationLaw, State
from closura.problems.laws.weighted_fluxes import Parameters, WeightedFluxes
from closura.problems.problem import Transition
from closura.problems.reference import Reference, Step

RewardName = Literal["difference", "free"]
Components = Literal["separate", "summed"]
STEEPNESS = 1000.0
"""Published: errors of one step are of the order of a thousandth."""
SMOOTH, ROUGH = 3.0, 9.0
"""Contrasts of the indicators of smoothness up to which, and from which, a stencil is (not) smooth."""


def at_interfaces(
    cells: Float[Array, "component *grid"], ends: Int[Array, " axis"]
) -> list[Float[Array, "component *interfaces"]]:
    """Means of the two cells at every interface, for each axis with that axis last; see the module's text for ends."""
    dimensions = cells.ndim - 1
    found = []
    for axis in range(dimensions):
        e = jnp.moveaxis(cells, 1 + axis, -1)
        inner = (e[..., 1:] + e[..., :-1]) / 2
        edge = e if dimensions == 1 else inner
        first, last = edge[..., :1], edge[..., -1:]
        wraps = ends[axis] == ENDS.index("periodic")
        mean = (first + last) / 2
        found.append(
            jnp.concatenate([jnp.where(wraps, mean, first), inner, jnp.where(wraps, mean, last)], axis=-1)
        )  # fmt: skip
    return found


def squashed(errors: list[Float[Array, "component *interfaces"]], components: Components) -> Float[Array, " agent"]:
    """``arctan(-1000 E)`` of all agents; ``summed``: every component has the reward of the sum of all."""
    parts = []
    for error in errors:
        if components == "summed":
            error = jnp.broadcast_to(jnp.sum(error, axis=0, keepdims=True), error.shape)
        parts.append(jnp.arctan(-STEEPNESS * error).reshape(-1))
    return jnp.concatenate(parts)


class DifferenceReward(eqx.Module):
    """See the module's text; ``components``: the equations of a system count one by one, or their errors are summed."""

    components: Components = eqx.field(static=True, default="separate")

    def __call__(self, transition: Transition) -> Float[Array, " agent"]:
        difference = jnp.abs(transition.next_state - transition.next_reference)
        return squashed(at_interfaces(difference, transition.parameters["ends"]), self.components)


class FreeReward(eqx.Module):
    """See the module's text; ``linear`` is the solver with the optimal linear weights."""

    linear: WeightedFluxes
    components: Components = eqx.field(static=True, default="separate")

    def __call__(self, transition: Transition) -> Float[Array, " agent"]:
        state, parameters, ends = transition.state, transition.parameters, transition.parameters["ends"]
        excess = at_interfaces(self.excess(state, transition.next_state, ends), ends)
        linear = self.linear.step(state, parameters, parameters["time_step"])
        missed = at_interfaces(jnp.abs(transition.next_state - linear), ends)
        # Not differentiated: a field must not be made rough so that less is asked of it.
        smooth = [jax.lax.stop_gradient(_smooth(s.stencils)) for s in self.linear.sweeps(state, parameters)]
        errors = [a + s * b for a, s, b in zip(excess, smooth, missed, strict=True)]
        return squashed(errors, self.components)

    def excess(self, state: State, following: State, ends: Int[Array, " axis"]) -> State:
        """How far values have left the range of their neighbours, themselves included, before the step."""
        low = high = state
        for axis in range(self.linear.law.dimensions):
            swept = jnp.moveaxis(state, 1 + axis, -1)
            padded = pad_ends(swept, 1, ends[axis], self.linear.law.mirror(axis))
            left, right = (jnp.moveaxis(x, -1, 1 + axis) for x in (padded[..., :-2], padded[..., 2:]))
            low, high = jnp.minimum(low, jnp.minimum(left, right)), jnp.maximum(high, jnp.maximum(left, right))
        return jnp.maximum(jnp.maximum(following - high, low - following), 0)


def _smooth(stencils: Float[Array, "side cell component *interfaces"]) -> Float[Array, "component *interfaces"]:
    """One where both stencils of an agent are smooth, zero where one is not."""
    least = jnp.ones((), stencils.dtype)
    for side in (0, 1):
        beta = smoothness(stencils[side])
        tau = global_smoothness(beta)
        tiny = jnp.finfo(beta.dtype).tiny ** 0.5
        contrast = jnp.log1p(tau / (jnp.min(beta, axis=0) + tiny)) - jnp.log1p(tau / (jnp.max(beta, axis=0) + tiny))
        share = jnp.clip((contrast - math.log(SMOOTH)) / math.log(ROUGH / SMOOTH), 0, 1)
        least = jnp.minimum(least, 1 - share * share * (3 - 2 * share))
    return least


class OneStep(Reference):
    """One step of ``solver`` without a closure from the closure's own current state (published: WENO-JS).

    It cannot be stored, and a reward for coming near to it can prefer nothing better than that scheme.
    """

    follows_state: ClassVar[bool] = True
    solver: WeightedFluxes

    def init(self, case: Case) -> State:
        return self.solver.init(case)[0]

    def advance(self, reference: PyTree[Array], state: State, parameters: Parameters, dt: Step) -> State:
        return self.solver.step(state, parameters, dt)

    def advance_beside(
        self,
        reference: PyTree[Array],
        coarse: Solver,
        state: State,
        parameters: Parameters,
        dt: Step,
        closure: Closure | None,
    ) -> tuple[State, State, State]:
        """Both from the same stencils, where the simulation's solver is the reference's."""
        if coarse != self.solver:
            return super().advance_beside(reference, coarse, state, parameters, dt, closure)
        following, reference = self.solver.step_each(state, parameters, dt, (closure, None))
        return following, state, reference

    def field(self, reference: State) -> State:
        return reference


SMALLEST_RANGE = 1e-3
"""Variables that vary by less over the grid are measured in this unit."""


def root_mean_square(state: Float[Array, "component *grid"], reference: Float[Array, "component *grid"]) -> Array:
    """Root of the mean over cells of the squared difference, summed over components; guarded where there is none."""
    square = jnp.mean(jnp.sum(jnp.square(state - reference), axis=0))
    return jnp.sqrt(jnp.maximum(square, jnp.finfo(state.dtype).tiny))


class WithOvershoot(eqx.Module):
    """:func:`root_mean_square`, plus that of what leaves the range of the reference nearby, times a weight.

    Nearby: within two cells along the axis. The sharpest profile in the mean square overshoots at strong shocks; an
    entropy solution does not.
    """

    weight: float = eqx.field(static=True)

    def __call__(self, state: Float[Array, "component *grid"], reference: Float[Array, "component *grid"]) -> Array:
        low, high = reference, reference
        for axis in range(1, state.ndim):
            size, widths = state.shape[axis], [(2, 2) if i == axis else (0, 0) for i in range(state.ndim)]
            lows, highs = (jnp.pad(x, widths, mode="edge") for x in (low, high))
            low = jnp.stack([jax.lax.slice_in_dim(lows, k, k + size, axis=axis) for k in range(5)]).min(axis=0)
            high = jnp.stack([jax.lax.slice_in_dim(highs, k, k + size, axis=axis) for k in range(5)]).max(axis=0)
        outside = jnp.maximum(state - high, 0) + jnp.maximum(low - state, 0)
        return root_mean_square(state, reference) + self.weight * root_mean_square(outside, jnp.zeros_like(outside))


class RelativeDifference(eqx.Module):
    """Mean absolute difference of each primitive variable in units of its range over the grid, by weights.

    The weights sum to one; primitive variables, because a pressure that comes near to zero must be felt.
    """

    law: ConservationLaw
    weights: tuple[float, ...] = eqx.field(static=True)

    def __call__(self, state: Float[Array, "component *grid"], reference: Float[Array, "component *grid"]) -> Array:
        ours, true = self.law.primitive(state), self.law.primitive(reference)
        axes = tuple(range(1, state.ndim))
        spans = jnp.maximum(jnp.max(true, axis=axes) - jnp.min(true, axis=axes), SMALLEST_RANGE)
        each = jnp.mean(jnp.abs(ours - true), axis=axes) / spans
        return jnp.sum(jnp.asarray(self.weights, state.dtype) * each)
