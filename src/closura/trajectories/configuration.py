"""Settings of a generated data set, and what can be refused before the first step."""

import hashlib
import json
import math
import shlex
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from closura.numerics.fourier import Nyquist
from closura.problems.kolmogorov.flow import FlowIntegrator, KolmogorovFlow, Padding
from closura.seeds import LIMIT
from closura.settings import Count, Natural, NotNegative, Positive, Seed, Settings
from closura.trajectories.schema import FlowDescription, Precision

Start = Literal["random", "published"]
STARTS: tuple[Start, ...] = get_args(Start)

# Minus the centre of the spectrum of the eight published initial fields, in the order of their files.
PUBLISHED_OFFSETS = ((0, 0), (0, 1), (1, 0), (0, 2), (2, 0), (1, 1), (2, 2), (0, 3))


@dataclass(frozen=True)
class GenerationConfiguration(Settings):
    """How a data set of Kolmogorov flows is made.

    Parameters
    ----------
    reynolds
        Reynolds numbers; each gets its own trajectories.
    forcing
        Wavenumber n of the forcing sin(n y) e_x.
    grid
        Points per side of the simulation: even.
    trajectories
        Trajectories for each Reynolds number.
    duration
        Time that is kept of each trajectory: a whole number of intervals.
    interval
        Time between frames: a whole number of time steps.
    transient
        Time before the first frame, not kept: a whole number of time steps.
    dt
        Time step.
    integrator
        "rk4" (classical), or "euler" (forward; the published data).
    seed
        Seed of the first trajectory; the others count on from it.
    precision
        In which frames are kept; the simulation always runs in float64.
    padding
        Grid of products over the grid: "3/2" is enough, "2" is KolSol's.
    nyquist
        Rule for Nyquist waves: "zero", or "kolsol" to repeat KolSol.
    start
        "random": divergence-free random fields; "published": the eight offsets of the published data, not
        divergence-free and with a mean velocity, for at most eight trajectories.
    restrict
        Keep frames on that many points per side: the waves of a coarser grid alone (default: all).
    """

    reynolds: tuple[Positive, ...] = (34.0,)
    forcing: Natural = 4
    grid: Count = 64
    trajectories: Count = 8
    duration: Positive = 120.0
    interval: Positive = 0.12
    transient: NotNegative = 180.0
    dt: Positive = 0.01
    integrator: FlowIntegrator = "rk4"
    seed: Seed = 0
    precision: Precision = "float32"
    padding: Padding = "3/2"
    nyquist: Nyquist = "zero"
    start: Start = "random"
    restrict: Count | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "reynolds", tuple(self.reynolds))
        super().__post_init__()
        object.__setattr__(self, "reynolds", tuple(float(each) for each in self.reynolds))
        if not self.reynolds:
            raise ValueError("need a Reynolds number; got none")
        if len(set(self.reynolds)) < len(self.reynolds):
            raise ValueError(f"Reynolds numbers must differ; got {list(self.reynolds)}. Ask for more trajectories")
        whole("interval", self.interval, "dt", self.dt)
        whole("transient", self.transient, "dt", self.dt)
        whole("duration", self.duration, "interval", self.interval)
        if self.start == "published" and self.total > len(PUBLISHED_OFFSETS):
            raise ValueError(
                f"there are {len(PUBLISHED_OFFSETS)} published initial fields; got {self.total} trajectories: ask for "
                "fewer, or --start random"
            )
        last = self.seed + self.total - 1
        if last >= LIMIT:
            raise ValueError(
                f"seed counts on from trajectory to trajectory, and must stay below 2^63; got {self.seed} for the "
                f"first of {self.total}"
            )
        if self.restrict is not None and not (
            4 <= self.restrict < self.grid and self.restrict % 2 == 0 and self.restrict // 2 > self.forcing
        ):
            raise ValueError(
                f"restrict must be even, resolve the forcing ({self.forcing}) and be less than the grid "
                f"({self.grid}); got {self.restrict}"
            )
        # Refuses grids, padding and rules that the solver does not know.
        self.flow()

    @property
    def total(self) -> int:
        """Number of trajectories, of all Reynolds numbers."""
        return self.trajectories * len(self.reynolds)

    @property
    def steps_per_frame(self) -> int:
        """Time steps between frames."""
        return round(self.interval / self.dt)

    @property
    def transient_steps(self) -> int:
        """Time steps before the first frame."""
        return round(self.transient / self.dt)

    @property
    def frames(self) -> int:
        """Frames per trajectory."""
        return round(self.duration / self.interval)

    @property
    def steps(self) -> int:
        """Time steps of each trajectory; the first frame is the state after the transient."""
        return self.transient_steps + (self.frames - 1) * self.steps_per_frame

    @property
    def points(self) -> int:
        """Points per side of the frames."""
        return self.grid if self.restrict is None else self.restrict

    def flow(self) -> KolmogorovFlow:
        """The solver."""
        return KolmogorovFlow(self.grid, self.forcing, self.padding, self.nyquist)

    def members(self) -> list[tuple[float, int]]:
        """Reynolds number and seed of each trajectory."""
        return [
            (reynolds, self.seed + block * self.trajectories + i)
            for block, reynolds in enumerate(self.reynolds)
            for i in range(self.trajectories)
        ]

    def starts(self) -> np.ndarray:
        """Initial spectra, ``(trajectory, 2, grid, grid/2 + 1)``, complex128."""
        flow = self.flow()
        if self.start == "published":
            return np.stack([
                flow.random_start(seed, offset=PUBLISHED_OFFSETS[i], project=False)
                for i, (_, seed) in enumerate(self.members())
            ])  # fmt: skip
        return np.stack([flow.random_start(seed) for _, seed in self.members()])

    def identities(self) -> tuple[str, ...]:
        """One name per trajectory: a hash of all that fixes the simulation, not of what is kept of it.

        Another interval, duration, transient, precision or restriction of the same simulation has the same name.
        """
        shared = {
            name: getattr(self, name) for name in ("forcing", "grid", "dt", "integrator", "padding", "nyquist", "start")
        }
        names = []
        for i, (reynolds, seed) in enumerate(self.members()):
            own = {**shared, "reynolds": reynolds, "seed": seed}
            if self.start == "published":
                own["offset"] = PUBLISHED_OFFSETS[i]
            names.append("kolmogorov-" + hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:16])
        return tuple(names)

    def plain(self) -> dict[str, Any]:
        """All settings, as JSON knows them."""
        return json.loads(json.dumps(asdict(self)))

    def command(self, path: str | Path) -> str:
        """The command that makes this data set, or goes on with it."""
        words = ["closura data generate kolmogorov"]
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "reynolds":
                words.append("--reynolds " + " ".join(f"{number:.12g}" for number in value))
            elif value != each.default or each.name in ("forcing", "grid", "trajectories", "duration", "interval"):
                words.append(f"--{each.name} {value}")
        return " ".join([*words, f"--out {shlex.quote(str(path))}"])

    def description(self) -> FlowDescription:
        """What the store will say of itself."""
        members = self.members()
        return FlowDescription(
            points=self.points,
            frames=self.frames,
            interval=self.interval,
            forcing=self.forcing,
            reynolds=tuple(reynolds for reynolds, _ in members),
            identities=self.identities(),
            seeds=tuple(seed for _, seed in members),
            precision=self.precision,
            attributes={
                "simulated_points": self.grid,
                "dt": self.dt,
                "integrator": self.integrator,
                "padding": self.padding,
                "nyquist": self.nyquist,
                "transient": self.transient,
                "start": self.start,
                "configuration": json.dumps(self.plain()),
            },
        )


def whole(name: str, value: float, unit_name: str, unit: float) -> int:
    """How often a time holds another."""
    if not value / unit < 2**53:
        raise ValueError(f"{name} {value:g} holds too many of {unit_name} ({unit:g}) to be counted: choose other times")
    count = round(value / unit)
    if abs(value - count * unit) <= 1e-9 * max(value, unit) and (count >= 1 or value == 0):
        return count
    low = math.floor(value / unit)
    near = [f"{each * unit:.10g}" for each in (low, low + 1) if each >= 1]
    raise ValueError(
        f"{name} must be a whole number of {unit_name} ({unit:g}); got {value:g}, nearest: {' and '.join(near)}"
    )
