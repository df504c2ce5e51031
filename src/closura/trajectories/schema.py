"""What a data set of flows is called and holds: one record, and how it becomes labelled arrays in a zarr store.

    velocity    (trajectory, time, component, x, y)     frames on the points 2 pi i / N of [0, 2 pi)^2
    energy      (trajectory, time)                      <u^2 + v^2> / 2
    dissipation (trajectory, time)                      <(dv/dx - du/dy)^2> / Re
    coordinates trajectory, time, component, x, y, and per trajectory seed, reynolds, identity
    checksums   check (trajectory), of its coordinates; frame_check (trajectory, time), of its name and frame

All is non-dimensional: lengths in units of the box over 2 pi. Chunks of the velocity hold some frames of one
trajectory, so that a window of time costs few of them. The store is of zarr format 2, where names (text of fixed
length) and consolidated metadata are no extensions; chunks carry checksums, and those of numbers are filled with NaN
until they are written: a missing one is damage.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Precision = Literal["float32", "float64"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

FORMAT = "closura flows"
FORMAT_VERSION = 1
VELOCITY_DIMENSIONS = ("trajectory", "time", "component", "x", "y")
COMPONENTS = ("u", "v")
UNKNOWN_SEED = -1
CHUNK_BYTES = 2**20

# Names of arrays: dimensions, attributes.
COORDINATES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "trajectory": (("trajectory",), {"long_name": "number of the trajectory"}),
    "time": (("time",), {"units": "1", "long_name": "time since the first frame that is kept"}),
    "component": (("component",), {"long_name": "component of the velocity, along x and y"}),
    "x": (("x",), {"units": "1", "long_name": "position along x; the box has the length 2 pi"}),
    "y": (("y",), {"units": "1", "long_name": "position along y; the box has the length 2 pi"}),
    "seed": (("trajectory",), {"long_name": f"seed of the random initial field; {UNKNOWN_SEED} where unknown"}),
    "reynolds": (("trajectory",), {"units": "1", "long_name": "Reynolds number, the inverse of the viscosity"}),
    "identity": (("trajectory",), {"long_name": "name of the simulation"}),
    "check": (("trajectory",), {"long_name": "checksum of identity, seed, Reynolds number and forcing"}),
}
VARIABLES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "velocity": (VELOCITY_DIMENSIONS, {"units": "1", "long_name": "velocity"}),
    "energy": (("trajectory", "time"), {"units": "1", "long_name": "kinetic energy per unit of mass"}),
    "dissipation": (("trajectory", "time"), {"units": "1", "long_name": "rate of dissipation per unit of mass"}),
    "frame_check": (("trajectory", "time"), {"long_name": "checksum of the identity and of points of the frame"}),
}


@dataclass(frozen=True)
class FlowDescription:
    """What a data set of flows is, without its frames.

    Parameters
    ----------
    points
        Points per side.
    frames
        Frames per trajectory.
    interval
        Time between frames.
    forcing
        Wavenumber n of the forcing sin(n y) e_x; 0 without forcing.
    reynolds
        Reynolds number of each trajectory.
    identities
        One name per trajectory: two data sets with a name in common hold the same simulation.
    seeds
        Seed of each trajectory (default: unknown).
    precision
        In which frames are kept.
    attributes
        Further facts, as JSON knows them: dt, integrator, padding, nyquist, transient, configuration, source, ...
    """

    points: int
    frames: int
    interval: float
    forcing: int
    reynolds: tuple[float, ...]
    identities: tuple[str, ...]
    seeds: tuple[int, ...] = ()
    precision: Precision = "float32"
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.seeds:
            object.__setattr__(self, "seeds", (UNKNOWN_SEED,) * len(self.reynolds))
        if self.precision not in PRECISIONS:
            raise ValueError(f"unknown precision {self.precision!r}; valid: {', '.join(PRECISIONS)}")
        if self.points < 2 or self.frames < 1 or not self.reynolds:
            raise ValueError(
                f"need at least one frame of one trajectory, on 2 points per side; got {self.frames} frames, "
                f"{len(self.reynolds)} trajectories, {self.points} points"
            )
        if not 0 < self.interval < math.inf or not all(math.isfinite(each) and each > 0 for each in self.reynolds):
            raise ValueError(
                f"interval and Reynolds numbers must be positive; got {self.interval} and {list(self.reynolds)}"
            )
        if not len(self.reynolds) == len(self.identities) == len(self.seeds):
            raise ValueError(
                f"one Reynolds number, identity and seed per trajectory; got {len(self.reynolds)}, "
                f"{len(self.identities)} and {len(self.seeds)}"
            )

    @property
    def trajectories(self) -> int:
        """Number of trajectories."""
        return len(self.reynolds)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame as it is kept, before compression."""
        return 2 * self.points**2 * (4 if self.precision == "float32" else 8)

    @property
    def chunk_frames(self) -> int:
        """Frames in a chunk: about a mebibyte."""
        return max(1, min(self.frames, CHUNK_BYTES // self.frame_bytes))

    def all_attributes(self) -> dict[str, Any]:
        """Attributes of the store, as JSON knows them; everything but whether it is complete."""
        own = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "problem": "kolmogorov",
            "boundary": "periodic",
            "forcing": self.forcing,
            "points": self.points,
            "interval": self.interval,
            "duration": self.frames * self.interval,
        }
        return json.loads(json.dumps({**self.attributes, **own}, allow_nan=False))
