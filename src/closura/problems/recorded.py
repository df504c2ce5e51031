"""Recordings as the reference of a problem: cases cut from them, and a solver that reads instead of computing.

What opens files is :func:`closura.recorded`; here a recording is what gives a frame by its number.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree, Scalar, UInt32

from closura.core.case import Case, CaseSampler
from closura.core.solver import Parameters, Solver
from closura.core.transfer import Restriction, transfer
from closura.grids import Grid

USUAL_HORIZON = 100
TIME_TOLERANCE = 1e-3
"""Relative difference of a time step and the time between frames that rounding of times explains."""
LENGTH_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Recordings:
    """Recordings, and which of them belong to a split; made by :func:`closura.recorded`.

    Parameters
    ----------
    name
        What they are called in messages.
    components
        Names of the components of a frame.
    points
        Points along each axis.
    lengths
        Lengths of the domain along each axis, where recordings say them.
    interval
        Time between frames.
    frames
        Frames of each recording, of all splits.
    names
        What each is called.
    members
        Numbers of those of the split, of which there is at least one.
    first
        Number of the first one for training.
    training
        Whether the split is that of training: cases begin anywhere. Others begin at the first frame.
    parameters
        What else differs between recordings, ``(recording,)`` each, by name.
    marks
        Hashes of frames of each recording of the split: a recording is known by them, whatever it is called.
    identity
        SHA-256 of variables, division, parameters and marks of the split.
    read
        ``read(recording, frame)``: ``(component, *points)``, float32.
    words
        Statements on the data, by name.
    """

    name: str
    components: tuple[str, ...]
    points: tuple[int, ...]
    lengths: tuple[float | None, ...]
    interval: float
    frames: tuple[int, ...]
    names: tuple[str, ...]
    members: tuple[int, ...]
    first: int
    training: bool
    parameters: Mapping[str, Float[np.ndarray, " recording"]]
    marks: tuple[str, ...]
    identity: str
    read: Callable[[int, int], Float[np.ndarray, "component *points"]]
    words: Mapping[str, str]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recordings) and (self.identity, self.name) == (other.identity, other.name)

    def __hash__(self) -> int:
        return hash((self.identity, self.name))

    def grid_over(self, grid: Grid) -> Grid:
        """Their own grid; ValueError if it is no refinement of the coarse one, by one whole number along each axis."""
        here, coarse = " x ".join(map(str, self.points)), " x ".join(map(str, grid.shape))
        if len(self.points) != grid.dimensions:
            raise ValueError(f"{self.name} has {len(self.points)} axes ({here} points), grid {grid.dimensions}")
        ratio = self.points[0] // grid.shape[0]
        if ratio < 1 or tuple(ratio * n for n in grid.shape) != self.points:
            fits = [n for n in range(4, self.points[0] + 1) if self.points[0] % n == 0]
            raise ValueError(
                f"{self.name} has {here} points, expected a multiple of those of the coarse grid by one whole number; "
                f"got {coarse}: take {', '.join(map(str, fits[-4:]))} along x, or interpolate the recordings first"
            )
        for axis, own, said in zip("xyz", self.lengths, grid.extent, strict=False):
            if own is not None and abs(own - said) > LENGTH_TOLERANCE * own:
                raise ValueError(
                    f"{self.name} is {own:.6g} long along {axis}, and the grid {said:.6g}: give closura.Grid the same "
                    "extent, in the same unit"
                )
        return grid.refine(ratio)

    def stride(self, dt: float) -> tuple[int, int]:
        """Frames in each coarse step, and coarse time steps of the solver's own in each of these; one of them is 1."""
        frames, parts = round(dt / self.interval), round(self.interval / dt)
        if frames >= 1 and abs(frames * self.interval - dt) <= TIME_TOLERANCE * dt:
            return frames, 1
        if parts >= 1 and abs(parts * dt - self.interval) <= TIME_TOLERANCE * self.interval:
            return 1, parts
        near = self.interval * frames if frames else self.interval / parts
        raise ValueError(
            f"{self.name} has a frame every {self.interval:.6g}, expected dt to be a multiple or a whole fraction of "
            f"it; got {dt:.6g}: take {near:.6g}"
        )

    def horizon(self, stride: int, asked: int | None) -> int:
        """Coarse steps of the windows that training is cut into; ValueError if a recording is too short for it."""
        everyone = range(len(self.frames))
        shortest = min(everyone, key=lambda number: self.frames[number])
        there = (self.frames[shortest] - 1) // stride
        if there < (asked or 1):
            raise ValueError(
                f"recording {self.names[shortest]} of {self.name} has {self.frames[shortest]} frames, which are "
                f"{there} coarse steps; expected {asked or 1} or more: "
                + ("take a smaller horizon=, or leave it out" if there else "leave it out, or take a smaller dt")
            )
        return asked or min(USUAL_HORIZON, there)


class RecordedCases(CaseSampler):
    """Windows of recordings for training, which begin at any frame; elsewhere whole recordings in turn.

    Parameters
    ----------
    recordings
        Those of a split.
    stride
        Frames in each coarse step.
    horizon
        Coarse steps of a window of training.
    identity
        That of the recordings, as numbers: what is kept on disk of them belongs to these data.
    """

    recordings: Recordings = eqx.field(static=True)
    stride: int = eqx.field(static=True)
    horizon: int = eqx.field(static=True)
    identity: UInt32[Array, " number"]

    @property
    def marks(self) -> tuple[str, ...]:
        return self.recordings.marks

    def at_most(self, steps: int) -> int:
        r = self.recordings
        return min(steps, self.horizon if r.training else min(r.frames[m] - 1 for m in r.members) // self.stride)

    def limited(self, cases: int, steps: int) -> int:
        asked = super().limited(cases, steps)
        return asked if self.recordings.training else min(asked, len(self.recordings.members))

    def sample(self, *, key: Key[Scalar, ""]) -> Case:
        r = self.recordings
        room = self.horizon * self.stride if r.training else np.inf
        starts = np.asarray([max(1, r.frames[m] - room) for m in r.members])
        ends = jnp.asarray(np.cumsum(starts), jnp.int32)
        number = jax.random.randint(key, (), 0, int(starts.sum()), dtype=jnp.int32)
        place = jnp.searchsorted(ends, number, side="right").astype(jnp.int32)
        frame = number - (ends - jnp.asarray(starts, jnp.int32))[place]
        return self.at(jnp.asarray(r.members, jnp.int32)[place], frame)

    def member(self, number: Int[Array, ""], *, key: Key[Scalar, ""]) -> Case:
        r = self.recordings
        if r.training:
            return self.sample(key=key)
        return self.at(jnp.asarray(r.members, jnp.int32)[number % len(r.members)], jnp.zeros((), jnp.int32))

    def at(self, recording: Int[Array, ""], frame: Int[Array, ""]) -> Case:
        """The case that begins at a frame."""
        r, place = self.recordings, jnp.stack([recording, frame])
        parameters = {name: jnp.asarray(values, jnp.float32)[recording] for name, values in r.parameters.items()}
        return Case(_frame(r, place), parameters or None, recorded=place)


class Recorded(Solver):
    """What recordings hold, as a solver on their grid; its state is ``(recording, frame)``.

    A step of any length leads to the next frame that a coarse step ends at.
    """

    grid: Grid = eqx.field(static=True)
    recordings: Recordings = eqx.field(static=True)
    stride: int = eqx.field(static=True)
    restrict: Restriction | None = eqx.field(static=True, default=None)
    recorded: ClassVar[bool] = True

    def init(self, case: Case) -> tuple[Int[Array, "2"], Parameters]:
        if case.recorded is None:
            raise ValueError("this case is no part of a recording: there is no reference for it")
        return case.recorded, case.parameters

    def advance(self, state: Int[Array, "2"], parameters: Parameters, dt: float | Float[Array, ""]) -> Array:
        return state + jnp.asarray([0, self.stride], jnp.int32)

    def to_grid(self, state: Int[Array, "2"], grid: Grid) -> Float[Array, "component *grid"]:
        return transfer(_frame(self.recordings, state), grid, restrict=self.restrict, centred=self.restrict is None)


def recorded_cases(
    recordings: Recordings, grid: Grid, dt: float, horizon: int | None, restrict: Restriction | None
) -> tuple[RecordedCases, Recorded, Case, int]:
    """Cases and reference of recordings, a first case, and the solver's own steps in each coarse step of the problem.

    The first case is the initial condition of the first recording for training, whatever the split.

    Raises
    ------
    ValueError
        If grid or time step do not fit, or a recording is too short.
    """
    fine, (stride, parts) = recordings.grid_over(grid), recordings.stride(dt)
    longest = recordings.horizon(stride, horizon)
    identity = jnp.asarray(np.frombuffer(bytes.fromhex(recordings.identity), np.uint32))
    cases = RecordedCases(recordings, stride, longest, identity)
    first = cases.at(jnp.asarray(recordings.first, jnp.int32), jnp.zeros((), jnp.int32))
    return cases, Recorded(fine, recordings, stride, restrict), first, parts


def _frame(recordings: Recordings, place: PyTree[Array]) -> Float[Array, "component *fine"]:
    """A frame, read from a compiled program."""
    shape = (len(recordings.components), *recordings.points)

    def read(places: Any) -> np.ndarray:
        places = np.asarray(places)
        found = np.empty((*places.shape[:-1], *shape), np.float32)
        for index in np.ndindex(places.shape[:-1]):
            found[index] = recordings.read(*(int(number) for number in places[index]))
        return found

    kind = jax.ShapeDtypeStruct(shape, jnp.float32)
    found: Array = jax.pure_callback(read, kind, place, vmap_method="expand_dims")
    return found
