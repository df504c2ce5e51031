"""What figures show of fields, kept while they pass by: one point and energy along x over time, and one frame."""

import numpy as np


class Trace:
    """Members of one method in one space; the frame of number ``example`` is kept whole.

    The series are of the frames that are taken, or of ``length`` frames, of which some may be left out (NaN).
    """

    def __init__(self, example: int, length: int | None = None) -> None:
        self._example, self._length = example, length
        self._at_point: dict[int, list[np.ndarray]] = {}
        self._along_x: list[np.ndarray] = []
        self._numbers: list[np.ndarray] = []
        self._frames: list[np.ndarray] = []

    def add(self, numbers: np.ndarray, frames: np.ndarray, *, member: int = 0) -> None:
        """Take ``(member, time, component, x, y)`` at some times; ``member`` is the number of the first one."""
        points = frames.shape[-1]
        at = frames[:, :, 1, points // 2, points // 4]
        self._at_point.setdefault(int(numbers[0]), []).append(_single(at))
        if member == 0:
            self._along_x.append(_single(mean_energy(frames[0], (-1,))))
            self._numbers.append(numbers)
        here = np.flatnonzero(numbers == self._example)
        if here.size:
            self.keep(frames[:, here[0]])

    def keep(self, members: np.ndarray) -> None:
        """Take members ``(member, component, x, y)`` of the frame that is kept whole."""
        self._frames.append(members.astype(np.float64))

    def result(self) -> dict[str, np.ndarray]:
        """Arrays by name: ``at_point (member, time)``, ``along_x (time, x)``, ``example (component, x, y)``, ..."""
        at_point = np.concatenate([np.concatenate(self._at_point[n]) for n in sorted(self._at_point)], axis=1)
        along_x = np.concatenate(self._along_x)
        if self._length is not None:
            numbers = np.concatenate(self._numbers)
            whole = np.full((len(at_point), self._length), np.nan, np.float32)
            wide = np.full((self._length, along_x.shape[1]), np.nan, np.float32)
            whole[:, numbers], wide[numbers] = at_point, along_x
            at_point, along_x = whole, wide
        return {"at_point": at_point, "along_x": along_x, **self.example()}

    def example(self) -> dict[str, np.ndarray]:
        """One member of the frame that is kept whole, and mean and standard deviation of all of them."""
        if not self._frames:
            return {}
        members = np.concatenate(self._frames)
        with np.errstate(over="ignore", invalid="ignore"):
            std = members.std(axis=0, ddof=min(1, len(members) - 1))
            pictures = {"example": members[0], "example_mean": members.mean(axis=0), "example_std": std}
        return {name: _single(picture) for name, picture in pictures.items()}


def _single(values: np.ndarray) -> np.ndarray:
    """In single precision; infinite where that does not hold them."""
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32)


def mean_energy(frames: np.ndarray, axes: tuple[int, ...] = (-2, -1)) -> np.ndarray:
    """Kinetic energy, averaged over the box or over y, of what may not be finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(0.5 * np.square(frames.astype(np.float64)).sum(axis=-3).mean(axis=axes))
