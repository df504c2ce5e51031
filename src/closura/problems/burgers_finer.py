"""The user's alternative to a closure: a good scheme on a grid somewhat finer than the coarse one.

Its initial state is the trigonometric interpolant of the fine initial field, at points that lie evenly in the
coarse cells; what it simulates is compared through means over blocks, as the truth is.
"""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from closura.core.transfer import trigonometric_interpolation
from closura.grids import Grid
from closura.numerics import block_mean
from closura.problems.burgers import BurgersSolver, Parameters, Velocity
from closura.problems.problem import Draw, Target


class FinerTarget(Target):
    """A simulation on ``ratio`` times more points per side than the coarse grid; state ``(velocity, viscosity)``."""

    depends_on_state: ClassVar[bool] = False
    solver: BurgersSolver
    interpolate: Float[Array, "points fine"]
    ratio: int = eqx.field(static=True)

    @staticmethod
    def of(coarse: Grid, ratio: int, time_step: float, fine: Grid) -> "FinerTarget":
        """``upwind5`` with RK4 on ``ratio`` times more points, with ``ratio`` times smaller time steps."""
        grid = coarse.refine(ratio)
        solver = BurgersSolver(grid, "upwind5", "rk4", time_step, ratio)
        n, per = fine.shape[0], fine.shape[0] // coarse.shape[0]
        # A coarse cell holds `per` fine points, `per` fine spacings wide; ratio points lie evenly in the same cell.
        within = (np.arange(ratio) + 0.5) * per / ratio - 0.5
        points = (per * np.arange(coarse.shape[0])[:, None] + within).ravel()
        return FinerTarget(solver, jnp.asarray(trigonometric_interpolation(n, points), jnp.float32), ratio)

    def start(self, draw: Draw) -> tuple[Float[Array, "2 *finer"], Float[Array, ""]]:
        """The fine initial field at the points of this grid."""
        w = self.interpolate.astype(draw.initial.dtype)
        return jnp.einsum("ax,by,cxy->cab", w, w, draw.initial, precision="highest"), draw.parameters["viscosity"]

    def advance(
        self, target: tuple[Float[Array, "2 *finer"], Float[Array, ""]], state: Velocity, parameters: Parameters
    ) -> tuple[Float[Array, "2 *finer"], Float[Array, ""]]:
        """The steps that make up one coarse step."""
        velocity, viscosity = target
        return self.solver(velocity, viscosity), viscosity

    def observe(self, target: tuple[Float[Array, "2 *finer"], Float[Array, ""]]) -> Velocity:
        """Means over blocks."""
        return block_mean(target[0], self.ratio)
