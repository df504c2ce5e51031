"""``closura evaluate kolmogorov-closure``: closures side by side on frames that none of them has seen."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from closura.commands.console import work_bar
from closura.commands.flow_inputs import (
    deliver,
    flow_data,
    leak_note,
    named_runs,
    one_each,
    settings_of,
)
from closura.commands.options import Repeated, parse
from closura.commands.results import Outputs
from closura.core import Results
from closura.offline.closure_scoring import score_closures
from closura.offline.comparisons import ClosureComparison, Scoring, spread_frames
from closura.offline.filters import FILTERS, Filter
from closura.offline.fitted import load_fitted_closure
from closura.offline.held_out import check_fits, choose_windows, common_filter, leaks, other_reynolds
from closura.settings import Count, Natural, Positive, Seed, Settings

CLOSURE_WORDS = (
    "Closures give a distribution over full velocity fields for every filtered one. All methods answer for the same "
    "filtered frames; answers are compared with the full frames at every point."
)


@dataclass(frozen=True)
class FilterOptions(Settings):
    """The filter, where no closure says which it was fitted with.

    Parameters
    ----------
    kind
        "spectral" (sharp cut-off), "gaussian" or "box".
    cutoff
        Largest wavenumber that is kept (spectral).
    width
        Width of the Gaussian or box filter, in units of length (the box is 2 pi).
    """

    kind: Literal["spectral", "gaussian", "box"] | None = None
    cutoff: Positive | None = None
    width: Positive | None = None

    def filter(self) -> Filter | None:
        """The filter that was asked for.

        Raises
        ------
        ValueError
            If a number is missing, or given for another kind.
        """
        kind = self.kind or ("spectral" if self.cutoff is not None else None)
        if kind is None:
            if self.width is not None:
                raise ValueError("--filter.width needs --filter.kind gaussian or box")
            return None
        number, other = (self.cutoff, self.width) if kind == "spectral" else (self.width, self.cutoff)
        needed = "cutoff" if kind == "spectral" else "width"
        if number is None or other is not None:
            raise ValueError(f"a {kind} filter takes --filter.{needed}, and nothing else")
        return FILTERS[kind](number)


@dataclass(frozen=True)
class ClosureOptions(Settings):
    """What to evaluate, on which frames.

    Parameters
    ----------
    closure
        Run folders or files of weights of closures; NAME=PATH gives another name.
    data
        The data set, a zarr folder.
    json
        File for the numbers.
    out
        Folder for table.json, table.csv, figures and report.html.
    trajectories
        Trajectories of the data set (default: those that no closure has seen in training or validation).
    allow_leak
        Score trajectories that were named although a closure has seen them.
    members
        Size of the ensembles.
    frames
        Frames of each trajectory, evenly spread (default 100).
    every
        Instead: every so manieth frame.
    filter
        The filter, where no closure says.
    scoring
        "fair", or "published": the formulas of the published notebooks, labelled as such.
    seed
        Seed of the samples.
    """

    closure: Repeated[tuple[str, ...]] = ()
    data: Path | None = None
    json: Path | None = None
    out: Path | None = None
    trajectories: tuple[Natural, ...] = ()
    allow_leak: bool = False
    members: Count = 50
    frames: Count | None = None
    every: Count | None = None
    filter: FilterOptions = field(default_factory=FilterOptions)
    scoring: Scoring = "fair"
    seed: Seed = 0


def run_evaluate_closure(arguments: Sequence[str]) -> Results:
    """Parse the command's arguments, score closures beside the rows that all tables have, and write what was asked for.

    Raises
    ------
    ValueError
        If anything that was asked for cannot be done; one line with a remedy.
    FileNotFoundError
        If there is no data set or closure.
    """
    options = parse(
        ClosureOptions,
        one_each(arguments, "--closure"),
        prog="closura evaluate kolmogorov-closure",
        description="Closures side by side: from filtered frames of held-out flows to full ones.",
    )
    if not options.closure:
        raise ValueError("which closures? give --closure RUN [RUN ...], runs of closura train kolmogorov-closure")
    outputs = Outputs(files={"--json": options.json}, folders={"--out": options.out})
    data = flow_data(options.data)
    if options.members < 2:
        raise ValueError(f"need at least 2 members; got {options.members}")
    closures = [load_fitted_closure(name, path) for name, path in named_runs(options.closure)]
    notes = []
    for closure in closures:
        check_fits(closure.name, closure.metadata, data)
        if not closure.metadata.get("train"):
            notes.append(f"{closure.name} does not say which simulations it has seen: whether frames leak is unknown.")
    filtering = common_filter(closures, data.points, options.filter.filter())
    windows = choose_windows(closures, data, options.trajectories or None, allow_leak=options.allow_leak)
    for closure in closures:
        told = other_reynolds(closure.metadata, data, [window.trajectory for window in windows])
        notes += [f"{closure.name} was {told}."] if told else []
    notes += leak_note(leaks(closures, data, windows))
    frames = tuple(spread_frames(window, options.frames, options.every) for window in windows)
    comparison = ClosureComparison(data, filtering, windows, frames, options.members, options.seed, options.scoring)
    with work_bar("scoring", "frames") as report:
        results = score_closures(
            comparison, closures, notes=notes, provenance=settings_of("kolmogorov-closure", arguments), report=report
        )
    title = "Closures of Kolmogorov flow" + (", published scoring" if options.scoring == "published" else "")
    return deliver(outputs, results, title, CLOSURE_WORDS)
