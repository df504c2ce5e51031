"""Training a closure in the loop, whatever its learner."""

import math
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Key, Scalar

from closura.closures import build
from closura.closures.actor_critic import SMALLEST_STD
from closura.interruption import Interrupted as Interrupted
from closura.io.weights import load_weights, save_weights
from closura.learners import LEARNERS, LearnerState, averaged
from closura.learners.state import Metrics
from closura.problems import Problem, build_problem, reference_identity, with_store
from closura.runs.checkpoints import read_progress
from closura.runs.configuration import TrainConfiguration, to_plain
from closura.runs.earlier import load_state
from closura.runs.folder import RunError, RunFolder
from closura.runs.reference_bank import ReferenceBank
from closura.runs.tracking import Tracker
from closura.runs.trainer import Progress as Progress
from closura.runs.trainer import Row, Task, lower_rate, make_updates, opened, verdict, write_finished
from closura.runs.trainer import TrainingDiverged as TrainingDiverged
from closura.runs.validation import check_learned_reference, in_words, prepare_validation, validation_error
from closura.seeds import key_of

EXPLORATION = 10.0
"""First spread of policies over the size of a typical action: rewards are for removing errors of many steps."""
IDLE_UPDATES = 10
"""A training ends when every simulation was lost in so many updates on end."""


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


def build_closure(configuration: TrainConfiguration, problem: Problem, *, key: Key[Scalar, ""]) -> Any:
    """The untrained network of a configuration: a policy for learners that explore."""
    c, network = configuration, configuration.network
    explores = LEARNERS.find(c.learner).explores
    described = problem.methods is not None  # by its solvers: actions may have any size
    std = c.initial_std or (max(EXPLORATION * problem.spec.scale, 2 * SMALLEST_STD) if described else None)
    closure = build(
        c.closure,
        problem.spec,
        explores=explores,
        options={f.name: getattr(network, f.name) for f in fields(network)},
        initial_std=std if explores else None,
        key=key,
    )
    problem.check_action(closure, f"closure {c.closure}")
    return closure


def check_gradient(learner: str, problem: Problem) -> None:
    """Refuse a learner that needs a gradient where the solver has none."""
    if LEARNERS.find(learner).differentiates and not problem.coarse.differentiable:
        others = ", ".join(name for name in LEARNERS if not LEARNERS.find(name).differentiates)
        raise ValueError(
            f"{learner} needs the gradient of a step, and the solver of {problem.name} runs outside JAX: choose "
            f"--learner {others}, or give the solver's adjoint (vjp=, docs/host.md)"
        )


def suited_learner(settings: Any) -> str:
    """The learner for a problem that names none: the first that can do with what its solver gives; empty: the usual."""
    problem = build_problem(settings, "train")
    fits = (name for name in LEARNERS if not LEARNERS.find(name).differentiates)
    return "" if problem.coarse.differentiable else next(fits)


def _architecture(c: TrainConfiguration) -> dict[str, Any]:
    """What builds the configured network again, for the header of its weights."""
    spread = {"initial_std": c.initial_std or None} if LEARNERS.find(c.learner).explores else {}
    return {"closure": c.closure, "options": {**to_plain(c.network), **spread}}


class TrainingTask(Task):
    """A training in the loop, and everything that follows from its configuration alone.

    ``reached`` is the number of updates that are made already: the store of true trajectories is the one that the last
    of them saw, as a renewal that is due now also touches the running simulations.
    """

    def __init__(self, c: TrainConfiguration, data_dir: str | Path | None, reached: int) -> None:
        root = key_of(c.seed)
        names = ("closure", "learner", "reference", "validation", "renew")
        keys = {name: jax.random.fold_in(root, i) for i, name in enumerate(names)}
        problem = build_problem(c.problem, "train", data_dir=data_dir)
        check_gradient(c.learner, problem)
        held_out = build_problem(c.problem, "validation", data_dir=data_dir)
        self.validation = prepare_validation(
            held_out, c.validation.simulations, c.validation.steps,
            statistics=c.validation.statistics, key=keys["validation"],
        )  # fmt: skip
        cases = (getattr(p.begin, "cases", None) for p in (problem, held_out))
        self.marks = sorted({mark for each in cases if each is not None for mark in each.marks})
        identity = reference_identity(c.problem, "train")
        self.bank = (
            ReferenceBank(problem, c.reference, key=keys["reference"], identity=identity) if c.reference.slots else None
        )
        self.learner = LEARNERS.find(c.learner)(c.learning)
        closure = build_closure(c, problem, key=keys["closure"])
        self.renewed = 0
        if self.bank is not None:
            store = self.bank.at(max(reached - 1, 0))[0]
            if not reached:
                check_learned_reference(problem, store)
            problem = with_store(problem, store)
            self.renewed = self.bank.renewals(max(reached - 1, 0))
        self.initial = self.learner.init(problem, closure, key=keys["learner"])
        self.c, self.problem, self.renew_key = c, problem, keys["renew"]
        self.data = "; ".join(dict(p.description)["split"] for p in (problem, held_out))
        self.total = sum(self.learner.stages())
        self.log_every, self.validate_every, self.keep_every = c.log_every, c.validation.every, c.keep_every
        rate = getattr(c.learning, "learning_rate", None)
        self.advice = lower_rate("learning.learning-rate", rate, self.learner.advice)
        self.idle = 0  # updates on end in which every simulation was lost

    def advance(self, state: LearnerState, update: int, until: int) -> tuple[LearnerState, Row, int]:
        if self.bank and self.bank.renewals(update) != self.renewed:
            self.renewed = self.bank.renewals(update)
            store, fresh = self.bank.at(update)
            self.problem = with_store(self.problem, store)
            key = jax.random.fold_in(self.renew_key, update)
            state = self.learner.renew(self.problem, state, fresh, key=key)
        stage, _ = self.learner.stage_of(update)
        due = int(state.updates) + until - update
        state, metrics = self.learner.advance(self.problem, state, jnp.asarray(until - update, jnp.int32), stage)
        if int(state.updates) != due:
            raise ValueError(f"{type(self.learner).__name__}.update must give a state with one more of its updates")
        return state, {"transitions": float(state.transitions), **_row(metrics)}, until

    def next_event(self, update: int) -> int:
        renewal = self.bank.next_renewal(update) if self.bank else None
        events = [super().next_event(update), self.learner.stage_of(update)[1]]
        return min([*events, *([renewal] if renewal else [])])

    def finished(self, state: LearnerState, update: int) -> bool:
        return update >= self.total or (self.c.transitions > 0 and float(state.transitions) >= self.c.transitions)

    def module(self, state: LearnerState) -> Any:
        return state.closure

    def advise(self, update: int) -> str:
        if update == 0 and not math.isfinite(self.validate(self.initial)["validation_error"]):
            return "Simulations with the untrained closure are not finite either: look at what it answers"
        return self.advice

    def fails(self, row: Row, updates: int, *, finished: bool) -> str:
        self.idle = self.idle + updates if row.get("left_out") == 1 else 0
        lost = self.idle >= IDLE_UPDATES or (self.idle and finished)
        return f"every simulation was lost in the last {self.idle} updates, and nothing was learned" if lost else ""

    def error(self, closure: Any) -> float:
        """Validation error of a closure, or of none."""
        return float(validation_error(self.problem, closure, self.validation))

    def in_words(self, error: float | None) -> str:
        """A validation error as a person reads it."""
        return in_words(self.problem, self.validation, _or_infinite(error))

    def validate(self, state: LearnerState) -> Row:
        return {"validation_error": self.error(averaged(state))}

    def progress(self, row: Row) -> Progress:
        words = self.in_words(row["validation_error"]) if "validation_error" in row else ""
        if self.c.transitions:  # where these end the training
            done = min(int(row["transitions"]), self.c.transitions)
            return Progress(done, self.c.transitions, "transitions", row, words)
        return Progress(row["update"], self.total, "updates", row, words)

    def save(self, path: Path, state: LearnerState, row: Row) -> None:
        save_weights(
            path,
            averaged(state),
            architecture=_architecture(self.c),
            spec=self.problem.spec,
            metadata={
                "problem": self.c.name,
                "learner": self.c.learner,
                "update": int(row["update"]),
                "validation_error": row.get("validation_error"),
                "grid": self.problem.grid.shape,
                "time_step": self.problem.time_step,
                "configuration": to_plain(self.c),
                **({"seen": self.marks} if self.marks else {}),
            },
        )


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
    begin = partial(_begin, configuration, run, data_dir, resume=resume)
    with opened(run, configuration, begin, resume=resume, overwrite=overwrite, trackers=trackers) as found:
        task, state, facts = found.prepared
        state, facts = make_updates(task, state, facts, run, found.sinks, found.stop, report=report)
        said = verdict(facts["best"], facts["uncorrected"])
        write_finished(run, said, **facts)
        best = load_weights(run.weights, task.problem.spec)
    return TrainingResult(
        closure=best,
        validation_error=_or_infinite(facts["best"]),
        uncorrected_error=_or_infinite(facts["uncorrected"]),
        updates=int(state.updates),
        transitions=float(state.transitions),
        seconds=facts["seconds"],
        validation=task.in_words(facts["best"]),
        uncorrected=task.in_words(facts["uncorrected"]),
        verdict=said,
    )


def _begin(
    c: TrainConfiguration, run: RunFolder, data_dir: str | Path | None, *, resume: bool
) -> tuple[tuple[TrainingTask, LearnerState, Row], str, int]:
    """What the training consists of and where it stands: at its checkpoint, or before the first update."""
    continues = resume and run.last.exists()
    if resume and not continues:
        run.check_without_checkpoint()
    total = sum(LEARNERS.find(c.learner)(c.learning).stages())
    reached = read_progress(run.last, total=total)["update"] if continues else 0
    task = TrainingTask(c, data_dir, reached)
    if not continues:
        facts = {"update": 0, "best": None, "seconds": 0.0, "uncorrected": task.error(None), "data": task.data}
        return (task, task.initial, facts), task.data, 0
    state, facts = load_state(run.last, task.initial, task.problem, total=total)
    if facts.get("data") != task.data:
        raise RunError(
            f"{run.path} was trained on other data, expected {facts.get('data')}; got {task.data}: give the same "
            "--data-dir, or the same recordings"
        )
    return (task, state, {"uncorrected": None, **facts}), task.data, reached


def _row(metrics: Metrics) -> dict[str, int | float]:
    """Metrics as numbers; the mean length of the episodes that ended, where any did."""
    row: dict[str, int | float] = {name: float(value) for name, value in metrics.items()}
    ended, steps = row.pop("ended", 0.0), row.pop("ended_steps", 0.0)
    if ended:
        row["episode_length"] = steps / ended
    return row


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value
