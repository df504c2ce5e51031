"""Windows of consecutive frames, in shuffled batches, read from the store as they are needed.

Nothing is laid out in memory: a window is a pair of numbers until its batch is made. Memory is bounded by the cache of
chunks and one batch, however many windows there are.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from closura.seeds import check_seed, generator_of
from closura.trajectories.flow_data import FlowData
from closura.trajectories.split import Segment


class Windows:
    """All windows of ``length`` frames within some segments, each in one of them and by its step, ``stride`` frames
    apart.

    Of decoded chunks ``cache_bytes`` are kept, at least one chunk.

    Raises
    ------
    ValueError
        If a segment is not in the data set, or no window fits.
    """

    def __init__(
        self,
        data: FlowData,
        segments: Sequence[Segment],
        length: int,
        *,
        stride: int = 1,
        cache_bytes: int = 2**28,
    ) -> None:
        if length < 1 or stride < 1:
            raise ValueError(f"length and stride must be at least 1; got {length} and {stride}")
        for segment in segments:
            if segment.trajectory >= data.trajectories or segment.frames[-1] >= data.frames:
                raise ValueError(
                    f"{data.path} has {data.trajectories} trajectories of {data.frames} frames; got {segment}"
                )
        self.data, self.length, self.stride = data, length, stride
        self.segments = tuple(segments)
        counts = [max(0, (len(segment) - length) // stride + 1) for segment in self.segments]
        self._ends = np.cumsum(counts, dtype=np.int64)
        if not len(self):
            longest = max((len(segment) for segment in self.segments), default=0)
            raise ValueError(f"no window of {length} frames fits: the longest of {len(counts)} segments has {longest}")
        chunk_bytes = 2 * data.points**2 * 4 * data.chunk_frames
        self.chunk = lru_cache(max(1, cache_bytes // chunk_bytes))(self._chunk)

    def __len__(self) -> int:
        """How many windows."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def frames_of(self, window: int) -> tuple[int, range]:
        """Trajectory and frames of a window."""
        if not 0 <= window < len(self):
            raise ValueError(f"there are windows 0 to {len(self) - 1}; got {window}")
        number = int(np.searchsorted(self._ends, window, side="right"))
        segment = self.segments[number]
        within = window - (int(self._ends[number - 1]) if number else 0)
        first = within * self.stride
        return segment.trajectory, segment.frames[first : first + self.length]

    def __getitem__(self, window: int) -> Float[np.ndarray, "length 2 x y"]:
        """One window, float32."""
        out = np.empty((self.length, 2, self.data.points, self.data.points), np.float32)
        self._fill(out, window)
        return out

    def order(self, batch: int, size: int, *, seed: int) -> Int[np.ndarray, " size"]:
        """The windows of a batch: positions ``batch size, ..`` of one endless sequence of shuffled epochs."""
        positions = np.arange(batch * size, (batch + 1) * size, dtype=np.int64)
        epochs, within = positions // len(self), positions % len(self)
        chosen = np.empty(size, np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            chosen[here] = _shuffled(int(epoch), seed, len(self))[within[here]]
        return chosen

    def batches(self, size: int, *, seed: int, first: int = 0) -> Iterator[Float[np.ndarray, "size length 2 x y"]]:
        """Batches for ever, float32: every window once per epoch, in an order that the seed decides.

        Those before ``first`` are not read.

        Raises
        ------
        ValueError
            If the size is below 1 or a number negative.
        """
        check_seed(seed)
        if size < 1 or first < 0:
            raise ValueError(f"need a batch size of at least 1 and a first batch >= 0; got {size} and {first}")
        return self._batches(size, seed, first)

    def _batches(self, size: int, seed: int, number: int) -> Iterator[np.ndarray]:
        while True:
            out = np.empty((size, self.length, 2, self.data.points, self.data.points), np.float32)
            chosen = self.order(number, size, seed=seed)
            # In the order of the store, so that neighbours share a chunk even when the cache is small.
            for place in np.argsort(chosen, kind="stable"):
                self._fill(out[place], int(chosen[place]))
            yield out
            number += 1

    def _fill(self, out: np.ndarray, window: int) -> None:
        trajectory, frames = self.frames_of(window)
        chunk = self.data.chunk_frames
        numbers = np.arange(frames.start, frames.stop, frames.step)
        for each in np.unique(numbers // chunk):
            here = numbers // chunk == each
            out[here] = self.chunk(trajectory, int(each))[numbers[here] - each * chunk]

    def _chunk(self, trajectory: int, number: int) -> np.ndarray:
        """Frames of a chunk, decoded; those used last are kept."""
        first = number * self.data.chunk_frames
        frames = self.data.read(trajectory, first, min(first + self.data.chunk_frames, self.data.frames))
        return frames.astype(np.float32, copy=False)


@lru_cache(maxsize=1)
def _shuffled(epoch: int, seed: int, count: int) -> Int[np.ndarray, " count"]:
    return generator_of(seed, epoch).permutation(count)
