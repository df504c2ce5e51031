"""Forecasts of filtered fields against lead time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from closura.metrics.ensembles import EnsembleScores, Scores, relative_l2_series, valid_prediction_time
from closura.metrics.ensembles.predictability import Horizon
from closura.offline.closure_comparison import DIAGRAM_LEVELS

THRESHOLD = 0.5
"""Relative L2 error of a prediction that is still valid."""

LEAD_BLOCK = 50
"""Leads that baselines are scored on at a time."""


@dataclass(frozen=True, eq=False)
class Forecast:
    """Scores against lead time, ``(start, lead)``, of filtered fields; NaN where a member was not finite."""

    relative_l2: np.ndarray
    crps: np.ndarray
    skill: np.ndarray
    spread: np.ndarray
    horizons: tuple[Horizon, ...]
    member_horizons: tuple[Horizon, ...]
    total: Scores | None


class Forecasts:
    """Scores against lead time, block by block."""

    def __init__(self, step: float) -> None:
        self.step = step
        self.total = EnsembleScores(levels=DIAGRAM_LEVELS)
        self.scored = False
        self.starts: list[dict[str, list[np.ndarray]]] = []

    def begin(self) -> None:
        """A new start."""
        self.starts.append({})

    def add(self, members: np.ndarray, reference: np.ndarray) -> None:
        """Members ``(member, time, ...)`` of the open start's next leads."""
        good = np.isfinite(members).all(axis=(0, 2, 3, 4))
        series = {name: np.full(len(reference), np.nan) for name in ("relative_l2", "crps", "skill", "spread")}
        member_l2 = np.full((len(members), len(reference)), np.nan)
        if good.any():
            scores = EnsembleScores(levels=DIAGRAM_LEVELS)
            scores.add(members[:, good], reference[good])
            found = scores.series()
            for name, values in series.items():
                values[good] = found[name]
            member_l2[:, good] = relative_l2_series(members[:, good], reference[good])
            self.total.merge(scores)
            self.scored = True
        for i in np.flatnonzero(~good):
            alive = np.isfinite(members[:, i]).all(axis=(1, 2, 3))
            if alive.any():
                member_l2[alive, i] = relative_l2_series(members[alive, i : i + 1], reference[i : i + 1])[:, 0]
        for name in series:
            self.starts[-1].setdefault(name, []).append(series[name])
        self.starts[-1].setdefault("member_l2", []).append(member_l2)

    def result(self, *, members: bool = True) -> Forecast:
        """Of all starts."""

        def joined(name: str) -> np.ndarray:
            return np.stack([np.concatenate(start[name], axis=-1) for start in self.starts])

        relative, member_l2 = joined("relative_l2"), joined("member_l2")

        def horizon(series: np.ndarray) -> Horizon:
            return valid_prediction_time(series, self.step, threshold=THRESHOLD, start=self.step)

        return Forecast(
            relative, joined("crps"), joined("skill"), joined("spread"),
            tuple(horizon(s) for s in relative),
            tuple(horizon(s) for start in member_l2 for s in start) if members else (),
            self.total.result() if self.scored else None,
        )  # fmt: skip


def score_all(forecasts: Forecasts, actual: np.ndarray, drawn: Callable[[int, int], np.ndarray]) -> None:
    """Score one start whose members ``drawn(first, count)`` gives for leads ``first, ..``."""
    forecasts.begin()
    for first in range(0, len(actual), LEAD_BLOCK):
        part = actual[first : first + LEAD_BLOCK]
        forecasts.add(drawn(first, len(part)), part)
