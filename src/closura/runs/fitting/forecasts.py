"""What chooses between reduced-order models: forecasts, and the climate of long runs.

Checkpoints are chosen by forecasts of validation frames. How far runs are moved back to the flow is chosen afterwards:
too small a disturbance is taken for granted, and runs stray over hundreds of steps into states that the flow does not
have; too large a one, and the way back holds them where the flow is most often. Neither shows in forecasts, nor in the
training's loss. So long runs are made with some sizes, and that one is kept whose distribution of the kinetic energy at
points is nearest to that of the training frames. Held-out frames have no part in it.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from closura.interruption import Interrupted
from closura.metrics.ensembles import crps_ensemble, wasserstein
from closura.offline.data import FitData, frames_apart
from closura.offline.encoding import SpectralEncoding
from closura.offline.filters import SpectralCutoff
from closura.offline.latent_model import LatentModel, encode_all
from closura.offline.rom import ReducedOrderModel, decode_all, latent_rollout
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


STARTS, MEMBERS = 8, 4
FRAMES = 400
"""Training frames that stand for the climate."""


def settle(
    model: LatentModel,
    data: FitData,
    every_frames: int,
    *,
    disturbances: tuple[float, ...],
    steps: int,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[LatentModel, dict[float, float]]:
    """The model with the disturbance that keeps its climate, and the Wasserstein-1 distance of every one.

    The distance is the largest of the second and fourth quarter of runs of so many steps.
    """
    frames = data.filtering(data.frames(data.split.train, FRAMES))
    climate = np.sort(_energy(frames).ravel()[:: max(1, frames.size // 400_000)])
    starts = jnp.asarray(_starts(model, data, every_frames))
    found: dict[float, float] = {}
    models: dict[float, LatentModel] = {}
    for size in disturbances:
        if stop():
            raise Interrupted("stopped before the model's climate was settled; continue with --resume")
        models[size] = LatentModel.from_state(model.state(), {**model.facts(), "disturbance": size})
        runs = latent_rollout(models[size], starts, steps, MEMBERS, key=jax.random.key(2))
        quarters = (runs[:, :, steps // 4 : steps // 2 : 10], runs[:, :, 3 * steps // 4 :: 10])
        found[size] = max(
            wasserstein(_energy(decode_all(model, part)).ravel()[::5].astype(np.float64), climate.astype(np.float64))
            if np.all(np.isfinite(part))
            else float("inf")
            for part in quarters
        )
    best = min(found, key=lambda size: found[size])
    return models[best], found


def _starts(model: LatentModel, data: FitData, every_frames: int) -> np.ndarray:
    """Windows of training frames, filtered, spread over trajectories and times."""
    length = (model.window - 1) * every_frames + 1
    segments = [s for s in data.split.train if s.stop - s.start >= length]
    if not segments:
        raise ValueError(f"no training trajectory has the {length} frames that a start needs")
    chosen = np.linspace(0, len(segments) - 1, STARTS).astype(int)
    windows = []
    for i, number in enumerate(chosen):
        s = segments[number]
        # On the segment's own frames: others may be held out.
        first = s.start + (s.stop - s.start - length) * i // STARTS // s.step * s.step
        windows.append(data.filtering(data.flow.read(s.trajectory, first, first + length)[::every_frames]))
    return np.stack(windows).astype(np.float32)


def _energy(frames: np.ndarray) -> np.ndarray:
    """Kinetic energy at points, of frames ``(..., component, x, y)``."""
    return 0.5 * np.sum(np.square(frames), axis=-3)
