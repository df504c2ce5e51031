"""Fields from one periodic grid to another: to a method's own grid, and to the one that errors are taken on.

Where one grid is a multiple of the other, fields are restricted as the problem restricts them. Everywhere else they
are interpolated, axis by axis, with weights that sum to one:

* ``linear``: two points; exact for images, which are themselves linear enlargements, and never out of their range;
* ``cubic``: four points (Lagrange), fourth order;
* ``trigonometric``: all points; exact for the waves that the grid resolves, with ripples at kinks and jumps.

Points of a grid lie at ``i / n`` (``centred=False``) or in the middle of cells, at ``(i + 1/2) / n``.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from closura.core.transfer import Kind, Restriction, interpolation


def interpolate(
    field: Float[Array, "component x y"], matrix: Float[Array, "points samples"]
) -> Float[Array, "component a b"]:
    """A field at the points of another square grid."""
    weights = matrix.astype(field.dtype)
    return jnp.einsum("ax,by,cxy->cab", weights, weights, field, precision="highest")


class Transfer(eqx.Module):
    """Fields from one grid to another: ``transfer(field)``; see :func:`transfer`."""

    ratio: int = eqx.field(static=True)
    restrict: Restriction = eqx.field(static=True)
    matrix: Float[Array, "m n"] | None

    def __call__(self, field: Float[Array, "component *samples"]) -> Float[Array, "component *points"]:
        """The field on the other grid, in its dtype."""
        if self.matrix is not None:
            return interpolate(field, self.matrix)
        return self.restrict(field, self.ratio) if self.ratio > 1 else field


def transfer(n: int, m: int, restrict: Restriction, *, kind: Kind, centred: bool, seam: bool = False) -> Transfer:
    """From ``n`` to ``m`` points per side: a restriction where ``m`` divides ``n``, an interpolation elsewhere.

    Parameters
    ----------
    restrict
        The problem's restriction, ``restrict(field, ratio)``.
    kind, centred, seam
        See the module's text and :func:`closura.core.transfer.interpolation`.
    """
    if n % m == 0:
        return Transfer(n // m, restrict, None)
    widest = jax.dtypes.canonicalize_dtype(np.float64)
    return Transfer(0, restrict, jnp.asarray(interpolation(n, m, kind, centred=centred, seam=seam), widest))


def check_grids(grids: tuple[int, ...], coarse: int) -> None:
    """Refuse grids that cannot be compared on ``coarse`` points per side.

    Raises
    ------
    ValueError
        If one is neither a multiple nor a divisor of it.
    """
    wrong = [n for n in grids if n % coarse and coarse % n]
    if wrong:
        raise ValueError(
            f"a grid of {wrong[0]} points per side cannot be compared on {coarse}: take multiples of {coarse} or "
            f"divisors of it, such as {coarse // 2}, {coarse}, {2 * coarse}"
        )
