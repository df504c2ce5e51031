"""The loop of every descent on data: logged, judged, kept, interruptible at any moment, repeatable to the bit."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from closura.interruption import Interrupted
from closura.learners.descent import Descent, DescentState
from closura.runs.checkpoints import load_checkpoint, save_checkpoint
from closura.runs.folder import RunFolder
from closura.runs.status import check_finite, first_updates, lower_rate
from closura.runs.tracking import Sink
from closura.runs.training import Progress

CHECKPOINT_EVERY = 300.0
"""Seconds of work that a kill may cost."""


@dataclass(frozen=True, eq=False)
class Task:
    """What is fitted.

    Parameters
    ----------
    descent
        The learner; its settings say how many updates there are.
    state
        The state before the first update.
    batches
        ``batches(first)``: all batches from that number on.
    judge
        ``judge(module)``: what is to be small on validation data, as "validation_error", and further figures.
    save
        ``save(path, module, row)`` writes the module.
    every, log_every
        Updates between judgements, and between rows of metrics.
    """

    descent: Descent
    state: DescentState
    batches: Callable[[int], Iterator[Any]]
    judge: Callable[[Any], dict[str, float]]
    save: Callable[[Path, Any, dict[str, Any]], None]
    every: int
    log_every: int


def descend(
    task: Task,
    run: RunFolder,
    sinks: list[Sink],
    stop: Callable[[], bool],
    *,
    resume: bool = False,
    checkpoint_every: float = CHECKPOINT_EVERY,
    report: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Make all updates that are left; returns ``update``, ``best``, ``seconds``.

    Parameters
    ----------
    task
        What is fitted.
    run
        Its folder.
    sinks
        Take rows of metrics.
    stop
        Says whether to stop; asked after every update.
    resume
        Go on from the last checkpoint, if there is one.
    checkpoint_every
        Seconds after which a checkpoint is written, wherever the descent stands; judgements write one in any case.
    report
        Is told every row.

    Raises
    ------
    TrainingDiverged
        If loss or weights are no longer finite; the last good checkpoint is kept.
    Interrupted
        When asked to stop, with a checkpoint written.
    """
    state = task.state
    facts: dict[str, Any] = {"update": 0, "best": None, "seconds": 0.0}
    rows: list[dict[str, Any]] = []
    total = task.descent.configuration.updates
    if resume and run.last.exists():
        state, facts = load_checkpoint(run.last, state, total=total)
        rows = facts.pop("rows", [])
    if not run.last.exists():  # weights never stand without a checkpoint
        save_checkpoint(run.last, state, facts)
    update = begun_with = int(state.updates)
    begun = time.perf_counter() - facts["seconds"]
    saved = time.monotonic()
    batches = task.batches(update)
    advice = lower_rate("recipe.descent.learning-rate", task.descent.configuration.learning_rate)
    while update < total:
        until = min(total, (update // task.log_every + 1) * task.log_every, (update // task.every + 1) * task.every)
        while update < until:
            with first_updates(run) if update == begun_with else nullcontext():
                state, metrics = task.descent.update(state, jax.tree.map(jnp.asarray, next(batches)))
                rows.append(metrics)
            update += 1
            stopping = stop()
            if update < until and (stopping or time.monotonic() - saved >= checkpoint_every):
                check_finite(_means(rows), state.module, run, f"at update {update}", advice)
                facts["update"], facts["seconds"] = update, time.perf_counter() - begun
                # The row that has begun is kept with it: metrics are to be those of an uninterrupted fit too.
                rows = [{name: float(value) for name, value in row.items()} for row in rows]
                save_checkpoint(run.last, state, {**facts, "rows": rows})
                saved = time.monotonic()
                _leave(stopping, update, total)
        row: dict[str, Any] = {"update": update, **_means(rows)}
        rows = []
        check_finite(row, state.module, run, f"at update {update}", advice)
        judged = update % task.every == 0 or update == total
        if judged:
            figures = task.judge(state.averaged)
            row.update(figures)
            value = figures["validation_error"]
            if math.isfinite(value) and (facts["best"] is None or value < facts["best"]):
                facts["best"] = value
                task.save(run.weights, state.averaged, row)
        facts["update"], facts["seconds"] = update, time.perf_counter() - begun
        row["seconds"] = facts["seconds"]
        for sink in sinks:
            sink.log(row)
        words = f"{row['validation_error']:.4g}" if judged else ""
        report(Progress(update, total, "updates", row, words))
        stopping = stop()
        if judged or stopping or time.monotonic() - saved >= checkpoint_every:
            save_checkpoint(run.last, state, facts)
            saved = time.monotonic()
        _leave(stopping, update, total)
    task.save(run.final, state.averaged, {"update": update})
    if not run.weights.exists():
        task.save(run.weights, state.averaged, {"update": update})
    return facts


def _leave(stopping: bool, update: int, total: int) -> None:
    if stopping and update < total:
        raise Interrupted(f"stopped after {update} of {total} updates; continue with --resume")


def _means(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {name: float(np.mean([float(row[name]) for row in rows])) for name in rows[0]}
