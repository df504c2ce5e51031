"""Settings of the problems whose agents weigh fluxes, and the problems that they describe."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from closura.fields.random_profiles import RandomProfile
from closura.grids import Grid
from closura.numerics.weno import get_weno
from closura.problems.advection_setup import Split
from closura.problems.laws.draws import BurgersDraw, GasDraw
from closura.problems.laws.dynamics import WeightedFluxes
from closura.problems.laws.euler import Euler
from closura.problems.laws.fluxes import Projection, Splitting
from closura.problems.laws.law import Burgers, ConservationLaw
from closura.problems.laws.march import check_courant
from closura.problems.laws.targets import Finer
from closura.problems.problem import EpisodeRules, Problem, Quantity, SimulatedBegin, total

RIVALS = ("weno3-js", "weno5-js", "weno5-z", "teno5")


@dataclass(frozen=True)
class LawConfiguration:
    """Settings of a conservation law whose agents weigh fluxes.

    Parameters
    ----------
    cells
        Cells along each axis.
    ratio
        Fine cells per cell and axis of the truth; odd, so that centres coincide.
    courant
        Range of the Courant numbers of the random simulations, at their largest initial speed.
    scheme
        The classical scheme of the same stencil: what simulations without agents use.
    integrator
        Runge-Kutta method; agents are asked at every stage.
    splitting
        Speed of the Lax-Friedrichs splitting: the largest of the grid, of the grid line, or around the interface.
    projection
        Reconstruct the flux's components, or its characteristic variables.
    steps
        Longest simulation.
    precision
        Of fields; these problems need float64.
    """

    cells: int = 128
    ratio: int = 9
    courant: tuple[float, float] = (0.15, 0.6)
    scheme: str = "weno5-js"
    integrator: str = "ssp-rk3"
    splitting: Splitting = "global"
    projection: Projection = "component"
    steps: int = 200
    precision: Literal["float64"] = "float64"

    problem: ClassVar[str] = ""

    @property
    def label(self) -> str:
        """For folders."""
        return "random"


@dataclass(frozen=True)
class Burgers1DConfiguration(LawConfiguration):
    __doc__ = LawConfiguration.__doc__
    problem: ClassVar[str] = "burgers-1d"


@dataclass(frozen=True)
class Euler1DConfiguration(LawConfiguration):
    __doc__ = LawConfiguration.__doc__
    courant: tuple[float, float] = (0.15, 0.5)
    problem: ClassVar[str] = "euler-1d"


def root_mean_square(state: Float[Array, "component *grid"], truth: Float[Array, "component *grid"]) -> Array:
    """Root of the mean squared difference, guarded where there is none."""
    square = jnp.mean(jnp.square(state - truth))
    return jnp.sqrt(jnp.maximum(square, jnp.finfo(state.dtype).tiny))


class RelativeDifference(eqx.Module):
    """Mean absolute difference of each component in units of its range over the grid, by weights that sum to one."""

    weights: tuple[float, ...] = eqx.field(static=True)

    def __call__(self, state: Float[Array, "component *grid"], truth: Float[Array, "component *grid"]) -> Array:
        axes = tuple(range(1, state.ndim))
        spans = jnp.max(truth, axis=axes) - jnp.min(truth, axis=axes)
        sizes = jnp.maximum(spans, 1e-3 * jnp.max(jnp.abs(truth), axis=axes))
        each = jnp.mean(jnp.abs(state - truth), axis=axes) / jnp.maximum(sizes, 1e-12)
        return jnp.sum(jnp.asarray(self.weights, state.dtype) * each)


def law_of(configuration: LawConfiguration) -> ConservationLaw:
    """The law that a problem's settings belong to."""
    name = configuration.problem
    dimensions = 2 if name.endswith("2d") else 1
    return Burgers(dimensions) if name.startswith("burgers") else Euler(dimensions)


def dynamics_of(configuration: LawConfiguration, *, ratio: int = 1) -> WeightedFluxes:
    """The solver that settings describe; ``ratio`` is that of initial states to its grid."""
    c = configuration
    return WeightedFluxes(
        law_of(c), scheme=c.scheme, integrator=c.integrator, splitting=c.splitting, projection=c.projection, ratio=ratio
    )


def conservation_law(
    configuration: LawConfiguration, split: Split = "train", *, data_dir: str | Path | None = None
) -> Problem:
    """Build a problem of :data:`~closura.problems.PROBLEMS` whose agents weigh fluxes.

    Parameters
    ----------
    configuration
        Settings; their class decides the law.
    split
        Named in the description only: random simulations come from keys of their own.
    data_dir
        Not used.

    Raises
    ------
    ValueError
        If a size is not usable, or a Courant number is not stable with the integrator.
    """
    c = configuration
    r = get_weno(c.scheme).r
    if c.cells < 2 * max(r, 3) or c.steps < 1:
        raise ValueError(f"{c.scheme} needs at least {2 * max(r, 3)} cells, and one step; got {c.cells} and {c.steps}")
    if not jax.config.read("jax_enable_x64"):
        raise ValueError("this problem needs 64-bit arrays: jax.config.update('jax_enable_x64', True) first")
    if not 0 < c.courant[0] <= c.courant[1]:
        raise ValueError(f"Courant numbers need a range of positive numbers; got {c.courant}")
    check_courant(c.courant[1], c.integrator, r)
    dynamics = dynamics_of(c, ratio=c.ratio)
    law = dynamics.law
    fine_projection: Projection = "component" if isinstance(law, Burgers) else "characteristic"
    target = Finer(WeightedFluxes(law, scheme="weno5-z", projection=fine_projection), c.ratio)
    profile = RandomProfile(c.cells * c.ratio)
    draw: Any = (
        BurgersDraw(profile, c.ratio, c.courant)
        if isinstance(law, Burgers)
        else GasDraw(profile, law, c.ratio, c.courant)
    )
    quantities = tuple(Quantity(name, total(i)) for i, name in enumerate(law.components))
    error: Any = root_mean_square if isinstance(law, Burgers) else RelativeDifference((0.5, 0.25, 0.25))
    return Problem(
        name=c.problem,
        begin=SimulatedBegin(draw, dynamics, target, quantities=quantities),
        dynamics=dynamics,
        target=target,
        rivals={name: replace(dynamics, scheme=name) for name in RIVALS if name != c.scheme},
        reward=lambda transition: jnp.zeros((), jnp.float32),
        error=error,
        decision=dynamics.decision(),
        episode=EpisodeRules(1, c.steps, 1e9),
        time_step=1.0,
        grid=Grid((c.cells,) * law.dimensions),
        components=law.components,
        quantities=quantities,
        names=(c.scheme, "fine"),
        description=(("split", f"{split} set: drawn from a continuous family by its own random keys"),),
    )
