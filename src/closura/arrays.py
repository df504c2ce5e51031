"""What functions accept that work on numbers on the host, checked in one place.

Numbers are real and finite, and none is masked, unless a function says otherwise:

* float32 and float64 keep their precision; narrower floats (float16, bfloat16) become float32, integers, booleans
  (0 and 1) and wider floats float64. So nothing is summed in a type that overflows or rounds away.
* Complex numbers, text, dates and Python objects are refused.
* NaN and infinity are refused.
* Masked arrays (``numpy.ma``) are refused if anything is masked, because ``numpy.asarray`` would bring back what the
  mask hides. Where leaving points out has a meaning, functions take the mask and say so.
"""

from typing import Any, TypeVar, cast

import numpy as np

Array = TypeVar("Array")
Values = Any
"""Real numbers: NumPy, JAX, or nested lists. Shapes are named in docstrings and checked with messages of our own."""


def real_numbers(values: Values, name: str, *, finite: bool = True, keep_integers: bool = False) -> np.ndarray:
    """An array on the host, checked as this module says."""
    array, mask = masked_numbers(values, name, finite=finite, keep_integers=keep_integers)
    return check_unmasked(with_mask(array, mask), name)


def masked_numbers(
    values: Values, name: str, *, finite: bool = True, keep_integers: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """As :func:`real_numbers`, with what is masked: the numbers, 0 where masked, and the mask (None: nothing is).

    What lies under the mask may be anything, NaN too.

    ValueError if numbers are not real, or one that is not masked is not finite, or all are masked.
    """
    given = _stacked(values) if _holds_mask(values) else np.asanyarray(values)
    mask = np.ma.getmaskarray(given) if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given) else None
    array = _real(np.asarray(given), name, keep_integers)
    if finite:
        return unmasked(array, mask, name), mask
    return array if mask is None else np.where(mask, array.dtype.type(0), array), mask


def numbers_together(*given: tuple[Values, str]) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Arrays of one shape, each with its name in messages, and the points that are masked in any of them.

    ValueError if shapes differ, numbers are not real, or not finite where no array is masked.
    """
    found = [masked_numbers(values, name, finite=False) for values, name in given]
    for (array, _), (_, name) in zip(found[1:], given[1:], strict=True):
        same_shape(found[0][0], array, (given[0][1], name))
    mask = either(*(mask for _, mask in found))
    return [unmasked(array, mask, name) for (array, _), (_, name) in zip(found, given, strict=True)], mask


def either(*masks: np.ndarray | None) -> np.ndarray | None:
    """What is masked in any of them; None if nothing is."""
    given = [mask for mask in masks if mask is not None]
    return np.logical_or.reduce(np.broadcast_arrays(*given)) if given else None


def unmasked(array: np.ndarray, mask: np.ndarray | None, name: str) -> np.ndarray:
    """The array with 0 where masked, if all else is finite.

    ValueError if there are no numbers, all are masked, or one that is not is not finite.
    """
    if array.size == 0:
        raise ValueError(f"{name} is empty: shape {array.shape}")
    if mask is not None:
        if mask.all():
            raise ValueError(f"{name}: all of {mask.size} numbers are masked; nothing is left")
        array = np.where(mask, array.dtype.type(0), array)
    bad = array.size - int(np.isfinite(array).sum())
    if bad:
        raise ValueError(
            f"{name} holds {bad} of {array.size} numbers that are not finite; leave out what diverged, and report how "
            "much that was beside the scores of the rest"
        )
    return array


def with_mask(array: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """The array, masked where something is."""
    return array if mask is None else np.ma.array(array, mask=mask)


def check_unmasked(values: Array, name: str) -> Array:
    """The array, without a mask that hides nothing: for functions that leave its type and NaN as they are.

    ValueError if anything is masked.
    """
    given: Any = values
    if np.ma.is_masked(given):
        mask = np.ma.getmaskarray(given)
        raise ValueError(
            f"{name}: {int(mask.sum())} of {mask.size} numbers are masked, and all are needed "
            "here; fill them in (numpy.ma.filled) or cut them off"
        )
    plain: Any = np.asarray(given) if isinstance(given, np.ma.MaskedArray) else given
    return cast(Array, plain)


def check_finite_frames(frames: Values, name: str, *, at_once: int = 256) -> None:
    """Refuse frames ``(time, ...)`` of which one is not finite: fits would be NaN everywhere.

    ValueError with the index of the first such frame.
    """
    for start in range(0, len(frames), at_once):
        block = np.asarray(frames[start : start + at_once])
        bad = ~np.isfinite(block).reshape(len(block), -1).all(axis=1)
        if bad.any():
            raise ValueError(f"{name}: frame {start + int(bad.argmax())} (counted from 0) is not finite; leave it out")


def same_shape(first: np.ndarray, second: np.ndarray, names: tuple[str, str]) -> None:
    """Raise ValueError unless both have the same shape."""
    if first.shape != second.shape:
        raise ValueError(f"{names[0]} and {names[1]} need the same shape; got {first.shape} and {second.shape}")


def _real(array: np.ndarray, name: str, keep_integers: bool) -> np.ndarray:
    kind = array.dtype.kind
    if kind == "f" and array.dtype.itemsize in (4, 8):
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    if kind in "iu" and keep_integers:
        return array
    if kind == "b" and keep_integers:
        return array.astype(np.float32)
    if kind == "f":
        return array.astype(np.float32 if array.dtype.itemsize < 4 else np.float64)
    if kind in "iub":
        return array.astype(np.float64)
    if kind == "V" and array.dtype.names is None and np.can_cast(array.dtype, np.float32):  # bfloat16 and its kin
        return array.astype(np.float32)
    advice = {
        "c": "take real and imaginary part, or the modulus, each by itself",
        "O": "convert them: numpy.asarray(values, float)",
    }.get(kind, "convert them to numbers")
    raise ValueError(f"{name}: expected real numbers, got {array.dtype}; {advice}")


def _holds_mask(values: Values) -> bool:
    """Whether a nested list holds masked arrays: numpy.asarray would drop their masks."""
    return isinstance(values, list | tuple) and any(isinstance(v, np.ma.MaskedArray) or _holds_mask(v) for v in values)


def _stacked(values: Values) -> np.ndarray:
    return np.ma.stack([_stacked(v) for v in values]) if _holds_mask(values) else np.ma.asarray(values)
