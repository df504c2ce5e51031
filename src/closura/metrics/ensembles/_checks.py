"""What all scores ask of their arrays besides :mod:`closura.arrays`: ensembles and velocities."""

import numpy as np

from closura.arrays import Values, either, masked_numbers, real_numbers, unmasked


def ensemble_of(prediction: Values, reference: Values) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Members ``(member, *reference.shape)``, reference, and the points that are masked in the reference or in any
    member.
    """
    members, hidden = masked_numbers(prediction, "predictions", finite=False)
    actual, mask = masked_numbers(reference, "reference", finite=False)
    members_of(members, actual)
    mask = either(mask, None if hidden is None else np.asarray(hidden.any(axis=0)))
    return unmasked(members, mask, "predictions"), unmasked(actual, mask, "reference"), mask


def members_of(prediction: np.ndarray, reference: np.ndarray) -> int:
    """Number of members of an ensemble ``(member, *reference.shape)``."""
    if prediction.ndim == 0 or prediction.shape[1:] != reference.shape:
        raise ValueError(
            f"predictions need shape (member, *reference) = (member, {', '.join(map(str, reference.shape))}); got "
            f"{prediction.shape}. A single prediction is an ensemble of one: prediction[None]"
        )
    if prediction.shape[0] < 1:
        raise ValueError(f"an ensemble needs at least one member; got predictions of shape {prediction.shape}")
    return int(prediction.shape[0])


def velocity_of(values: Values, name: str = "velocity", axes: tuple[str, ...] | None = None) -> np.ndarray:
    """A velocity ``(..., component=2, x, y)`` on the host in double precision."""
    array = real_numbers(values, name, finite=False)
    wanted = ("...",) if axes is None else axes
    if array.ndim < 3 or array.shape[-3] != 2 or (axes is not None and array.ndim != 3 + len(axes)):
        raise ValueError(f"{name} needs shape ({', '.join(wanted)}, component=2, x, y); got {array.shape}")
    return unmasked(array, None, name).astype(np.float64, copy=False)
