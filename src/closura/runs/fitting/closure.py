"""Fitting a closure to a data set: by gradient descent with checkpoints, or at once."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import jax
import numpy as np

from closura.interruption import Interrupted
from closura.metrics.ensembles import EnsembleScores
from closura.reduced.baselines import ClimatologyRecipe
from closura.reduced.calibration import Calibrated, calibrate
from closura.reduced.learned import LearnedRecipe
from closura.reduced.reconstruction import Frames, Reconstruction, load_reconstruction, save_reconstruction
from closura.runs.configuration import to_plain
from closura.runs.fitting.configuration import ClosureFitConfiguration, closure_fit_from_plain
from closura.runs.fitting.frames import FitData
from closura.runs.fitting.loop import CHECKPOINT_EVERY, Task, descend
from closura.runs.fitting.start import begun_fit
from closura.runs.folder import RunFolder
from closura.runs.status import first_updates, verdict, write_finished
from closura.runs.tracking import Tracker
from closura.runs.training import Progress
from closura.seeds import key_of

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

    @property
    def verdict(self) -> str:
        """What is wrong with the result: worse than no closure, or not finite; nothing where it is good."""
        return verdict(self.score, self.uncorrected)


def fit_closure(
    configuration: ClosureFitConfiguration,
    folder: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    trackers: Iterable[Tracker] = (),
    checkpoint_every: float = CHECKPOINT_EVERY,
    report: Callable[[Progress], None] = lambda progress: None,
) -> FitResult:
    """Fit a closure and leave a run folder behind.

    ``checkpoint_every`` is the time between checkpoints, in seconds; see :func:`~closura.runs.fitting.loop.descend`.

    Raises
    ------
    RunError
        If the folder cannot be used as asked.
    ValueError
        If the data or the split cannot be used, or the data are not those of the run that is resumed.
    TrainingDiverged, Interrupted
        As :func:`closura.runs.train`.
    """
    c = configuration
    descends = isinstance(c.recipe, LearnedRecipe)
    prepare = partial(closure_task, c) if descends else None
    with begun_fit(
        c, folder, closure_fit_from_plain, prepare, resume=resume, overwrite=overwrite, trackers=trackers
    ) as fit:
        run = fit.run
        if fit.task is None:
            # No step at which to stop.
            with first_updates(run):
                closure, done = _fit_at_once(c, fit.data)
        else:
            done = descend(
                fit.task, run, fit.sinks, fit.stop, resume=resume, checkpoint_every=checkpoint_every, report=report
            )
            closure, _ = load_reconstruction(run.weights)
        if fit.stop():
            raise Interrupted("stopped before calibration; continue with --resume")
        result, row = _finish(c, fit.data, run, closure, done)
        if fit.task is None:
            for sink in fit.sinks:
                sink.log(row)
            report(Progress(1, 1, "fits", row, f"{result.score:.4g}"))
        write_finished(
            run, result.verdict, update=result.updates, best=result.score, seconds=result.seconds,
            uncorrected=result.uncorrected,
        )  # fmt: skip
    return result


def score(closure: Reconstruction, filtered: Frames, full: Frames, members: int, seed: int = 0) -> dict[str, float]:
    """Fair ranked probability score and relative L2 error of the mean, block by block."""
    scores = EnsembleScores()
    for first in range(0, len(full), 20):
        part = slice(first, first + 20)
        drawn = closure.sample(filtered[part], members, key=key_of(seed + first))
        if not np.all(np.isfinite(drawn)):
            return {"validation_error": float("inf"), "relative_l2": float("inf")}
        scores.add(drawn, full[part])
    found = scores.result()
    return {"validation_error": float(found.crps), "relative_l2": float(found.relative_l2)}


def closure_task(c: ClosureFitConfiguration, data: FitData) -> Task:
    """The training of a closure that descends on batches of pairs.

    Raises
    ------
    ValueError
        If the recipe's sizes do not suit the data.
    """
    keys = _keys(c)
    chosen = _judged(c, data)
    grid = c.recipe.working_grid(
        *data.pairs(data.split.train, 400), forcing=data.flow.forcing, filtering=data.filtering
    )
    descent = c.recipe.descent_on(grid)
    return Task(
        descent=descent,
        state=descent.init(c.recipe.initial(grid, key=keys["begin"]), key=keys["learn"]),
        batches=lambda first: data.batches(c.recipe.descent.batch, seed=c.seed, first=first),
        judge=lambda closure: score(closure, *chosen, c.judge.members),
        save=lambda path, closure, row: _save(c, data, path, closure, row),
        every=c.judge.every,
        log_every=c.log_every,
    )


def _fit_at_once(c: ClosureFitConfiguration, data: FitData) -> tuple[Reconstruction, dict[str, Any]]:
    begun = perf_counter()
    pairs = data.pairs(data.split.train, IN_MEMORY)
    closure = c.recipe.fit(*pairs, key=_keys(c)["learn"], forcing=data.flow.forcing, filtering=data.filtering)
    return closure, {"update": 1, "seconds": perf_counter() - begun}


def _finish(
    c: ClosureFitConfiguration, data: FitData, run: RunFolder, closure: Reconstruction, done: dict[str, Any]
) -> tuple[FitResult, dict[str, Any]]:
    """Calibrate the closure, judge it as it is kept, and keep it and the climatology of its training frames."""
    key, chosen = _keys(c)["calibrate"], _judged(c, data)
    if isinstance(closure, Calibrated):  # a finished run, resumed
        closure = closure.inner
    if c.calibrate and data.split.validation:
        closure = calibrate(closure, *data.pairs(data.split.validation, CALIBRATION), key=key)
    judged = score(closure, *chosen, max(c.judge.members, 2))
    row: dict[str, Any] = {"update": done["update"], **judged, "seconds": done["seconds"]}
    _save(c, data, run.weights, closure, row)
    climate = ClimatologyRecipe(CLIMATE).fit(*data.pairs(data.split.train, 5 * CLIMATE), key=key)
    own = {"configuration": to_plain(c), **data.facts()}
    save_reconstruction(run.climatology, climate, metadata=own)
    without = float(np.mean(np.abs(chosen[0].astype(np.float64) - chosen[1])))
    factor = closure.factor if isinstance(closure, Calibrated) else 1.0
    return FitResult(closure, judged["validation_error"], without, factor, done["update"], done["seconds"]), row


def _keys(c: ClosureFitConfiguration) -> dict[str, Any]:
    return dict(zip(("begin", "learn", "calibrate"), jax.random.split(key_of(c.seed), 3), strict=True))


def _judged(c: ClosureFitConfiguration, data: FitData) -> tuple[Frames, Frames]:
    """The pairs that choose; training frames where there is no validation (the published split)."""
    return data.pairs(data.split.validation or data.split.train, c.judge.frames)


def _facts(c: ClosureFitConfiguration, data: FitData) -> dict[str, Any]:
    return {"configuration": to_plain(c), **data.record()}


def _save(c: ClosureFitConfiguration, data: FitData, path: Path, closure: Any, row: dict[str, Any]) -> None:
    figures: dict[str, Any] = {name: row[name] for name in ("update", "validation_error", "relative_l2") if name in row}
    save_reconstruction(path, closure, metadata={**_facts(c, data), **figures})
