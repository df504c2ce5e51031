r"""Gaussian processes with one kernel for many outputs: one Cholesky factor serves them all [Rasmussen2006].

All is computed in double precision, whatever the process' setting, and given and taken as NumPy arrays: the
covariance matrices of frames that follow each other closely are nearly singular.

.. code-block:: bibtex

    @book{Rasmussen2006,
      title = {Gaussian Processes for Machine Learning},
      author = {Rasmussen, Carl Edward and Williams, Christopher K. I.}, publisher = {MIT Press}, year = {2006}
    }
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import minimize
from tinygp import GaussianProcess, kernels

KernelName = Literal["rbf", "matern52", "matern32"]
KERNELS: tuple[KernelName, ...] = get_args(KernelName)
_TOLERANCE = 1e-9
"""Of the value, relative: a step that gains less ends the search."""


def kernel_of(name: KernelName, length: float | Array) -> kernels.Kernel:
    """An isotropic kernel of unit variance."""
    if name == "rbf":
        return kernels.ExpSquared(scale=length)
    known = {"matern52": kernels.Matern52, "matern32": kernels.Matern32}
    if name not in known:
        raise ValueError(f"unknown kernel {name!r}; valid: {', '.join(KERNELS)}")
    return known[name](scale=length, distance=kernels.distance.L2Distance())


def maximise(
    value_and_slope: Callable[..., tuple[Array, Array]],
    start: np.ndarray,
    lowest: np.ndarray,
    highest: np.ndarray,
    data: tuple[np.ndarray, ...] = (),
) -> tuple[Float[np.ndarray, " parameter"], float]:
    """Positive parameters within bounds where a function is largest, and its value, by L-BFGS-B in their logarithms.

    ``value_and_slope(parameters, *data)`` gives the value and its gradient.
    """
    with jax.enable_x64(True):
        given = tuple(map(jnp.asarray, data))

        def loss(logarithms: np.ndarray) -> tuple[float, np.ndarray]:
            parameters = np.exp(logarithms)
            value, slope = value_and_slope(jnp.asarray(parameters), *given)
            return -float(value), -np.asarray(slope) * parameters

        found = minimize(
            loss, np.log(start), jac=True, method="L-BFGS-B", bounds=np.log(np.stack([lowest, highest], axis=1)),
            options={"ftol": _TOLERANCE, "gtol": 1e-8},
        )  # fmt: skip
    return np.clip(np.exp(found.x), lowest, highest), -float(found.fun)


@dataclass(frozen=True)
class SharedGaussianProcess:
    """Independent outputs ``y_j = f_j(x) + noise`` with one kernel of unit variance, conditioned on targets.

    Predictions and the variance ``noise`` are in units of each output's own variance: multiply covariances by it.
    """

    inputs: Float[np.ndarray, "point input"]
    targets: Float[np.ndarray, "point output"]
    kernel: KernelName
    length: float
    noise: float

    @cached_property
    def _factors(self) -> tuple[Array, Array]:
        """The Cholesky factor of the covariance, and that solved for the targets."""
        with jax.enable_x64(True):
            return _factorise(self.kernel, jnp.asarray(self.inputs), jnp.asarray(self.targets), self.length, self.noise)

    def predict(
        self, inputs: Float[np.ndarray, "time input"]
    ) -> tuple[Float[np.ndarray, "time output"], Float[np.ndarray, "time time"]]:
        """Mean of every output and covariance between inputs, noise included on the diagonal."""
        with jax.enable_x64(True):
            mean, covariance = _predict(
                self.kernel, jnp.asarray(self.inputs), jnp.asarray(inputs), *self._factors, self.length
            )
            return np.asarray(mean), np.asarray(covariance) + self.noise * np.eye(len(inputs))

    def mean_and_variance(
        self, inputs: Float[np.ndarray, "time input"], at_once: int = 500
    ) -> tuple[Float[np.ndarray, "time output"], Float[np.ndarray, " time"]]:
        """Mean of every output and variance, noise included; inputs in blocks of ``at_once``."""
        blocks = [self.predict(inputs[first : first + at_once]) for first in range(0, len(inputs), at_once)]
        return np.concatenate([mean for mean, _ in blocks]), np.concatenate([np.diag(c) for _, c in blocks])

    def left_out(self, blocks: int) -> tuple[Float[np.ndarray, "point output"], Float[np.ndarray, " point"]]:
        """Mean and variance at every point, predicted from the other blocks of consecutive points.

        With the inverse covariance S, the prediction of block b misses its targets by ``S_bb^-1 (S y)_b``, and has the
        covariance ``S_bb^-1`` [Rasmussen2006, section 5.4.2, for blocks instead of points].
        """
        factor, _ = self._factors
        with jax.enable_x64(True):
            inverse = np.asarray(jax.scipy.linalg.cho_solve((factor, True), jnp.eye(len(self.inputs))))
        weights = inverse @ self.targets
        mean, variance = np.empty_like(self.targets), np.empty(len(self.targets))
        for block in np.array_split(np.arange(len(self.targets)), blocks):
            covariance = np.linalg.inv(inverse[np.ix_(block, block)])
            mean[block] = self.targets[block] - covariance @ weights[block]
            variance[block] = np.diag(covariance)
        return mean, variance


@partial(jax.jit, static_argnums=0)
def _factorise(name: KernelName, x: Array, y: Array, length: Array, noise: Array) -> tuple[Array, Array]:
    factor = jnp.linalg.cholesky(kernel_of(name, length)(x, x) + noise * jnp.eye(len(x)))
    return factor, jax.scipy.linalg.solve_triangular(factor, y, lower=True)


@partial(jax.jit, static_argnums=0)
def _predict(
    name: KernelName, x: Array, new: Array, factor: Array, solved: Array, length: Array
) -> tuple[Array, Array]:
    kernel = kernel_of(name, length)
    across = jax.scipy.linalg.solve_triangular(factor, kernel(x, new), lower=True)
    return across.T @ solved, kernel(new, new) - across.T @ across


def fit_shared(
    inputs: Float[np.ndarray, "point input"],
    targets: Float[np.ndarray, "point output"],
    *,
    kernel: KernelName = "matern52",
    evidence_points: int = 400,
    evidence_outputs: int = 40,
    least_noise: float = 1e-6,
) -> SharedGaussianProcess:
    r"""Choose length and noise by the marginal likelihood, and condition on all targets.

    The variance ``s_j^2`` of every output is eliminated at its maximum [Rasmussen2006, eq. 5.8]:

    .. math:: -\tfrac{n}{2} \sum_j \log s_j^2 - \tfrac{q}{2} \log |C| + const, \quad s_j^2 = y_j^T C^{-1} y_j / n.

    It is computed with some points, evenly spaced among all, and the first outputs: unpredictable ones would ask for
    noise in all. ``least_noise`` keeps the covariance well conditioned.
    """
    chosen = np.linspace(0, len(inputs) - 1, min(evidence_points, len(inputs))).round().astype(int)
    some = np.asarray(inputs[chosen], np.float64)
    outputs = np.asarray(targets[chosen, :evidence_outputs], np.float64)
    unit = float(np.sqrt(np.mean(np.var(some, axis=0)) * some.shape[1])) or 1.0
    start, lowest, highest = ([a * unit, b] for a, b in ((1.0, 1e-4), (1e-2, least_noise), (1e2, 10.0)))
    (length, noise), _ = maximise(
        partial(_evidence, kernel), np.asarray(start), np.asarray(lowest), np.asarray(highest), (some, outputs)
    )
    return SharedGaussianProcess(
        np.asarray(inputs, np.float64), np.asarray(targets, np.float64), kernel, float(length), float(noise)
    )


@partial(jax.jit, static_argnums=0)
def _evidence(name: KernelName, parameters: Array, x: Array, y: Array) -> tuple[Array, Array]:
    def evidence(parameters: Array) -> Array:
        process = GaussianProcess(kernel_of(name, parameters[0]), x, diag=parameters[1])
        scales = jnp.mean(jnp.square(process.solver.solve_triangular(y)), axis=0)
        return -0.5 * y.shape[0] * jnp.sum(jnp.log(scales)) - y.shape[1] * process.solver.normalization()

    return jax.value_and_grad(evidence)(parameters)
