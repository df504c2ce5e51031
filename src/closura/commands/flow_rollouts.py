"""``closura rollout``: an ensemble of a reduced-order model, closed or not, as a data set of flows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from closura.commands.console import console, work_bar
from closura.commands.flow_fits import load_closure
from closura.commands.options import Positional, parse
from closura.commands.results import Outputs
from closura.offline.ensembles import Rollout, write_rollout
from closura.offline.fitted import load_fitted_model
from closura.settings import Count, Natural, Seed, Settings
from closura.trajectories import open_flow


@dataclass(frozen=True)
class RolloutOptions(Settings):
    """An ensemble of a reduced-order model.

    Parameters
    ----------
    run
        The model's run folder.
    start
        The data set, a zarr folder, whose filtered frames runs start from.
    out
        The zarr folder to write: a trajectory for each member of each start. Not the one that runs start from.
    steps
        Steps, and frames that are written.
    members
        Members per start.
    closure
        A closure's run folder: every member gets one of its samples per frame.
    trajectory
        Start from this trajectory (default 0).
    trajectories
        Start from several.
    first_frame
        First frame of the window that runs start from.
    seed
        Seed of all noise.
    overwrite
        Replace a data set of flows that is there.
    """

    run: Positional[Path]
    start: Path
    out: Path
    steps: Count = 1600
    members: Count = 50
    closure: str | None = None
    trajectory: Natural | None = None
    trajectories: tuple[Natural, ...] = ()
    first_frame: Natural = 0
    seed: Seed = 0
    overwrite: bool = False


def run_rollout(arguments: Sequence[str]) -> Rollout:
    """Parse the command's arguments and write an ensemble; the last lines say what there is."""
    options = parse(
        RolloutOptions,
        arguments,
        prog="closura rollout",
        description="Write an ensemble of a reduced-order model, closed or not, as a data set of flows.",
    )
    if options.trajectory is not None and options.trajectories:
        raise ValueError("one start or several: give --trajectory or --trajectories")
    trajectories = options.trajectories or (options.trajectory if options.trajectory is not None else 0,)
    Outputs(stores={"--out": options.out}, inputs={"RUN": options.run, "--start": options.start})
    model = load_fitted_model(options.run.resolve().name, options.run)
    closure = load_closure(options.closure)
    with work_bar("running", "frames") as report:
        result = write_rollout(
            model,
            open_flow(options.start),
            options.out,
            trajectories=trajectories,
            first_frame=options.first_frame,
            steps=options.steps,
            members=options.members,
            closure=closure,
            seed=options.seed,
            overwrite=options.overwrite,
            report=lambda done, total: report("", done, total),
        )
    for note in result.notes:
        console.print(note, soft_wrap=True)
    end = result.steps * result.data.interval
    console.print(
        f"{result.data.path}: {result.starts} x {result.members} members of {result.steps} steps (t = {end:g}), "
        f"{'closed, ' if closure else ''}{result.data.points} x {result.data.points} points",
        soft_wrap=True,
    )
    if result.diverged:
        first = min(result.diverged.values())
        console.print(
            f"{len(result.diverged)} of {result.data.trajectories} members are not finite, from frame {first} at the "
            "earliest; they are kept, and listed in the attribute 'diverged'",
            soft_wrap=True,
        )
    return result
