"""The problem ``convection``: a column of layers, measured against the two-dimensional flow that it stands for.

No grid lies between the two: a finer column does not convect, and a flow on few points costs a hundred columns.
"""

from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Scalar

from closura.core import ClosureSpec, Metric
from closura.core.case import Case, CaseSampler
from closura.core.definition import problem
from closura.core.solver import Solver
from closura.grids import Grid
from closura.problems.convection.column import ANSWERED, OBSERVED, Adjustment, Bulk, Profiles
from closura.problems.convection.flow import Convection
from closura.problems.from_solvers import from_solvers
from closura.problems.problem import Problem
from closura.problems.reference import Reference, SolverReference
from closura.settings import Count, NotNegative, Positive, Settings

FLOW, ADJUSTMENT, BULK, PROFILES = "flow", "adjustment", "bulk", "k-profile"
FINE_STEP = 3.2
"""Steps of flows on n points along x are this over n: Courant numbers of about 1 in the strongest convection."""
MODES, AMPLITUDE, SURFACE_FLUX = 16, 0.005, 2e-3
"""Waves of the initial buoyancy, and their amplitude for a flux; it grows as fluctuations do, with ``B^(2/3)``."""
COARSER = ((48, 24), (64, 32))
"""Flows on few points, compared as fine-grid baselines."""


@dataclass(frozen=True)
class ConvectionPhysics(Settings):
    """Settings of the flow and of the column.

    Parameters
    ----------
    layers
        Layers of the column.
    points
        Points of the reference along x and z; multiples of 2.
    viscosity
        Viscosity and diffusivity (Prandtl number 1), in units of depth^2 N.
    least_flux, largest_flux
        Range of the surface buoyancy flux, in units of depth^2 N^3; logarithms are drawn uniformly.
    stratification
        N^2 of the initial state, relative to that of the units.
    step
        Time step of the column, in units of 1 / N.
    horizon
        Steps of the longest simulation; flows of the largest flux then reach the bottom.
    """

    layers: Count = 32
    points: tuple[Count, Count] = (256, 192)
    viscosity: Positive = 2e-4
    least_flux: Positive = 0.5e-3
    largest_flux: Positive = 4e-3
    stratification: Positive = 1.0
    step: Positive = 0.5
    horizon: Count = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least_flux > self.largest_flux:
            raise ValueError(f"least_flux is at most largest_flux; got {self.least_flux} and {self.largest_flux}")


@dataclass(frozen=True)
class ConvectionBaselines(Settings):
    """Constants of the classical closures, which were fitted to three training simulations on 128 x 96 points.

    Parameters
    ----------
    mixing
        Diffusivity of convective adjustment, in units of depth^2 N.
    entrainment, layer_mixing
        Flux through the base of the bulk layer in units of the surface flux, and the diffusivity in the layer.
    critical, speed, counter_flux
        Critical number, turbulent velocity and flux against the gradient of the K-profile scheme.
    """

    mixing: NotNegative = 0.01
    entrainment: NotNegative = 0.0
    layer_mixing: NotNegative = 0.01
    critical: Positive = 0.8
    speed: Positive = 0.3
    counter_flux: NotNegative = 3.0


class Coolings(CaseSampler):
    """Surface fluxes, and waves near the surface from which plumes grow."""

    least: float = eqx.field(static=True)
    largest: float = eqx.field(static=True)
    stratification: float = eqx.field(static=True)

    def sample(self, *, key: Key[Scalar, ""]) -> Case:
        for_flux, for_waves = jax.random.split(key)
        low, high = jnp.log(self.least), jnp.log(self.largest)
        flux = jnp.exp(jax.random.uniform(for_flux, (), jnp.float32, low, high))
        size = AMPLITUDE * jnp.cbrt(flux / SURFACE_FLUX) ** 2
        waves = size * jax.random.normal(for_waves, (2, MODES), jnp.float32)
        return Case(waves, {"flux": flux, "stratification": jnp.asarray(self.stratification, jnp.float32)})


def profile_error(state: Float[Array, "component z"], reference: Float[Array, "component z"]) -> Float[Array, ""]:
    """Root mean square of the difference in buoyancy over the standard deviation of the reference's profile."""
    difference = jnp.mean(jnp.square(state[0] - reference[0]))
    return jnp.sqrt(jnp.maximum(difference, 1e-24) / jnp.maximum(jnp.var(reference[0]), 1e-12))


def method(physics: ConvectionPhysics, constants: ConvectionBaselines, name: str, grid: Grid) -> Solver:
    """A method of the problem on a grid of its own kind."""
    c, nu = constants, physics.viscosity
    if name == FLOW:
        return Convection(grid, nu)
    if name == BULK:
        return Bulk(grid, nu, c.entrainment, c.layer_mixing)
    if name == PROFILES:
        return Profiles(grid, nu, c.critical, c.speed, c.counter_flux)
    return Adjustment(grid, nu, c.mixing)


def box(points: tuple[int, int]) -> Grid:
    """Twice as long as deep, with lids."""
    return Grid(points, (2.0, 1.0), ("periodic", "outflow"))


@problem("convection", physics=ConvectionPhysics, baselines=ConvectionBaselines, presets="convection.toml")
def convection(settings: object, split: str) -> Problem:
    """A column of an ocean that is cooled from above, against two-dimensional convection (profiles of buoyancy)."""
    s: ConvectionPhysics = settings  # type: ignore[assignment]
    constants: ConvectionBaselines = settings  # type: ignore[assignment]
    grid = Grid((s.layers,), (1.0,), ("outflow",))

    def solver(name: str, on: Grid) -> Solver:
        return method(s, constants, name, on)

    def substeps(points: tuple[int, int]) -> int:
        return max(1, round(s.step / (FINE_STEP / points[0])))

    found = from_solvers(
        cases=Coolings(s.least_flux, s.largest_flux, s.stratification),
        solver=solver,
        uncorrected=ADJUSTMENT,
        baselines=(BULK, PROFILES),
        reference=(FLOW, box(s.points)),
        grid=grid,
        dt=s.step,
        substeps=substeps(s.points),
        horizon=s.horizon,
        # A flux through an upper face, which the buoyancy of the layer below it pays for.
        spec=ClosureSpec(OBSERVED, ANSWERED, grid.boundary, (1,), bound=2.0, scale=0.2),
        error=Metric("error", profile_error, "relative profile error", percent=True),
        components=("buoyancy",),
        description={
            "flow": f"two-dimensional convection on {s.points[0]} x {s.points[1]} points",
            "surface flux": f"{s.least_flux:g} to {s.largest_flux:g}",
        },
    )
    coarse = found.coarse
    finer: dict[str, Reference] = {
        f"{FLOW} {x} x {z}": SolverReference(solver(FLOW, box((x, z))), coarse, substeps((x, z)))
        for x, z in COARSER
        if x < s.points[0]
    }
    return replace(found, finer=finer)
