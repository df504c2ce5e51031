"""Fitting a closure or a reduced-order model to a data set: by gradient descent with checkpoints, or at once."""

import abc
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from closura.interruption import Interrupted
from closura.metrics.ensembles import EnsembleScores
from closura.offline.baselines import Climatology
from closura.offline.calibration import Calibrated, calibrate
from closura.offline.data import FitData, Training, check_same_data, check_same_simulations, fit_data
from closura.offline.descent import Descent, DescentState
from closura.offline.rom import load_model, save_model
from closura.offline.sampler import ConditionalSampler, Frames, load_sampler, save_sampler
from closura.runs.checkpoints import load_checkpoint, read_progress
from closura.runs.configuration import to_plain
from closura.runs.fitting.configuration import ClosureFitConfiguration, FitConfiguration, ModelFitConfiguration
from closura.runs.fitting.forecasts import forecast_validation, settle
from closura.runs.folder import RunError, RunFolder
from closura.runs.tracking import Tracker
from closura.runs.trainer import (
    Progress,
    Row,
    Task,
    TrainingDiverged,
    first_updates,
    lower_rate,
    make_updates,
    opened,
    verdict,
    write_finished,
)
from closura.seeds import key_of
from closura.trajectories.flow_data import open_flow

CHECKPOINT_EVERY = 300.0
"""Seconds of work that a kill may cost."""

IN_MEMORY = 8000
"""Training frames that closures which are fitted at once are given at most: 260 MB at 64 x 64."""

CALIBRATION = 100
"""Validation frames for the size of intervals."""

CLIMATE = 200
"""Training frames that a run keeps for the climatology row of its evaluations."""


class FitResult(NamedTuple):
    """What was fitted, as it is kept, its score on validation frames, and the time it took.

    Closures have the score without a closure beside theirs, and the factor of their calibration.
    """

    fitted: Any
    score: float
    updates: int
    seconds: float
    uncorrected: float | None = None
    factor: float = 1.0

    @property
    def verdict(self) -> str:
        """What is wrong with the result: worse than no closure, or not finite; nothing where it is good."""
        return verdict(self.score, self.uncorrected)


class DescentTask(Task):
    """A descent on batches of data."""

    def __init__(
        self,
        training: Training,
        scores: Callable[[Any], Row],
        write: Callable[[Path, Any, Row], Any],
        *,
        every: int,
        log_every: int,
        key: Any,
    ) -> None:
        self.descent: Descent = training.descent
        self.initial = self.descent.init(training.module, key=key)
        self.scores, self.write, self.validate_every, self.log_every = scores, write, every, log_every
        self.total = self.descent.configuration.updates
        self.advice = lower_rate("settings.descent.learning-rate", self.descent.configuration.learning_rate)
        self._training = training
        self._batches: Iterator[Any] = iter(())
        self._next = -1

    def advance(self, state: DescentState, update: int, until: int) -> tuple[DescentState, Row, int]:
        if self._next != update:
            self._batches = self._training.batches(update)
        state, metrics = self.descent.update(state, jax.tree.map(jnp.asarray, next(self._batches)))
        self._next = update + 1
        return state, metrics, self._next

    def module(self, state: DescentState) -> Any:
        return state.module

    def validate(self, state: DescentState) -> Row:
        return self.scores(state.averaged)

    def save(self, path: Path, state: DescentState, row: Row) -> None:
        self.write(path, state.averaged, row)


def fit(
    configuration: FitConfiguration,
    folder: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    trackers: Iterable[Tracker] = (),
    checkpoint_every: float = CHECKPOINT_EVERY,
    report: Callable[[Progress], None] = lambda progress: None,
) -> FitResult:
    """Fit a closure or a reduced-order model and leave a run folder behind.

    Data are known by the simulations that they hold: a run goes on with them wherever they were moved to.

    Parameters
    ----------
    configuration
        All settings; with ``resume``, ``data`` may be another place than the run began with.
    folder, resume, overwrite, trackers, report
        As :func:`closura.runs.train`.
    checkpoint_every
        Time between checkpoints, in seconds; see :func:`~closura.runs.trainer.make_updates`.

    Raises
    ------
    RunError, FolderInUse, CheckpointError
        If the folder or its checkpoint cannot be used as asked.
    FileNotFoundError, ValueError
        If the data, the split or the filter cannot be used, or the data are not those of the run that is resumed.
    TrainingDiverged, Interrupted
        As :func:`closura.runs.train`.
    """
    c = configuration
    run = RunFolder(folder, decode=type(c).from_plain)
    kind = _ClosureFit if isinstance(c, ClosureFitConfiguration) else _ModelFit
    begin = partial(_begin, c, kind, run, resume=resume)
    with opened(run, c, begin, resume=resume, overwrite=overwrite, trackers=trackers, movable=("data",)) as found:
        work: _Fit = found.prepared
        if resume:
            run.write_configuration(c)  # its data may have been moved
        if work.task is None:
            with first_updates(run):  # no step at which to stop
                assert isinstance(work, _ClosureFit)  # models always take steps
                fitted, facts = work.at_once()
        else:
            state, facts = work.task.initial, {"update": 0, "best": None, "seconds": 0.0}
            if resume and run.last.exists():
                state, facts = load_checkpoint(run.last, state, total=work.task.total)
            _, facts = make_updates(
                work.task, state, facts, run, found.sinks, found.stop, checkpoint_every=checkpoint_every, report=report
            )
            fitted = None
        result, row, further = work.finish(run, fitted, facts, found.stop)
        if work.task is None:
            for sink in found.sinks:
                sink.log(row)
            report(Progress(1, 1, "fits", row, f"{result.score:.4g}"))
        facts = {"update": result.updates, "best": facts.get("best"), "seconds": result.seconds, **further}
        write_finished(run, result.verdict, **facts)
    return result


def _begin(
    c: FitConfiguration, kind: "type[_Fit]", run: RunFolder, *, resume: bool
) -> tuple["_Fit", dict[str, Any], int]:
    continues = resume and run.last.exists()
    work = kind(c, _same_data(run, c) if resume else fit_data(c.data, c.filtering, c.split))
    if work.task is None:
        return work, work.data.facts(), 0
    if resume and not continues:
        run.check_without_checkpoint()
    done = read_progress(run.last, total=work.task.total)["update"] if continues else 0
    return work, work.data.facts(), done


def _same_data(run: RunFolder, c: FitConfiguration) -> FitData:
    """The data that a run began with, where they are now."""
    began = run.read_configuration()
    moved = c.data != began.data
    if not moved and not Path(c.data).exists():
        raise FileNotFoundError(f"the run's data are no longer at {c.data}: say with --data where they were moved to")
    stored = run.read_environment().get("data")
    if moved and not isinstance(stored, dict):
        raise RunError(
            f"{run.environment} does not say which simulations the run has seen: put the data back to {began.data}"
        )
    if isinstance(stored, dict):
        check_same_simulations(stored, open_flow(c.data))
    data = fit_data(c.data, c.filtering, c.split)
    check_same_data(stored, data)
    return data


class _Fit(abc.ABC):
    """What is particular about fitting a closure, or a model."""

    task: DescentTask | None

    def __init__(self, c: Any, data: FitData) -> None:
        self.c, self.data = c, data

    @abc.abstractmethod
    def finish(
        self, run: RunFolder, fitted: Any, facts: Row, stop: Callable[[], bool]
    ) -> tuple[FitResult, Row, dict[str, Any]]:
        """The result as it is kept, a row of metrics, and facts for the run's status."""

    def described(self, row: Row, *names: str) -> dict[str, Any]:
        """What the file of weights says of itself."""
        figures = {name: row[name] for name in ("update", "validation_error", *names) if name in row}
        return {"configuration": to_plain(self.c), **self.data.record(), **figures}


class _ClosureFit(_Fit):
    def __init__(self, c: ClosureFitConfiguration, data: FitData) -> None:
        super().__init__(c, data)
        begin, self.learn, self.calibrate = jax.random.split(key_of(c.seed), 3)
        self.task = None
        if hasattr(c.settings, "training"):
            pairs = self.validation_pairs()
            self.task = DescentTask(
                c.settings.training(data, seed=c.seed, key=begin),
                lambda closure: score(closure, *pairs, c.validation.members),
                self.save,
                every=c.validation.every,
                log_every=c.log_every,
                key=self.learn,
            )

    def validation_pairs(self) -> tuple[Frames, Frames]:
        """The pairs that choose; training frames where there is no validation (the published split)."""
        return self.data.pairs(self.data.split.validation or self.data.split.train, self.c.validation.frames)

    def save(self, path: Path, closure: Any, row: Row) -> None:
        save_sampler(path, closure, metadata=self.described(row, "relative_l2"))

    def at_once(self) -> tuple[ConditionalSampler, Row]:
        """What is fitted without steps, and facts about it."""
        begun = perf_counter()
        pairs = self.data.pairs(self.data.split.train, IN_MEMORY)
        flow, filtering = self.data.flow, self.data.filtering
        closure = self.c.settings.fit(*pairs, key=self.learn, forcing=flow.forcing, filtering=filtering)
        return closure, {"update": 1, "seconds": perf_counter() - begun}

    def finish(
        self, run: RunFolder, fitted: Any, facts: Row, stop: Callable[[], bool]
    ) -> tuple[FitResult, Row, dict[str, Any]]:
        """Calibrate the closure, evaluate it as it is kept, and keep it and the climatology of its training frames."""
        c, data, pairs = self.c, self.data, self.validation_pairs()
        closure = load_sampler(run.weights)[0] if fitted is None else fitted
        if stop():
            raise Interrupted("stopped before calibration; continue with --resume")
        if isinstance(closure, Calibrated):  # a finished run, resumed
            closure = closure.inner
        if c.calibrate and data.split.validation:
            closure = calibrate(closure, *data.pairs(data.split.validation, CALIBRATION), key=self.calibrate)
        scored = score(closure, *pairs, max(c.validation.members, 2))
        row: Row = {"update": facts["update"], **scored, "seconds": facts["seconds"]}
        self.save(run.weights, closure, row)
        climate = Climatology.of(data.frames(data.split.train, 5 * CLIMATE), CLIMATE, key=self.calibrate)
        save_sampler(run.climatology, climate, metadata={"configuration": to_plain(c), **data.facts()})
        without = float(np.mean(np.abs(pairs[0].astype(np.float64) - pairs[1])))
        factor = closure.factor if isinstance(closure, Calibrated) else 1.0
        found = FitResult(closure, scored["validation_error"], facts["update"], facts["seconds"], without, factor)
        return found, row, {"best": found.score, "uncorrected": without}


def score(closure: ConditionalSampler, filtered: Frames, full: Frames, members: int, seed: int = 0) -> dict[str, float]:
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


class _ModelFit(_Fit):
    def __init__(self, c: ModelFitConfiguration, data: FitData) -> None:
        super().__init__(c, data)
        begin, learn = jax.random.split(key_of(c.seed))
        training = c.settings.training(data, c.every_frames, seed=c.seed, key=begin)
        self.task = DescentTask(
            training,
            forecast_validation(c, data, training.module.window),
            self.save,
            every=c.validation.every,
            log_every=c.log_every,
            key=learn,
        )

    def save(self, path: Path, model: Any, row: Row) -> None:
        save_model(path, model, metadata={**self.described(row), "every_frames": self.c.every_frames})

    def finish(
        self, run: RunFolder, fitted: Any, facts: Row, stop: Callable[[], bool]
    ) -> tuple[FitResult, Row, dict[str, Any]]:
        """Choose how far runs of a latent model are moved back to the flow, and keep the model, scored anew."""
        model: Any
        model, metadata = load_model(run.weights)
        settings, best, further = self.c.settings, facts["best"], {}
        if getattr(settings, "back", 0) and settings.disturbances:
            model, distances = settle(
                model, self.data, self.c.every_frames, disturbances=settings.disturbances,
                steps=settings.climate_steps, stop=stop,
            )  # fmt: skip
            if not np.isfinite(min(distances.values())):
                raise TrainingDiverged(
                    f"no long run of the model is finite; {run.weights} is the best by its forecasts"
                )
            assert self.task is not None
            best = self.task.scores(model)["validation_error"]
            further = {"climate": {f"{size:g}": distance for size, distance in distances.items()}}
            told = {"data": str(self.data.flow.path), **further, "validation_error": best}
            save_model(run.weights, model, metadata={**metadata, **told})
        score = float("inf") if best is None else best
        return FitResult(model, score, facts["update"], facts["seconds"]), {}, {**further, "best": best}
