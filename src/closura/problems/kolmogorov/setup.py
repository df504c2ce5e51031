"""Settings of the Kolmogorov flow with a closure in the loop, and the problem that they describe."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp

from closura.decision import Decision
from closura.grids import Grid
from closura.problems.actions import ActionForm, action_channels
from closura.problems.kolmogorov.beginnings import KolmogorovDraw, PoolSettings, developed_states
from closura.problems.kolmogorov.dynamics import KolmogorovDynamics, NextErrorReduction, relative_l2, rms_size
from closura.problems.kolmogorov.flow import KolmogorovFlow
from closura.problems.kolmogorov.smagorinsky import SmagorinskyFlow
from closura.problems.kolmogorov.target import KolmogorovTarget
from closura.problems.problem import EpisodeRules, Problem, SimulatedBegin

SEEDS = {"train": 0, "validation": 100_000, "test": 200_000}
"""First seed of each split's chains."""

TYPICAL_RATE = 0.06
"""Size of a useful correction, in velocity per time: root mean square of what 12 points miss at Reynolds number 34."""

SAFETY = 0.7
"""Time steps over the largest stable one."""


@dataclass(frozen=True)
class KolmogorovConfiguration:
    """Settings of the coarse Kolmogorov flow.

    Lengths are in units of the box over 2 pi, velocities in units of the forcing's strength times unit time.

    Parameters
    ----------
    cells
        Coarse points per side (even).
    fine_cells
        Points per side of the truth (even).
    reynolds
        Reynolds number: one over the viscosity.
    forcing
        Wavenumber of the forcing.
    time_step
        Coarse time step: the closure is asked once in each.
    coarse_steps, fine_steps
        Steps of RK4 that a coarse time step is taken in, on either grid; 0: as many as stability needs.
    smagorinsky
        Constant of the Smagorinsky model, a rival; the default is tuned on training flow (see ``tune``).
    finer
        Points per side of rivals on finer grids, without a closure.
    observe_forcing
        Show the closure the phase of the forcing, sin(n y) and cos(n y).
    speed
        Unit of velocity in which a closure sees and answers.
    action
        "forcing", "mean-free" or "flux"; all are projected on velocities without divergence and mean.
    action_bound
        Actions, in units of speed per time, are clipped to this size.
    pool
        States of developed flow that simulations begin from, per split; each in a random symmetric form.
    chains
        Simulations that the pool comes from.
    transient
        Time before the first state of a chain.
    spacing
        Time between states of a chain.
    settle
        Time on the fine grid before a state joins the pool.
    spin_cells
        Points per side of the transient's grid.
    minimum_steps
        Shortest episode of learning.
    maximum_steps
        Longest episode of learning.
    error_threshold
        Relative error that ends an episode once it has its shortest length.
    precision
        Of fields: "float32" or "float64" (networks always work in float32).
    """

    cells: int = 12
    fine_cells: int = 64
    reynolds: float = 34.0
    forcing: int = 4
    time_step: float = 0.2
    coarse_steps: int = 0
    fine_steps: int = 0
    smagorinsky: float = 0.16
    finer: tuple[int, ...] = (16, 24)
    observe_forcing: bool = True
    speed: float = 1.0
    action: ActionForm = "forcing"
    action_bound: float = 2.0
    pool: int = 64
    chains: int = 8
    transient: float = 100.0
    spacing: float = 20.0
    settle: float = 4.0
    spin_cells: int = 32
    minimum_steps: int = 8
    maximum_steps: int = 400
    error_threshold: float = 0.5
    precision: Literal["float32", "float64"] = "float32"

    @property
    def ratio(self) -> float:
        """Fine points per coarse point and side."""
        return self.fine_cells / self.cells


def typical_speed(reynolds: float, forcing: int) -> float:
    """Root mean square velocity of developed flow, about: 0.75 n^(-5/4) sqrt(Re).

    Measured for n = 4: 0.77, 1.35 and 1.82 at Reynolds numbers 34, 100 and 200 (formula: 0.77, 1.33, 1.87); the power
    of n follows from dimensions.
    """
    return 0.75 * forcing**-1.25 * math.sqrt(reynolds)


def steps_needed(time_step: float, points: int, reynolds: float, forcing: int) -> int:
    """Steps of RK4 in a coarse time step, from the stable range along the axes of its region.

    The fastest wave is carried at two and a half times the typical speed, along both axes to 3/2 of that together.
    """
    k = points // 2 - 1
    viscous = 2.785 * reynolds / (2 * k**2)
    carried = 2.828 / (1.5 * k * 2.5 * typical_speed(reynolds, forcing))
    return max(1, math.ceil(time_step / (SAFETY * min(viscous, carried)) - 1e-9))


def kolmogorov(
    configuration: KolmogorovConfiguration, split: str = "train", *, data_dir: str | Path | None = None
) -> Problem:
    """Build the Kolmogorov problem; the pool of developed states is simulated if it is not on disk.

    Parameters
    ----------
    configuration
        Settings; see :class:`KolmogorovConfiguration`.
    split
        "train", "validation" or "test": chains of their own.
    data_dir
        Not used: no files are needed.

    Raises
    ------
    ValueError
        If a size is not usable, or the flow diverges.
    """
    c = configuration
    _check(c, split)
    dtype: Any = {"float32": jnp.float32, "float64": jnp.float64}[c.precision]
    complex_dtype: Any = {"float32": jnp.complex64, "float64": jnp.complex128}[c.precision]
    coarse = KolmogorovFlow(c.cells, c.forcing)
    steps = c.coarse_steps or steps_needed(c.time_step, c.cells, c.reynolds, c.forcing)
    fine_steps = c.fine_steps or steps_needed(c.time_step, c.fine_cells, c.reynolds, c.forcing)
    dynamics = KolmogorovDynamics(
        coarse, c.time_step, steps, c.action_bound, c.action, c.observe_forcing, c.speed
    )  # fmt: skip
    target = KolmogorovTarget(KolmogorovFlow(c.fine_cells, c.forcing), c.time_step, fine_steps, c.cells)
    model = SmagorinskyFlow(c.cells, c.forcing, constant=jnp.asarray(c.smagorinsky, dtype))
    pool = developed_states(pool_settings(c, split))
    draw = KolmogorovDraw(
        jnp.asarray(pool, complex_dtype), jnp.asarray(c.reynolds, dtype), c.forcing, in_turn=split != "train"
    )
    grid = Grid((c.cells, c.cells), (2 * math.pi, 2 * math.pi))
    channels, acts_on = action_channels(c.action, ("u", "v"), (0, 1), grid.boundary)
    observed = ("u", "v", "forcing sine", "forcing cosine") if c.observe_forcing else ("u", "v")
    return Problem(
        name="kolmogorov",
        begin=SimulatedBegin(draw, dynamics, target),
        dynamics=dynamics,
        target=target,
        rivals={"smagorinsky": KolmogorovDynamics(model, c.time_step, steps)},
        finer={f"{points}x{points}": _finer(c, points) for points in c.finer if c.cells < points < c.fine_cells},
        reward=NextErrorReduction(),
        error=relative_l2,
        decision=Decision(
            observed, channels, grid.boundary, acts_on, c.action_bound,
            scale=TYPICAL_RATE / c.speed, unit=c.time_step, velocity=(0, 1),
        ),
        episode=EpisodeRules(c.minimum_steps, c.maximum_steps, c.error_threshold),
        time_step=c.time_step,
        grid=grid,
        components=("u", "v"),
        scale=rms_size,
        typical="median",
        names=("no model", "fine"),
        threshold=0.1,
        description=(
            ("flow", f"Kolmogorov, Reynolds number {c.reynolds:g}, forcing sin({c.forcing} y)"),
            ("split", f"{split} set: chains of simulations of its own"),
            ("grid", f"{c.cells} x {c.cells}, truth on {c.fine_cells} x {c.fine_cells}"),
            ("time step", f"{c.time_step:g}, in {steps} steps of RK4 (truth: {fine_steps})"),
            ("field", "velocity magnitude (dimensionless)"),
        ),
    )  # fmt: skip


def pool_settings(c: KolmogorovConfiguration, split: str) -> PoolSettings:
    """Which pool of developed states a split begins from."""
    spin = min(c.spin_cells, c.fine_cells)
    fine_steps = c.fine_steps or steps_needed(c.time_step, c.fine_cells, c.reynolds, c.forcing)
    return PoolSettings(
        reynolds=float(c.reynolds), forcing=c.forcing,
        points=c.fine_cells, time_step=c.time_step / fine_steps,
        spin_points=spin, spin_step=c.time_step / steps_needed(c.time_step, spin, c.reynolds, c.forcing),
        states=c.pool, chains=c.chains, transient=c.transient, spacing=c.spacing,
        settle=c.settle if spin < c.fine_cells else 0.0, seed=SEEDS[split],
    )  # fmt: skip


def _finer(c: KolmogorovConfiguration, points: int) -> KolmogorovTarget:
    steps = steps_needed(c.time_step, points, c.reynolds, c.forcing)
    return KolmogorovTarget(KolmogorovFlow(points, c.forcing), c.time_step, steps, c.cells)


def _check(c: KolmogorovConfiguration, split: str) -> None:
    if split not in SEEDS:
        raise ValueError(f"unknown split {split!r}; valid: {', '.join(SEEDS)}")
    if c.precision not in ("float32", "float64"):
        raise ValueError(f"unknown precision {c.precision!r}; valid: float32, float64")
    if c.precision == "float64" and not jax.config.read("jax_enable_x64"):
        raise ValueError("precision float64 needs 64-bit arrays: jax.config.update('jax_enable_x64', True) first")
    positive = ("reynolds", "time_step", "speed", "action_bound", "spacing", "error_threshold")
    wrong = [name for name in positive if not 0 < getattr(c, name) < math.inf]
    wrong += [name for name in ("smagorinsky", "transient", "settle") if not 0 <= getattr(c, name) < math.inf]
    wrong += [name for name in ("coarse_steps", "fine_steps") if getattr(c, name) < 0]
    if wrong:
        said = ", ".join(f"{name} {getattr(c, name)}" for name in wrong)
        raise ValueError(f"settings must be positive, or at least zero where that has a meaning; got {said}")
    if not c.cells < c.fine_cells:
        raise ValueError(f"the truth needs more points than the coarse grid; got {c.fine_cells} and {c.cells}")
    odd = [points for points in (c.cells, c.fine_cells, c.spin_cells, *c.finer) if points < 4 or points % 2]
    if odd:
        raise ValueError(f"grids need an even number of points, at least 4; got {', '.join(map(str, odd))}")
