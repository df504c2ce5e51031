"""Settings of the vector Burgers problem, and the problem that they describe."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from closura.core import ClosureSpec
from closura.core.citations import CLOSURE_RL
from closura.core.definition import Split, problem
from closura.grids import Grid
from closura.initial.velocities import TRAIN2_SETS, RandomWaves, make_velocity
from closura.problems.actions import ActionForm, action_channels
from closura.problems.burgers import BurgersCases, BurgersSolver
from closura.problems.measures import SquaredErrorReduction, mean_size, relative_mae
from closura.problems.problem import EpisodeRules, Problem, SimulatedBegin, field_type
from closura.problems.reference import SolverReference
from closura.settings import Count, Natural, NotNegative, Positive, Range, Settings

Scheme = Literal["upwind1", "upwind3", "upwind5"]
INTEGRATOR = {"upwind1": "forward-euler", "upwind3": "rk4", "upwind5": "rk4"}
"""Each scheme with its usual integrator: ``upwind1`` with forward Euler is the published solver (CGS)."""

REFERENCE_VISCOSITY = 0.003
"""Closures that observe the viscosity see it in this unit, the published value, whatever is simulated."""

HELD_OUT = {
    "waves": "drawn from a continuous family by its own random keys",
    "published": "all 72 published fields serve training and evaluation alike (nothing is held out)",
}

TYPICAL_CHANGE = 0.01
"""Size of a useful change of the field in one step; divided by the time step, that of a useful action."""


@dataclass(frozen=True)
class BurgersPhysics(Settings):
    """What decides the fields of vector Burgers and their reference (Closure-RL, table 3 and its code).

    Parameters
    ----------
    cells
        Coarse points per side.
    ratio
        Fine points per coarse point and side.
    courant
        Coarse time step over coarse spacing (published: 0.9, outside the stable range of most fields).
    fine_steps
        Fine time steps per coarse one.
    viscosity
        Kinematic viscosity, in units of length^2 / time.
    viscosity_factor
        Viscosities are drawn log-uniformly from viscosity / factor to viscosity * factor; 1 keeps it fixed.
    initial
        Family of initial fields: "waves" is continuous, "published" has 72 members.
    largest_wave
        Largest wave number along an axis, for "waves".
    size
        Range of max |u| + max |v|, for "waves".
    reference
        Scheme of the fine solver (published: upwind1).
    published_switch
        First-order differences lean to the side that the sign of the differentiated component says, as in the
        published code, instead of the sign of the velocity along the axis.
    burn_in
        Coarse steps before the first observation (published: 1).
    precision
        Of fields: "float32" or "float64" (networks always work in float32).
    """

    cells: Count = 30
    ratio: Count = 5
    courant: Positive = 0.45
    fine_steps: Count = 8
    viscosity: Positive = 0.003
    viscosity_factor: Annotated[float, Range(1)] = 1.0
    initial: Literal["waves", "published"] = "waves"
    largest_wave: Count = 4
    size: tuple[Positive, Positive] = (0.4, 1.2)
    reference: Scheme = "upwind5"
    published_switch: bool = False
    burn_in: Natural = 0
    precision: Literal["float32", "float64"] = "float32"


@dataclass(frozen=True)
class BurgersCorrection(Settings):
    """What a closure of vector Burgers sees, corrects and does, and how long its episodes are.

    Parameters
    ----------
    observe_viscosity
        Show the closure the viscosity as a further channel.
    base
        The coarse scheme that the closure corrects: upwind1 with forward Euler (CGS), upwind3 or upwind5 with
        RK4.
    action
        What the closure's answer does to the totals of u and v: "forcing" changes them freely (as published),
        "mean-free" and "flux" never do (what the solver does to them remains).
    action_bound
        Actions, in units of velocity per time, are clipped to this size (published: 1).
    orientations
        Ask the closure in so many orientations of the grid and take the mean of its answers: 1; 2, as it is and turned
        by half; 8, all turns and mirrorings. The mean commutes with them, as the equation does (bptts only).
    minimum_steps
        Shortest episode of learning.
    maximum_steps
        Longest episode of learning.
    error_threshold
        Relative error that ends an episode once it has its shortest length.
    """

    observe_viscosity: bool = False
    base: Scheme = "upwind1"
    action: ActionForm = "forcing"
    action_bound: Positive = 20.0
    orientations: Literal[1, 2, 8] = 1
    minimum_steps: Count = 20
    maximum_steps: Count = 400
    error_threshold: NotNegative = 0.2


@dataclass(frozen=True)
class BurgersConfiguration(BurgersCorrection, BurgersPhysics):
    """Settings of the two-dimensional, viscous vector Burgers problem (Closure-RL, table 3 and its code)."""


def several_calls(settings: BurgersConfiguration) -> str:
    """What calls a closure more than once in a step, with the remedy; else nothing."""
    if settings.orientations == 1:
        return ""
    return f"{settings.orientations} orientations ask as often: set orientations to 1, or learn by gradients"


@problem(
    "burgers",
    physics=BurgersPhysics,
    correction=BurgersCorrection,
    settings=BurgersConfiguration,
    presets="burgers.toml",
    several_calls=several_calls,
    label=lambda settings: settings.initial,
    sources=(CLOSURE_RL,),
    about="two-dimensional viscous vector Burgers (Closure-RL)",
    units={"u": "length/time", "v": "length/time", "viscosity": "0.003 length²/time"},
)
def burgers(configuration: BurgersConfiguration, split: Split = "train") -> Problem:
    """Build the vector Burgers problem.

    ``split`` is named in the description only: neither family has fixed sets, so use different keys.

    Raises
    ------
    ValueError
        If a size is not usable, or the time step leaves the stable range on the coarse or the fine grid.
    """
    c = configuration
    if c.cells < 8:
        raise ValueError(f"need at least 8 coarse points per side; got {c.cells}")
    dtype = field_type(c.precision)
    coarse = Grid((c.cells, c.cells))
    fine = coarse.refine(c.ratio)
    shape = (fine.shape[0], fine.shape[1])
    time_step = c.courant * coarse.spacing[0]
    viscosities = (c.viscosity / c.viscosity_factor, c.viscosity * c.viscosity_factor)
    if c.initial == "waves":
        for grid, step in ((coarse, time_step), (fine, time_step / c.fine_steps)):
            _check_time_step(grid, step, c.size[1], viscosities[1])

    def solver(scheme: str, grid: Grid = coarse, **correction: Any) -> BurgersSolver:
        switch = c.published_switch and scheme == "upwind1"
        return BurgersSolver(grid, scheme, INTEGRATOR[scheme], published_switch=switch, **correction)

    base = solver(
        c.base, observe_viscosity=c.observe_viscosity, unit=REFERENCE_VISCOSITY, action=c.action,
        orientations=c.orientations,
    )  # fmt: skip
    reference = SolverReference(solver(c.reference, fine), base, c.fine_steps)
    waves = RandomWaves(shape, largest=c.largest_wave, size=c.size, dtype=dtype)
    family: Any = waves if c.initial == "waves" else make_velocity("train2", shape, published=True, dtype=dtype)
    called = {"upwind1": "CGS"}
    schemes = [scheme for scheme in INTEGRATOR if scheme != c.base]
    observed = ("u", "v", "viscosity") if c.observe_viscosity else ("u", "v")
    channels, acts_on = action_channels(c.action, ("u", "v"), (0, 1), coarse.boundary)
    return Problem(
        name="burgers",
        begin=SimulatedBegin(
            BurgersCases(family, viscosities), base, reference, burn_in=c.burn_in, time_step=time_step
        ),
        coarse=base,
        reference=reference,
        baselines={called.get(scheme, scheme): solver(scheme) for scheme in schemes},
        finer={f"upwind5 {2 * c.cells}x{2 * c.cells}": SolverReference(solver("upwind5", coarse.refine(2)), base, 2)},
        reward=SquaredErrorReduction(relative=True),
        error=relative_mae,
        spec=ClosureSpec(
            observed, channels, coarse.boundary, acts_on, c.action_bound,
            scale=TYPICAL_CHANGE / time_step, unit=time_step, velocity=(0, 1),
            diffusivity=2 if c.observe_viscosity else None,
        ),
        episode=EpisodeRules(c.minimum_steps, c.maximum_steps, c.error_threshold),
        time_step=time_step,
        grid=coarse,
        components=("u", "v"),
        scale=mean_size,
        aggregate="median",
        groups=tuple("{" + ",".join(map(str, found)) + "}" for found in TRAIN2_SETS) if c.initial != "waves" else (),
        names=(called.get(c.base, c.base), "FGS" if c.reference == "upwind1" else "fine"),
        threshold=0.1,
        description=(
            ("initial fields", "random waves" if c.initial == "waves" else "published family, 72 members"),
            ("split", f"{split} set: {HELD_OUT[c.initial]}"),
            ("viscosity", f"{c.viscosity:g}" if c.viscosity_factor == 1 else "{:g} to {:g}".format(*viscosities)),
            ("grid", f"{c.cells} x {c.cells}, reference on {shape[0]} x {shape[1]} by {c.reference}"),
            ("time step", f"{c.courant:g} dx = {time_step:.6g}"),
            ("corrected solver", c.base + (" with the published switch" if c.published_switch else "")),
            ("field", "velocity magnitude (dimensionless)"),
        ),
    )  # fmt: skip


def _check_time_step(grid: Grid, time_step: float, size: float, viscosity: float) -> None:
    """The first-order scheme with forward Euler obeys a maximum principle in this range, and stays stable."""
    spacing = min(grid.spacing)
    number = size * time_step / spacing + 4 * viscosity * time_step / spacing**2
    if number > 1 + 1e-9:
        raise ValueError(
            f"time step {time_step:.4g} on {grid.shape[0]} x {grid.shape[1]} points: (|u| + |v|) dt / dx + "
            f"4 nu dt / dx^2 = {number:.3g} exceeds 1 for fields of size {size:g}. Lower courant, raise "
            "fine_steps, or choose smaller fields"
        )
