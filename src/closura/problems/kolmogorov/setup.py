"""The problem that settings of the Kolmogorov flow describe, and the flow that it begins from."""

from typing import Any

import jax
import jax.numpy as jnp

from closura.core import ClosureSpec
from closura.core.citations import LEARNED_FLOW
from closura.core.definition import ProblemDefinition, problem
from closura.grids import Grid
from closura.problems.actions import action_channels
from closura.problems.kolmogorov.baselines import (
    METHODS,
    coarse_models,
    coarse_solver,
    coarse_steps_of,
    fine_steps_of,
    finer_flows,
    flow_of,
    model,
    steps_of,
)
from closura.problems.kolmogorov.configuration import (
    FlowBaselines,
    FlowCorrection,
    FlowPhysics,
    KolmogorovConfiguration,
    TurbulenceConfiguration,
    check_flow,
)
from closura.problems.kolmogorov.developed_states import KolmogorovCases, PoolSettings, developed_states
from closura.problems.kolmogorov.dynamics import CoarseFlow, on_grid
from closura.problems.kolmogorov.flow import FlowSolver
from closura.problems.kolmogorov.metrics import titles
from closura.problems.kolmogorov.rewards import ENERGIES, NextErrorReduction, SpectrumGain, spectrum_of
from closura.problems.kolmogorov.staggered import STENCILS
from closura.problems.measures import relative_l2, rms_size
from closura.problems.problem import EpisodeRules, Problem, SimulatedBegin, field_type
from closura.problems.reference import SolverReference
from closura.problems.statistics import Statistics

SEEDS = {"train": 0, "validation": 100_000, "test": 200_000}
"""First seed of each split's chains."""

TYPICAL_RATE = 0.06
"""Size of a useful correction, in units of speed per time: what 12 points miss at Reynolds number 34, root mean square.

In these units it is the same for a flow that is another one enlarged, so that a closure of one serves the other.
"""

TYPICAL_WEIGHT = 0.05
"""Size of a useful change of an interpolation weight: third-order weights differ from those of the mean by 1/8."""

IN_WORDS = {"spectral": "pseudo-spectral", "filtered": "pseudo-spectral, shifted and filtered instead of padded"}
"""Spectral solvers in a description."""


def kolmogorov(configuration: KolmogorovConfiguration, split: str = "train") -> Problem:
    """Build the Kolmogorov problem; the pool of developed states is simulated if it is not on disk."""
    c = configuration
    if split not in SEEDS:
        raise ValueError(f"unknown split {split!r}; valid: {', '.join(SEEDS)}")
    check_flow(c)
    dtype = field_type(c.precision)
    flow = coarse_solver(c)
    steps, fine_steps = coarse_steps_of(c, flow), fine_steps_of(c)
    coarse = CoarseFlow(flow, steps, action=c.action, observe_forcing=c.observe_forcing, speed=c.speed)
    reference = SolverReference(model(flow_of(c, c.fine_solver, c.fine_cells)), coarse, fine_steps)
    pool = developed_states(pool_settings(c, split))
    cases = KolmogorovCases(
        jnp.asarray(pool, jnp.result_type(dtype, jnp.complex64)),
        jnp.asarray(c.reynolds, dtype),
        c.forcing,
        in_turn=split != "train",
    )
    grid = coarse.grid
    weights = c.action == "interpolation"
    if weights:
        channels = tuple(f"{name}, weight {k}" for name in STENCILS for k in range(4))
        acts_on = tuple(index for index in (0, 1, 0, 1) for _ in range(4))
    else:
        channels, acts_on = action_channels(c.action, ("u", "v"), (0, 1), grid.boundary)
    observed = ("u", "v", "forcing sine", "forcing cosine") if c.observe_forcing else ("u", "v")
    return Problem(
        name=c.problem,
        begin=SimulatedBegin(cases, coarse, reference),
        coarse=coarse,
        reference=reference,
        baselines={name: CoarseFlow(model, steps) for name, model in coarse_models(c, dtype).items()},
        finer=finer_flows(c, coarse),
        reward=NextErrorReduction() if c.reward == "error" else _spectrum_gain(c, flow, grid, dtype),
        error=relative_l2,
        spec=ClosureSpec(
            observed, channels, grid.boundary, acts_on, c.action_bound,
            scale=TYPICAL_WEIGHT if weights else TYPICAL_RATE,
            unit=1.0 if weights else c.time_step, velocity=(0, 1),
        ),
        episode=EpisodeRules(c.minimum_steps, c.maximum_steps, c.error_threshold),
        time_step=c.time_step,
        grid=grid,
        components=("u", "v"),
        scale=rms_size,
        aggregate="median",
        error_name="relative L2 error",
        names=("no model", "fine"),
        threshold=0.1,
        description=(
            ("flow", _in_words(c)),
            ("split", f"{split} set: chains of simulations of its own"),
            ("grid", f"{c.cells} x {c.cells}, reference on {c.fine_cells} x {c.fine_cells}"),
            ("solver", f"finite volumes, {c.convection}" if c.solver == "staggered" else IN_WORDS[c.solver]),
            ("time step", f"{c.time_step:g}, in {steps} steps of RK4 (reference: {fine_steps})"),
            ("field", "velocity magnitude (dimensionless)"),
        ),
    )  # fmt: skip


def pool_settings(c: KolmogorovConfiguration, split: str) -> PoolSettings:
    """Which pool of developed states a split begins from."""
    spin = min(c.spin_cells, c.fine_cells)
    return PoolSettings(
        reynolds=float(c.reynolds), forcing=c.forcing,
        points=c.fine_cells, time_step=c.time_step / fine_steps_of(c),
        spin_points=spin, spin_step=c.time_step / steps_of(c, flow_of(c, "spectral", spin)),
        states=c.pool, chains=c.chains, transient=c.transient, spacing=c.spacing,
        settle=c.settle if spin < c.fine_cells else 0.0, seed=SEEDS[split], drag=c.drag, strength=c.strength,
    )  # fmt: skip


def _spectrum_gain(c: KolmogorovConfiguration, coarse: FlowSolver, grid: Grid, dtype: Any) -> SpectrumGain:
    """The reward by the spectrum of the training split's flow, whatever split the problem is of."""
    pool = developed_states(pool_settings(c, "train"))
    seen = jax.vmap(lambda state: on_grid(state, coarse.points))(jnp.asarray(pool))
    mean, spread = (x.astype(dtype) for x in spectrum_of(seen, coarse, grid))
    weights = jnp.square(1 / spread)
    weights = weights / jnp.mean(weights) if c.reward_weights == "spread" else jnp.ones_like(mean)
    statistics = Statistics((ENERGIES,), grid, weights, c.reward_band * spread)
    return SpectrumGain(statistics, statistics.scores((mean,)), c.reward == "shared-spectrum")


def _in_words(c: KolmogorovConfiguration) -> str:
    drag = f", drag {c.drag:g}" if c.drag else ""
    if c.strength == 0:
        return f"decaying, Reynolds number {c.reynolds:g}{drag}"
    force = "" if c.strength == 1 else f"{c.strength:g} "
    return f"Kolmogorov, Reynolds number {c.reynolds:g}, forcing {force}sin({c.forcing} y){drag}"


def _definition(settings: type[KolmogorovConfiguration], about: str) -> ProblemDefinition:
    return problem(
        settings.problem,
        physics=FlowPhysics,
        correction=FlowCorrection,
        baselines=FlowBaselines,
        settings=settings,
        presets=f"{settings.problem}.toml",
        label=lambda c: f"re{c.reynolds:g}-{c.cells}",
        sources=(LEARNED_FLOW,),
        metrics=titles,
        methods=lambda: list(METHODS),
        about=about,
        units={"u": "length/time", "v": "length/time", "forcing sine": "1", "forcing cosine": "1"},
    )(kolmogorov)


kolmogorov_flow = _definition(
    KolmogorovConfiguration, "two-dimensional flow under a sinusoidal force, Reynolds number 34"
)
turbulence = _definition(TurbulenceConfiguration, "the same at Reynolds number 1000, where refinement is expensive")
