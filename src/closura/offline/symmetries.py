r"""The symmetries of Kolmogorov flow, acting on velocity fields.

With the forcing ``sin(n y) e_x`` the equations do not change under [Chandler2013, section 2.1]

.. math::

    T_s: (u, v)(x, y) &\to (u, v)(x - s, y) \\
    S: (u, v)(x, y) &\to (-u, v)(-x, y - \pi / n) \\
    R: (u, v)(x, y) &\to (-u, -v)(-x, -y)

which obey ``S^(2n) = R^2 = 1``, ``S T_s = T_(-s) S``, ``R T_s = T_(-s) R``, ``R S = S^-1 R``. Every product of them is
one ``T_s S^m R^r``. On a grid whose points along y are a multiple of ``2 n``, and for whole points ``s``, they move
numbers about and change signs: nothing is interpolated.

.. code-block:: bibtex

    @article{Chandler2013,
      title = {Invariant recurrent solutions embedded in a turbulent two-dimensional Kolmogorov flow},
      author = {Chandler, Gary J. and Kerswell, Rich R.}, journal = {Journal of Fluid Mechanics},
      volume = {722}, pages = {554--595}, year = {2013}, doi = {10.1017/jfm.2013.122}
    }
"""

from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

AnyFrames = TypeVar("AnyFrames", bound=Float[Array | np.ndarray, "*frames component x y"])
Whole = int | Int[Array, ""]


class Symmetry(eqx.Module):
    """The element ``T_shift S^slides R^turns`` of the group; calling it moves frames.

    Shifts are whole grid points along x. A slide goes by ``pi / forcing`` along y and mirrors x, and counts modulo ``2
    * forcing``; half turns count modulo 2.
    """

    shift: Whole = 0
    slides: Whole = 0
    turns: Whole = 0
    forcing: int = eqx.field(static=True, kw_only=True, default=4)

    def __call__(self, frames: AnyFrames) -> AnyFrames:
        """Move frames ``(..., component=2, x, y)``, all by the same element; traceable for JAX arrays."""
        if frames.ndim < 3 or frames.shape[-3] != 2:
            raise ValueError(f"expected velocities (..., component=2, x, y); got shape {frames.shape}")
        x, y = frames.shape[-2:]
        if y % (2 * self.forcing):
            raise ValueError(
                f"shifting {y} points by a {2 * self.forcing}th of the box leaves the grid; the points along y must "
                f"be a multiple of {2 * self.forcing}"
            )
        xp: Any = np if isinstance(frames, np.ndarray) else jnp
        mirror, turn = 1 - 2 * (self.slides % 2), 1 - 2 * (self.turns % 2)
        from_x = (mirror * turn * (xp.arange(x) - self.shift)) % x
        from_y = (turn * (xp.arange(y) - self.slides * (y // (2 * self.forcing)))) % y
        signs = xp.stack([xp.asarray(mirror * turn), xp.asarray(turn)]).astype(frames.dtype)
        return signs[:, None, None] * xp.take(xp.take(frames, from_x, axis=-2), from_y, axis=-1)

    def inverse(self) -> "Symmetry":
        """The element that undoes this one."""
        mirror, turn = 1 - 2 * (self.slides % 2), 1 - 2 * (self.turns % 2)
        return Symmetry(
            -mirror * turn * self.shift, (-turn * self.slides) % (2 * self.forcing), self.turns, forcing=self.forcing
        )


def random_symmetry(key: PRNGKeyArray, points: int, *, forcing: int = 4) -> Symmetry:
    """An element with every whole shift of ``points``, slide and turn equally likely; traceable.

    Move a pair of filtered and full frames, or a window, by one element: draw one, call it on each.
    """
    shift, slides, turns = jax.random.split(key, 3)
    return Symmetry(
        jax.random.randint(shift, (), 0, points, jnp.int32),
        jax.random.randint(slides, (), 0, 2 * forcing, jnp.int32),
        jax.random.randint(turns, (), 0, 2, jnp.int32),
        forcing=forcing,
    )


def shift_along_x(frames: AnyFrames, distance: float | Float[Array, ""] | Float[np.ndarray, " *frames"]) -> AnyFrames:
    """``T_s`` for any distance, by the Fourier series: ``f(x - distance, y)``, the box being ``2 pi`` wide.

    Frames are ``(..., component, x, y)``, the distance is one number for all or one per frame, ``(...)``. A mode at the
    Nyquist wavenumber is a cosine, whose shifted self the grid sees only in part; on resolved fields it is empty.
    """
    xp: Any = np if isinstance(frames, np.ndarray) else jnp
    points = frames.shape[-2]
    waves = np.fft.fftfreq(points, 1.0 / points)
    phase = waves[:, None] * xp.asarray(distance, frames.dtype)[..., None, None, None]
    factor = xp.exp(-1j * phase)
    if points % 2 == 0:
        factor = xp.where((np.arange(points) == points // 2)[:, None], factor.real, factor)
    modes = xp.fft.rfft2(frames)
    return xp.fft.irfft2(modes * factor.astype(modes.dtype), s=frames.shape[-2:]).astype(frames.dtype)
