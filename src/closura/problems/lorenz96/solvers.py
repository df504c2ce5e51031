r"""The two-scale system of Lorenz (1996), its slow part alone, and states on its attractor.

    dX_k/dt = -X_{k-1} (X_{k-2} - X_{k+1}) - X_k + F - (h c / b) sum_j Y_{j,k}            k = 1 .. K
    dY_j/dt = [-c b Y_{j+1} (Y_{j+2} - Y_{j-1}) - c Y_j + (h c / b) X_{k(j)}] / s         j = 1 .. J K, a circle

with s = 1; s > 1 slows the fast variables and leaves their statistics at fixed X as they are, so that steps can be s
times as long: a system of weakened scale separation. With fewer than J fast variables for each X the sum is multiplied
by J over their number. All is integrated by the classical fourth-order Runge-Kutta method, in float32.

What a closure stands for is the coupling U_k = (h c / b) sum_j Y_{j,k}, a rate, which is subtracted.

Sources: E. N. Lorenz, "Predictability: a problem partly solved", ECMWF seminar (1996); D. S. Wilks, "Effects of
stochastic parametrizations in the Lorenz '96 system", Q. J. R. Meteorol. Soc. 131, 389 (2005); the settings F = 20,
h = 1, b = 10, c = 10 and 4 are those of H. M. Arnold, I. M. Moroz and T. N. Palmer, "Stochastic parametrizations and
model uncertainty in the Lorenz '96 system", Phil. Trans. R. Soc. A 371 (2013).
"""

from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Scalar

from closura.core.case import Case, CaseSampler
from closura.core.solver import Closure, Parameters, Solver
from closura.grids import Grid
from closura.numerics import get_integrator

Slow = Float[Array, "1 k"]
Fast = Float[Array, " jk"]
Both = tuple[Slow, Fast]
Calls = Literal["step", "stage"]


@dataclass(frozen=True)
class Constants:
    """Constants of the system: numbers of slow variables and of fast ones for each, F, h, b, c."""

    slow: int = 8
    fast: int = 32
    forcing: float = 20.0
    coupling: float = 1.0
    ratio: float = 10.0
    separation: float = 10.0

    @property
    def strength(self) -> float:
        """The factor h c / b."""
        return self.coupling * self.separation / self.ratio

    @property
    def grid(self) -> Grid:
        """The circle of the slow variables, one unit of length apart."""
        return Grid((self.slow,), (float(self.slow),))


def slow_rate(x: Float[Array, "*m k"], forcing: float) -> Float[Array, "*m k"]:
    """The rate of change of X without the coupling."""
    p = jnp.concatenate([x[..., -2:], x, x[..., :1]], axis=-1)
    return -p[..., 1:-2] * (p[..., :-3] - p[..., 3:]) - x + forcing


class OneScale(Solver):
    """The slow variables ``(1, k)`` alone, with the coupling that a closure gives as a rate.

    Parameters
    ----------
    constants
        Of the system.
    calls
        A closure is called once in each "step", whose answer is held, or at each "stage" of the Runge-Kutta method.
    """

    constants: Constants = eqx.field(static=True)
    calls: Calls = eqx.field(static=True, default="step")

    @property
    def grid(self) -> Grid:
        """The circle."""
        return self.constants.grid

    @property
    def side_by_side(self) -> int:
        """Many: a single one leaves the processor idle."""
        return 256

    @property
    def calls_per_step(self) -> int:
        """One, or one for each stage."""
        return 1 if self.calls == "step" else 4

    def alone(self) -> "OneScale":
        """Without the way in which closures are called."""
        return OneScale(self.constants)

    def init(self, case: Case) -> tuple[Slow, Parameters]:
        """The slow variables of a state of both."""
        return case.initial[0], case.parameters

    def adopt(self, state: Any, of: Solver) -> Slow:
        """The slow variables."""
        return of.to_grid(state, self.grid)

    def to_grid(self, state: Slow, grid: Grid) -> Slow:
        """As they are: there is no other grid."""
        return state

    def correct(self, state: Slow, parameters: Parameters, dt: float | Float[Array, ""], action: Slow) -> Slow:
        """The rate times the step is subtracted."""
        return state - dt * action.astype(state.dtype)

    def advance(self, state: Slow, parameters: Parameters, dt: float | Float[Array, ""]) -> Slow:
        return self.corrected_step(state, parameters, dt, None)[0]

    def corrected_step(
        self, state: Slow, parameters: Parameters, dt: float | Float[Array, ""], closure: Closure | None
    ) -> tuple[Slow, Slow]:
        """A step with the coupling held, or asked for at every stage; and the state with the first answer alone."""
        forcing = self.constants.forcing
        if closure is None:
            rhs, acted = (lambda x: slow_rate(x, forcing)), state
        else:
            first = closure(self.observe(state, parameters))
            acted = self.correct(state, parameters, dt, first)
            if self.calls == "step":
                rhs = lambda x: slow_rate(x, forcing) - first
            else:
                rhs = lambda x: slow_rate(x, forcing) - closure(self.observe(x, parameters))
        return get_integrator("rk4").step(rhs, state, dt), acted


class TwoScale(Solver):
    """Both scales: ``X (1, k)`` and all fast variables in their order on the circle, ``(j k)``.

    Parameters
    ----------
    constants
        Of the system.
    fast
        Fast variables of each X that are kept: every J/fast-th.
    slowed
        By how much the fast variables are slowed (s).
    """

    constants: Constants = eqx.field(static=True)
    fast: int = eqx.field(static=True)
    slowed: float = eqx.field(static=True, default=1.0)

    @property
    def grid(self) -> Grid:
        """The circle of X."""
        return self.constants.grid

    @property
    def side_by_side(self) -> int:
        """As many as fit the cache."""
        return 32

    def init(self, case: Case) -> tuple[Both, Parameters]:
        """Every J/fast-th of the fast variables."""
        x, y = case.initial
        return (x, y[:: self.constants.fast // self.fast]), case.parameters

    def to_grid(self, state: Both, grid: Grid) -> Slow:
        """X."""
        return state[0]

    def coupling(self, state: Both) -> Slow:
        """U, what a closure stands for."""
        each = jnp.sum(state[1].reshape(-1, self.fast), axis=1)[None]
        return self.constants.strength * self.constants.fast / self.fast * each

    def advance(self, state: Both, parameters: Parameters, dt: float | Float[Array, ""]) -> Both:
        c = self.constants

        def rhs(state: Both) -> Both:
            x, y = state
            p = jnp.concatenate([y[-1:], y, y[:2]])
            fast = -c.separation * c.ratio * p[2:-1] * (p[3:] - p[:-3]) - c.separation * y
            fast = fast + c.strength * jnp.repeat(x[0], self.fast)
            return slow_rate(x, c.forcing) - self.coupling(state), fast / self.slowed

        return get_integrator("rk4").step(rhs, state, dt)


class OnAttractor(CaseSampler):
    """States of both scales after a while from random ones.

    Parameters
    ----------
    solver
        Of both scales.
    time, dt
        How long a state is followed before it counts, and in which steps.
    """

    solver: TwoScale
    time: float = eqx.field(static=True, default=10.0)
    dt: float = eqx.field(static=True, default=0.005)

    def sample(self, *, key: Key[Scalar, ""]) -> Case:
        c = self.solver.constants
        slow_key, fast_key = jax.random.split(key)
        x = c.forcing / 4 * (1 + jax.random.normal(slow_key, (1, c.slow), jnp.float32))
        y = 0.1 * jax.random.normal(fast_key, (c.slow * c.fast,), jnp.float32)
        return Case(self.solver.march((x, y), None, self.dt, round(self.time / self.dt)))
