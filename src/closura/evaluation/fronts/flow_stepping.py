"""Classical solvers of the Kolmogorov flow: finite volumes, spectral ones, and models, on any grid.

All are compared on one grid by the waves that it holds: finer ones are cut off there, what coarser ones do not hold is
missing. Finite volumes are seen as the velocity in points whose means over faces they carry.
"""

import math
from dataclasses import replace
from typing import Literal, NamedTuple

import jax.numpy as jnp

from closura.problems.kolmogorov.baselines import coarse_solver
from closura.problems.kolmogorov.configuration import SCHEMES, KolmogorovConfiguration
from closura.problems.kolmogorov.dynamics import CoarseFlow, FlowModel, SpectralFlow
from closura.problems.kolmogorov.eddies import StaggeredSmagorinsky
from closura.problems.kolmogorov.flow import KolmogorovFlow
from closura.problems.kolmogorov.smagorinsky import with_constant
from closura.problems.kolmogorov.solver import FlowSolver


class Method(NamedTuple):
    """A classical method: its differences, and a model of what the grid does not hold."""

    scheme: str
    model: Literal["", "smagorinsky", "dynamic"] = ""


METHODS: dict[str, Method] = {
    **{scheme: Method(scheme) for scheme in ("central2", "quick", "spectral", "filtered")},
    "central2-smagorinsky": Method("central2", "smagorinsky"),
    "central2-dynamic": Method("central2", "dynamic"),
    "filtered-smagorinsky": Method("filtered", "smagorinsky"),
}
"""Classical methods by name. Upwind finite volumes (``quick``) need no model: their dissipation is one."""


CONSTANTS: dict[tuple[str, str], float] = {("turbulence", "filtered"): 0.04, ("turbulence", "central2"): 0.16}
"""Smagorinsky constants by problem and differences, tuned on training flow; elsewhere that of the settings."""


def smagorinsky_constant(c: KolmogorovConfiguration, scheme: str) -> float:
    """The constant for a solver: a tuned one, or that of the settings if they have another than the usual."""
    usual = type(c)().smagorinsky
    return CONSTANTS.get((c.problem, scheme), usual) if c.smagorinsky == usual else c.smagorinsky


def solver(c: KolmogorovConfiguration, name: str, points: int) -> FlowSolver:
    """A classical method of the flow on a grid, with its constant where it has one."""
    scheme, model = METHODS[name]
    kind, convection = SCHEMES[scheme]
    if model == "dynamic":
        return StaggeredSmagorinsky(points, c.forcing, convection, drag=c.drag, strength=c.strength, dynamic=True)
    plain = coarse_solver(replace(c, solver=kind, convection=convection), points)
    return with_constant(plain, jnp.asarray(smagorinsky_constant(c, scheme), c.precision)) if model else plain


def model(flow: FlowSolver, fastest: float = math.inf) -> FlowModel:
    """A discretisation as a solver: spectral ones march spectra, finite volumes velocities."""
    return (
        SpectralFlow(flow, fastest=fastest) if isinstance(flow, KolmogorovFlow) else CoarseFlow(flow, fastest=fastest)
    )
