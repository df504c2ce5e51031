"""What long runs of a model look like: distances of distributions in slices, and members that are lost."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from closura.metrics.ensembles import FlowStatistics, Histogram

ENERGY_BOUNDS = (1 / 3, 3.0)
"""A member whose energy, as a mean over a slice, leaves these multiples of the true mean has collapsed or blown up."""


@dataclass(frozen=True, eq=False)
class Distances:
    """Wasserstein-1 distances of the energy at points to the reference's, in slices; units of energy.

    Parameters
    ----------
    pooled
        All members of a start together, ``(start, slice)``; NaN where none was finite.
    single
        Each member by itself, ``(start, member, slice)``.
    bar
        What 95 % of slices of true trajectories stay below; None if the data have too few.
    references
        The distances that the bar was found from.
    """

    pooled: np.ndarray
    single: np.ndarray
    bar: float | None
    references: np.ndarray


class MemberSlices:
    """Histograms of one member's slices; frames that are not finite are left out of theirs."""

    def __init__(self, energies: tuple[float, float], length: int, count: int) -> None:
        self.length = length
        self.slices = [Histogram(*energies) for _ in range(count)]

    def add(self, steps: np.ndarray, energy: np.ndarray) -> None:
        """Energies ``(time, x, y)`` of some steps."""
        for index in np.unique(steps // self.length):
            if index < len(self.slices):
                self.slices[int(index)].add(energy[steps // self.length == index])


def gather(frames: np.ndarray, steps: np.ndarray, slices: Sequence[MemberSlices], flow: FlowStatistics) -> bool:
    """Take finite frames into slices and statistics; whether there were any."""
    with np.errstate(over="ignore", invalid="ignore"):
        energy = 0.5 * np.square(frames.astype(np.float64)).sum(axis=2)
    good = np.isfinite(energy).all(axis=(2, 3))
    for member in range(len(frames)):
        if good[member].any():
            slices[member].add(steps[good[member]], energy[member, good[member]])
    if good.any():
        flow.add(frames[good])
    return bool(good.any())


class Slices:
    """Distances of one kind of field to a reference, start by start.

    Parameters
    ----------
    energies
        Range of the histograms.
    """

    def __init__(self, energies: tuple[float, float]) -> None:
        self.energies = energies
        self._pooled: list[list[Histogram]] = []
        self._single: list[list[list[Histogram]]] = []

    def add(self, members: Sequence[MemberSlices]) -> None:
        """All members of a start."""
        slices = [member.slices for member in members]
        self._single.append(slices)
        pooled = []
        for index in range(len(slices[0])):
            pool = Histogram(*self.energies)
            for own in slices:
                pool.merge(own[index])
            pooled.append(pool)
        self._pooled.append(pooled)

    def distances(self, reference: Histogram, bar: float | None, references: np.ndarray) -> Distances:
        """Of all starts to a reference."""

        def distance(histogram: Histogram) -> float:
            return histogram.distance(reference) if histogram.count else float("nan")

        members, slices = len(self._single[0]), len(self._pooled[0])
        pooled = [[distance(h) for h in start] for start in self._pooled]
        single = [[[distance(h) for h in member] for member in start] for start in self._single]
        return Distances(
            np.array(pooled, np.float64).reshape(-1, slices),
            np.array(single, np.float64).reshape(-1, members, slices),
            bar,
            references,
        )


def fates(energy: np.ndarray, length: int, true_mean: float) -> dict[str, int]:
    """How many members are not finite, blew up or collapsed, by their mean energy over slices; each counts once."""
    length = min(length, energy.shape[1])
    slices = energy[:, : energy.shape[1] // length * length].reshape(len(energy), -1, length).mean(axis=2)
    bad = ~np.isfinite(energy).all(axis=1)
    with np.errstate(invalid="ignore"):
        high = (slices > ENERGY_BOUNDS[1] * true_mean).any(axis=1) & ~bad
        low = (slices < ENERGY_BOUNDS[0] * true_mean).any(axis=1) & ~bad & ~high
    return {"not_finite": int(bad.sum()), "blown_up": int(high.sum()), "collapsed": int(low.sum())}
