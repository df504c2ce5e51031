"""Forecasts of filtered fields against lead time."""

import numpy as np

from closura.metrics.ensembles import LEVELS, EnsembleScores, Scores, relative_l2_series, valid_prediction_time

THRESHOLD = 0.5
"""Relative L2 error of a prediction that is still valid."""

DIAGRAM_LEVELS = tuple(sorted({*(round(0.1 * i, 1) for i in range(1, 10)), *LEVELS}))
"""Nominal coverages of the reliability diagram."""

SERIES = ("relative_l2", "crps", "skill", "spread")
"""Scores against lead time."""


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
        good = np.isfinite(members).all(axis=(0, 2, 3, 4))
        series: dict[str, np.ndarray] = {name: np.full(len(reference), np.nan) for name in SERIES}
        member_l2 = np.full((len(members), len(reference)), np.nan)
        if good.any():
            scores = EnsembleScores(levels=DIAGRAM_LEVELS)
            scores.add(members[:, good], reference[good])
            found = scores.series()
            for name, values in series.items():
                values[good] = found[name]
            member_l2[:, good] = relative_l2_series(members[:, good], reference[good])
            self._total.merge(scores)
            self._scored = True
        for i in np.flatnonzero(~good):
            alive = np.isfinite(members[:, i]).all(axis=(1, 2, 3))
            if alive.any():
                member_l2[alive, i] = relative_l2_series(members[alive, i : i + 1], reference[i : i + 1])[:, 0]
        for name, values in {**series, "member_l2": member_l2}.items():
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
