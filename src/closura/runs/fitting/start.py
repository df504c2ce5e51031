"""How every fit begins: its settings and data checked before anything is changed, then its folder."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from closura.runs.checkpoints import read_progress, write_json
from closura.runs.configuration import to_plain
from closura.runs.environment import describe_environment
from closura.runs.fitting.frames import FitData, check_same_data, check_same_simulations, fit_data
from closura.runs.folder import RunError, RunFolder
from closura.runs.tracking import MetricsFile, Sink, Tracker, check_trackers, open_trackers
from closura.trajectories.flow_data import open_flow


def open_fit(
    c: Any,
    folder: str | Path,
    decode: Callable[[dict[str, Any]], Any],
    *,
    resume: bool,
    overwrite: bool,
    trackers: Iterable[Tracker],
) -> tuple[RunFolder, FitData]:
    """The run's folder and its data, checked; nothing is written yet.

    Data are known by the simulations that they hold: a run goes on with them wherever they were moved to.

    Parameters
    ----------
    c
        Settings of a fit; ``c.data`` may be another place than the run began with.
    folder
        The run's folder.
    decode
        Makes settings of what ``configuration.json`` holds.
    resume, overwrite
        Go on with the run that is there, or replace it.
    trackers
        Where metrics are to go, besides ``metrics.jsonl``.

    Raises
    ------
    RunError
        If the folder cannot be used as asked.
    FileNotFoundError, ValueError
        If the data cannot be used, or are not those that the run began with.
    """
    run = RunFolder(folder, decode=decode)
    if run.path.exists() and not run.path.is_dir():
        raise RunError(f"{run.path} is no folder: choose another with --run")
    if not resume:
        run.check(c, resume=False, overwrite=overwrite)
        check_trackers(trackers)
        return run, fit_data(c.data, c.filtering, c.split)
    began = run.read_configuration()
    run.check(replace(c, data=began.data), resume=True, overwrite=overwrite)
    check_trackers(trackers)
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
    return run, data


def check_checkpoint(run: RunFolder) -> None:
    """Refuse to go on with a descent that would start over and replace weights.

    Raises
    ------
    RunError
        If there are weights but no checkpoint.
    """
    if run.weights.exists() and not run.last.exists():
        raise RunError(
            f"{run.last} is missing, but there are weights: going on would start over and replace them. Start over "
            "with --overwrite, or choose another folder with --run"
        )


def begin_fit(run: RunFolder, c: Any, data: FitData, *, resume: bool, trackers: Iterable[Tracker]) -> list[Sink]:
    """Write what the run is, and that it runs; gives what takes its metrics."""
    if resume:
        write_json(run.configuration, to_plain(c))  # its data may have been moved
    else:
        run.create(c)
    write_json(run.environment, {**describe_environment(), "data": data.facts()})
    sinks: list[Sink] = open_trackers(trackers, run.path, to_plain(c))
    continues = resume and run.last.exists()
    sinks.insert(0, MetricsFile(run.metrics, keep_until=int(read_progress(run.last)["update"]) if continues else 0))
    run.write_status("running")
    return sinks
