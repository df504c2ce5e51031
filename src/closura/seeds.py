"""Seeds: each of them its own random key, whatever the width of JAX's integers."""

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Key, Scalar

LIMIT = 2**63
"""Seeds lie below it, so that they fit into the signed integers of files."""


def check_seed(seed: Any, name: str = "seed") -> int:
    """The seed as an integer."""
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if isinstance(seed, bool | np.bool_) or not 0 <= number < LIMIT:
        raise ValueError(f"{name} must be a whole number from 0 to 2^63 - 1; got {seed!r}")
    return number


def key_of(seed: int) -> Key[Scalar, ""]:
    """The random key of a seed; below 2^32 that of ``jax.random.key(seed)``.

    ``jax.random.key`` itself keeps 32 bits of a seed unless JAX runs with 64, so that 2^32 and 0 would be one.
    """
    number = check_seed(seed)
    data = jnp.asarray(np.asarray([number >> 32, number & 0xFFFFFFFF], np.uint32))
    return jax.random.wrap_key_data(data, impl="threefry2x32")


def generator_of(seed: int, *parts: int) -> np.random.Generator:
    """NumPy's generator of a seed and numbers below 2^32 that tell its uses apart, at most two.

    Below 2^32 it is that of ``numpy.random.default_rng([seed, *parts])``. NumPy itself writes a larger seed as two
    words before the parts, which are then those of another seed with other parts; here the upper word comes last.
    """
    number = check_seed(seed)
    return np.random.default_rng([number & 0xFFFFFFFF, *parts, number >> 32])
