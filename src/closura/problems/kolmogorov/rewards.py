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
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from closura.numerics.fourier import Spectrum, resolved, wavenumbers, weights_of_modes
from closura.problems.kolmogorov.flow import FlowSolver
from closura.problems.problem import Transition

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


def shells_of(points: int) -> Int[np.ndarray, "kx ky"]:
    """The shell floor(|k|) of every wave of a half spectrum that a grid resolves; 0 for the mean and Nyquist waves."""
    kx, ky = wavenumbers(points)
    return np.where(resolved(points), np.floor(np.hypot(kx, ky)), 0).astype(np.int32)


def shell_sums(x: Float[Array, "kx ky"]) -> Float[Array, " shell"]:
    """Sums over the shells 1, 2, .. of values of the waves of a half spectrum, with their conjugates."""
    points = x.shape[0]
    shells = shells_of(points)
    counted = x * jnp.asarray(weights_of_modes(points), x.dtype)
    return jax.ops.segment_sum(counted.ravel(), jnp.asarray(shells.ravel()), int(shells.max()) + 1)[1:]


def shell_energies(spectrum: Spectrum) -> Float[Array, " shell"]:
    """Kinetic energy of the shells floor(|k|) = 1, 2, .. of a velocity, from its half spectrum.

    Their sum is the mean of |q|^2 / 2 without that of the mean flow.
    """
    return shell_sums(_squares(spectrum, spectrum) / (2 * spectrum.shape[-2] ** 4))


def spectrum_of(
    pool: Complex[Array, "state 2 kx ky"], flow: FlowSolver
) -> tuple[Float[Array, " shell"], Float[Array, " shell"]]:
    """Mean of the shells' energies over developed states, and standard deviation of their logarithms.

    States are half spectra on the solver's number of points, and looked at as its grid represents them.
    """
    seen = jax.lax.map(lambda state: shell_energies(jnp.fft.rfft2(flow.to_velocity(state))), pool)
    if not bool(jnp.all(seen > 0)):
        raise ValueError(f"developed flow has no energy in some shells of {flow.points} points: take fewer points")
    return jnp.mean(seen, axis=0), jnp.std(jnp.log(seen), axis=0)


class SpectrumGain(eqx.Module):
    """Reward: by how much the correction brings the energy spectrum nearer to the mean one of true flow.

    With the distance

        D(q) = mean over shells of w_k d_k^2 ,   d_k = ln E_k(q) - ln E_k ,   k = floor(|k|) = 1, 2, .. ,

    the correction c = q' - q* gains D(q*) - D(q'). With a ``band`` only what leaves it counts: the size of d_k less the
    band, at least zero. ``shared``: every cell is paid the whole gain, and has to find out among all others what it
    did. Otherwise it is divided among the cells by what each has done,

        r(x) = c(x) . h(x) ,   h = sum over shells of s_k P_k (q* + c / 2) ,

    P_k the waves of shell k, s_k the loss of D per gain of energy of the shell, as a difference quotient between q* and
    q'. The energy that a correction brings to a shell is the mean over cells of c . P_k (q* + c/2), so that the mean of
    r over the cells is D(q*) - D(q') exactly, whatever the size of c. Surplus energy has a negative s_k: taking it out
    is paid where it is taken out.

    Parameters
    ----------
    reference
        Mean energies of the shells of true flow, all positive (:func:`spectrum_of`).
    band
        Deviations of the logarithm that are not counted, for each shell: true flow has some at any time.
    weights
        Of the shells, w_k.
    shared
        Which form.
    """

    reference: Float[Array, " shell"]
    band: Float[Array, " shell"] | float = 0.0
    weights: Float[Array, " shell"] | float = 1.0
    shared: bool = eqx.field(static=True, default=False)

    def __call__(self, transition: Transition) -> Float[Array, "*grid"]:
        after = transition.next_state
        change = transition.acted - transition.state
        points = after.shape[-1]
        middle, made = jnp.fft.rfft2(after - change / 2), jnp.fft.rfft2(change)
        before = shell_energies(jnp.fft.rfft2(without_correction(transition)))
        before = jnp.maximum(before, jnp.finfo(before.dtype).tiny)
        # The gain of energy from its own sum, not as a difference: what a small correction does is small.
        share = jnp.maximum(shell_sums(_squares(middle, made) / points**4) / before, -1 + 1e-6)
        growth = jnp.log1p(share)  # of the logarithm of a shell's energy
        deviation = jnp.log(before / self.reference.astype(before.dtype))
        outside, counted = self._outside(deviation), self._outside(deviation + growth)
        # What is outside the band grows by all of that, or by a part where the band's edge lies between.
        little = jnp.abs(growth) < 1e-3
        part = (counted - outside) / jnp.where(little, 1.0, growth)
        part = jnp.where(little, self._outside(deviation + growth / 2) != 0, part)
        per_growth = -jnp.asarray(self.weights, growth.dtype) * (outside + counted) * part / growth.size
        if self.shared:
            return jnp.broadcast_to(jnp.sum(per_growth * growth), after.shape[1:]).astype(after.dtype)
        # growth / share, with its limit where hardly anything is gained.
        small = jnp.abs(share) < 1e-3
        quotient = jnp.where(small, 1 - share / 2 + share**2 / 3, growth / jnp.where(small, 1.0, share))
        slope = per_growth * quotient / before
        by_wave = jnp.concatenate([jnp.zeros(1, slope.dtype), slope])[jnp.asarray(shells_of(points))]
        pays = jnp.fft.irfft2(middle * by_wave, s=after.shape[1:])
        return jnp.sum(change * pays, axis=0).astype(after.dtype)

    def _outside(self, deviation: Float[Array, " shell"]) -> Float[Array, " shell"]:
        """What of the deviations lies outside the band, with its sign."""
        band = jnp.asarray(self.band, deviation.dtype)
        return deviation - jnp.clip(deviation, -band, band)


def _squares(a: Spectrum, b: Spectrum) -> Float[Array, "kx ky"]:
    """Real part of the product of one with the conjugate of the other, summed over components."""
    return jnp.sum((a * jnp.conj(b)).real, axis=0)
