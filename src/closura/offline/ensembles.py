"""Ensembles of a reduced-order model, closed or not, written as a data set of flows, block by block.

Every member of every start is a trajectory of the new data set. With a closure each member gets one sample of it per
frame: the closed ensemble at full resolution. Members are closed one by one, and so independently of each other.
Frames of one member that are closed in one block may go together, where the closure draws them so (the Gaussian
process does); else, and from block to block, what the closure adds is right at each time, but has no memory.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from closura.interruption import Interrupted, stop_requests
from closura.offline.fitted import FittedClosure, FittedModel, digest
from closura.offline.held_out import check_fits, common_filter, other_reynolds
from closura.offline.rom import rollout
from closura.seeds import check_seed, key_of
from closura.trajectories import FlowData, FlowDescription, new_flow, open_flow
from closura.trajectories.store import check_free

GROUP = 50
"""Members that are run at once: bounds memory, and is part of what the seed decides."""

INTERVAL_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Rollout:
    """What was written: a data set, trajectories of it that are not finite with the first such frame, what has to be
    said.
    """

    data: FlowData
    members: int
    starts: int
    steps: int
    diverged: dict[int, int]
    notes: tuple[str, ...]


def check_start(model: FittedModel, data: FlowData, trajectories: Sequence[int], first_frame: int) -> list[str]:
    """Refuse frames that a model cannot start from; returns what has to be said all the same."""
    check_fits(model.name, model.metadata, data)
    frames_per_step(model, data)
    for i in trajectories:
        if not 0 <= i < data.trajectories:
            raise ValueError(f"{data.path} has trajectories 0 to {data.trajectories - 1}; got {i}")
    if len(set(trajectories)) < len(trajectories) or not trajectories:
        raise ValueError(f"name each trajectory once; got {list(trajectories)}")
    needed = start_span(model, data)
    if first_frame < 0 or first_frame + needed > data.frames:
        raise ValueError(
            f"{model.name} starts from {model.model.window} frames {model.step:g} apart, frames {first_frame} to "
            f"{first_frame + needed - 1} of {data.path}, which has {data.frames}: choose another --first-frame or a "
            "longer file"
        )
    told = other_reynolds(model.metadata, data, trajectories)
    return [f"{model.name} was {told}."] if told else []


def frames_per_step(model: FittedModel, data: FlowData) -> int:
    """Frames of a data set per step of a model."""
    every = round(model.step / data.interval)
    if every < 1 or abs(every * data.interval - model.step) > INTERVAL_TOLERANCE * model.step:
        raise ValueError(
            f"{model.name} steps by {model.step:g} (trained on frames {model.interval:g} apart); {data.path} has "
            f"frames {data.interval:g} apart: a step must be a whole number of them"
        )
    return every


def start_span(model: FittedModel, data: FlowData) -> int:
    """Frames from the first of a window to its last, both counted."""
    return (model.model.window - 1) * frames_per_step(model, data) + 1


def start_frames(model: FittedModel, data: FlowData, trajectory: int, first_frame: int) -> Float[np.ndarray, "w 2 x y"]:
    """The filtered frames that a model starts from, float32."""
    span, every = start_span(model, data), frames_per_step(model, data)
    full = data.read(trajectory, first_frame, first_frame + span)[::every]
    return model.filter(full).astype(np.float32)


def start_key(seed: int, trajectory: int, first_frame: int) -> PRNGKeyArray:
    """The key of an ensemble: of the seed and the start alone."""
    return jax.random.fold_in(jax.random.fold_in(key_of(seed), trajectory), first_frame)


def close(
    closure: FittedClosure, filtered: Float[np.ndarray, "member time 2 x y"], *, key: Array
) -> Float[np.ndarray, "member time 2 x y"]:
    """One sample of a closure for each frame of each member; frames that are not finite stay so.

    Each member is asked for by itself, with a key of its own: closures may draw the frames of one question jointly,
    and members with like fields must not share a draw.
    """
    good = np.isfinite(filtered).all(axis=(2, 3, 4))
    closed = np.full_like(filtered, np.nan)
    for member in np.flatnonzero(good.any(axis=1)):
        # All frames are asked for, with zeros in place of lost ones: shapes stay, so that nothing is compiled anew.
        asked = np.where(good[member, :, None, None, None], filtered[member], np.zeros((), filtered.dtype))
        drawn = np.asarray(closure.closure.sample(asked, 1, key=jax.random.fold_in(key, int(member))))[0]
        closed[member, good[member]] = drawn[good[member]]
    return closed


def runs(
    model: FittedModel,
    data: FlowData,
    trajectory: int,
    first_frame: int,
    *,
    steps: int,
    members: int,
    seed: int,
    block: int,
) -> Iterator[tuple[int, int, Float[np.ndarray, "member time 2 x y"]]]:
    """Blocks of an ensemble: its first member, its first step, and filtered frames; members in groups."""
    start = start_frames(model, data, trajectory, first_frame)
    key = start_key(seed, trajectory, first_frame)
    for group, first in enumerate(range(0, members, GROUP)):
        count, step = min(GROUP, members - first), 0
        for frames in rollout(model.model, start, steps, count, key=jax.random.fold_in(key, group), block=block):
            yield first, step, frames
            step += frames.shape[1]


def write_rollout(
    model: FittedModel,
    data: FlowData,
    path: str | Path,
    *,
    trajectories: Sequence[int],
    first_frame: int = 0,
    steps: int = 1600,
    members: int = 50,
    closure: FittedClosure | None = None,
    seed: int = 0,
    overwrite: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Rollout:
    """Run an ensemble and write it as a data set of flows, which appears when all is done.

    Runs start from frames of the trajectories from ``first_frame`` on, one step apart; the first frame that is written
    lies one step after the last of them. A closure gives every member one sample per frame. ``report`` is told the
    frames that are done, and their number.

    Raises
    ------
    FileExistsError
        If something is there.
    ValueError
        If the start does not fit the model, or the closure does not, or ``path`` is the data set that runs start
        from.
    FolderInUse
        If another process is writing the data set.
    Interrupted
        If asked to stop: nothing is left under the name.
    """
    check_seed(seed)
    if min(steps, members) < 1:
        raise ValueError(f"need at least one step and one member; got {steps} and {members}")
    notes = check_start(model, data, trajectories, first_frame)
    if closure is not None:
        check_closure(model, closure, data)
    if Path(path).resolve() == Path(data.path).resolve():
        raise ValueError(f"{path} is the data set that runs start from: choose another name for the ensemble")
    check_free(Path(path), overwrite=overwrite)
    description = _description(model, data, trajectories, first_frame, steps, members, closure, seed)
    total, done = steps * members * len(trajectories), 0
    diverged: dict[int, int] = {}
    with ExitStack() as stack:
        stop = stack.enter_context(stop_requests())
        writer = stack.enter_context(new_flow(path, description, overwrite=overwrite))
        for number, trajectory in enumerate(trajectories):
            key = jax.random.fold_in(start_key(seed, trajectory, first_frame), 1 << 20)
            for first, step, frames in runs(
                model, data, trajectory, first_frame, steps=steps, members=members, seed=seed,
                block=description.chunk_frames,
            ):  # fmt: skip
                if stop():
                    raise Interrupted(f"stopped; {path} was not written")
                if closure is not None:
                    frames = close(closure, frames, key=jax.random.fold_in(jax.random.fold_in(key, first), step))
                for member, own in enumerate(frames):
                    place = number * members + first + member
                    lost = writer.write_all(place, step, own)
                    if lost is not None:
                        diverged.setdefault(place, lost)
                done += frames.shape[0] * frames.shape[1]
                report(done, total)
        writer.mark(diverged={str(place): frame for place, frame in diverged.items()})
    return Rollout(open_flow(path), members, len(trajectories), steps, diverged, tuple(notes))


def check_closure(model: FittedModel, closure: FittedClosure, data: FlowData) -> None:
    """Refuse a closure of another grid, forcing or filter than the model's."""
    check_fits(closure.name, closure.metadata, data)
    common_filter([closure], data.points, model.filter)


def _description(
    model: FittedModel,
    data: FlowData,
    trajectories: Sequence[int],
    first_frame: int,
    steps: int,
    members: int,
    closure: FittedClosure | None,
    seed: int,
) -> FlowDescription:
    facts: dict[str, Any] = {
        "model": str(model.path),
        "model_sha256": digest(model.path),
        "closure": None if closure is None else str(closure.path),
        "closure_sha256": None if closure is None else digest(closure.path),
        "filter": model.filter.plain(),
        "start": str(data.path),
        "first_frame": first_frame,
        "start_times": [float(data.times[first_frame]), float(data.times[first_frame + start_span(model, data) - 1])],
        "first_time": float(data.times[first_frame + start_span(model, data) - 1] + model.step),
        "seed": seed,
    }
    own: list[dict[str, Any]] = [
        {"start_simulation": data.identities[i], "start_trajectory": int(i), "member": member}
        for i in trajectories
        for member in range(members)
    ]
    shared = {key: facts[key] for key in ("model_sha256", "closure_sha256", "first_frame", "seed")}
    names = [
        "rollout-" + hashlib.sha256(json.dumps({**shared, **each}, sort_keys=True).encode()).hexdigest()[:16]
        for each in own
    ]
    return FlowDescription(
        points=data.points,
        frames=steps,
        interval=model.step,
        forcing=data.forcing,
        reynolds=tuple(float(data.reynolds[each["start_trajectory"]]) for each in own),
        identities=tuple(names),
        attributes={"rollout": facts, "members": own, "closed": closure is not None},
    )
