r"""Classical closures of the two-scale system: polynomials in X, alone and with red noise, and a linear model.

All give the rate U_k of :mod:`~closura.problems.lorenz96.solvers`:

    polynomial      U_k = p(X_k), of fourth order
    polynomial-ar1  U_k = p(X_k) + e_k,  e_k <- phi e_k + sigma sqrt(1 - phi^2) z,  z of mean 0 and variance 1
    arx             U_k = a_0 + sum_i b_i X_{k+i} + sum_i c_i X_{k+i}(t - dt) + e_k, e_k as before, i from -2 to 2

Noise is drawn once a step and held over the stages of the Runge-Kutta method; all are asked at every stage.

Sources: D. S. Wilks (2005), Q. J. R. Meteorol. Soc. 131, 389, equations 5 and 9; the linear model with inputs is that
of time series analysis (Box and Jenkins 1970).
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Scalar

from closura.core.memory import Answered, MemoryClosure, WithMemory
from closura.core.solver import Solver
from closura.problems.lorenz96.solvers import Constants, OnAttractor, OneScale, TwoScale

REACH = 2
"""Neighbours of X_k on each side in the linear model."""


class Fit(NamedTuple):
    """What least squares found: weights, and standard deviation and lag-one correlation of what they leave."""

    weights: tuple[float, ...]
    sigma: float
    phi: float


class _Red(NamedTuple):
    """Red noise, the X of the step before, and the key of the noise to come."""

    noise: Float[Array, "1 k"]
    now: Float[Array, "1 k"]
    before: Float[Array, "1 k"]
    key: Array


class Parametrisation(MemoryClosure):
    """A fitted closure with red noise, of polynomials or linear."""

    fit: Fit = eqx.field(static=True)
    linear: bool = eqx.field(static=True, default=False)

    def begin(self, observation: Float[Array, "1 k"], *, key: Key[Scalar, ""]) -> _Red:
        """Noise of its own distribution; the X of the step before is taken to be that of now."""
        first, later = jax.random.split(key)
        noise = self.fit.sigma * jax.random.normal(first, observation.shape, observation.dtype)
        return _Red(noise, observation, observation, jax.random.key_data(later))

    def remember(self, memory: _Red, observation: Float[Array, "1 k"]) -> _Red:
        """A step of the noise."""
        phi, sigma = self.fit.phi, self.fit.sigma
        now, later = jax.random.split(jax.random.wrap_key_data(memory.key))
        drawn = jax.random.normal(now, observation.shape, observation.dtype)
        noise = phi * memory.noise + sigma * (1 - phi**2) ** 0.5 * drawn
        return _Red(noise, observation, memory.now, jax.random.key_data(later))

    def answer(self, memory: _Red, observation: Float[Array, "1 k"]) -> Float[Array, "1 k"]:
        """The rate U."""
        inputs = _linear(observation, memory.before) if self.linear else _powers(observation)
        return _weighted(self.fit.weights, inputs) + memory.noise


class Polynomial(eqx.Module):
    """A polynomial in X_k."""

    weights: tuple[float, ...] = eqx.field(static=True)

    def __call__(self, observation: Float[Array, "1 k"]) -> Float[Array, "1 k"]:
        """The rate U."""
        return _weighted(self.weights, _powers(observation))


def _weighted(weights: tuple[float, ...], inputs: list[Array]) -> Array:
    return sum((w * x for w, x in zip(weights[1:], inputs[1:], strict=True)), jnp.full_like(inputs[0], weights[0]))


def _powers(x: Array) -> list[Array]:
    return [jnp.ones_like(x), x, x**2, x**3, x**4]


def _linear(x: Array, before: Array) -> list[Array]:
    shifts = range(-REACH, REACH + 1)
    return [jnp.ones_like(x), *(jnp.roll(x, -i, -1) for i in shifts), *(jnp.roll(before, -i, -1) for i in shifts)]


class Fits(NamedTuple):
    """Fitted parametrisations for one time step."""

    polynomial: Fit
    arx: Fit


def fit(constants: Constants, dt: float, *, time: float = 40.0, members: int = 32, seed: int = 0) -> Fits:
    """Least squares on the coupling along ``members`` simulations of both scales of length ``time``, sampled every dt.

    The simulations have steps of 0.001, or the next smaller length that divides dt. Seeds are those of training.
    """
    solver = TwoScale(constants, constants.fast)
    parts = int(np.ceil(dt / 0.001 - 1e-9))

    @jax.jit
    def run(keys: Array) -> tuple[Array, Array]:
        states = jax.vmap(lambda key: OnAttractor(solver).sample(key=key).initial)(keys)
        advance = jax.vmap(lambda state: solver.march(state, None, dt / parts, parts))

        def look(states: Any, _: None) -> tuple[Any, tuple[Array, Array]]:
            return advance(states), (states[0][:, 0], jax.vmap(solver.coupling)(states)[:, 0])

        return jax.lax.scan(look, states, None, length=round(time / dt))[1]

    x, u = (np.asarray(a, np.float64) for a in run(jax.random.split(jax.random.key(seed), members)))
    found = []
    for inputs in (_powers(jnp.asarray(x[1:])), _linear(jnp.asarray(x[1:]), jnp.asarray(x[:-1]))):
        columns = np.stack([np.asarray(each, np.float64).ravel() for each in inputs], axis=1)
        weights = np.linalg.lstsq(columns, u[1:].ravel(), rcond=None)[0]
        rest = u[1:] - (columns @ weights).reshape(u[1:].shape)
        phi = float(np.mean(rest[1:] * rest[:-1]) / np.mean(rest**2))
        found.append(Fit(tuple(float(f"{w:.6g}") for w in weights), float(f"{rest.std():.4g}"), float(f"{phi:.5g}")))
    return Fits(*found)


def baselines(constants: Constants, fits: Fits) -> dict[str, Solver]:
    """The three of them on the slow variables, asked at every stage."""
    solver = OneScale(constants, "stage")
    return {
        "polynomial": Answered(solver, Polynomial(fits.polynomial.weights)),
        "polynomial-ar1": WithMemory(solver, Parametrisation(fits.polynomial)),
        "arx": WithMemory(solver, Parametrisation(fits.arx, linear=True)),
    }
