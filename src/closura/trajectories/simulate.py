"""All trajectories of a data set, advanced together in float64.

On the processor every trajectory is a call of one compiled program, and threads hand the calls over side by side: a
batch of fields in one program (``vmap``) leaves the cache and takes a third longer, and one trajectory after the other
(``lax.map``) leaves cores idle. A trajectory so does not depend on how many others there are, bit for bit. On other
devices the batch is one program.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from closura.numerics.fourier import coarsen, resolved, vorticity, weights_of_modes
from closura.problems.kolmogorov.flow import FlowIntegrator, KolmogorovFlow
from closura.trajectories.configuration import GenerationConfiguration


@lru_cache(maxsize=8)
def _programs(
    flow: KolmogorovFlow, time_step: float, integrator: FlowIntegrator, points: int
) -> tuple[Callable[[Array, Array, Array], Array], Callable[[Array, Array], tuple[Array, Array, Array]]]:
    """One trajectory, ahead by some steps, and looked at on ``points`` per side; compiled once per process."""

    @jax.jit
    def march(spectrum: Array, reynolds: Array, steps: Array) -> Array:
        return jax.lax.fori_loop(0, steps, lambda _, s: flow.step(s, reynolds, time_step, integrator), spectrum)

    @jax.jit
    def observe(spectrum: Array, reynolds: Array) -> tuple[Array, Array, Array]:
        weights = jnp.asarray(weights_of_modes(flow.points) / flow.points**4)
        energy = 0.5 * jnp.sum(weights * jnp.abs(spectrum) ** 2)
        dissipation = jnp.sum(weights * jnp.abs(vorticity(spectrum)) ** 2) / reynolds
        if points != flow.points:
            spectrum = coarsen(spectrum, points) * jnp.asarray(resolved(points), jnp.float64)
        return jnp.fft.irfft2(spectrum, s=(points, points)), energy, dissipation

    return march, observe


class Simulation:
    """The trajectories of a configuration at one moment.

    Use it within ``jax.enable_x64(True)``, and close it.

    Parameters
    ----------
    configuration
        Which trajectories, and how.
    spectra
        Where they stand, ``(trajectory, 2, grid, grid/2 + 1)``, complex128.
    """

    def __init__(
        self, configuration: GenerationConfiguration, spectra: Complex[np.ndarray, "trajectory 2 kx ky"]
    ) -> None:
        c = configuration
        march, observe = _programs(c.flow(), c.dt, c.integrator, c.points)
        reynolds = np.asarray([each for each, _ in c.members()], np.float64)
        self._threads: ThreadPoolExecutor | None = None
        if jax.default_backend() == "cpu":
            self._threads = ThreadPoolExecutor(min(c.total, os.cpu_count() or 1))
            self._march, self._observe = march, observe
            self._reynolds: list[Array] = [jnp.asarray(each) for each in reynolds]
            self._state: list[Array] = [jnp.asarray(each) for each in spectra]
        else:
            self._march = jax.jit(jax.vmap(march, in_axes=(0, 0, None)))
            self._observe = jax.jit(jax.vmap(observe))
            self._reynolds, self._state = [jnp.asarray(reynolds)], [jnp.asarray(spectra)]

    def advance(self, steps: int) -> None:
        """Take a number of time steps; how many at once does not change the result."""
        count = jnp.asarray(steps, jnp.int64)
        self._state = self._each(lambda s, r: self._march(s, r, count).block_until_ready())

    def observe(
        self,
    ) -> tuple[
        Float[np.ndarray, "trajectory 2 x y"], Float[np.ndarray, " trajectory"], Float[np.ndarray, " trajectory"]
    ]:
        """Velocity on the points that are kept, energy and dissipation of the whole simulation; float64."""
        parts = self._each(lambda s, r: tuple(np.asarray(each) for each in self._observe(s, r)))
        gather = np.stack if self._threads else np.concatenate
        velocity, energy, dissipation = (gather(each) for each in zip(*parts, strict=True))
        return velocity, energy, dissipation

    def spectra(self) -> Complex[np.ndarray, "trajectory 2 kx ky"]:
        """Where the trajectories stand."""
        gather = np.stack if self._threads else np.concatenate
        return gather([np.asarray(each) for each in self._state])

    def diverged(self) -> int | None:
        """The first trajectory that is not finite, or None."""
        finite = np.isfinite(self.spectra()).all(axis=(1, 2, 3))
        return None if finite.all() else int(np.argmin(finite))

    def close(self) -> None:
        """End the threads."""
        if self._threads:
            self._threads.shutdown()

    def _each(self, call: Callable[[Array, Array], Any]) -> list[Any]:
        if self._threads is None:
            return [call(s, r) for s, r in zip(self._state, self._reynolds, strict=True)]

        def one(pair: tuple[Array, Array]) -> Any:
            # The precision of JAX is a setting of each thread.
            with jax.enable_x64(True):
                return call(*pair)

        return list(self._threads.map(one, zip(self._state, self._reynolds, strict=True)))
