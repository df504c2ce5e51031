"""A small observation for any closure and its answer: equal weights and code give it again, but for round-off."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

TOLERANCE = 1e-4
"""Of answers against a card's, relative to the largest: they are computed in float32, in other orders elsewhere."""


def drawn(spec: Any, known: Any = None) -> Float[np.ndarray, "channel *grid"]:
    """A smooth observation in float32: a wave along each axis, within a range, else of no problem in particular.

    Parameters
    ----------
    spec
        Of the closure.
    known
        Lowest and highest value of each channel.
    """
    shape = (12, 10, 8)[: spec.dimensions] if spec.where == "cells" else (40,)
    places = np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij")
    rng = np.random.default_rng(0)
    seen = []
    for _ in spec.observation:
        phases, waves = rng.uniform(0, 2 * np.pi, len(shape)), rng.integers(1, 3, len(shape))
        parts = zip(places, phases, waves, strict=True)
        seen.append(sum(np.sin(2 * np.pi * k * x + p) for x, p, k in parts) / len(shape))
    observation: np.ndarray = np.stack(seen)
    if known is not None:
        low, high = np.reshape(np.transpose(known), (2, -1, *(1 for _ in shape)))
        observation = low + (observation + 1) / 2 * (high - low)
    elif spec.diffusivity is not None:
        observation[spec.diffusivity] = np.abs(observation[spec.diffusivity]) + 0.1
    observation = observation.astype(np.float32)
    if spec.where == "interfaces":  # standardised stencils lie between 0 and 1, sizes add up to one
        observation = (observation + 1) / 2
        if len(observation) % 2 == 0 and len(observation) > 2 * len(spec.action) - 2:
            observation[-1] = 1 - observation[-2]
    return observation


def answer(closure: Any, observation: Float[np.ndarray, "channel *grid"]) -> Float[np.ndarray, "action *grid"]:
    """The action, clipped to the bound, in float64."""
    limited = closure.spec.limit(closure)
    return np.asarray(limited(jnp.asarray(observation)), np.float64)


def probed(closure: Any) -> dict[str, list[float]]:
    """Mean, root mean square and largest size of each channel's answer to :func:`drawn`, in the action's unit."""
    action = answer(closure, drawn(closure.spec))
    flat = action.reshape(len(action), -1)
    sizes = {"mean": flat.mean(axis=1), "rms": np.sqrt((flat**2).mean(axis=1)), "largest": np.abs(flat).max(axis=1)}
    return {name: [float(f"{value:.7g}") for value in values] for name, values in sizes.items()}


def probe_difference(found: dict[str, list[float]], stated: dict[str, list[float]]) -> float:
    """The largest difference of two probes, relative to the largest answer."""
    pairs = [(a, b) for name, values in found.items() for a, b in zip(values, stated[name], strict=True)]
    return max(abs(a - b) for a, b in pairs) / max(max(stated["largest"]), 1e-300)
