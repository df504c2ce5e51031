"""The training loop: the same for every learner, interruptible at any moment, repeatable to the bit."""

import math
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Key, Scalar

from closura.closures import build
from closura.interruption import Interrupted as Interrupted
from closura.interruption import stop_requests
from closura.io.earlier import earlier_layout, todays_layout
from closura.io.weights import load_weights, save_weights
from closura.learners import LEARNERS, Learner, LearnerState, averaged
from closura.learners.state import Metrics
from closura.problems import Problem, build_problem, truth_identity, with_store
from closura.runs.checkpoints import CheckpointError, load_checkpoint, read_progress, save_checkpoint, write_json
from closura.runs.configuration import TrainConfiguration, to_plain
from closura.runs.environment import describe_environment
from closura.runs.folder import RunError, RunFolder
from closura.runs.status import TrainingDiverged as TrainingDiverged
from closura.runs.status import check_finite, first_updates, lower_rate, told, verdict, write_finished
from closura.runs.tracking import MetricsFile, Sink, Tracker, check_trackers, open_trackers
from closura.runs.truth_bank import TruthBank
from closura.runs.validation import Validation, in_words, prepare_validation, validation_error
from closura.seeds import key_of

IDLE_UPDATES = 10
"""A training ends when every simulation was lost in so many updates on end."""


class Progress(NamedTuple):
    """What a training reports along the way: ``done`` of ``total`` updates (or transitions), and a row of metrics.

    ``validation`` says the row's validation error in words, where there is one.
    """

    done: int
    total: int
    unit: str
    row: dict[str, int | float]
    validation: str = ""


class TrainingResult(NamedTuple):
    """The best closure by validation, its validation error, and the error without a closure.

    ``validation`` and ``uncorrected`` say both in words, and ``verdict`` what is wrong with the result, if something
    is: worse than no closure, or no validation that was finite.
    """

    closure: Any
    validation_error: float
    uncorrected_error: float
    updates: int
    transitions: float
    seconds: float
    validation: str = ""
    uncorrected: str = ""
    verdict: str = ""


class _Setting(NamedTuple):
    """Everything that follows from the configuration alone."""

    problem: Problem
    learner: Learner
    bank: TruthBank | None
    validation: Validation
    data: str
    renew_key: Key[Scalar, ""]


def build_closure(configuration: TrainConfiguration, problem: Problem, *, key: Key[Scalar, ""]) -> Any:
    """The untrained network of a configuration: a policy for learners that explore."""
    c, network = configuration, configuration.network
    explores = LEARNERS.find(c.learner).explores
    return build(
        c.closure,
        problem.spec,
        explores=explores,
        options={f.name: getattr(network, f.name) for f in fields(network)},
        initial_std=(c.initial_std or None) if explores else None,
        key=key,
    )


def _architecture(c: TrainConfiguration) -> dict[str, Any]:
    """What builds the configured network again, for the header of its weights."""
    spread = {"initial_std": c.initial_std or None} if LEARNERS.find(c.learner).explores else {}
    return {"closure": c.closure, "options": {**to_plain(c.network), **spread}}


def train(
    configuration: TrainConfiguration,
    folder: str | Path,
    *,
    data_dir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    trackers: Iterable[Tracker] = (),
    report: Callable[[Progress], None] = lambda progress: None,
) -> TrainingResult:
    """Train a closure and leave a run folder behind.

    Parameters
    ----------
    configuration
        All settings.
    folder
        Where the run lives; see :class:`~closura.runs.RunFolder`.
    data_dir
        Folder with image files, for problems that use them.
    resume
        Go on from the last checkpoint: the result is that of an uninterrupted training.
    overwrite
        Replace a run that is already in the folder.
    trackers
        Where metrics go besides ``metrics.jsonl``.
    report
        Called after every row of metrics.

    Raises
    ------
    RunError
        If the folder cannot be used as asked.
    TrainingDiverged
        If losses or weights are no longer finite, or all simulations are lost in update after update; the last good
        checkpoint is kept.
    FolderInUse
        If another process writes to the folder.
    CheckpointError
        If the checkpoint to go on from is damaged.
    Interrupted
        After SIGINT or SIGTERM; what goes on from there is in the folder.
    """
    run = RunFolder(folder)
    with run.locked(), stop_requests() as stop:
        run.check(configuration, resume=resume, overwrite=overwrite)
        check_trackers(trackers)
        with run.setting_up(configuration, resume=resume):
            setting, state, facts = _begin(configuration, run, data_dir, resume=resume)
        if resume:
            run.remove_half_written()
        else:
            run.create(configuration)
        sinks: list[Sink] = []
        with told(run, sinks):
            write_json(run.environment, {**describe_environment(), "data": setting.data})
            sinks.append(MetricsFile(run.metrics, keep_until=int(state.updates)))
            sinks.extend(open_trackers(trackers, run.path, to_plain(configuration)))
            run.write_status("running", update=int(state.updates))
            if not run.last.exists():  # weights never stand without a checkpoint
                save_checkpoint(run.last, state, facts)
            if stop():
                raise Interrupted("stopped before the first update; continue with --resume")
            state, facts = _loop(configuration, setting, state, facts, run, sinks, stop, report)
        found = verdict(facts["best"], facts["uncorrected"])
        write_finished(run, found, **facts)
        best = load_weights(run.weights, setting.problem.spec)
    return TrainingResult(
        closure=best,
        validation_error=_or_infinite(facts["best"]),
        uncorrected_error=_or_infinite(facts["uncorrected"]),
        updates=int(state.updates),
        transitions=float(state.transitions),
        seconds=facts["seconds"],
        validation=in_words(setting.problem, setting.validation, _or_infinite(facts["best"])),
        uncorrected=in_words(setting.problem, setting.validation, _or_infinite(facts["uncorrected"])),
        verdict=found,
    )


def _begin(
    c: TrainConfiguration, run: RunFolder, data_dir: str | Path | None, *, resume: bool
) -> tuple[_Setting, LearnerState, dict[str, Any]]:
    """What the training consists of and where it stands: at its checkpoint, or before the first update."""
    continues = resume and run.last.exists()
    if resume and not continues:
        run.check_without_checkpoint()
    total = sum(LEARNERS.find(c.learner)(c.learning).stages())
    reached = read_progress(run.last, total=total)["update"] if continues else 0
    setting, state = _set_up(c, data_dir, reached)
    if not continues:
        uncorrected = float(validation_error(setting.problem, None, setting.validation))
        return setting, state, {
            "update": 0, "best": None, "seconds": 0.0, "uncorrected": uncorrected, "data": setting.data
        }  # fmt: skip
    state, facts = _load(run.last, state, total)
    if facts.get("data") != setting.data:
        raise RunError(
            f"{run.path} was trained on other data, expected {facts.get('data')}; got {setting.data}: give the same "
            "--data-dir"
        )
    return setting, state, {"uncorrected": None, **facts}


def _load(path: Path, like: LearnerState, total: int) -> tuple[LearnerState, dict[str, Any]]:
    """A checkpoint of today, or of earlier policies."""
    try:
        return load_checkpoint(path, like, total=total)
    except CheckpointError:
        earlier = earlier_layout(like)
        if len(jax.tree.leaves(earlier)) == len(jax.tree.leaves(like)):
            raise
        stored, facts = load_checkpoint(path, earlier, total=total)
        return todays_layout(stored, like), facts


def _set_up(c: TrainConfiguration, data_dir: str | Path | None, update: int) -> tuple[_Setting, LearnerState]:
    root = key_of(c.seed)
    names = ("closure", "learner", "truth", "validation", "renew")
    keys = {name: jax.random.fold_in(root, i) for i, name in enumerate(names)}
    problem = build_problem(c.problem, "train", data_dir=data_dir)
    held_out = build_problem(c.problem, "validation", data_dir=data_dir)
    validation = prepare_validation(held_out, c.validation.simulations, c.validation.steps, key=keys["validation"])
    identity = truth_identity(c.problem, "train")
    bank = TruthBank(problem, c.truth, key=keys["truth"], identity=identity) if c.truth.slots else None
    learner = LEARNERS.find(c.learner)(c.learning)
    closure = build_closure(c, problem, key=keys["closure"])
    if bank is not None:
        # The store that the last update saw: a renewal that is due now also touches the running simulations.
        problem = with_store(problem, bank.at(max(update - 1, 0))[0])
    state = learner.init(problem, closure, key=keys["learner"])
    data = "; ".join(dict(p.description)["split"] for p in (problem, held_out))
    return _Setting(problem, learner, bank, validation, data, keys["renew"]), state


def _loop(
    c: TrainConfiguration,
    setting: _Setting,
    state: LearnerState,
    facts: dict[str, Any],
    run: RunFolder,
    sinks: list[Sink],
    stop: Callable[[], bool],
    report: Callable[[Progress], None],
) -> tuple[LearnerState, dict[str, Any]]:
    problem, learner, bank = setting.problem, setting.learner, setting.bank
    total = sum(learner.stages())
    update = begun_with = int(state.updates)
    begun = time.perf_counter() - facts["seconds"]
    renewed = bank.renewals(max(update - 1, 0)) if bank else 0
    idle = 0  # updates on end in which every simulation was lost
    rate = getattr(c.learning, "learning_rate", None)
    advice = lower_rate("learning.learning-rate", rate, learner.advice)
    while not _finished(c, total, update, float(state.transitions)):
        if bank and bank.renewals(update) != renewed:
            renewed = bank.renewals(update)
            store, fresh = bank.at(update)
            problem = with_store(problem, store)
            state = learner.renew(problem, state, fresh, key=jax.random.fold_in(setting.renew_key, update))
        stage, stage_end = learner.stage_of(update)
        next_update = min(_next_event(c, bank, update), stage_end, total)
        with first_updates(run) if update == begun_with else nullcontext():
            state, metrics = learner.advance(problem, state, jnp.asarray(next_update - update, jnp.int32), stage)
            row = _row(metrics)
        check_finite(row, state.closure, run, f"between updates {update} and {next_update}", advice)
        idle = idle + next_update - update if row.get("left_out") == 1 else 0
        update = next_update
        row = {"update": update, "transitions": float(state.transitions), **row}
        finished = _finished(c, total, update, float(state.transitions))
        if idle >= IDLE_UPDATES or (idle and finished):
            raise TrainingDiverged(
                f"every simulation was lost in the last {idle} updates, and nothing was learned; the last good "
                f"checkpoint is {run.last}. {advice}"
            )
        keeps = bool(c.keep_every) and update % c.keep_every == 0
        validates = update % c.validation.every == 0 or finished
        if validates or keeps:
            row["validation_error"] = float(validation_error(problem, averaged(state), setting.validation))
            if math.isfinite(row["validation_error"]) and not _or_infinite(facts["best"]) <= row["validation_error"]:
                facts["best"] = row["validation_error"]
                _save(run.weights, c, setting, state, row)
        if keeps:
            _save(run.kept(update), c, setting, state, row)
        facts["update"] = update
        facts["seconds"] = time.perf_counter() - begun
        row["seconds"] = facts["seconds"]
        for sink in sinks:
            sink.log(row)
        words = in_words(problem, setting.validation, row["validation_error"]) if "validation_error" in row else ""
        report(_progress(c, update, total, row)._replace(validation=words))
        stopping = stop()
        if validates or keeps or stopping:
            save_checkpoint(run.last, state, facts)
        if stopping and not finished:
            raise Interrupted(f"stopped after {update} of {total} updates; continue with --resume")
    _save(run.final, c, setting, state, {"update": update})
    if not run.weights.exists():
        # No validated update was finite: keep what there is.
        _save(run.weights, c, setting, state, {"update": update})
    return state, facts


def _finished(c: TrainConfiguration, total: int, update: int, transitions: float) -> bool:
    return update >= total or (c.transitions > 0 and transitions >= c.transitions)


def _progress(c: TrainConfiguration, update: int, total: int, row: dict[str, int | float]) -> Progress:
    """In transitions where these end the training, in updates otherwise."""
    if c.transitions:
        return Progress(min(int(row["transitions"]), c.transitions), c.transitions, "transitions", row)
    return Progress(update, total, "updates", row)


def _row(metrics: Metrics) -> dict[str, int | float]:
    """Metrics as numbers; the mean length of the episodes that ended, where any did."""
    row: dict[str, int | float] = {name: float(value) for name, value in metrics.items()}
    ended, steps = row.pop("ended", 0.0), row.pop("ended_steps", 0.0)
    if ended:
        row["episode_length"] = steps / ended
    return row


def _next_event(c: TrainConfiguration, bank: TruthBank | None, update: int) -> int:
    periods = [c.log_every, c.validation.every, *([c.keep_every] if c.keep_every else [])]
    events = [(update // period + 1) * period for period in periods]
    renewal = bank.next_renewal(update) if bank else None
    return min([*events, *([renewal] if renewal else [])])


def _save(
    path: Path, c: TrainConfiguration, setting: _Setting, state: LearnerState, row: dict[str, int | float]
) -> None:
    save_weights(
        path,
        averaged(state),
        architecture=_architecture(c),
        spec=setting.problem.spec,
        metadata={
            "problem": c.name,
            "learner": c.learner,
            "update": int(row["update"]),
            "validation_error": row.get("validation_error"),
            "configuration": to_plain(c),
        },
    )


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value
