"""The loop of everything that is trained: logged, validated, kept, interruptible at any moment, repeatable to the bit.

A :class:`Task` says what an update is, how a state is validated and how it is saved.
"""

import abc
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from closura.interruption import Interrupted, stop_requests
from closura.runs.checkpoints import save_checkpoint, write_json
from closura.runs.configuration import to_plain
from closura.runs.environment import describe_environment
from closura.runs.folder import RunFolder
from closura.runs.tracking import MetricsFile, Sink, Tracker, check_trackers, open_trackers

Row = dict[str, Any]


class Progress(NamedTuple):
    """What a training reports along the way: ``done`` of ``total`` updates (or transitions), and a row of metrics.

    ``validation`` says the row's validation error in words, where there is one.
    """

    done: int
    total: int
    unit: str
    row: Row
    validation: str = ""


class Task(abc.ABC):
    """What is trained.

    Attributes
    ----------
    total
        Number of updates.
    log_every, validate_every, keep_every
        Updates between rows of metrics, validations, and weights that are kept for good (0: none).
    advice
        What helps after a divergence.
    """

    total: int
    log_every: int
    validate_every: int
    keep_every: int = 0
    advice: str

    @abc.abstractmethod
    def advance(self, state: Any, update: int, until: int) -> tuple[Any, Row, int]:
        """The state some updates later, at most ``until``; metrics; the number of its last update."""

    @abc.abstractmethod
    def module(self, state: Any) -> Any:
        """What is being trained."""

    @abc.abstractmethod
    def validate(self, state: Any) -> Row:
        """What is to be small on validation data, as "validation_error", and further figures."""

    @abc.abstractmethod
    def save(self, path: Path, state: Any, row: Row) -> None:
        """Write the weights of a state."""

    def next_event(self, update: int) -> int:
        """The update up to which nothing but updates happens."""
        periods = [self.log_every, self.validate_every, *([self.keep_every] if self.keep_every else [])]
        return min([self.total, *((update // period + 1) * period for period in periods)])

    def advise(self, update: int) -> str:
        """What helps after a divergence in the updates that follow one."""
        return self.advice

    def finished(self, state: Any, update: int) -> bool:
        """Whether all updates are made."""
        return update >= self.total

    def fails(self, row: Row, updates: int, *, finished: bool) -> str:
        """Why training cannot go on after a row of so many updates; nothing where it can."""
        return ""

    def progress(self, row: Row) -> Progress:
        """A row as it is reported."""
        words = f"{row['validation_error']:.4g}" if "validation_error" in row else ""
        return Progress(row["update"], self.total, "updates", row, words)


class Opened(NamedTuple):
    """A run that has begun: what was prepared, what takes its metrics, and what says whether to stop."""

    prepared: Any
    sinks: list[Sink]
    stop: Callable[[], bool]


@contextmanager
def opened(
    run: RunFolder,
    configuration: Any,
    prepare: Callable[[], tuple[Any, Any, int]],
    *,
    resume: bool,
    overwrite: bool,
    trackers: Iterable[Tracker],
    movable: tuple[str, ...] = (),
) -> Iterator[Opened]:
    """Lock a run's folder, check it, begin or go on; how it ends is written in any case.

    ``prepare`` makes what is needed before anything is changed: it, what ``environment.json`` says of the data, and the
    number of updates that are done. Settings in ``movable`` may differ from those of the run that goes on.
    """
    with run.locked(), stop_requests() as stop:
        began = run.read_configuration() if movable and resume and run.holds_run else configuration
        same = replace(configuration, **{name: getattr(began, name) for name in movable})
        run.check(same, resume=resume, overwrite=overwrite)
        check_trackers(trackers)
        with run.setting_up(configuration, resume=resume):
            prepared, data, done = prepare()
        if resume:
            run.remove_half_written()
        else:
            run.create(configuration)
        sinks: list[Sink] = []
        with told(run, sinks):
            write_json(run.environment, {**describe_environment(), "data": data})
            sinks.append(MetricsFile(run.metrics, keep_until=done))
            sinks.extend(open_trackers(trackers, run.path, to_plain(configuration)))
            run.write_status("running", update=done)
            if stop():
                raise Interrupted("stopped before the first update; continue with --resume")
            yield Opened(prepared, sinks, stop)


def make_updates(
    task: Task,
    state: Any,
    facts: Row,
    run: RunFolder,
    sinks: Iterable[Sink],
    stop: Callable[[], bool],
    *,
    checkpoint_every: float = math.inf,
    report: Callable[[Progress], None] = lambda progress: None,
) -> tuple[Any, Row]:
    """Make all updates that are left; the last state, and facts with ``update``, ``best`` and ``seconds``.

    ``state`` and ``facts`` are those of a checkpoint. One is written at every validation, and wherever the training
    stands after ``checkpoint_every`` seconds; after a divergence the last good one is kept. ``stop`` is asked whenever
    updates have been made.
    """
    rows: list[Row] = facts.pop("rows", [])
    if not run.last.exists():  # weights never stand without a checkpoint
        save_checkpoint(run.last, state, facts)
    update = begun_with = facts["update"]
    begun = time.perf_counter() - facts["seconds"]
    saved = time.monotonic()
    while not task.finished(state, update):
        before, until = update, task.next_event(update)
        stopping = False
        while update < until:
            with first_updates(run) if update == begun_with else nullcontext():
                state, metrics, update = task.advance(state, update, until)
            rows.append(metrics)
            stopping = stop()
            if update < until and (stopping or time.monotonic() - saved >= checkpoint_every):
                check_finite(
                    _means(rows),
                    task.module(state),
                    run,
                    f"between updates {before} and {update}",
                    partial(task.advise, before),
                )
                facts |= {"update": update, "seconds": time.perf_counter() - begun}
                # The row that has begun is kept with it: metrics are to be those of an uninterrupted run too.
                rows = [{name: float(value) for name, value in row.items()} for row in rows]
                save_checkpoint(run.last, state, {**facts, "rows": rows})
                saved = time.monotonic()
                _leave(stopping, update, task.total)
        row: Row = {"update": update, **_means(rows)}
        rows = []
        check_finite(
            row, task.module(state), run, f"between updates {before} and {update}", partial(task.advise, before)
        )
        finished = task.finished(state, update)
        if reason := task.fails(row, update - before, finished=finished):
            raise TrainingDiverged(f"{reason}; the last good checkpoint is {run.last}. {task.advice}")
        keeps = bool(task.keep_every) and update % task.keep_every == 0
        validates = update % task.validate_every == 0 or finished
        if validates or keeps:
            row.update(task.validate(state))
            value = row["validation_error"]
            if math.isfinite(value) and (facts["best"] is None or value < facts["best"]):
                facts["best"] = value
                task.save(run.weights, state, row)
        if keeps:
            task.save(run.kept(update), state, row)
        facts |= {"update": update, "seconds": time.perf_counter() - begun}
        row["seconds"] = facts["seconds"]
        for sink in sinks:
            sink.log(row)
        report(task.progress(row))
        stopping = stopping or stop()
        if validates or keeps or stopping or time.monotonic() - saved >= checkpoint_every:
            save_checkpoint(run.last, state, facts)
            saved = time.monotonic()
        _leave(stopping and not finished, update, task.total)
    task.save(run.final, state, {"update": update})
    if not run.weights.exists():  # no validation was finite: keep what there is
        task.save(run.weights, state, {"update": update})
    return state, facts


def _leave(stopping: bool, update: int, total: int) -> None:
    if stopping:
        raise Interrupted(f"stopped after {update} of {total} updates; continue with --resume")


def _means(rows: list[Row]) -> Row:
    return {name: float(np.mean([float(row[name]) for row in rows])) for name in rows[0]}


class TrainingDiverged(RuntimeError):
    """Losses or weights were no longer finite, or no simulation was; the last good checkpoint is kept."""


ROUND_OFF = 1e-6
"""Relative differences of errors that say nothing."""


def verdict(error: float | None, uncorrected: float | None = None) -> str:
    """What is wrong with the result of a run, in words; nothing where it is good."""
    if error is None or not math.isfinite(error):
        return "no validation was finite: the weights are those of the last update, and nothing speaks for them"
    if uncorrected is not None and error > uncorrected + ROUND_OFF * abs(uncorrected):
        return "worse than no closure"
    return ""


def write_finished(run: RunFolder, found: str, **facts: Any) -> None:
    """Say that a run has finished, and the verdict on it where something is wrong."""
    run.write_status("finished", **facts, **({"verdict": found} if found else {}))


def check_finite(row: dict[str, Any], module: Any, run: RunFolder, when: str, advice: Callable[[], str]) -> None:
    """Refuse to go on with metrics or weights that are not finite."""
    bad = [name for name, value in row.items() if not math.isfinite(value)]
    weights = jax.tree.leaves(eqx.filter(module, eqx.is_inexact_array))
    if not all(bool(jnp.all(jnp.isfinite(w))) for w in weights):
        bad.append("weights")
    if bad:
        raise TrainingDiverged(
            f"{', '.join(bad)} not finite {when}; the last good checkpoint is {run.last}. {advice()}"
        )


def lower_rate(option: str, rate: float | None, further: str = "") -> str:
    """What helps after a divergence, and works as it is written: resumed, the same settings would end the same way.

    ``rate`` is the step size, where there is one; ``further`` is what else helps.
    """
    changes = [f"a lower --{option} (it was {rate:g})"] if rate is not None else []
    changes += [further] if further else []
    return (
        f"Begin again: repeat the command with --overwrite and {', '.join(changes) or 'other --learning settings'}; "
        "with --resume it would end the same way"
    )


@contextmanager
def told(run: RunFolder, sinks: Sequence[Sink]) -> Iterator[None]:
    """Say in ``status.json`` how the work within ends unless it succeeds, and close the sinks in any case.

    Errors go on to the caller: "diverged", "interrupted" or "failed" is written with their message.
    """
    try:
        yield
    except TrainingDiverged as error:
        run.write_status("diverged", message=str(error))
        raise
    except (Interrupted, KeyboardInterrupt) as error:
        run.write_status("interrupted", message=str(error))
        raise
    except BaseException as error:
        run.write_status("failed", message=f"{type(error).__name__}: {error}")
        raise
    finally:
        for sink in sinks:
            sink.close()


def first_updates(run: RunFolder) -> AbstractContextManager[None]:
    """For the updates with which a process begins, which compile for long: a signal ends them at once."""
    message = "stopped before the first updates were made; continue with --resume"
    return run.stopped_at_once(message, lambda: run.write_status("interrupted", message=message))
