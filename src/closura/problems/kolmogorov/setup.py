"""Settings of the Kolmogorov flow with a closure in the loop, and the problem that they describe."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from closura.decision import Decision
from closura.grids import Grid
from closura.problems.actions import action_channels
from closura.problems.kolmogorov.beginnings import KolmogorovDraw, PoolSettings, developed_states
from closura.problems.kolmogorov.dynamics import (
    FlowAction,
    KolmogorovDynamics,
    NextErrorReduction,
    relative_l2,
    rms_size,
)
from closura.problems.kolmogorov.eddies import StaggeredSmagorinsky
from closura.problems.kolmogorov.flow import KolmogorovFlow
from closura.problems.kolmogorov.smagorinsky import with_constant
from closura.problems.kolmogorov.solver import FlowSolver
from closura.problems.kolmogorov.staggered import CONVECTIONS, STENCILS, Convection, StaggeredFlow
from closura.problems.kolmogorov.target import FinerFlow, KolmogorovTarget
from closura.problems.problem import EpisodeRules, Problem, SimulatedBegin, Target

SEEDS = {"train": 0, "validation": 100_000, "test": 200_000}
"""First seed of each split's chains."""

TYPICAL_RATE = 0.06
"""Size of a useful correction, in velocity per time: root mean square of what 12 points miss at Reynolds number 34."""

TYPICAL_WEIGHT = 0.05
"""Size of a useful change of an interpolation weight: third-order weights differ from those of the mean by 1/8."""

SAFETY = 0.7
"""Time steps over the largest stable one."""

SolverName = Literal["spectral", "staggered"]


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
    strength
        Strength of the forcing; 0: decaying flow, from random fields with a root mean square velocity of 1.
    drag
        Rate of the linear drag.
    solver
        The coarse solver: "spectral", or "staggered", finite volumes of second order. The truth is always spectral.
    convection
        Interpolation of the finite volumes: "central2" or "quick".
    time_step
        Coarse time step: the closure is asked once in each.
    coarse_steps, fine_steps
        Steps of RK4 that a coarse time step is taken in, on either grid; 0: as many as stability needs.
    smagorinsky
        Constant of the Smagorinsky model, a rival; the default is tuned on training flow (see ``tune``).
    finer
        Points per side of rivals on finer grids: the coarse solver without a closure.
    spectral
        Points per side of rivals by the spectral solver, where the coarse solver is another.
    observe_forcing
        Show the closure the phase of the forcing, sin(n y) and cos(n y).
    speed
        Unit of velocity in which a closure sees and answers.
    action
        "forcing", "mean-free" or "flux"; all are projected on velocities without divergence and mean. Or
        "interpolation", the weights of the staggered solver's interpolation.
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
    strength: float = 1.0
    drag: float = 0.0
    solver: SolverName = "spectral"
    convection: Convection = "central2"
    time_step: float = 0.2
    coarse_steps: int = 0
    fine_steps: int = 0
    smagorinsky: float = 0.16
    finer: tuple[int, ...] = (16, 24)
    spectral: tuple[int, ...] = ()
    observe_forcing: bool = True
    speed: float = 1.0
    action: FlowAction = "forcing"
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


def typical_speed(reynolds: float, forcing: int, drag: float = 0.0, strength: float = 1.0) -> float:
    """Root mean square velocity of developed flow, about: 0.75 n^(-5/4) sqrt(F Re'), 1 / Re' = 1 / Re + a / n^2.

    Measured for n = 4: 0.77, 1.35 and 1.82 at Reynolds numbers 34, 100 and 200 (formula: 0.77, 1.33, 1.87), and 1.2 to
    1.5 at 1000 with a drag of 0.1 (1.56); the power of n follows from dimensions. Decaying flow begins with 1.
    """
    if strength == 0:
        return 1.0
    damped = 1 / (1 / reynolds + drag / forcing**2)
    return 0.75 * forcing**-1.25 * math.sqrt(strength * damped)


def steps_needed(
    time_step: float,
    points: int,
    reynolds: float,
    forcing: int,
    *,
    drag: float = 0.0,
    strength: float = 1.0,
    solver: SolverName = "spectral",
) -> int:
    """Steps of RK4 in a coarse time step, from the stable range along the axes of its region.

    The fastest wave is carried at two and a half times the typical speed, along both axes to 3/2 of that together. A
    wave of the spectral solver is carried and damped by its wavenumber, up to points / 2, one of the staggered solver
    by at most that of its differences, one over the spacing and two over it.
    """
    if solver == "staggered":
        carried_by, damped_by = points / (2 * math.pi), 2 * points / (2 * math.pi)
    else:
        carried_by = damped_by = points // 2 - 1
    viscous = 2.785 * reynolds / (2 * damped_by**2)
    carried = 2.828 / (1.5 * carried_by * 2.5 * typical_speed(reynolds, forcing, drag, strength))
    return max(1, math.ceil(time_step / (SAFETY * min(viscous, carried)) - 1e-9))


def coarse_solver(c: KolmogorovConfiguration, points: int | None = None) -> FlowSolver:
    """The coarse solver of a configuration, without a model, on ``points`` (default: the coarse grid's)."""
    n = c.cells if points is None else points
    if c.solver == "staggered":
        return StaggeredFlow(n, c.forcing, c.convection, drag=c.drag, strength=c.strength)
    return KolmogorovFlow(n, c.forcing, drag=c.drag, strength=c.strength)


def steps_of(c: KolmogorovConfiguration, flow: FlowSolver) -> int:
    """In how many steps of RK4 a solver takes the coarse time step."""
    if flow.points == c.cells and c.coarse_steps and isinstance(flow, type(coarse_solver(c))):
        return c.coarse_steps
    kind: SolverName = "staggered" if isinstance(flow, StaggeredFlow) else "spectral"
    return steps_needed(
        c.time_step, flow.points, c.reynolds, c.forcing, drag=c.drag, strength=c.strength, solver=kind
    )  # fmt: skip


def fine_steps_of(c: KolmogorovConfiguration) -> int:
    """In how many steps of RK4 the truth takes the coarse time step."""
    return c.fine_steps or steps_of(c, KolmogorovFlow(c.fine_cells, c.forcing))


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
    coarse = coarse_solver(c)
    steps, fine_steps = steps_of(c, coarse), fine_steps_of(c)
    fine = KolmogorovFlow(c.fine_cells, c.forcing, drag=c.drag, strength=c.strength)
    dynamics = KolmogorovDynamics(
        coarse, c.time_step, steps, c.action_bound, c.action, c.observe_forcing, c.speed
    )  # fmt: skip
    target = KolmogorovTarget(fine, c.time_step, fine_steps, coarse)
    pool = developed_states(pool_settings(c, split))
    draw = KolmogorovDraw(
        jnp.asarray(pool, complex_dtype), jnp.asarray(c.reynolds, dtype), c.forcing, in_turn=split != "train"
    )
    grid = Grid((c.cells, c.cells), (2 * math.pi, 2 * math.pi))
    weights = c.action == "interpolation"
    if weights:
        channels = tuple(f"{name}, weight {k}" for name in STENCILS for k in range(4))
        acts_on = tuple(index for index in (0, 1, 0, 1) for _ in range(4))
    else:
        channels, acts_on = action_channels(c.action, ("u", "v"), (0, 1), grid.boundary)
    observed = ("u", "v", "forcing sine", "forcing cosine") if c.observe_forcing else ("u", "v")
    return Problem(
        name="kolmogorov" if type(c) is KolmogorovConfiguration else "turbulence",
        begin=SimulatedBegin(draw, dynamics, target),
        dynamics=dynamics,
        target=target,
        rivals={name: KolmogorovDynamics(flow, c.time_step, steps) for name, flow in _models(c, dtype).items()},
        finer=_finer(c, coarse),
        reward=NextErrorReduction(),
        error=relative_l2,
        decision=Decision(
            observed, channels, grid.boundary, acts_on, c.action_bound,
            scale=TYPICAL_WEIGHT if weights else TYPICAL_RATE / c.speed,
            unit=1.0 if weights else c.time_step, velocity=(0, 1),
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
            ("flow", _in_words(c)),
            ("split", f"{split} set: chains of simulations of its own"),
            ("grid", f"{c.cells} x {c.cells}, truth on {c.fine_cells} x {c.fine_cells}"),
            ("solver", "pseudo-spectral" if c.solver == "spectral" else f"finite volumes, {c.convection}"),
            ("time step", f"{c.time_step:g}, in {steps} steps of RK4 (truth: {fine_steps})"),
            ("field", "velocity magnitude (dimensionless)"),
        ),
    )  # fmt: skip


def pool_settings(c: KolmogorovConfiguration, split: str) -> PoolSettings:
    """Which pool of developed states a split begins from."""
    spin = min(c.spin_cells, c.fine_cells)
    return PoolSettings(
        reynolds=float(c.reynolds), forcing=c.forcing,
        points=c.fine_cells, time_step=c.time_step / fine_steps_of(c),
        spin_points=spin, spin_step=c.time_step / steps_of(c, KolmogorovFlow(spin, c.forcing)),
        states=c.pool, chains=c.chains, transient=c.transient, spacing=c.spacing,
        settle=c.settle if spin < c.fine_cells else 0.0, seed=SEEDS[split], drag=c.drag, strength=c.strength,
    )  # fmt: skip


def _models(c: KolmogorovConfiguration, dtype: Any) -> dict[str, FlowSolver]:
    """Models on the coarse grid: eddy viscosities, and for finite volumes the other convection."""
    constant = jnp.asarray(c.smagorinsky, dtype)
    models = {"smagorinsky": with_constant(coarse_solver(c), constant)}
    if c.solver == "staggered":
        models["dynamic"] = StaggeredSmagorinsky(
            c.cells, c.forcing, c.convection, drag=c.drag, strength=c.strength, dynamic=True
        )
        for other in CONVECTIONS:
            if other != c.convection:
                models[other] = StaggeredFlow(c.cells, c.forcing, other, drag=c.drag, strength=c.strength)
    return models


def _finer(c: KolmogorovConfiguration, coarse: FlowSolver) -> dict[str, Target]:
    flows: dict[str, FlowSolver] = {
        f"{points}x{points}": coarse_solver(c, points) for points in c.finer if c.cells < points
    }
    if c.solver != "spectral":
        for points in c.spectral:
            flows[f"spectral {points}"] = KolmogorovFlow(points, c.forcing, drag=c.drag, strength=c.strength)
    return {
        name: FinerFlow(flow, c.time_step, steps_of(c, flow), coarse)
        for name, flow in flows.items()
        if flow.points < c.fine_cells or c.solver != "spectral"
    }


def _in_words(c: KolmogorovConfiguration) -> str:
    drag = f", drag {c.drag:g}" if c.drag else ""
    if c.strength == 0:
        return f"decaying, Reynolds number {c.reynolds:g}{drag}"
    force = "" if c.strength == 1 else f"{c.strength:g} "
    return f"Kolmogorov, Reynolds number {c.reynolds:g}, forcing {force}sin({c.forcing} y){drag}"


def _check(c: KolmogorovConfiguration, split: str) -> None:
    if split not in SEEDS:
        raise ValueError(f"unknown split {split!r}; valid: {', '.join(SEEDS)}")
    if c.precision not in ("float32", "float64"):
        raise ValueError(f"unknown precision {c.precision!r}; valid: float32, float64")
    if c.precision == "float64" and not jax.config.read("jax_enable_x64"):
        raise ValueError("precision float64 needs 64-bit arrays: jax.config.update('jax_enable_x64', True) first")
    positive = ("reynolds", "time_step", "speed", "action_bound", "spacing", "error_threshold")
    wrong = [name for name in positive if not 0 < getattr(c, name) < math.inf]
    wrong += [
        name
        for name in ("smagorinsky", "transient", "settle", "drag", "strength")
        if not 0 <= getattr(c, name) < math.inf
    ]
    wrong += [name for name in ("coarse_steps", "fine_steps") if getattr(c, name) < 0]
    if wrong:
        said = ", ".join(f"{name} {getattr(c, name)}" for name in wrong)
        raise ValueError(f"settings must be positive, or at least zero where that has a meaning; got {said}")
    if c.solver not in get_args(SolverName):
        raise ValueError(f"unknown solver {c.solver!r}; valid: {', '.join(get_args(SolverName))}")
    if c.action == "interpolation" and c.solver != "staggered":
        raise ValueError("interpolation weights are an action of the staggered solver: take solver staggered")
    if not c.cells < c.fine_cells:
        raise ValueError(f"the truth needs more points than the coarse grid; got {c.fine_cells} and {c.cells}")
    odd = [
        points for points in (c.cells, c.fine_cells, c.spin_cells, *c.finer, *c.spectral) if points < 4 or points % 2
    ]
    if odd:
        raise ValueError(f"grids need an even number of points, at least 4; got {', '.join(map(str, odd))}")
