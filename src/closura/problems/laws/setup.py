"""Settings of the problems whose agents weigh fluxes, and the problems that they describe."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from closura.core.case import CaseSampler
from closura.core.citations import BPTTS
from closura.core.definition import ProblemDefinition, Split, problem
from closura.grids import Grid
from closura.numerics import get_integrator
from closura.numerics.weno import WENO_SCHEMES, get_weno
from closura.problems.laws.cases import check_courant, schedule
from closura.problems.laws.catalogue import LAW_PROBLEMS
from closura.problems.laws.fluxes import Projection, Splitting
from closura.problems.laws.law import Burgers
from closura.problems.laws.metrics import METRICS
from closura.problems.laws.random_cases import BurgersCases, GasCases, PlaneBurgersCases, PlaneGasCases, RandomProfile
from closura.problems.laws.rewards import (
    Components,
    DifferenceReward,
    FreeReward,
    OneStep,
    RelativeDifference,
    RewardName,
    WithOvershoot,
    root_mean_square,
)
from closura.problems.laws.weighted_fluxes import WeightedFluxes
from closura.problems.problem import EpisodeRules, Problem, Quantity, SimulatedBegin, field_type, total
from closura.problems.reference import Reference, SolverReference
from closura.settings import Count, NotNegative, Positive, Settings

BASELINES = ("weno3-js", "weno5-js", "weno5-z", "teno5")
RANDOM = ("random",)
GROWTH = 2.0
"""Waves of a gas that meet become this much faster than those of a named initial state (of Sod's: 1.9)."""


@dataclass(frozen=True)
class LawPhysics(Settings):
    """What decides a conservation law, its simulations and their reference.

    Parameters
    ----------
    cells
        Cells along each axis.
    initial
        "random": a continuous family of initial states; or names of initial conditions, which the simulations of a
        batch take in turn.
    target
        "fine": a simulation on a finer grid from the same beginning; "one-step" (published): one step of the
        classical scheme from the closure's own state, with the same integrator.
    ratio
        Fine cells per cell and axis of the reference; odd, so that centres coincide.
    courant
        Range of the Courant numbers of the simulations, at their largest initial speed.
    time_step
        Length of the steps of named initial conditions instead; 0: by their Courant numbers.
    scheme
        The classical scheme of the same stencil: what simulations without agents use.
    integrator
        Runge-Kutta method; agents are asked at every stage.
    splitting
        Speed of the Lax-Friedrichs splitting: the largest of the grid, of the grid line, or around the interface.
    projection
        Reconstruct the flux's components, or its characteristic variables.
    components
        Whether the equations of a system have rewards of their own, or one of the sum of their errors.
    steps
        Longest simulation.
    precision
        Of fields; these problems need float64.
    """

    cells: Count = 128
    initial: tuple[str, ...] = RANDOM
    target: Literal["fine", "one-step"] = "fine"
    ratio: Count = 9
    courant: tuple[Positive, Positive] = (0.06, 0.6)
    time_step: NotNegative = 0.0
    scheme: str = "weno5-js"
    integrator: str = "ssp-rk3"
    splitting: Splitting = "global"
    projection: Projection = "component"
    components: Components = "separate"
    steps: Count = 200
    precision: Literal["float64"] = "float64"


@dataclass(frozen=True)
class LawCorrection(Settings):
    """What closures that weigh fluxes see and are rewarded for, and how fluxes are limited.

    Parameters
    ----------
    reward
        "difference" (published): of the state and the target beside an interface; "free": new extrema, and what
        misses the optimal scheme on smooth data, without any target.
    overshoot
        Weight of overshoots in the error that counts, for Burgers with a fine target.
    positivity
        Limit fluxes so that density and pressure stay positive (at Courant numbers up to 1/2).
    observe_sizes
        Show agents how large their two stencils are beside each other.
    """

    reward: RewardName = "difference"
    overshoot: NotNegative = 2.0
    positivity: bool = False
    observe_sizes: bool = True


@dataclass(frozen=True)
class LawConfiguration(LawCorrection, LawPhysics):
    """Settings of a conservation law whose agents weigh fluxes."""

    problem: ClassVar[str] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        c = self
        r = get_weno(c.scheme).r
        get_integrator(c.integrator)
        if c.cells < 2 * max(r, 3):
            raise ValueError(f"{c.scheme} needs at least {2 * max(r, 3)} cells along each axis; got {c.cells}")
        if c.projection != "component" and c.problem.startswith("burgers"):
            raise ValueError(
                f"projection {c.projection} is for systems of equations, and {c.problem} is one equation: leave it out"
            )
        if c.ratio % 2 == 0:
            raise ValueError(f"the ratio of fine to coarse cells must be odd, so that centres coincide; got {c.ratio}")
        if not c.courant[0] <= c.courant[1]:
            raise ValueError(f"courant is a range, the smaller number first; got {c.courant}")
        check_courant(c.courant[1], c.integrator, r)
        if not c.initial or (RANDOM[0] in c.initial and c.initial != RANDOM):
            raise ValueError(
                f"initial conditions are 'random' or names of others; got {', '.join(c.initial) or 'none'}"
            )
        if c.initial != RANDOM and c.problem:
            for name in c.initial:
                LAW_PROBLEMS[c.problem].find(name)
        elif c.time_step:
            raise ValueError(
                "random simulations take their time steps from Courant numbers: set courant, or name initial conditions"
            )

    @property
    def label(self) -> str:
        """For folders."""
        return "-".join(self.initial[:3]) + ("-etc" if len(self.initial) > 3 else "")


@dataclass(frozen=True)
class Burgers1DConfiguration(LawConfiguration):  # noqa: D101
    __doc__ = LawConfiguration.__doc__
    problem: ClassVar[str] = "burgers-1d"


@dataclass(frozen=True)
class Burgers2DConfiguration(LawConfiguration):  # noqa: D101
    __doc__ = LawConfiguration.__doc__
    cells: Count = 64
    ratio: Count = 3
    splitting: Splitting = "line"
    problem: ClassVar[str] = "burgers-2d"


@dataclass(frozen=True)
class Euler1DConfiguration(LawConfiguration):  # noqa: D101
    __doc__ = LawConfiguration.__doc__
    courant: tuple[Positive, Positive] = (0.15, 0.5)
    positivity: bool = True
    problem: ClassVar[str] = "euler-1d"


@dataclass(frozen=True)
class Euler2DConfiguration(LawConfiguration):  # noqa: D101
    __doc__ = LawConfiguration.__doc__
    cells: Count = 64
    ratio: Count = 3
    courant: tuple[Positive, Positive] = (0.15, 0.5)
    splitting: Splitting = "line"
    positivity: bool = True
    problem: ClassVar[str] = "euler-2d"


def follows_state(configuration: LawConfiguration) -> bool:
    """Whether the target takes notice of the agents' state, so that no reference can be stored."""
    return configuration.target == "one-step"


def several_calls(configuration: LawConfiguration) -> str:
    """What calls a closure more than once in a step, with the remedy; else nothing."""
    name = configuration.integrator
    if get_integrator(name).stages == 1:
        return ""
    return (
        f"{name} asks {get_integrator(name).stages} times: set integrator to forward-euler (the trained closures can "
        "be run with any)"
    )


def solver_of(configuration: LawConfiguration, *, ratio: int = 1) -> WeightedFluxes:
    """The solver that settings describe; ``ratio`` is that of initial states to its grid."""
    c, law = configuration, LAW_PROBLEMS[configuration.problem].law
    return WeightedFluxes(
        law,
        scheme=c.scheme,
        integrator=c.integrator,
        splitting=c.splitting,
        projection=c.projection,
        ratio=ratio,
        sizes=c.observe_sizes,
        positivity=c.positivity,
        grid=Grid((c.cells,) * law.dimensions),
    )


def conservation_law(configuration: LawConfiguration, split: Split = "train") -> Problem:
    """Build a problem of :data:`~closura.problems.PROBLEMS` whose agents weigh fluxes.

    The class of the settings decides the law. ``split`` is named in the description only: random simulations come from
    keys of their own, and named ones are the same in training and validation, as published.
    """
    c = configuration
    field_type(c.precision)
    named = c.initial != RANDOM
    # A reference that starts from the coarse state needs no fine one; random profiles are always drawn on a fine grid.
    ratio = 1 if named and follows_state(c) else c.ratio
    coarse = solver_of(c, ratio=ratio)
    law = coarse.law
    scalar = isinstance(law, Burgers)
    reference: Reference = OneStep(coarse)
    if not follows_state(c):
        projection: Projection = "component" if scalar else "characteristic"
        fine = WeightedFluxes(
            law, scheme="weno5-z", projection=projection, refined=c.ratio, grid=coarse.grid.refine(c.ratio)
        )
        reference = SolverReference(fine, coarse, c.ratio)
    quantities = tuple(Quantity(name, total(i)) for i, name in enumerate(law.components))
    error: Any = WithOvershoot(c.overshoot) if c.overshoot and not follows_state(c) else root_mean_square
    if not scalar and not follows_state(c):
        others = len(law.components) - 1
        error = RelativeDifference(law, (0.5, *(0.5 / others for _ in range(others))))
    reward: Any = DifferenceReward(c.components)
    if c.reward == "free":
        reward = FreeReward(replace(coarse, scheme=f"linear{2 * coarse.r - 1}"), c.components)
    source = f"{split} set: drawn from a continuous family by its own random keys"
    if named:
        source = f"named initial conditions: {', '.join(c.initial)}"
    return Problem(
        name=c.problem,
        begin=SimulatedBegin(_cases(c, coarse), coarse, reference, quantities=quantities),
        coarse=coarse,
        reference=reference,
        baselines={name: replace(coarse, scheme=name) for name in BASELINES if name != c.scheme},
        reward=reward,
        error=error,
        spec=coarse.spec(),
        episode=EpisodeRules(1, c.steps, 1e9),
        time_step=c.time_step or 1.0,
        grid=coarse.grid,
        components=law.components,
        quantities=quantities,
        names=(c.scheme, "one step" if follows_state(c) else "fine"),
        aggregate="geometric",
        percent=False,
        description=(("split", source),),
    )


def _cases(c: LawConfiguration, coarse: WeightedFluxes) -> CaseSampler:
    """What cases are drawn by."""
    law = coarse.law
    if c.initial != RANDOM:
        conditions = [LAW_PROBLEMS[c.problem].find(name) for name in c.initial]
        return schedule(
            law, conditions, c.cells, ratio=coarse.ratio, time_step=c.time_step, courant=c.courant,
            integrator=c.integrator, r=coarse.r, reserve=1.0 if isinstance(law, Burgers) else GROWTH,
        )  # fmt: skip
    profile = RandomProfile(c.cells * c.ratio)
    if isinstance(law, Burgers):
        kind = BurgersCases if law.dimensions == 1 else PlaneBurgersCases
        return kind(profile, c.ratio, c.courant)
    if law.dimensions == 2:
        return PlaneGasCases(profile.cells, law, c.ratio, c.courant)
    return GasCases(profile, law, c.ratio, c.courant)


def _definition(settings: type[LawConfiguration], about: str) -> ProblemDefinition:
    return problem(
        settings.problem,
        physics=LawPhysics,
        correction=LawCorrection,
        settings=settings,
        presets=("presets.toml", f"{settings.problem}.toml"),
        several_calls=several_calls,
        label=lambda c: c.label,
        where="interfaces",
        follows_state=follows_state,
        sources=(BPTTS,),
        metrics=lambda: {metric.name: metric.title for metric in METRICS},
        methods=lambda: list(WENO_SCHEMES),
        about=about,
    )(conservation_law)


burgers_1d = _definition(Burgers1DConfiguration, "scalar inviscid Burgers in one dimension (BPTTS)")
burgers_2d = _definition(Burgers2DConfiguration, "scalar inviscid Burgers in two dimensions (BPTTS)")
euler_1d = _definition(Euler1DConfiguration, "Euler equations of an ideal gas in one dimension (BPTTS)")
euler_2d = _definition(Euler2DConfiguration, "Euler equations of an ideal gas in two dimensions (BPTTS)")
