"""The climate of a reduced-order model: how far runs are moved back to the flow, so that they stay in its climate.

Too small a disturbance is taken for granted, and runs stray over hundreds of steps into states that the flow does not
have; too large a one, and the way back holds them where the flow is most often. Neither shows in forecasts, nor in the
training's loss. So long runs are made with some sizes, and that one is kept whose distribution of the kinetic energy at
points is nearest to that of the training frames. Held-out frames have no part in it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from closura.interruption import Interrupted
from closura.metrics.ensembles import wasserstein
from closura.offline.data import FitData
from closura.offline.latent_model import LatentModel
from closura.offline.rom import decode_all, latent_rollout

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
