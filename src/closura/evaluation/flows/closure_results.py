"""What a study of closures asks, and what it finds: the records that tables, figures and the report are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from closura.evaluation.flows.subjects import Stretch
from closura.metrics.ensembles import LEVELS, FlowSummary, Scores
from closura.offline.filters import Filter
from closura.reproductions.scale_separation_scores import PublishedScores
from closura.trajectories import FlowData

Scoring = Literal["fair", "published"]

DIAGRAM_LEVELS = tuple(sorted({*(round(0.1 * i, 1) for i in range(1, 10)), *LEVELS}))
"""Nominal coverages of the reliability diagram."""


@dataclass(frozen=True, eq=False)
class ClosureStudy:
    """What is judged, on which frames.

    Parameters
    ----------
    data
        The data set.
    filter
        Makes the filtered frames.
    stretches
        What is judged of it.
    frames
        Numbers of the judged frames within each stretch, absolute; one array per stretch.
    members
        Size of the ensembles.
    seed
        Of the samples.
    scoring
        "fair", or "published": the notebooks' formulas.
    """

    data: FlowData
    filter: Filter
    stretches: tuple[Stretch, ...]
    frames: tuple[np.ndarray, ...]
    members: int = 50
    seed: int = 0
    scoring: Scoring = "fair"

    @property
    def total(self) -> int:
        """Frames that are judged, of all stretches."""
        return sum(map(len, self.frames))


@dataclass(frozen=True, eq=False)
class Unit:
    """Scores of one part: a trajectory, or a block of its time."""

    trajectory: int
    first: int
    last: int
    scores: Scores | None


@dataclass(frozen=True, eq=False)
class ClosureRow:
    """What was found of one row.

    Parameters
    ----------
    scores
        Over all frames whose samples are finite; None if there is none, or the scoring is the published one.
    units
        The same for each part.
    published
        Published scores, where asked for.
    whitened
        Published scores of standardised coefficients, for the published Gaussian process.
    flow
        Statistics of all finite samples.
    diverged
        Samples that are not finite.
    left_out
        Frames with such samples, which scores leave out.
    samples
        Samples that were drawn.
    seconds_per_frame
        Wall time of a whole ensemble of one frame, compilation left out.
    training_seconds
        Wall time of the fit.
    trace
        For figures: samples at one point over the first stretch's frames, energies along x, an example frame.
    learned
        Whether it was fitted, so that it stands out.
    """

    scores: Scores | None
    units: tuple[Unit, ...]
    published: PublishedScores | None
    whitened: PublishedScores | None
    flow: FlowSummary | None
    diverged: int
    left_out: int
    samples: int
    seconds_per_frame: float
    training_seconds: float | None
    trace: Mapping[str, np.ndarray]
    learned: bool


@dataclass(frozen=True, eq=False)
class ClosureEvaluation:
    """Everything that tables, figures and the report are made of."""

    study: ClosureStudy
    rows: Mapping[str, ClosureRow]
    truth: FlowSummary
    filtered: FlowSummary
    trace: Mapping[str, np.ndarray]
    unit: str
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def closures(self) -> tuple[str, ...]:
        """Names of the fitted closures."""
        return tuple(name for name, row in self.rows.items() if row.learned)
