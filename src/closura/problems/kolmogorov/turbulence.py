"""The flow at a Reynolds number of 1000, where refinement is expensive: the standard test of learned closures.

Forcing sin(4 y), linear drag 0.1, as in Kochkov et al. (2021, doi 10.1073/pnas.2101784118, "Kolmogorov flow"), on
64 x 64 points. Wavenumber 38, about, is where dissipation acts, so that 128 points per side of the spectral solver hold
the flow; training takes that as truth, evaluations a finer one. The coarse solver is the best that is known for its
cost, the filtered spectral one; finite volumes of second order, as the learned schemes of that article start from, are
``solver="staggered"``.
"""

from dataclasses import dataclass
from typing import ClassVar

from closura.problems.kolmogorov.configuration import KolmogorovConfiguration, SolverName
from closura.problems.kolmogorov.staggered import Convection
from closura.settings import Count, Natural, NotNegative, Positive


@dataclass(frozen=True)
class TurbulenceConfiguration(KolmogorovConfiguration):
    """Settings of :class:`KolmogorovConfiguration` with the defaults of this flow."""

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
