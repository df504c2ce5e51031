"""Training the published reduced-order model: windows of filtered frames, streamed, padded where a run begins."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from closura.learners.descent import Descent
from closura.reduced.model import save_model
from closura.reduced.published_model import PublishedModelRecipe
from closura.runs.configuration import to_plain
from closura.runs.fitting.configuration import ModelFitConfiguration
from closura.runs.fitting.forecasts import forecast_judge, frames_apart
from closura.runs.fitting.frames import FitData
from closura.runs.fitting.loop import Task
from closura.seeds import key_of
from closura.trajectories.flow_data import FlowData
from closura.trajectories.split import Segment
from closura.trajectories.windows import Windows


class PaddedWindows(Windows):
    """Windows of frames up to each frame of a segment and after it; frames before the segment are zero.

    As published: a window for every frame i that has ``future`` frames after it, T - future in a segment of T.

    Parameters
    ----------
    data
        The data set.
    segments
        Windows lie within one segment each, and take its step.
    past
        Frames up to, and with, frame i.
    future
        Frames after it.

    Raises
    ------
    ValueError
        As :class:`~closura.trajectories.windows.Windows`.
    """

    def __init__(self, data: FlowData, segments: Sequence[Segment], past: int, future: int) -> None:
        # Counted as windows of frame i and those after it; only the reading knows of those before.
        super().__init__(data, segments, future + 1)
        self.past, self.length = past, past + future

    def frames_of(self, window: int) -> tuple[int, range]:
        """Trajectory and frames of a window, those that there are: the last of ``length``."""
        trajectory, frames = super().frames_of(window)
        segment = self.segments[int(np.searchsorted(self._ends, window, side="right"))]
        now = (frames.start - segment.start) // segment.step
        return trajectory, segment.frames[max(0, now - self.past + 1) : now - self.past + 1 + self.length]

    def _fill(self, out: np.ndarray, window: int) -> None:
        missing = self.length - len(self.frames_of(window)[1])
        out[:missing] = 0
        super()._fill(out[missing:], window)


def steps_of(segments: Sequence[Segment], every_frames: int) -> list[Segment]:
    """Segments whose frames are a step of the model apart, with all frames in one of them."""
    apart = frames_apart(every_frames, segments)
    return [
        Segment(s.trajectory, s.start + shift * s.step, s.stop, every_frames)
        for s in segments
        for shift in range(min(apart, len(s)))
    ]


def published_task(c: ModelFitConfiguration, data: FitData) -> Task:
    """The published model's training.

    Raises
    ------
    ValueError
        If no window fits into the training frames, or none of them are a step of the model apart.
    """
    recipe: PublishedModelRecipe = c.recipe
    begin, learn = jax.random.split(key_of(c.seed))
    windows = PaddedWindows(data.flow, steps_of(data.split.train, c.every_frames), recipe.past, recipe.horizon)

    def loss(model: Any, batch: Any, *, key: Any) -> Any:
        frames, reynolds = batch
        # The working grid resolves less and costs less; filters multiply modes, so they may come after it.
        coarse = jax.vmap(jax.vmap(model.autoencoder.to_work))(frames)
        return recipe.loss(model, data.filtering(coarse), reynolds, key=key)

    def batches(first: int) -> Iterator[tuple[Float[np.ndarray, "batch time 2 x y"], Float[np.ndarray, " batch"]]]:
        size = recipe.descent.batch
        for number, batch in enumerate(windows.batches(size, seed=c.seed, first=first), first):
            chosen = windows.order(number, size, seed=c.seed)
            reynolds = data.flow.reynolds[[windows.frames_of(int(w))[0] for w in chosen]]
            yield batch, reynolds.astype(np.float32)

    descent = Descent(recipe.descent, loss)
    facts = {"configuration": to_plain(c), "every_frames": c.every_frames, **data.record()}

    def save(path: Path, model: Any, row: dict[str, Any]) -> None:
        told: dict[str, Any] = {name: row[name] for name in ("update", "validation_error") if name in row}
        save_model(path, model, metadata={**facts, **told})

    model = recipe.initial(
        data.flow.points, reynolds=float(data.flow.reynolds[data.split.train[0].trajectory]), key=begin
    )
    return Task(
        descent=descent,
        state=descent.init(model, key=learn),
        batches=batches,
        judge=forecast_judge(c, data, model.window),
        save=save,
        every=c.judge.every,
        log_every=c.log_every,
    )
