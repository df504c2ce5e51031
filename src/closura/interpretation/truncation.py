"""The optimal action of a first-order upwind scheme with forward Euler, from its modified equation.

The scheme advances a component q, carried by velocities c_i along the axes i with spacings h_i, by

    q^{n+1} = G(q^n) = q^n - dt sum_i c_i D_i q^n + dt nu lap q^n,

where D_i leans to the side that the flow comes from. Taylor's theorem about a grid point gives

    D_i q = d_i q - sign(c_i) h_i / 2  d_i d_i q + O(h^2),      hence
    G(q)  = q - dt sum_i c_i d_i q + dt nu lap q + dt sum_i |c_i| h_i / 2  d_i d_i q + O(dt h^2).

The exact solution of d_t q = - sum_i c_i d_i q + nu lap q advances by

    q(t + dt) = q + dt d_t q + dt^2 / 2  d_t d_t q + O(dt^3).

What one step of the scheme makes too much is their difference, dt times the truncation error

    eps = sum_i |c_i| h_i / 2  d_i d_i q  -  dt / 2  d_t d_t q  +  O(h^2, dt^2):

numerical diffusion, less what forward Euler lacks. Actions are subtracted, q <- G(q - s A), so the action that
removes the error of the step before it is

    A^n = dt / s  eps^{n-1}.

It is the error of the step before, because rewards compare the state that an action has made with the reference at
the *same* time. (G(q - s A) = G(q) - s A to leading order: an action that prevents the error of the step to come
is the same function, one step later.) s is 1 for advection and dt for Burgers in Closure-RL.

Closure-RL (arXiv:2402.00972, appendix G, equation 22) writes the time term with the opposite sign, and its
notebook pairs |c_x| with d_y d_y and |c_y| with d_x d_x (:func:`closura.interpretation.correlation.notebook_estimate`).

For vector Burgers the velocities are the state itself, q = u, v; errors of the diffusion term (nu h^2 / 12) and of
means over blocks are of second order and left out. With the published switch of the code (D_i leans to the side
that the sign of *q* says) |c_i| becomes c_i sign(q): anti-diffusion wherever the signs differ.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from closura.core import ClosureSpec
from closura.grids import Grid
from closura.numerics import second_derivative
from closura.problems.advection import AdvectionSolver
from closura.problems.burgers import BurgersSolver
from closura.problems.problem import Problem

VELOCITY_NAMES = ("u", "v", "w")


class UpwindEulerError(eqx.Module):
    """Truncation error of first-order upwind differences with forward Euler; derivation above.

    Parameters
    ----------
    grid
        The coarse grid; second differences follow its boundary (periodic ones wrap around).
    time_step
        Coarse time step.
    switched_by_field
        Whether the differences of a component lean by the component's own sign, as in the published Burgers code.
    """

    grid: Grid = eqx.field(static=True)
    time_step: float = eqx.field(static=True)
    switched_by_field: bool = eqx.field(static=True, default=False)

    def __call__(
        self, history: Float[Array, "3 component *grid"], velocity: Float[Array, "axis *grid"]
    ) -> Float[Array, "component *grid"]:
        """``eps`` at the middle of three states in succession, in the state's unit per time.

        ``velocity`` is that along each axis at the middle state, in length per time.
        """
        before, state, after = history[0], history[1], history[2]
        curvature = ((after - state) - (state - before)) / self.time_step**2
        error = -0.5 * self.time_step * curvature
        for axis, spacing in enumerate(self.grid.spacing):
            along = velocity[axis][None]
            # The code's switch counts zero as positive.
            speed = jnp.where(state >= 0, along, -along) if self.switched_by_field else jnp.abs(along)
            error = error + 0.5 * spacing * speed * second_derivative(state, axis, self.grid)
        return error


def truncation_of(problem: Problem) -> UpwindEulerError:
    """The truncation error of a problem's coarse solver; ValueError if it is not derived for its scheme."""
    solver = problem.coarse
    scheme, integrator = getattr(solver, "scheme", None), getattr(solver, "integrator", None)
    known = isinstance(solver, AdvectionSolver | BurgersSolver)
    if not known or (scheme, integrator) != ("upwind1", "forward-euler"):
        parts = [str(part) for part in (scheme, integrator) if part is not None]
        raise ValueError(
            "the optimal action is derived for the advective form with upwind1 and forward-euler in single steps; the "
            f"coarse solver of {problem.name!r} is {' with '.join([type(solver).__name__, *parts])}"
        )
    return UpwindEulerError(problem.grid, problem.time_step, getattr(solver, "published_switch", False))


def velocity_channels(spec: ClosureSpec) -> tuple[int, ...]:
    """The observed channels whose first word is u, v, w: velocities along each axis; ValueError if one is missing."""
    names = VELOCITY_NAMES[: spec.dimensions]
    words = [name.split()[0] for name in spec.observation]
    missing = [name for name in names if name not in words]
    if missing:
        raise ValueError(
            f"velocities are observed as {', '.join(names)}; {', '.join(missing)} not among the observed "
            f"channels {', '.join(spec.observation)}"
        )
    return tuple(words.index(name) for name in names)
