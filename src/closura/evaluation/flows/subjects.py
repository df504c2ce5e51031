"""What is judged: fitted closures and reduced-order models, with what they have seen and how long they took."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from closura.offline.filters import Filter, from_plain
from closura.offline.rom import ReducedOrderModel, load_model
from closura.offline.sampler import ConditionalSampler, load_sampler
from closura.trajectories import FlowData, open_flow
from closura.trajectories.split import holds_frames

WEIGHTS = "weights.safetensors"
CLIMATOLOGY = "climatology.safetensors"
ROWS = ("none", "persistence", "climatology")
"""Rows that every table has."""


class Fitted:
    """What was fitted to frames of flows, and knows which."""

    metadata: Mapping[str, Any]

    @property
    def segments(self) -> list[Mapping[str, Any]]:
        """Segments that training or validation have seen."""
        return [segment for part in ("train", "validation") for segment in self.metadata.get(part, ())]

    @cached_property
    def samples(self) -> list[Float[np.ndarray, "known 32"]] | None:
        """Samples of the frames of each segment (see ``identity.sample``), or None where they are not known.

        Weights of earlier versions kept none: they are taken from the training data, if they are where they were.
        """
        if not self.segments or "points" not in self.metadata or "interval" not in self.metadata:
            return None
        numbers = [np.arange(s["start"], s["stop"], s["step"]) for s in self.segments]
        if "seen" in self.metadata:
            return np.split(self.metadata["seen"], np.cumsum([len(each) for each in numbers])[:-1])
        try:
            flow = open_flow(str(self.metadata.get("data", "")))
        except (OSError, ValueError):
            return None
        for s in self.segments:
            inside = s["trajectory"] < flow.trajectories and s["stop"] <= flow.frames
            if not inside or not flow.is_called(s["trajectory"], str(s.get("simulation"))):
                return None
        return [flow.samples(s["trajectory"], n, flow.points) for s, n in zip(self.segments, numbers, strict=True)]


@dataclass(frozen=True, eq=False)
class ClosureSubject(Fitted):
    """A fitted closure.

    Parameters
    ----------
    name
        Its row.
    path
        The file of weights.
    closure
        The closure.
    metadata
        What its file says: filter, forcing, interval, points, and frames by simulation; empty for a bare file.
    climatology
        Climatology of its training frames, where the run keeps one.
    training_seconds
        Wall time of the fit, where the run says.
    """

    name: str
    path: Path
    closure: ConditionalSampler
    metadata: Mapping[str, Any]
    climatology: ConditionalSampler | None = None
    training_seconds: float | None = None

    @property
    def filter(self) -> Filter | None:
        """The filter that it was fitted with, where it says."""
        if self.metadata.get("filter"):
            return from_plain(self.metadata["filter"])
        inner = getattr(self.closure, "inner", self.closure)
        return getattr(getattr(inner, "grid", None), "filter", None)


@dataclass(frozen=True, eq=False)
class ModelSubject(Fitted):
    """A fitted reduced-order model; fields as those of :class:`ClosureSubject`.

    Parameters
    ----------
    every
        Frames of data with the training's interval per step of the model.
    """

    name: str
    path: Path
    model: ReducedOrderModel
    metadata: Mapping[str, Any]
    every: int
    interval: float
    filter: Filter
    training_seconds: float | None = None
    climatology: ConditionalSampler | None = field(default=None)

    @property
    def step(self) -> float:
        """Time of one step."""
        return self.every * self.interval

    @property
    def points(self) -> int:
        """Points per side of its frames."""
        return int(self.metadata["points"])


def load_closure_subject(name: str, path: str | Path) -> ClosureSubject:
    """Read a closure: a run folder, or a file of weights.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If the file is damaged or holds something else.
    """
    weights = weights_of(path)
    try:
        closure, metadata = load_sampler(weights)
    except (KeyError, TypeError) as error:
        raise ValueError(_other_version(weights, error)) from error
    climate = weights.parent / CLIMATOLOGY
    climatology = load_sampler(climate)[0] if weights.name == WEIGHTS and climate.is_file() else None
    return ClosureSubject(name, weights, closure, metadata, climatology, training_seconds(weights))


def load_model_subject(name: str, path: str | Path) -> ModelSubject:
    """Read a reduced-order model: a run folder, or its file of weights.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If the file is damaged, holds something else, or does not say how it was trained.
    """
    weights = weights_of(path)
    try:
        model, metadata = load_model(weights)
    except (KeyError, TypeError) as error:
        raise ValueError(_other_version(weights, error)) from error
    missing = [key for key in ("filter", "interval", "points", "forcing") if key not in metadata]
    if missing:
        raise ValueError(
            f"{weights} does not say its {', '.join(missing)}: give a run that closura train kolmogorov-rom made"
        )
    climate = weights.parent / CLIMATOLOGY
    climatology = load_sampler(climate)[0] if climate.is_file() else None
    every = int(metadata.get("every_frames", 1))
    filtering = from_plain(metadata["filter"])
    return ModelSubject(
        name, weights, model, metadata, every, float(metadata["interval"]), filtering, training_seconds(weights),
        climatology,
    )  # fmt: skip


def _other_version(weights: Path, error: Exception) -> str:
    return f"{weights} does not have the settings that this closura expects ({error}): fit it again"


def weights_of(path: str | Path) -> Path:
    """The file of weights of a run folder, or the file itself.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    path = Path(path)
    if path.is_dir():
        if not (path / WEIGHTS).is_file():
            raise FileNotFoundError(f"{path} holds no {WEIGHTS}: it is no run, or one that has not judged itself yet")
        return path / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"there is no run folder and no file of weights at {path}")
    return path


def training_seconds(weights: Path) -> float | None:
    """Wall time of a run's training, from its status."""
    try:
        seconds = json.loads((weights.parent / "status.json").read_text()).get("seconds")
    except (OSError, ValueError, AttributeError):
        return None
    return float(seconds) if weights.name == WEIGHTS and isinstance(seconds, int | float) else None


def digest(path: Path) -> str:
    """SHA-256 of a file of weights."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def common_filter(subjects: Sequence[ClosureSubject], points: int, asked: Filter | None = None) -> Filter:
    """The one filter that all closures were fitted with, on a grid of so many points per side.

    Filters that do the same on this grid count as one (cut-offs of 3.95 and 3.951, say).

    Raises
    ------
    ValueError
        If they differ, from each other or from what was asked for, or nobody says.
    """
    said = {subject.name: subject.filter for subject in subjects}
    known = {name: found for name, found in [("--filter", asked), *said.items()] if found is not None}
    if not known:
        raise ValueError("no closure says which filter it was fitted with: give --filter.kind and its cut-off or width")
    first = next(iter(known))
    shape = (points, points)
    for name, found in known.items():
        if not np.allclose(found.transfer(shape), known[first].transfer(shape), rtol=0, atol=1e-9):
            raise ValueError(
                f"filters differ: {first} has {_words(known[first].plain())}, {name} has {_words(found.plain())}; "
                "judge closures of one filter together"
            )
    return known[first]


def check_fits(name: str, metadata: Mapping[str, Any], data: FlowData) -> None:
    """Refuse data on another grid or with another forcing than a closure was fitted to.

    Raises
    ------
    ValueError
        Says what differs.
    """
    for key, own, words in (
        ("points", data.points, "points per side"),
        ("forcing", data.forcing, "as wavenumber of the forcing"),
    ):
        if key in metadata and int(metadata[key]) != own:
            raise ValueError(f"{name} was fitted to data with {metadata[key]} {words}; {data.path} has {own}")


def other_reynolds(metadata: Mapping[str, Any], data: FlowData, trajectories: Sequence[int]) -> str | None:
    """A sentence on Reynolds numbers that training has not seen, or None."""
    trained = [float(each) for each in metadata.get("reynolds", [])]
    asked = sorted({float(data.reynolds[i]) for i in trajectories})
    new = [each for each in asked if trained and all(abs(each - t) > 1e-9 * t for t in trained)]
    if not new:
        return None
    return f"trained at Reynolds number {_list(trained)}, used at {_list(new)}"


def seen_segments(subject: Fitted, data: FlowData, trajectory: int) -> list[Mapping[str, Any]]:
    """Segments that training or validation have seen and that a trajectory holds: by its name, or by its frames.

    Where the frames are not known, all names count of a data set that does not say for sure which trajectory has which.
    """
    segments = subject.segments
    called = [s for s in segments if data.is_called(trajectory, str(s.get("simulation")))]
    if called:
        return called
    if subject.samples is None:
        return [s for s in segments if data.may_be(trajectory, str(s.get("simulation")))]
    points, interval = int(subject.metadata["points"]), float(subject.metadata["interval"])
    return [
        segment
        for segment, known in zip(segments, subject.samples, strict=True)
        if holds_frames(data, trajectory, known, int(segment["step"]) * interval, points)
    ]


def unseen_frames(subjects: Sequence[Any], data: FlowData, trajectory: int) -> range | None:
    """Frames of a trajectory that no subject has seen, or None if there are none.

    All frames if its simulation is new to all. Of one that was split in time, the subjects' common test segment, if
    the data are the file that they were trained on and no training frame lies within it.
    """
    found = range(data.frames)
    for subject in subjects:
        seen = seen_segments(subject, data, trajectory)
        if not seen:
            continue
        if Path(str(subject.metadata.get("data", ""))).resolve() != data.path.resolve():
            return None
        tests = [s for s in subject.metadata.get("test", ()) if data.is_called(trajectory, str(s.get("simulation")))]
        apart = [t for t in tests if all(t["stop"] <= s["start"] or t["start"] >= s["stop"] for s in seen)]
        if not apart:
            return None
        low, high = max(found.start, apart[-1]["start"]), min(found.stop, apart[-1]["stop"])
        if low >= high:
            return None
        found = range(low, high)
    return found


@dataclass(frozen=True)
class Stretch:
    """Frames of one trajectory that are judged."""

    trajectory: int
    frames: range


def choose_stretches(
    subjects: Sequence[Any], data: FlowData, trajectories: Sequence[int] | None = None, *, allow_leak: bool = False
) -> tuple[Stretch, ...]:
    """Which frames of which trajectories are judged.

    Parameters
    ----------
    subjects
        Closures or models.
    data
        The data set.
    trajectories
        By name; default: those with frames that no subject has seen, whole ones where there are any.
    allow_leak
        Judge trajectories that were asked for although they were seen.

    Raises
    ------
    ValueError
        If a trajectory does not exist or was seen, or none is left.
    """
    free = {i: unseen_frames(subjects, data, i) for i in range(data.trajectories)}
    if trajectories is None:
        whole = [i for i, frames in free.items() if frames == range(data.frames)]
        chosen = whole or [i for i, frames in free.items() if frames is not None]
        if not chosen:
            raise ValueError(
                f"every trajectory of {data.path} was seen in training or validation by {_who(subjects, data)}: give "
                "data of other seeds, or name trajectories and --allow-leak"
            )
        return tuple(Stretch(i, free[i] or range(data.frames)) for i in chosen)
    stretches = []
    for i in trajectories:
        if not 0 <= i < data.trajectories:
            raise ValueError(f"{data.path} has trajectories 0 to {data.trajectories - 1}; got {i}")
        frames = free[i]
        if frames is None and not allow_leak:
            known = [s.name for s in subjects if seen_segments(s, data, i)]
            raise ValueError(
                f"trajectory {i} was seen in training or validation by {', '.join(known)}: choose another, or score it "
                "all the same with --allow-leak"
            )
        stretches.append(Stretch(i, frames if frames is not None else range(data.frames)))
    return tuple(stretches)


def leaks(subjects: Sequence[Any], data: FlowData, stretches: Sequence[Stretch]) -> list[int]:
    """Trajectories among those judged whose frames were seen."""
    return [s.trajectory for s in stretches if unseen_frames(subjects, data, s.trajectory) is None]


def _who(subjects: Sequence[Any], data: FlowData) -> str:
    known = [s.name for s in subjects if any(seen_segments(s, data, i) for i in range(data.trajectories))]
    return ", ".join(known)


def _words(plain: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{key} {value:g}" for key, value in plain.items() if key != "filter")
    return f"{plain['filter']} ({settings})"


def _list(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in sorted(set(numbers)))
