"""``closura evaluate kolmogorov-closure``: closures side by side on frames that none of them has seen."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from closura.commands.console import console, work_bar
from closura.commands.flow_inputs import (
    flow_data,
    leak_note,
    named_runs,
    one_each,
    settings_of,
)
from closura.commands.options import Repeated, parse
from closura.commands.results import Outputs
from closura.evaluation.flows import (
    ClosureEvaluation,
    ClosureStudy,
    closure_tables,
    load_closure_subject,
    publish_closures,
    run_closure_study,
)
from closura.evaluation.flows.closure_results import Scoring
from closura.evaluation.flows.frames import spread_frames
from closura.evaluation.flows.look import print_blocks
from closura.evaluation.flows.subjects import check_fits, choose_stretches, common_filter, leaks, other_reynolds
from closura.offline.filters import BoxFilter, Filter, GaussianFilter, SpectralCutoff
from closura.settings import Count, Natural, Positive, Seed, Settings


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
        if kind == "spectral":
            return SpectralCutoff(number)
        return GaussianFilter(number) if kind == "gaussian" else BoxFilter(number)


@dataclass(frozen=True)
class ClosureOptions(Settings):
    """What to judge, on which frames.

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


def run_evaluate_closure(arguments: Sequence[str]) -> ClosureEvaluation:
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
    subjects = [load_closure_subject(name, path) for name, path in named_runs(options.closure)]
    notes = []
    for subject in subjects:
        check_fits(subject.name, subject.metadata, data)
        if not subject.metadata.get("train"):
            notes.append(f"{subject.name} does not say which simulations it has seen: whether frames leak is unknown.")
    filtering = common_filter(subjects, data.points, options.filter.filter())
    stretches = choose_stretches(subjects, data, options.trajectories or None, allow_leak=options.allow_leak)
    for subject in subjects:
        told = other_reynolds(subject.metadata, data, [s.trajectory for s in stretches])
        notes += [f"{subject.name} was {told}."] if told else []
    notes += leak_note(leaks(subjects, data, stretches))
    frames = tuple(spread_frames(stretch, options.frames, options.every) for stretch in stretches)
    study = ClosureStudy(data, filtering, stretches, frames, options.members, options.seed, options.scoring)
    settings = settings_of("kolmogorov-closure", arguments)
    with work_bar("scoring", "frames") as report:
        evaluation = run_closure_study(study, subjects, notes=notes, settings=settings, report=report)
    outputs.deliver(
        {"--json": partial(closure_tables.write_json, evaluation), "--out": partial(publish_closures, evaluation)},
        lambda: print_blocks(closure_tables.blocks(evaluation), evaluation.closures, console),
    )
    return evaluation
