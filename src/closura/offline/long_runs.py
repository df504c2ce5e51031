"""What long runs of a model look like: distances of distributions in slices, and members that are lost."""

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from closura.metrics.ensembles import FlowStatistics, Histogram

ENERGY_BOUNDS = (1 / 3, 3.0)
"""A member whose energy, as a mean over a slice, leaves these multiples of the true mean has collapsed or blown up."""


@dataclass(frozen=True, eq=False)
class Distances:
    """Wasserstein-1 distances of the energy at points to the reference's, in slices; units of energy.

    ``pooled (start, slice)`` are of all members together, NaN where none was finite; ``single (start, member, slice)``
    of each by itself. ``bar`` is what 95 % of ``references``, slices of true trajectories, stay below; None if there
    are too few.
    """

    pooled: np.ndarray
    single: np.ndarray
    bar: float | None
    references: np.ndarray


def histograms(energies: tuple[float, float], *shape: int) -> np.ndarray:
    """An array of empty histograms."""
    found = np.empty(shape, object)
    for place in np.ndindex(shape):
        found[place] = Histogram(*energies)
    return found


def gather(frames: np.ndarray, steps: np.ndarray, slices: Any, length: int, flow: FlowStatistics) -> bool:
    """Take finite frames into histograms ``(member, slice)`` and statistics; whether there were any.

    Slices are of ``length`` steps; steps beyond the last one do not count.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        energy = 0.5 * np.square(frames.astype(np.float64)).sum(axis=2)
    good = np.isfinite(energy).all(axis=(2, 3))
    for member, index in np.ndindex(len(frames), slices.shape[1]):
        own = good[member] & (steps // length == index)
        if own.any():
            slices[member, index].add(energy[member, own])
    if good.any():
        flow.add(frames[good])
    return bool(good.any())


def distances(slices: np.ndarray, reference: Histogram, bar: float | None, references: np.ndarray) -> Distances:
    """Of histograms ``(start, member, slice)`` to a reference."""

    def distance(histogram: Histogram) -> float:
        return histogram.distance(reference) if histogram.count else float("nan")

    def together(members: np.ndarray) -> Histogram:
        first = members[0]
        return reduce(Histogram.merge, members, Histogram(first.lower, first.upper, first.bins))

    pooled = [[distance(together(start[:, index])) for index in range(slices.shape[2])] for start in slices]
    single = np.vectorize(distance, otypes=[np.float64])(slices)
    return Distances(np.array(pooled, np.float64).reshape(-1, slices.shape[2]), single, bar, references)


def fates(energy: np.ndarray, length: int, true_mean: float) -> dict[str, int]:
    """How many members are not finite, blew up or collapsed, by their mean energy over slices; each counts once."""
    length = min(length, energy.shape[1])
    slices = energy[:, : energy.shape[1] // length * length].reshape(len(energy), -1, length).mean(axis=2)
    bad = ~np.isfinite(energy).all(axis=1)
    with np.errstate(invalid="ignore"):
        high = (slices > ENERGY_BOUNDS[1] * true_mean).any(axis=1) & ~bad
        low = (slices < ENERGY_BOUNDS[0] * true_mean).any(axis=1) & ~bad & ~high
    return {"not_finite": int(bad.sum()), "blown_up": int(high.sum()), "collapsed": int(low.sum())}
