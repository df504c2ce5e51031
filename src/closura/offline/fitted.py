"""Closures and reduced-order models as they were fitted: from which frames, with which filter, in what time."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from closura.offline.filters import Filter, from_plain
from closura.offline.rom import MODELS, ReducedOrderModel
from closura.offline.sampler import SAMPLERS, ConditionalSampler, load_sampler
from closura.offline.stored import FittedKinds
from closura.trajectories import FlowData, open_flow
from closura.trajectories.split import holds_frames

WEIGHTS = "weights.safetensors"
CLIMATOLOGY = "climatology.safetensors"


@dataclass(frozen=True, eq=False)
class Fitted:
    """What was fitted to frames of flows, and knows which.

    ``metadata`` is what the file of weights says: filter, forcing, interval, points, and frames by simulation; nothing
    for a bare file. A run may keep a climatology of its training frames, and say the wall time of the fit.
    """

    name: str
    path: Path
    metadata: Mapping[str, Any]
    climatology: ConditionalSampler | None
    training_seconds: float | None

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
        flow = self.data_of(self.segments)
        if flow is None or any(s["stop"] > flow.frames for s in self.segments):
            return None
        return [flow.samples(s["trajectory"], n, flow.points) for s, n in zip(self.segments, numbers, strict=True)]

    def data_of(self, segments: Sequence[Mapping[str, Any]]) -> FlowData | None:
        """The data that it was fitted to, if they are where they were and segments are of the same simulations."""
        try:
            flow = open_flow(str(self.metadata.get("data", "")))
        except (OSError, ValueError):
            return None
        known = (
            s["trajectory"] < flow.trajectories and flow.is_called(s["trajectory"], str(s.get("simulation")))
            for s in segments
        )
        return flow if all(known) else None

    def seen(self, data: FlowData, trajectory: int) -> list[Mapping[str, Any]]:
        """Segments that training or validation have seen and that a trajectory holds: by its name, or by its frames.

        Where the frames are not known, all names count of a data set that does not say for sure which trajectory has
        which.
        """
        called = [s for s in self.segments if data.is_called(trajectory, str(s.get("simulation")))]
        if called:
            return called
        if self.samples is None:
            return [s for s in self.segments if data.may_be(trajectory, str(s.get("simulation")))]
        points, interval = int(self.metadata["points"]), float(self.metadata["interval"])
        return [
            segment
            for segment, known in zip(self.segments, self.samples, strict=True)
            if holds_frames(data, trajectory, known, int(segment["step"]) * interval, points)
        ]


@dataclass(frozen=True, eq=False)
class FittedClosure(Fitted):
    """A fitted closure: a distribution over full frames for filtered ones."""

    closure: ConditionalSampler

    @property
    def filter(self) -> Filter | None:
        """The filter that it was fitted with, where it says."""
        if self.metadata.get("filter"):
            return from_plain(self.metadata["filter"])
        inner = getattr(self.closure, "inner", self.closure)
        return getattr(getattr(inner, "grid", None), "filter", None)


@dataclass(frozen=True, eq=False)
class FittedModel(Fitted):
    """A fitted reduced-order model, which steps filtered frames."""

    model: ReducedOrderModel

    @property
    def interval(self) -> float:
        """Time between frames of its training."""
        return float(self.metadata["interval"])

    @property
    def step(self) -> float:
        """Time of one step."""
        return int(self.metadata.get("every_frames", 1)) * self.interval

    @property
    def filter(self) -> Filter:
        """The filter that it was fitted with."""
        return from_plain(self.metadata["filter"])


def load_fitted_closure(name: str, path: str | Path) -> FittedClosure:
    """Read a closure: a run folder, or a file of weights."""
    closure, facts = _load(path, SAMPLERS)
    return FittedClosure(name, closure=closure, **facts)


def load_fitted_model(name: str, path: str | Path) -> FittedModel:
    """Read a reduced-order model: a run folder, or its file of weights."""
    model, facts = _load(path, MODELS)
    missing = [key for key in ("filter", "interval", "points", "forcing") if key not in facts["metadata"]]
    if missing:
        raise ValueError(
            f"{facts['path']} does not say its {', '.join(missing)}: give a run that closura train kolmogorov-rom made"
        )
    return FittedModel(name, model=model, **facts)


def _load(path: str | Path, kinds: FittedKinds) -> tuple[Any, dict[str, Any]]:
    """What was fitted, and what is known of it."""
    weights = weights_of(path)
    module, metadata = kinds.load(weights)
    file = weights.parent / CLIMATOLOGY
    climatology = load_sampler(file)[0] if weights.name == WEIGHTS and file.is_file() else None
    known = {"metadata": metadata, "climatology": climatology, "training_seconds": training_seconds(weights)}
    return module, {"path": weights, **known}


def weights_of(path: str | Path) -> Path:
    """The file of weights of a run folder, or the file itself."""
    path = Path(path)
    if path.is_dir():
        if not (path / WEIGHTS).is_file():
            raise FileNotFoundError(
                f"{path} holds no {WEIGHTS}: it is no run, or one that has not evaluated itself yet"
            )
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
