"""``closura evaluate kolmogorov-rom``: reduced-order models side by side, forecasts and long runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from closura.commands.console import work_bar
from closura.commands.flow_inputs import (
    deliver,
    flow_data,
    leak_note,
    load_closure,
    named_runs,
    one_each,
    settings_of,
)
from closura.commands.options import Repeated, parse
from closura.commands.results import Outputs
from closura.core import Results
from closura.offline.comparisons import ModelComparison, choose_starts
from closura.offline.ensembles import check_closure
from closura.offline.fitted import Fitted, load_fitted_model
from closura.offline.held_out import check_fits, choose_windows, leaks
from closura.offline.model_scoring import LYAPUNOV, climate_frames, score_models
from closura.settings import Count, Natural, NotNegative, Seed, Settings

MODEL_WORDS = (
    "Reduced-order models step the filtered flow; ensembles of them are compared as forecasts, and, run for long, by "
    "what the flow looks like, before and after a closure gives back the missing scales."
)


@dataclass(frozen=True)
class ModelOptions(Settings):
    """What to evaluate, from where.

    Parameters
    ----------
    rom
        Run folders of reduced-order models; NAME=PATH gives another name.
    data
        The data set, a zarr folder.
    closure
        A closure's run folder: closes the runs.
    json
        File for the numbers.
    out
        Folder for table.json, table.csv, figures and report.html.
    trajectories
        Trajectories of the data set (default: those that no model has seen in training or validation).
    allow_leak
        Judge on trajectories that were named although a model has seen them.
    steps
        Steps of each run; forecasts are evaluated as far as the data go, the rest by its statistics.
    members
        Members of each ensemble.
    starts
        Starts per trajectory, spread over its first half; a single one is at its start.
    slice
        Steps of the slices of long runs; no more than --steps.
    lyapunov
        Leading Lyapunov exponent per unit of time (default: 0.068 at Reynolds number 34 with forcing 4, else unknown);
        0 leaves Lyapunov times out.
    seed
        Seed of all noise.
    """

    rom: Repeated[tuple[str, ...]] = ()
    data: Path | None = None
    closure: str | None = None
    json: Path | None = None
    out: Path | None = None
    trajectories: tuple[Natural, ...] = ()
    allow_leak: bool = False
    steps: Count = 1600
    members: Count = 20
    starts: Count = 4
    slice: Count = 200
    lyapunov: NotNegative | None = None
    seed: Seed = 0


def run_evaluate_model(arguments: Sequence[str]) -> Results:
    """Parse the command's arguments, evaluate reduced-order models, and write what was asked for.

    Raises
    ------
    ValueError
        If anything that was asked for cannot be done; one line with a remedy.
    FileNotFoundError
        If there is no data set, model or closure.
    """
    options = parse(
        ModelOptions,
        one_each(arguments, "--rom"),
        prog="closura evaluate kolmogorov-rom",
        description="Reduced-order models side by side: forecasts of held-out flows, and long runs.",
    )
    if not options.rom:
        raise ValueError("which models? give --rom RUN [RUN ...], runs of closura train kolmogorov-rom")
    outputs = Outputs(files={"--json": options.json}, folders={"--out": options.out})
    data = flow_data(options.data)
    for name in ("members", "steps", "slice", "starts"):
        least = 2 if name == "members" else 1
        if getattr(options, name) < least:
            raise ValueError(f"--{name} must be at least {least}; got {getattr(options, name)}")
    if options.slice > options.steps:
        raise ValueError(
            f"--slice {options.slice} is longer than the runs of --steps {options.steps}: give --slice "
            f"{options.steps} or less, or more --steps"
        )
    models = [load_fitted_model(name, path) for name, path in named_runs(options.rom)]
    for model in models:
        check_fits(model.name, model.metadata, data)
    closure = None if options.closure is None else load_closure(options.closure)
    fitted: list[Fitted] = [*models, *([closure] if closure is not None else [])]
    if closure is not None:
        check_closure(models[0], closure, data)
    windows = choose_windows(fitted, data, options.trajectories or None, allow_leak=options.allow_leak)
    starts = choose_starts(models, data, windows, options.starts, options.steps)
    reynolds = {float(data.reynolds[window.trajectory]) for window in windows}
    known = LYAPUNOV.get(reynolds.pop()) if len(reynolds) == 1 and data.forcing == 4 else None
    lyapunov = known if options.lyapunov is None else options.lyapunov or None
    comparison = ModelComparison(
        data, windows, starts, options.steps, options.members, options.slice, closure, lyapunov, options.seed
    )
    with work_bar("running", "steps") as report:
        results = score_models(
            comparison, models, climate=climate_frames(models[0], closure),
            notes=leak_note(leaks(fitted, data, windows)), provenance=settings_of("kolmogorov-rom", arguments),
            report=report,
        )  # fmt: skip
    return deliver(outputs, results, "Reduced-order models of Kolmogorov flow", MODEL_WORDS)
