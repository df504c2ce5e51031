"""Settings of the Kolmogorov flow with a closure in the loop."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from closura.problems.kolmogorov.dynamics import FlowAction
from closura.problems.kolmogorov.rewards import RewardName
from closura.problems.kolmogorov.staggered import Convection
from closura.settings import Count, Natural, NotNegative, Positive, Settings

SolverName = Literal["spectral", "filtered", "staggered"]

SCHEMES: dict[str, tuple[SolverName, Convection]] = {
    "spectral": ("spectral", "central2"),
    "filtered": ("filtered", "central2"),
    "central2": ("staggered", "central2"),
    "quick": ("staggered", "quick"),
}
"""Solver and convection by the name of a baseline; spectral solvers have one convection."""


@dataclass(frozen=True)
class FlowPhysics(Settings):
    """What decides the flow, its reference and its initial states.

    Parameters
    ----------
    cells
        Coarse points per side (even).
    fine_cells
        Points per side of the reference (even).
    reynolds
        Reynolds number: one over the viscosity.
    forcing
        Wavenumber of the forcing.
    strength
        Strength of the forcing; 0: decaying flow, from random fields with a root mean square velocity of 1.
    drag
        Rate of the linear drag.
    fine_solver
        The solver of the reference: "spectral", or "filtered", which is as good and costs a third where the flow has no
        waves at the end of the fine grid.
    time_step
        Coarse time step: the closure is asked once in each.
    fine_steps
        Steps of RK4 that a coarse time step is taken in, on either grid; 0: as many as stability needs.
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
    precision
        Of fields: "float32" or "float64" (networks always work in float32).
    """

    cells: Count = 12
    fine_cells: Count = 64
    reynolds: Positive = 34.0
    forcing: Count = 4
    strength: NotNegative = 1.0
    drag: NotNegative = 0.0
    fine_solver: Literal["spectral", "filtered"] = "spectral"
    time_step: Positive = 0.2
    fine_steps: Natural = 0
    pool: Count = 64
    chains: Count = 8
    transient: NotNegative = 100.0
    spacing: Positive = 20.0
    settle: NotNegative = 4.0
    spin_cells: Count = 32
    precision: Literal["float32", "float64"] = "float32"


@dataclass(frozen=True)
class FlowCorrection(Settings):
    """The coarse solver, what a closure of it sees and does, and what it is rewarded for.

    Parameters
    ----------
    solver
        The coarse solver: "spectral", free of aliases; "filtered", spectral without padding
        (:mod:`~closura.problems.kolmogorov.flow`), at less than half the cost; or "staggered", finite volumes of
        second order.
    convection
        Interpolation of the finite volumes: "central2" or "quick".
    coarse_steps
        Steps of RK4 that a coarse time step is taken in, on either grid; 0: as many as stability needs.
    observe_forcing
        Show the closure the phase of the forcing, sin(n y) and cos(n y).
    speed
        Unit of velocity in which a closure sees and answers.
    action
        "forcing", "mean-free" or "flux"; all are projected on velocities without divergence and mean. Or
        "interpolation", the weights of the staggered solver's interpolation.
    action_bound
        Actions, in units of speed per time, are clipped to this size.
    reward
        What learners that explore are paid for (:mod:`~closura.problems.kolmogorov.rewards`): "error", less error
        against the reference; or without a true trajectory "spectrum", a truer energy spectrum, each cell for its
        share; "shared-spectrum", the same sum for all cells.
    reward_band
        Of rewards by the spectrum: deviations of a shell's logarithmic energy up to so many of the standard deviations
        that true flow has are not counted.
    reward_weights
        Of rewards by the spectrum: all shells alike ("equal"), or each in units of the spread that its logarithmic
        energy has in true flow ("spread").
    minimum_steps
        Shortest episode of learning.
    maximum_steps
        Longest episode of learning.
    error_threshold
        Relative error that ends an episode once it has its shortest length.
    """

    solver: SolverName = "spectral"
    convection: Convection = "central2"
    coarse_steps: Natural = 0
    observe_forcing: bool = True
    speed: Positive = 1.0
    action: FlowAction = "forcing"
    action_bound: Positive = 2.0
    reward: RewardName = "error"
    reward_band: NotNegative = 0.0
    reward_weights: Literal["equal", "spread"] = "equal"
    minimum_steps: Count = 8
    maximum_steps: Count = 400
    error_threshold: Positive = 0.5


@dataclass(frozen=True)
class FlowBaselines(Settings):
    """Classical methods that closures are compared with.

    Parameters
    ----------
    smagorinsky
        Constant of the Smagorinsky model, a baseline; the default is tuned on training flow (see ``tune``).
    finer
        Points per side of baselines on finer grids: the coarse solver without a closure.
    others
        Baselines by other solvers, each a scheme and its points per side: "central2 256", "quick 64", "spectral 64",
        "filtered 96".
    """

    smagorinsky: NotNegative = 0.16
    finer: tuple[Count, ...] = (16, 24)
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class KolmogorovConfiguration(FlowBaselines, FlowCorrection, FlowPhysics):
    """Settings of the coarse Kolmogorov flow.

    Lengths are in units of the box over 2 pi, velocities in units of the forcing's strength times unit time.
    """

    problem: ClassVar[str] = "kolmogorov"

    @property
    def representation(self) -> bool:
        """Whether the coarse grid has its velocities at faces: the solver decides how the reference is represented."""
        return self.solver == "staggered"

    def suited(self) -> "KolmogorovConfiguration":
        """The same settings with as many coarse steps as stability needs, where the usual number is for other steps.

        The usual number is for the usual time step and grid.
        """
        usual = type(self)()
        same = (self.time_step, self.cells) == (usual.time_step, usual.cells)
        return self if same else replace(self, coarse_steps=0)

    @property
    def ratio(self) -> float:
        """Fine points per coarse point and side."""
        return self.fine_cells / self.cells


@dataclass(frozen=True)
class TurbulenceConfiguration(KolmogorovConfiguration):
    """The flow at a Reynolds number of 1000, where refinement is expensive: the standard test of learned closures.

    Forcing sin(4 y), linear drag 0.1, as in Kochkov et al. (2021, doi 10.1073/pnas.2101784118, "Kolmogorov flow"), on
    64 x 64 points. Wavenumber 38, about, is where dissipation acts, so that 128 points per side of the spectral solver
    hold the flow; training takes that as the reference, evaluations a finer one. The coarse solver is the best that is
    known for its cost, the filtered spectral one; finite volumes of second order, as the learned schemes of that
    article start from, are ``solver="staggered"``.
    """

    cells: Count = 64
    fine_cells: Count = 128
    reynolds: Positive = 1000.0
    drag: NotNegative = 0.1
    solver: SolverName = "filtered"
    convection: Convection = "quick"
    time_step: Positive = 0.064
    coarse_steps: Natural = 3
    smagorinsky: NotNegative = 0.06
    finer: tuple[Count, ...] = (96,)
    others: tuple[str, ...] = ("spectral 64", "central2 64", "quick 64", "central2 128", "quick 128", "central2 256")
    observe_forcing: bool = False  # the spectral solvers know the forcing exactly, and other flows have another one
    action_bound: Positive = 4.0
    chains: Count = 16
    transient: NotNegative = 40.0
    spacing: Positive = 6.0
    settle: NotNegative = 2.0
    spin_cells: Count = 64

    problem: ClassVar[str] = "turbulence"


def scheme_of(name: str) -> tuple[SolverName, Convection, int]:
    """Solver, convection and points per side of a baseline that is called "scheme points"."""
    scheme, _, points = name.partition(" ")
    if scheme not in SCHEMES or not points.isdecimal():
        raise ValueError(
            f'unknown baseline {name!r}: expected a scheme and its points per side, as in "central2 256"; '
            f"valid schemes: {', '.join(SCHEMES)}"
        )
    return *SCHEMES[scheme], int(points)


def check_flow(c: KolmogorovConfiguration) -> None:
    """Refuse settings that no problem can be built from."""
    if c.action == "interpolation" and c.solver != "staggered":
        raise ValueError("interpolation weights are an action of the staggered solver: take solver staggered")
    if not c.cells < c.fine_cells:
        raise ValueError(f"the reference needs more points than the coarse grid; got {c.fine_cells} and {c.cells}")
    named = [scheme_of(name)[2] for name in c.others]
    odd = [points for points in (c.cells, c.fine_cells, c.spin_cells, *c.finer, *named) if points < 4 or points % 2]
    if odd:
        raise ValueError(f"grids need an even number of points, at least 4; got {', '.join(map(str, odd))}")
