"""Windows of filtered frames of the published reduced-order model, padded where a run begins."""

from collections.abc import Sequence

import numpy as np

from closura.offline.data import frames_apart
from closura.trajectories.flow_data import FlowData
from closura.trajectories.split import Segment
from closura.trajectories.windows import Windows


class PaddedWindows(Windows):
    """Windows of ``past`` frames up to each frame of a segment and ``future`` after it; those before the segment are
    zero.

    As published: a window for every frame i that has ``future`` frames after it, T - future in a segment of T.
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
