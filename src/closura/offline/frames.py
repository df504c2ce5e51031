"""Frames that are evaluated: which, read from a data set, and how energetic they are."""

from collections.abc import Sequence

import numpy as np

from closura.metrics.ensembles import kinetic_energy
from closura.offline.held_out import TimeWindow
from closura.trajectories import FlowData


def spread_frames(window: TimeWindow, count: int | None, every: int | None) -> np.ndarray:
    """Numbers of evaluated frames: ``count`` in the middles of equal parts, or each ``every``-th from the first on."""
    if count is not None and every is not None:
        raise ValueError("frames are spread evenly or taken at a distance: give --frames or --every")
    given = count if count is not None else every
    if given is not None and given < 1:
        raise ValueError(f"--frames and --every must be positive; got {given}")
    available = np.asarray(window.frames)
    if every is not None:
        return available[::every]
    wanted = min(100 if count is None else count, len(available))
    return available[((np.arange(wanted) + 0.5) * len(available) / wanted).astype(int)]


def energy_range(data: FlowData, trajectories: Sequence[int]) -> tuple[float, float]:
    """A range for histograms that holds the kinetic energy at all points, with room to spare."""
    largest = max(
        float(kinetic_energy(data.read(i, first, first + 1)).max())
        for i in trajectories
        for first in np.linspace(0, data.frames - 1, min(8, data.frames)).astype(int).tolist()
    )
    return 0.0, float(max(4.0, np.ceil(2 * largest)))
