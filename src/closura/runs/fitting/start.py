"""How every fit begins: its settings and data checked before anything is changed, then its folder."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from closura.interruption import Interrupted, stop_requests
from closura.runs.checkpoints import read_progress, write_json
from closura.runs.configuration import to_plain
from closura.runs.environment import describe_environment
from closura.runs.fitting.frames import FitData, check_same_data, check_same_simulations, fit_data
from closura.runs.fitting.loop import Task
from closura.runs.folder import RunError, RunFolder
from closura.runs.status import told
from closura.runs.tracking import MetricsFile, Sink, Tracker, check_trackers, open_trackers
from closura.trajectories.flow_data import open_flow


class Fit(NamedTuple):
    """A fit that has begun: its folder, its data, its descent (None if it is fitted at once), what takes its metrics.

    ``stop`` says whether to stop.
    """

    run: RunFolder
    data: FitData
    task: Task | None
    sinks: list[Sink]
    stop: Callable[[], bool]


@contextmanager
def begun_fit(
    c: Any,
    folder: str | Path,
    decode: Callable[[dict[str, Any]], Any],
    prepare: Callable[[FitData], Task] | None,
    *,
    resume: bool,
    overwrite: bool,
    trackers: Iterable[Tracker],
) -> Iterator[Fit]:
    """Lock the run's folder, check it and the data, begin or go on; how it ends is written in any case.

    Data are known by the simulations that they hold: a run goes on with them wherever they were moved to.

    Parameters
    ----------
    c
        Settings of a fit; ``c.data`` may be another place than the run began with.
    folder
        The run's folder.
    decode
        Makes settings of what ``configuration.json`` holds.
    prepare
        Makes the descent; None for what is fitted at once.
    resume, overwrite
        Go on with the run that is there, or replace it.
    trackers
        Where metrics are to go, besides ``metrics.jsonl``.

    Raises
    ------
    RunError
        If the folder cannot be used as asked.
    FolderInUse
        If another process writes to it.
    CheckpointError
        If the checkpoint to go on from is damaged.
    FileNotFoundError, ValueError
        If the data cannot be used, or are not those that the run began with.
    Interrupted
        After SIGINT or SIGTERM before the first update.
    """
    run = RunFolder(folder, decode=decode)
    with run.locked(), stop_requests() as stop:
        began = run.read_configuration() if resume and run.holds_run else c
        run.check(replace(c, data=began.data), resume=resume, overwrite=overwrite)
        check_trackers(trackers)
        continues = resume and run.last.exists()
        if resume and prepare and not continues:
            run.check_without_checkpoint()
        with run.setting_up(c, resume=resume):
            data = _same_data(run, c, began) if resume else fit_data(c.data, c.filtering, c.split)
            task = prepare(data) if prepare else None
            done = 0
            if task and continues:
                done = read_progress(run.last, total=task.descent.configuration.updates)["update"]
        if resume:
            run.remove_half_written()
            run.write_configuration(c)  # its data may have been moved
        else:
            run.create(c)
        sinks: list[Sink] = []
        with told(run, sinks):
            write_json(run.environment, {**describe_environment(), "data": data.facts()})
            sinks.append(MetricsFile(run.metrics, keep_until=done))
            sinks.extend(open_trackers(trackers, run.path, to_plain(c)))
            run.write_status("running")
            if stop():
                raise Interrupted("stopped before the first update; continue with --resume")
            yield Fit(run, data, task, sinks, stop)


def _same_data(run: RunFolder, c: Any, began: Any) -> FitData:
    """The data that a run began with, where they are now."""
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
