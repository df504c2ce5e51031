"""What all scores ask of their arrays: shapes that fit and numbers that are finite."""

import jax
import numpy as np
from jaxtyping import Float

Values = Float[np.ndarray | jax.Array, "..."]
"""A real array, NumPy or JAX; shapes are named in docstrings and checked with messages of our own."""


def finite(values: Values, name: str) -> np.ndarray:
    """The array on the host, in its own precision.

    Raises
    ------
    ValueError
        If it holds no number, or one that is not finite.
    """
    array = np.asarray(values)
    if array.size == 0:
        raise ValueError(f"{name} is empty: shape {array.shape}")
    bad = array.size - int(np.isfinite(array).sum())
    if bad:
        raise ValueError(
            f"{name} holds {bad} of {array.size} numbers that are not finite; leave out what diverged, and report how "
            "much that was beside the scores of the rest"
        )
    return array


def same_shape(first: np.ndarray, second: np.ndarray, names: tuple[str, str]) -> None:
    """Raise ValueError unless both have the same shape."""
    if first.shape != second.shape:
        raise ValueError(f"{names[0]} and {names[1]} need the same shape; got {first.shape} and {second.shape}")


def members_of(prediction: np.ndarray, truth: np.ndarray) -> int:
    """Number of members of an ensemble ``(member, *truth.shape)``.

    Raises
    ------
    ValueError
        If there is no axis of members, no member, or the other axes are not those of the truth.
    """
    if prediction.ndim == 0 or prediction.shape[1:] != truth.shape:
        raise ValueError(
            f"predictions need shape (member, *truth) = (member, {', '.join(map(str, truth.shape))}); got "
            f"{prediction.shape}. A single prediction is an ensemble of one: prediction[None]"
        )
    if prediction.shape[0] < 1:
        raise ValueError(f"an ensemble needs at least one member; got predictions of shape {prediction.shape}")
    return int(prediction.shape[0])


def velocity_of(values: Values, name: str = "velocity") -> np.ndarray:
    """A velocity ``(..., component=2, x, y)`` on the host in double precision.

    Raises
    ------
    ValueError
        If the shape is another, or a value is not finite.
    """
    array = np.asarray(values)
    if array.ndim < 3 or array.shape[-3] != 2:
        raise ValueError(f"{name} needs shape (..., component=2, x, y); got {array.shape}")
    return finite(array, name).astype(np.float64, copy=False)
