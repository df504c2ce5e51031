"""What a correction of the flow is paid for: a smaller error against the reference, or a truer spectrum.

The correction enters after the solver's step, so that the state without it is known exactly: q* = q' - (acted - q), in
the names of :class:`~closura.problems.problem.Transition`. Both rewards compare q* with q', the state that was reached.

:class:`NextErrorReduction` needs the true state at that time. :class:`SpectrumGain` needs no true trajectory, only the
mean spectrum of true developed flow: what long measurements give of a flow that nobody can simulate from the same
start.
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from closura.grids import Grid
from closura.problems.kolmogorov.flow import FlowSolver
from closura.problems.problem import Transition
from closura.problems.statistics import Statistic, Statistics, cell_gains, shell_energies

RewardName = Literal["error", "spectrum", "shared-spectrum"]


def without_correction(transition: Transition) -> Float[Array, "component *grid"]:
    """q*: what the step would have led to without the correction."""
    return transition.next_state - (transition.acted - transition.state)


class NextErrorReduction(eqx.Module):
    """Reward per cell: by how much the correction lowers the squared error at the end of the step.

    ``r = |q* - g'|^2 - |q' - g'|^2``, summed over components, in units of the reference's mean square; g' is the
    reference at the end of the step.
    """

    def __call__(self, transition: Transition) -> Float[Array, "*grid"]:
        after, reference = transition.next_state, transition.next_reference
        before = without_correction(transition)
        gained = jnp.sum(jnp.square(before - reference) - jnp.square(after - reference), axis=0)
        return gained / jnp.mean(jnp.sum(jnp.square(reference), axis=0))


ENERGIES = Statistic(
    "energies of shells", lambda field, grid: jnp.sum(shell_energies(field, grid), axis=0), logarithm=True
)
"""Kinetic energy in the shells floor(|k|) = 1, 2, ..: the mean of |q|^2 / 2 without the mean flow's is their sum."""


def spectrum_of(
    pool: Complex[Array, "state 2 kx ky"], flow: FlowSolver, grid: Grid
) -> tuple[Float[Array, " shell"], Float[Array, " shell"]]:
    """Mean of the shells' energies over developed states, and standard deviation of their logarithms.

    States are half spectra on the solver's number of points, and looked at as its grid represents them.
    """
    seen = jax.lax.map(lambda state: ENERGIES.of(flow.to_velocity(state), grid), pool)
    if not bool(jnp.all(seen > 0)):
        raise ValueError(f"developed flow has no energy in some shells of {flow.points} points: take fewer points")
    return jnp.mean(seen, axis=0), jnp.std(jnp.log(seen), axis=0)


class SpectrumGain(eqx.Module):
    """Reward: by how much the correction brings statistics nearer to what they are in true flow.

    The correction c = q' - q* gains D(q*) - D(q'), D the distance of
    :class:`~closura.problems.statistics.Statistics` to the ``target``. ``shared``: every cell is paid the whole gain,
    and has to find out among all others what it did. Otherwise it is divided among the cells by what each has done
    (:func:`~closura.problems.statistics.cell_gains`).

    Parameters
    ----------
    statistics
        Of the field, with their weights, and a band of deviations that true flow has at any time and do not count.
    target
        Their scores in true flow: logarithms of mean energies (:func:`spectrum_of`).
    shared
        Which form.
    """

    statistics: Statistics
    target: Float[Array, " value"]
    shared: bool = eqx.field(static=True, default=False)

    def __call__(self, transition: Transition) -> Float[Array, "*grid"]:
        change = transition.acted - transition.state
        gains = cell_gains(self.statistics, without_correction(transition), change, self.target)
        return jnp.broadcast_to(jnp.mean(gains), gains.shape) if self.shared else gains
