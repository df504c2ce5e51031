"""Fitting a closure to a data set: by gradient descent with checkpoints, or at once."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import jax
import numpy as np

from closura.evaluation.ensembles import EnsembleScores
from closura.interruption import Interrupted, stop_requests
from closura.reduced.baselines import ClimatologyRecipe
from closura.reduced.calibration import Calibrated, calibrate
from closura.reduced.learned import LearnedRecipe
from closura.reduced.reconstruction import Frames, Reconstruction, load_reconstruction, save_reconstruction
from closura.runs.checkpoints import read_progress, write_json
from closura.runs.configuration import to_plain
from closura.runs.environment import describe_environment
from closura.runs.fitting.configuration import ClosureFitConfiguration, closure_fit_from_plain
from closura.runs.fitting.frames import FitData, check_same_data, fit_data
from closura.runs.fitting.loop import Task, descend
from closura.runs.folder import RunFolder
from closura.runs.status import told
from closura.runs.tracking import MetricsFile, Sink, Tracker, check_trackers, open_trackers
from closura.runs.training import Progress

IN_MEMORY = 8000
"""Training frames that closures which are fitted at once are given at most: 260 MB at 64 x 64."""

CALIBRATION = 100
"""Validation frames for the size of intervals."""

CLIMATE = 200
"""Training frames that a run keeps for the climatology row of its evaluations."""


class FitResult(NamedTuple):
    """The closure as it is kept, its score on validation frames and that of no closure, and the time it took."""

    closure: Reconstruction
    score: float
    uncorrected: float
    factor: float
    updates: int
    seconds: float


def fit_closure(
    configuration: ClosureFitConfiguration,
    folder: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    trackers: Iterable[Tracker] = (),
    report: Callable[[Progress], None] = lambda progress: None,
) -> FitResult:
    """Fit a closure and leave a run folder behind.

    Raises
    ------
    RunError
        If the folder cannot be used as asked.
    ValueError
        If the data or the split cannot be used.
    TrainingDiverged, Interrupted
        As :func:`closura.runs.train`.
    """
    c = configuration
    run = RunFolder(folder, decode=closure_fit_from_plain)
    run.check(c, resume=resume, overwrite=overwrite)
    check_trackers(trackers)
    data = fit_data(c.data, c.filtering, c.split)
    if resume:
        check_same_data(run.read_environment().get("data"), data)
    if not resume:
        run.create(c)
    write_json(run.environment, {**describe_environment(), "data": data.facts()})
    sinks: list[Sink] = open_trackers(trackers, run.path, to_plain(c))
    continues = resume and run.last.exists()
    sinks.insert(0, MetricsFile(run.metrics, keep_until=int(read_progress(run.last)["update"]) if continues else 0))
    run.write_status("running")
    # What is fitted at once has no step at which to stop: there signals end it as they would anything.
    stopping = stop_requests() if isinstance(c.recipe, LearnedRecipe) else nullcontext(lambda: False)
    with told(run, sinks), stopping as stop:
        result = _fit(c, data, run, sinks, stop, resume, report)
    run.write_status(
        "finished", update=result.updates, best=result.score, seconds=result.seconds, uncorrected=result.uncorrected
    )
    return result


def score(closure: Reconstruction, filtered: Frames, full: Frames, members: int, seed: int = 0) -> dict[str, float]:
    """Fair ranked probability score and relative L2 error of the mean, block by block."""
    scores = EnsembleScores()
    for first in range(0, len(full), 20):
        part = slice(first, first + 20)
        drawn = closure.sample(filtered[part], members, key=jax.random.key(seed + first))
        if not np.all(np.isfinite(drawn)):
            return {"validation_error": float("inf"), "relative_l2": float("inf")}
        scores.add(drawn, full[part])
    found = scores.result()
    return {"validation_error": float(found.crps), "relative_l2": float(found.relative_l2)}


def _fit(
    c: ClosureFitConfiguration,
    data: FitData,
    run: RunFolder,
    sinks: list[Sink],
    stop: Callable[[], bool],
    resume: bool,
    report: Callable[[Progress], None],
) -> FitResult:
    keys = dict(zip(("begin", "learn", "calibrate"), jax.random.split(jax.random.key(c.seed), 3), strict=True))
    chosen = data.pairs(data.split.validation or data.split.train, c.judge.frames)
    facts = {"configuration": to_plain(c), **data.facts()}

    def save(path: Path, closure: Any, row: dict[str, Any]) -> None:
        told: dict[str, Any] = {
            name: row[name] for name in ("update", "validation_error", "relative_l2") if name in row
        }
        save_reconstruction(path, closure, metadata={**facts, **told})

    if isinstance(c.recipe, LearnedRecipe):
        seen = data.pairs(data.split.train, 400)
        grid = c.recipe.working_grid(*seen, forcing=data.flow.forcing, filtering=data.filtering)
        descent = c.recipe.descent_on(grid)
        task = Task(
            descent=descent,
            state=descent.init(c.recipe.initial(grid, key=keys["begin"]), key=keys["learn"]),
            batches=lambda first: data.batches(c.recipe.descent.batch, seed=c.seed, first=first),
            judge=lambda closure: score(closure, *chosen, c.judge.members),
            save=save,
            every=c.judge.every,
            log_every=c.log_every,
        )
        done = descend(task, run, sinks, stop, resume=resume, report=report)
        closure, _ = load_reconstruction(run.weights)
    else:
        begun = perf_counter()
        pairs = data.pairs(data.split.train, IN_MEMORY)
        closure = c.recipe.fit(*pairs, key=keys["learn"], forcing=data.flow.forcing, filtering=data.filtering)
        done = {"update": 1, "seconds": perf_counter() - begun}
    if stop():
        raise Interrupted("stopped before calibration; continue with --resume")
    if isinstance(closure, Calibrated):  # a finished run, resumed
        closure = closure.inner
    if c.calibrate and data.split.validation:
        closure = calibrate(closure, *data.pairs(data.split.validation, CALIBRATION), key=keys["calibrate"])
    judged = score(closure, *chosen, max(c.judge.members, 2))
    row: dict[str, Any] = {"update": done["update"], **judged, "seconds": done["seconds"]}
    if not isinstance(c.recipe, LearnedRecipe):
        for sink in sinks:
            sink.log(row)
        report(Progress(1, 1, "fits", row, f"{judged['validation_error']:.4g}"))
    save(run.weights, closure, row)
    climate = ClimatologyRecipe(CLIMATE).fit(*data.pairs(data.split.train, 5 * CLIMATE), key=keys["calibrate"])
    save_reconstruction(run.path / "climatology.safetensors", climate, metadata=facts)
    without = float(np.mean(np.abs(chosen[0].astype(np.float64) - chosen[1])))
    factor = closure.factor if isinstance(closure, Calibrated) else 1.0
    return FitResult(closure, judged["validation_error"], without, factor, done["update"], done["seconds"])
