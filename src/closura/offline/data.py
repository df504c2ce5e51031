"""The frames of a fit: opened, split, filtered, streamed in batches."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from closura.offline.descent import Descent
from closura.offline.filters import FILTERS, Filter, Rule, SpectralCutoff, cutoff_by_energy, mode_power
from closura.settings import Natural, NotNegative, Positive, Range, Settings, Share
from closura.trajectories.flow_data import FlowData, open_flow
from closura.trajectories.identity import NUMBERS
from closura.trajectories.split import (
    Segment,
    Split,
    by_time,
    by_trajectory,
    check_split,
    holds_frames,
    interleaved,
)
from closura.trajectories.windows import Windows

SplitBy = Literal["trajectory", "time", "interleaved"]
FilterName = Literal["spectral", "gaussian", "box"]


@dataclass(frozen=True)
class FilterSettings(Settings):
    """The low-pass filter between full and filtered fields.

    Parameters
    ----------
    kind
        "spectral" (sharp cut-off), "gaussian" or "box".
    cutoff
        Largest wavenumber that is kept (spectral); 0 finds it by ``energy``.
    energy
        Share of the training frames' energy that the cut-off is to keep.
    rule
        "published": centre of the shell that crosses that share (|k| <= 3.951 for the published flow, which cuts the
        forcing's own wave); "crossing" keeps that shell (4).
    width
        Width of the Gaussian or box filter, in units of length (the box is 2 pi).
    """

    kind: FilterName = "spectral"
    cutoff: NotNegative = 0.0
    energy: Annotated[float, Range(0, 1, above=True, below=True)] = 0.9
    rule: Rule = "published"
    width: Positive = 1.5


@dataclass(frozen=True)
class SplitSettings(Settings):
    """Which frames are for training, for choosing, and held out.

    Parameters
    ----------
    by
        "trajectory" holds out whole trajectories; "time" the end of each; "interleaved" is the published split (even
        frames for training, odd ones for the test), which leaks and needs ``allow_leak``.
    held_out
        Trajectories that training never sees ("trajectory").
    validation
        Trajectories that choose between checkpoints and calibrate intervals ("trajectory").
    shares
        Of the time of each trajectory, for training, validation, test ("time").
    gap
        Frames left out between the parts ("time").
    only
        Trajectories that are used at all (default: all of them; published closures know one).
    allow_leak
        Go on although held-out frames lie among training frames.
    """

    by: SplitBy = "trajectory"
    held_out: tuple[Natural, ...] = (7,)
    validation: tuple[Natural, ...] = (6,)
    shares: tuple[Share, Share, Share] = (0.7, 0.1, 0.2)
    gap: Natural = 100
    only: tuple[Natural, ...] = ()
    allow_leak: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by == "interleaved" and not self.allow_leak:
            raise ValueError(
                "interleaved frames leak: the test frames lie 0.1 % beside training frames. Hold out trajectories or "
                "times with --split.by trajectory or time, or allow it by name with --split.allow-leak"
            )


POWER_FRAMES = 1000
"""Training frames from which a cut-off is found: more change its energy share by less than 0.1 %."""


LEAST_GAP = 10
"""Frames that must lie between training and the test where both are of one trajectory, unless leaks are allowed."""


@dataclass(frozen=True, eq=False)
class FitData:
    """A data set with its split and its filter."""

    flow: FlowData
    split: Split
    filtering: Filter

    def frames(self, segments: Sequence[Segment], most: int) -> Float[np.ndarray, "time 2 x y"]:
        """Up to ``most`` frames, evenly spread over segments, float32."""
        if not segments:
            raise ValueError(f"no frames of {self.flow.path} are left for this part of the split")
        total = sum(len(segment) for segment in segments)
        wanted = np.unique(np.linspace(0, total - 1, min(most, total)).astype(int))
        parts, first = [], 0
        for segment in segments:
            own = wanted[(wanted >= first) & (wanted < first + len(segment))] - first
            first += len(segment)
            numbers = segment.start + segment.step * own
            if numbers.size:
                parts.append(self.flow.read_some(segment.trajectory, numbers).astype(np.float32, copy=False))
        return np.concatenate(parts)

    def pairs(
        self, segments: Sequence[Segment], most: int
    ) -> tuple[Float[np.ndarray, "time 2 x y"], Float[np.ndarray, "time 2 x y"]]:
        """Filtered and full frames."""
        full = self.frames(segments, most)
        return self.filtering(full), full

    def batches(self, size: int, *, seed: int, first: int = 0) -> Iterator[Float[np.ndarray, "size 2 2 x y"]]:
        """Shuffled pairs of filtered and full training frames, for ever, from batch ``first`` on."""
        for batch in Windows(self.flow, self.split.train, 1).batches(size, seed=seed, first=first):
            full = batch[:, 0]
            yield np.stack([self.filtering(full), full], axis=1)

    @cached_property
    def seen(self) -> Float[np.ndarray, "frames 32"]:
        """Samples of all frames of training, then of validation: by them a closure knows what it has seen."""
        parts = [self.flow.samples(s.trajectory, np.asarray(s.frames), self.flow.points)
                 for s in (*self.split.train, *self.split.validation)]  # fmt: skip
        return np.concatenate([np.empty((0, NUMBERS), np.float32), *parts])

    def record(self) -> dict[str, Any]:
        """What goes into the file of weights: :meth:`facts`, and :attr:`seen`."""
        return {**self.facts(), "seen": self.seen}

    def facts(self) -> dict[str, Any]:
        """What a run must remember: filter, and the simulations that it has seen."""

        def names(segments: Sequence[Segment]) -> list[dict[str, Any]]:
            return [{"simulation": self.flow.identities[s.trajectory], **asdict(s)} for s in segments]

        return {
            "data": str(self.flow.path),
            "filter": self.filtering.plain(),
            "forcing": self.flow.forcing,
            "interval": self.flow.interval,
            "points": self.flow.points,
            "reynolds": sorted({float(self.flow.reynolds[s.trajectory]) for s in self.split.train}),
            "train": names(self.split.train),
            "validation": names(self.split.validation),
            "test": names(self.split.test),
        }


QUICK_VALIDATION = {"frames": 10, "members": 4, "every": 200}
"""How the preset "quick" evaluates samplers."""


class Training(NamedTuple):
    """A fit by gradient descent: the learner, the untrained module, and all batches from a number on."""

    descent: Descent
    module: Any
    batches: Callable[[int], Iterator[Any]]


def frames_apart(every_frames: int, segments: Sequence[Segment]) -> int:
    """How many of the segments' own frames make a step of ``every_frames`` frames of the data."""
    steps = {segment.step for segment in segments}
    if len(steps) != 1 or every_frames % min(steps):
        raise ValueError(
            f"the split keeps every {sorted(steps)} frames, of which none are {every_frames} apart: choose a multiple "
            "with --every-frames"
        )
    return every_frames // min(steps)


def fit_data(path: str, filtering: FilterSettings, split: SplitSettings) -> FitData:
    """Open a data set, split it, and find its filter from training frames."""
    if not path:
        raise ValueError("which data? give --data FILE.zarr; make one with: closura data generate kolmogorov --help")
    flow = open_flow(path)
    if "filter" in flow.attributes:
        raise ValueError(f"{path} holds filtered frames: give the full ones, fits filter by themselves")
    parts = split_of(flow, split)
    return FitData(flow, parts, filter_of(flow, parts.train, filtering))


def split_of(flow: FlowData, c: SplitSettings) -> Split:
    """The split that settings ask for, checked for leaks."""
    if c.by == "trajectory":
        numbers = [i for i in (*c.held_out, *c.validation) if i >= flow.trajectories]
        if numbers:
            raise ValueError(
                f"{flow.path} has {flow.trajectories} trajectories, 0 to {flow.trajectories - 1}; the split names "
                f"{numbers}: choose others with --split.held-out and --split.validation"
            )
        parts = by_trajectory(flow, c.held_out, c.validation)
    elif c.by == "time":
        parts = by_time(flow, c.shares, gap=c.gap)
    else:
        parts = interleaved(flow)
    if c.only:
        absent = [i for i in c.only if not 0 <= i < flow.trajectories]
        if absent:
            raise ValueError(f"{flow.path} has trajectories 0 to {flow.trajectories - 1}; --split.only names {absent}")
        parts = Split(*(tuple(s for s in part if s.trajectory in c.only) for part in parts))
        if not parts.train:
            raise ValueError(f"no trajectory of --split.only {c.only} is left for training")
    if not c.allow_leak:
        _check_simulations(flow, parts)
    gap = LEAST_GAP if c.by == "time" else 0
    check_split(parts.train, parts.test, gap=gap, allow_leak=c.allow_leak)
    check_split(parts.train, parts.validation, gap=gap, allow_leak=c.allow_leak)
    return parts


def _check_simulations(flow: FlowData, split: Split) -> None:
    """Refuse the same simulation, or the same frames, in training and elsewhere, under two numbers."""
    for known in split.train:
        others = {s.trajectory for s in (*split.validation, *split.test)} - {known.trajectory}
        if not others:
            continue
        samples = flow.samples(known.trajectory, np.asarray(known.frames), flow.points)
        for held in sorted(others):
            same = flow.identities[known.trajectory] == flow.identities[held]
            if same or holds_frames(flow, held, samples, known.step * flow.interval, flow.points):
                what = "are the same simulation" if same else "hold the same frames"
                raise ValueError(
                    f"trajectories {known.trajectory} and {held} of {flow.path} {what}, one for training and one held "
                    "out: use others, or allow it by name (split.allow-leak)"
                )


def check_same_simulations(stored: Mapping[str, Any], flow: FlowData) -> None:
    """Refuse a data set that lacks simulations that a run has seen (:meth:`FitData.facts`), each under its number."""
    for part in ("train", "validation", "test"):
        for segment in stored.get(part, ()):
            number, name = segment["trajectory"], segment["simulation"]
            found = flow.identities[number] if number < flow.trajectories else "none"
            if number >= flow.trajectories or not flow.is_called(number, name):
                raise ValueError(
                    f"{flow.path} holds other simulations than {stored.get('data')}, which the run began with: its "
                    f"trajectory {number} is {found}, not {name}. Give the same data with --data, or start a new run "
                    "with another --run"
                )


def check_same_data(stored: Any, data: FitData) -> None:
    """Refuse to go on with other data than a run began with; ValueError says what differs."""
    facts = json.loads(json.dumps(data.facts()))
    for name in ("filter", "forcing", "interval", "points", "train", "validation", "test"):
        if isinstance(stored, dict) and name in stored and _unnamed(stored[name]) != _unnamed(facts[name]):
            raise ValueError(
                f"{data.flow.path} is not the data that the run began with ({name} differs): start a new run, or give "
                "the same data with --data"
            )


def _unnamed(fact: Any) -> Any:
    """A fact without names of simulations: :func:`check_same_simulations` knows what else they were called."""
    if not isinstance(fact, list):
        return fact
    return [{k: v for k, v in each.items() if k != "simulation"} if isinstance(each, dict) else each for each in fact]


def filter_of(flow: FlowData, train: Sequence[Segment], c: FilterSettings) -> Filter:
    """The filter that settings ask for."""
    if c.kind != "spectral":
        return FILTERS[c.kind](c.width)
    if c.cutoff:
        asked = SpectralCutoff(c.cutoff)
        if asked.transfer((flow.points, flow.points)).all():
            raise ValueError(
                f"a cut-off of {c.cutoff:g} keeps all waves of {flow.points} x {flow.points} points: nothing is left "
                f"out; choose one below {flow.points / 2:g} with --filter.cutoff"
            )
        return asked
    probe = FitData(flow, Split(tuple(train), (), ()), SpectralCutoff(flow.points / 2))
    power = mode_power(probe.frames(train, POWER_FRAMES))
    return SpectralCutoff(cutoff_by_energy(power, c.energy, c.rule))
