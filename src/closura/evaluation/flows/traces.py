"""What figures show of the samples themselves, kept while they pass by."""

import numpy as np

from closura.trajectories import FlowData

KEPT_MEMBERS = 3
"""Members of the example frame that figures may show."""


class Trace:
    """One point over time, energy along x over time, and one frame, of one row.

    Parameters
    ----------
    data
        The data set.
    frames
        Numbers of the frames that will be added, in order.
    """

    def __init__(self, data: FlowData, frames: np.ndarray) -> None:
        points = data.points
        self._times = data.times[frames]
        self._example = int(frames[len(frames) // 2])
        self._point = points // 2, points // 4
        self._at_point: list[np.ndarray] = []
        self._along_x: list[np.ndarray] = []
        self._kept: dict[str, np.ndarray] = {}

    def add(self, numbers: np.ndarray, drawn: np.ndarray) -> None:
        """Take samples ``(member, time, component, x, y)``."""
        x, y = self._point
        self._at_point.append(drawn[:, :, :, x, y].astype(np.float64))
        first = np.nan_to_num(drawn[0].astype(np.float64))
        self._along_x.append(0.5 * np.square(first).sum(axis=1).mean(axis=-1))
        here = np.flatnonzero(numbers == self._example)
        if here.size:
            frame = drawn[:, here[0]].astype(np.float64)
            self._kept["members"] = frame[:KEPT_MEMBERS]
            self._kept["mean"], self._kept["std"] = frame.mean(axis=0), frame.std(axis=0, ddof=min(1, len(frame) - 1))

    def keep(self, name: str, numbers: np.ndarray, frames: np.ndarray) -> None:
        """Keep the example frame of another field."""
        here = np.flatnonzero(numbers == self._example)
        if here.size:
            self._kept[name] = frames[here[0]].astype(np.float64)

    def result(self) -> dict[str, np.ndarray]:
        """Arrays by name: ``times``, ``at_point (member, time, component)``, ``along_x (time, x)``, ``members``, ..."""
        return {
            "times": self._times,
            "at_point": np.concatenate(self._at_point, axis=1),
            "along_x": np.concatenate(self._along_x),
            "example_time": np.asarray(self._times[len(self._times) // 2]),
            "point": np.asarray(self._point),
            **self._kept,
        }
