"""How good a reduced-order model's forecasts are, on validation frames: what chooses between checkpoints."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from closura.metrics.ensembles import crps_ensemble
from closura.offline.data import FitData, frames_apart
from closura.offline.encoding import SpectralEncoding
from closura.offline.filters import SpectralCutoff
from closura.offline.latent_model import encode_all
from closura.offline.rom import ReducedOrderModel, latent_rollout
from closura.runs.fitting.configuration import ModelFitConfiguration

SMOOTH_CUTOFF = 8.0
"""Largest wavenumber that is evaluated where the filter has no sharp cut-off."""


def forecast_validation(c: ModelFitConfiguration, data: FitData, window: int) -> Callable[[Any], dict[str, float]]:
    """The score of forecasts from validation frames, in units of velocity: mean over points, times and starts.

    Frames are compared by their waves inside the filter's cut-off, each with its velocity as weight: the same numbers
    for all models, whatever their latent vectors are. Divergence and mean velocity, which the flow has not, are left
    out. Without validation frames (the published split) training frames are taken.
    """
    parts = data.split.validation or data.split.train
    segment = max(parts, key=len)
    frames = data.filtering(data.flow.read(segment.trajectory, segment.start, segment.stop)[:: segment.step])
    every = frames_apart(c.every_frames, [segment])
    measure = _measure(data)
    weights = measure.velocity_weights()
    step = data.flow.interval * c.every_frames
    if round(c.validation.time / step) < 1:
        raise ValueError(
            f"a forecast of {c.validation.time:g} is no step of {step:g}: choose a longer one with --validation.time"
        )
    steps = min(round(c.validation.time / step), (len(frames) - 1) // every - window)
    if steps < 1:
        raise ValueError(f"{len(frames)} validation frames are too few for a window of {window} steps and a forecast")

    def validate(model: Any) -> dict[str, float]:
        actual = encode_all(measure, frames)
        last = len(frames) - (window + steps - 1) * every - 1
        begins = np.unique(np.linspace(0, last, c.validation.starts).astype(int))
        starts = np.stack([frames[b : b + window * every : every] for b in begins])
        reference = np.stack([actual[b + window * every :: every][:steps] for b in begins])
        latents = latent_rollout(model, jnp.asarray(starts), steps, c.validation.members, key=jax.random.key(1))
        runs = np.stack([np.asarray(_measured(model, measure, jnp.asarray(each))) for each in latents])
        if not np.all(np.isfinite(runs)):
            return {"validation_error": float("inf")}
        scores = crps_ensemble((np.moveaxis(runs, 1, 0) * weights).astype(np.float64), reference * weights)
        return {
            "validation_error": float(np.mean(np.sum(scores, axis=-1))),
            "first_step": float(
                np.sqrt(np.mean(np.sum(np.square((runs[:, :, 0] - reference[:, None, 0]) * weights), -1)))
            ),
            "long_size": float(np.sqrt(np.mean(np.sum(np.square(runs[:, :, -1] * weights), -1)))),
        }

    return validate


def _measure(data: FitData) -> SpectralEncoding:
    n = data.flow.points
    filtering = data.filtering
    cutoff = filtering.cutoff if isinstance(filtering, SpectralCutoff) else min(SMOOTH_CUTOFF, n / 2 - 1)
    return SpectralEncoding(n, cutoff, data.flow.forcing, (float(n**2),) * len(SpectralEncoding.pairs(n, cutoff)))


@eqx.filter_jit
def _measured(
    model: ReducedOrderModel, measure: SpectralEncoding, latents: Float[Array, "member time latent"]
) -> Float[Array, "member time number"]:
    """The numbers that frames of latent vectors are compared by."""

    def members(latents: Array) -> Array:
        # A member after the other: their frames need not all be in memory.
        return jax.vmap(lambda z: measure.encode(model.decode(z)))(latents)

    return jax.lax.map(members, latents)
