"""Settings of the two-scale Lorenz-96 problem, and how it is put together of its solvers."""

from dataclasses import dataclass, replace
from functools import cache

from closura.core import ClosureSpec, Metric
from closura.core.definition import Split, problem
from closura.core.solver import Solver
from closura.grids import Grid
from closura.problems.from_solvers import from_solvers
from closura.problems.lorenz96.parametrisations import Fit, Fits, baselines, fit
from closura.problems.lorenz96.solvers import Calls, Constants, OnAttractor, OneScale, TwoScale
from closura.problems.measures import rms_size
from closura.problems.problem import Field, Problem
from closura.problems.reference import Reference, SolverReference
from closura.settings import Count, Positive, Settings

WILKS = """\
@article{wilks2005effects,
  title   = {Effects of stochastic parametrizations in the {Lorenz} '96 system},
  author  = {Wilks, Daniel S.},
  journal = {Quarterly Journal of the Royal Meteorological Society},
  volume  = {131},
  number  = {606},
  pages   = {389--407},
  year    = {2005},
  doi     = {10.1256/qj.04.03}
}"""
NONE, BOTH = "none", "two-scale"

FITTED = {
    (Constants(), 0.02): Fits(
        Fit((0.631048, 1.2713, -0.00415825, -0.00763478, 0.000327194), 1.808, 0.78921),
        Fit(
            (0.292736, -0.210289, 0.108899, -0.0722758, 0.6785, -0.676836, 0.184465, -0.0752602, 0.907683, -0.579881,
             0.686043),
            1.863,
            0.81702,
        ),
    ),
    (Constants(separation=4.0), 0.02): Fits(
        Fit((0.306763, 0.331854, 0.00292091, -0.000515065, 7.74573e-06), 1.188, 0.94115),
        Fit(
            (0.342538, -0.0157882, -0.115793, -0.242141, -0.00761303, -0.0684957, 0.0222994, 0.133534, 0.534752,
             0.0396565, 0.0301464),
            0.951,
            0.93976,
        ),
    ),
}  # fmt: skip
"""What :func:`~closura.problems.lorenz96.parametrisations.fit` finds for the usual settings; others are fitted anew."""


@dataclass(frozen=True)
class LorenzPhysics(Settings):
    """Constants of the two-scale system, and time steps.

    Parameters
    ----------
    separation
        c, how much faster the small scales are: 10 or 4 in the literature.
    coupling, ratio, forcing
        h, b and F.
    slow, fast
        K slow variables, and J fast ones for each.
    step
        Time step of the slow variables alone, at which a closure answers.
    reference_step
        Time step of both scales, the reference.
    """

    separation: Positive = 10.0
    coupling: Positive = 1.0
    ratio: Positive = 10.0
    forcing: Positive = 20.0
    slow: Count = 8
    fast: Count = 32
    step: Positive = 0.02
    reference_step: Positive = 0.001

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.slow < 4:
            raise ValueError(f"the slow variables need three neighbours: slow must be at least 4; got {self.slow}")
        parts = self.step / self.reference_step
        if abs(parts - round(parts)) > 1e-6 or round(parts) < 1:
            raise ValueError(f"reference_step must divide step; got {self.reference_step:g} and {self.step:g}")

    @property
    def constants(self) -> Constants:
        """Those of the equations."""
        return Constants(self.slow, self.fast, self.forcing, self.coupling, self.ratio, self.separation)


@dataclass(frozen=True)
class LorenzCorrection(Settings):
    """How closures act.

    Parameters
    ----------
    calls
        A closure is called once in each "step", or at each of the four "stage"s of the Runge-Kutta method.
    steps
        Longest episode of learning, in steps.
    """

    calls: Calls = "step"
    steps: Count = 250


@dataclass(frozen=True)
class LorenzSettings(LorenzCorrection, LorenzPhysics):
    """Settings of the two-scale Lorenz-96 system."""


def rms_error(state: Field, reference: Field) -> Field:
    """Root of the mean square of the error of X."""
    return rms_size(state - reference)


@cache
def fits_of(constants: Constants, step: float) -> Fits:
    """The fitted baselines, from the table where they are there."""
    found = FITTED.get((constants, step))
    return fit(constants, step, time=10.0) if found is None else found


@problem(
    "lorenz96",
    physics=LorenzPhysics,
    correction=LorenzCorrection,
    settings=LorenzSettings,
    presets="lorenz96.toml",
    several_calls=lambda settings: "" if settings.calls == "step" else "calls is stage: set it to step",
    sources=(WILKS,),
    about="the two-scale Lorenz-96 system: slow variables with a closure for the fast ones",
)
def lorenz96(settings: LorenzSettings, split: Split = "train") -> Problem:
    """Slow variables on a circle, and what is fast as the reference."""
    constants, step = settings.constants, settings.step
    both = TwoScale(constants, settings.fast)
    coarse = OneScale(constants, settings.calls)
    known = baselines(constants, fits_of(constants, step))

    def solver(name: str, grid: Grid) -> Solver:
        return {NONE: OneScale(constants, settings.calls), BOTH: both, **known}[name]

    parts = round(step / settings.reference_step)
    made = from_solvers(
        cases=OnAttractor(both),
        solver=solver,
        uncorrected=NONE,
        baselines=tuple(known),
        reference=(BOTH, constants.grid),
        grid=constants.grid,
        dt=step,
        substeps=parts,
        horizon=settings.steps,
        error=Metric("error", rms_error, "RMS error of X"),
        components=("X",),
        spec=ClosureSpec(
            ("X",), ("coupling",), constants.grid.boundary, bound=100.0, scale=5 * constants.strength, unit=step
        ),
        threshold=1.0,
        description={
            "system": f"F = {settings.forcing:g}, h = {settings.coupling:g}, b = {settings.ratio:g}, "
            f"c = {settings.separation:g}, K = {settings.slow}, J = {settings.fast}",
            "time step": f"{step:g}, reference {settings.reference_step:g}, Runge-Kutta of fourth order",
        },
    )
    return replace(made, finer=_two_scale_baselines(settings, coarse))


def _two_scale_baselines(settings: LorenzSettings, coarse: OneScale) -> dict[str, Reference]:
    """Both scales by cheaper means: longer steps, a quarter of the fast variables, fast variables that are slowed."""
    constants, fast = settings.constants, settings.fast
    longest = 0.1 / settings.separation
    few = max(1, fast // 4)
    while fast % few:
        few -= 1

    def two_scale(kept: int, slowed: float) -> SolverReference:
        parts = max(1, -int(-settings.step // (longest * slowed * (1 + 1e-9))))
        return SolverReference(TwoScale(constants, kept, slowed), coarse, parts)

    found: dict[str, Reference] = {"both, long steps": two_scale(fast, 1.0), "both, slowed by 4": two_scale(fast, 4.0)}
    return {**found, f"both, {few} fast": two_scale(few, 1.0)}
