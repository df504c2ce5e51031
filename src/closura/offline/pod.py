"""Proper orthogonal decomposition: the fields that hold most of the energy of given frames.

With the frames as rows of ``X`` (one per time), the modes are the right singular vectors of ``X``, the energies its
squared singular values over the number of frames. Up to :data:`SNAPSHOT_LIMIT` frames by the method of snapshots (the
eigenvectors of ``X X^T``) [Sirovich1987], beyond it by a randomised subspace iteration [Halko2011], whose cost grows
only linearly with the frames.

.. code-block:: bibtex

    @article{Sirovich1987,
      title = {Turbulence and the dynamics of coherent structures. I. Coherent structures},
      author = {Sirovich, Lawrence}, journal = {Quarterly of Applied Mathematics},
      volume = {45}, pages = {561--571}, year = {1987}, doi = {10.1090/qam/910462}
    }
    @article{Halko2011,
      title = {Finding structure with randomness: probabilistic algorithms for constructing approximate matrix
               decompositions},
      author = {Halko, Nathan and Martinsson, Per-Gunnar and Tropp, Joel A.}, journal = {SIAM Review},
      volume = {53}, number = {2}, pages = {217--288}, year = {2011}, doi = {10.1137/090771806}
    }
"""

from collections.abc import Mapping
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from closura.arrays import check_finite_frames, check_unmasked
from closura.seeds import generator_of

SNAPSHOT_LIMIT = 1500
OVERSAMPLING = 20
ITERATIONS = 6
FRAMES_AT_ONCE = 512

Method = Literal["auto", "snapshots", "randomised"]


class POD(eqx.Module):
    """An orthonormal basis of fields, and the mean field that is taken off before projecting (zero if none is).

    Fields are vectors of all their numbers: ``sum(mode_i * mode_j) = 1`` where ``i = j``, else 0. The squared size of a
    coefficient is that of its part of the field, summed over points. Modes are of falling energy, and the number of
    largest size of each is positive. ``energies`` are means over the frames of the squared coefficients, ``total`` is
    that of the whole field after the mean is taken off.
    """

    mean: Float[Array | np.ndarray, "component x y"]
    modes: Float[Array | np.ndarray, "mode component x y"]
    energies: Float[Array | np.ndarray, " mode"]
    total: Float[Array | np.ndarray, ""]

    def __len__(self) -> int:
        return int(self.modes.shape[0])

    @property
    def cumulative(self) -> Float[Array | np.ndarray, " mode"]:
        """Fraction of the energy that the first 1, 2, ... modes hold."""
        return self.energies.cumsum() / self.total

    def project(
        self, frames: Float[Array | np.ndarray, "*time component x y"]
    ) -> Float[Array | np.ndarray, "*time mode"]:
        """Coefficients of frames, in their dtype; NumPy or JAX as they are."""
        frames = check_unmasked(frames, "frames")
        if tuple(frames.shape[-3:]) != tuple(self.mean.shape):
            raise ValueError(f"the basis is for fields of shape {self.mean.shape}; got frames {frames.shape}")
        xp: Any = np if isinstance(frames, np.ndarray) else jnp
        modes, mean = (xp.asarray(array, frames.dtype) for array in (self.modes, self.mean))
        return xp.tensordot(frames - mean, modes, axes=((-3, -2, -1), (1, 2, 3)))

    def reconstruct(
        self, coefficients: Float[Array | np.ndarray, "*time mode"]
    ) -> Float[Array | np.ndarray, "*time component x y"]:
        """Fields of coefficients, in their dtype; fewer coefficients than modes use the first modes."""
        coefficients = check_unmasked(coefficients, "coefficients")
        count = coefficients.shape[-1]
        if count > len(self):
            raise ValueError(f"the basis has {len(self)} modes; got {count} coefficients")
        xp: Any = np if isinstance(coefficients, np.ndarray) else jnp
        modes, mean = (xp.asarray(array, coefficients.dtype) for array in (self.modes[:count], self.mean))
        return xp.tensordot(coefficients, modes, axes=((-1,), (0,))) + mean

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], prefix: str = "") -> "POD":
        """Rebuild from :meth:`state`."""
        mean, modes, energies, total = (arrays[f"{prefix}{name}"] for name in ("mean", "modes", "energies", "total"))
        return cls(mean, modes, energies, total.reshape(()))


def fit_pod(
    frames: Float[np.ndarray, "time component x y"],
    modes: int,
    *,
    remove_mean: bool = False,
    method: Method = "auto",
    seed: int = 0,
) -> POD:
    """The leading modes of frames, in their dtype; inner products are summed in float64.

    Parameters
    ----------
    frames
        Training frames only: a basis that has seen the frames it is evaluated on looks far better than it is.
    modes
        How many to keep.
    remove_mean
        Take the mean of the frames off first.
    method
        ``"snapshots"`` (exact), ``"randomised"`` (from a random start of ``seed``), or ``"auto"``: exact up to
        :data:`SNAPSHOT_LIMIT` frames.
    """
    frames = check_unmasked(frames, "frames")
    check_finite_frames(frames, "frames")
    shape, count = frames.shape[1:], len(frames)
    size = int(np.prod(shape))
    if not 1 <= modes <= min(count, size):
        raise ValueError(f"expected between 1 and {min(count, size)} modes from {count} frames; got {modes}")
    if method not in ("auto", "snapshots", "randomised"):
        raise ValueError(f"unknown method {method!r}; valid: auto, snapshots, randomised")
    rows = frames.reshape(count, size)
    mean = rows.mean(axis=0, dtype=np.float64).astype(frames.dtype) if remove_mean else np.zeros(size, frames.dtype)
    if remove_mean:
        rows = rows - mean
    exact = method == "snapshots" or (method == "auto" and count <= SNAPSHOT_LIMIT)
    vectors, squares = _snapshots(rows, modes) if exact else _randomised(rows, modes, seed)
    # The sign of a singular vector is free; fix it, so that the same frames always give the same coefficients.
    largest = np.take_along_axis(vectors, np.argmax(np.abs(vectors), axis=1)[:, None], axis=1)
    vectors = vectors * np.where(largest < 0, -1.0, 1.0)
    total = sum(float(np.sum(np.square(block, dtype=np.float64))) for block in _blocks(rows)) / count
    return POD(
        mean.reshape(shape),
        vectors.astype(frames.dtype).reshape(modes, *shape),
        (squares / count).astype(frames.dtype),
        np.asarray(total, frames.dtype),
    )


def _blocks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + FRAMES_AT_ONCE] for start in range(0, len(rows), FRAMES_AT_ONCE)]


def _combine(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """``weights @ rows`` in float64, without a float64 copy of all rows."""
    out = np.zeros((len(weights), rows.shape[1]))
    start = 0
    for block in _blocks(rows):
        out += weights[:, start : start + len(block)] @ block.astype(np.float64)
        start += len(block)
    return out


def _inner(rows: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """``rows @ vectors.T`` in float64, without a float64 copy of all rows."""
    return np.concatenate([block.astype(np.float64) @ vectors.T for block in _blocks(rows)])


def _snapshots(rows: np.ndarray, modes: int) -> tuple[np.ndarray, np.ndarray]:
    gram = np.concatenate([_inner(rows, block.astype(np.float64)) for block in _blocks(rows)], axis=1)
    values, vectors = np.linalg.eigh(gram)
    raw = _combine(vectors[:, ::-1][:, :modes].T, rows)
    # Orthonormal also where an eigenvalue is zero to round-off: the span of the earlier ones is left as it is.
    return np.linalg.qr(raw.T)[0].T, np.maximum(values[::-1][:modes], 0.0)


def _randomised(rows: np.ndarray, modes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    width = min(modes + OVERSAMPLING, *rows.shape)
    left = generator_of(seed).standard_normal((len(rows), width))
    for _ in range(ITERATIONS):
        right = np.linalg.qr(_combine(left.T, rows).T)[0]
        left = np.linalg.qr(_inner(rows, right.T))[0]
    _, values, vectors = np.linalg.svd(_combine(left.T, rows), full_matrices=False)
    return vectors[:modes], np.square(values[:modes])
