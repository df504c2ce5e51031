"""What is found of runs: forecasts of filtered fields against lead time; distances of distributions in slices of long
runs, and members that are lost.
"""

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from closura.metrics.ensembles import (
    LEVELS,
    EnsembleScores,
    FlowStatistics,
    Histogram,
    Scores,
    relative_l2_series,
    valid_prediction_time,
)

THRESHOLD = 0.5
"""Relative L2 error of a prediction that is still valid."""

DIAGRAM_LEVELS = tuple(sorted({*(round(0.1 * i, 1) for i in range(1, 10)), *LEVELS}))
"""Nominal coverages of the reliability diagram."""

SERIES = ("relative_l2", "crps", "skill", "spread")
"""Scores against lead time."""

ENERGY_BOUNDS = (1 / 3, 3.0)
"""A member whose energy, as a mean over a slice, leaves these multiples of the true mean has collapsed or blown up."""


class Forecasts:
    """Scores against lead time, block by block, and over all leads together."""

    def __init__(self, step: float) -> None:
        self.step = step
        self._total, self._scored = EnsembleScores(levels=DIAGRAM_LEVELS), False
        self._starts: list[dict[str, list[np.ndarray]]] = []

    def begin(self) -> None:
        """A new start."""
        self._starts.append({name: [] for name in (*SERIES, "member_l2")})

    def add(self, members: np.ndarray, reference: np.ndarray) -> None:
        """Members ``(member, time, ...)`` of the open start's next leads; NaN where a member is not finite."""
        alive = np.isfinite(members).all(axis=(2, 3, 4))
        good = alive.all(axis=0)
        series: dict[str, np.ndarray] = {name: np.full(len(reference), np.nan) for name in SERIES}
        if good.any():
            scores = EnsembleScores(levels=DIAGRAM_LEVELS)
            scores.add(members[:, good], reference[good])
            found = scores.series()
            for name, values in series.items():
                values[good] = found[name]
            self._total.merge(scores)
            self._scored = True
        errors = relative_l2_series(np.where(alive[..., None, None, None], members, 0), reference)
        series["member_l2"] = np.where(alive, errors, np.nan)
        for name, values in series.items():
            self._starts[-1][name].append(values)

    @property
    def total(self) -> Scores | None:
        """Of all starts and leads; None where nothing was finite."""
        return self._total.result() if self._scored else None

    def result(self, *, members: bool = True) -> dict[str, np.ndarray]:
        """By start: scores ``(start, lead)`` that begin with the start, at which nothing is wrong; valid times.

        ``valid_time`` and ``member_valid_time (start, member)``, each with ``_censored``: whether the data ended first.
        """
        joined = {name: np.stack([np.concatenate(s[name], axis=-1) for s in self._starts]) for name in self._starts[0]}
        error, of_members = joined["relative_l2"], joined.pop("member_l2")
        found = {name: np.pad(values, ((0, 0), (1, 0))) for name, values in joined.items()}
        for name, series in (
            ("valid_time", error),
            ("member_valid_time", of_members if members else of_members[:, :0]),
        ):
            horizons = [
                valid_prediction_time(each, self.step, threshold=THRESHOLD, start=self.step)
                for each in series.reshape(-1, error.shape[1])
            ]
            found[name] = np.asarray([h.time for h in horizons], np.float64).reshape(series.shape[:-1])
            found[f"{name}_censored"] = np.asarray([h.censored for h in horizons], bool).reshape(series.shape[:-1])
        return found


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
