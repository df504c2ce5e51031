r"""Explicit Runge-Kutta methods on any pytree of arrays.

The stages run in a ``lax.scan`` over the columns of the tableau: unrolled, XLA on CPU merges neighbouring
stages and computes each of them many times over (at 64x64, an order of magnitude slower than the loop).

Sources: Hairer, Nørsett and Wanner, Solving Ordinary Differential Equations I, Springer 1993; Shu and Osher, J. Comput.
Phys. 77 (1988), doi 10.1016/0021-9991(88)90177-5.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from closura.numerics._checks import named

State = TypeVar("State")  # a pytree of arrays of one dtype


@dataclass(frozen=True)
class Integrator:
    """An explicit Runge-Kutta method for ``dq/dt = f(q)``.

    Parameters
    ----------
    name
        Name in the registry.
    order
        Order of accuracy.
    tableau
        One row per stage and a last row of weights. Row ``i`` has ``i`` numbers: stage ``i`` is evaluated at
        ``q + dt sum_j tableau[i][j] k_j``, and so is the result.
    """

    name: str
    order: int
    tableau: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if len(self.tableau) < 2 or any(len(row) != i for i, row in enumerate(self.tableau)):
            raise ValueError(
                f"integrator {self.name!r}: expected rows of 0, 1, 2, ... numbers; got {self.tableau}. "
                "Explicit methods only; the last row holds the weights"
            )
        if abs(sum(self.tableau[-1]) - 1) > 1e-9:
            raise ValueError(f"integrator {self.name!r}: the weights {self.tableau[-1]} do not add up to 1")

    @property
    def stages(self) -> int:
        """Number of evaluations of the right-hand side per step."""
        return len(self.tableau) - 1

    @property
    def stability_polynomial(self) -> tuple[float, ...]:
        """Coefficients of ``R(z)``, lowest power first: ``dq/dt = a q`` steps by ``q <- R(a dt) q``."""
        # R(z) = 1 + sum_j z^(j+1) b A^j 1 (Hairer et al. 1996, volume II, section IV.2).
        a = np.zeros((self.stages, self.stages))
        for i, row in enumerate(self.tableau[:-1]):
            a[i, :i] = row
        coefficients, power = [1.0], np.ones(self.stages)
        for _ in range(self.stages):
            coefficients.append(float(np.dot(self.tableau[-1], power)))
            power = a @ power
        return tuple(coefficients)

    def step(self, rhs: Callable[[State], State], state: State, dt: float | Float[Array, ""]) -> State:
        """The state one time step later.

        Parameters
        ----------
        rhs
            Right-hand side ``f``: takes a state and returns its time derivative, with the same structure,
            shapes and dtype. Bind everything else (grid, velocity, forcing) before.
        state
            A pytree of arrays of one dtype.
        dt
            Time step, in the time unit of ``rhs``; it takes the dtype of the state.
        """
        dtype = _dtype_of(state)
        dt = jnp.asarray(dt, dtype)

        def slope(at: State) -> State:
            k = rhs(at)
            if _signature(k) != _signature(state):
                raise ValueError(
                    f"the right-hand side must return what it takes, {_signature(state)}; got {_signature(k)}"
                )
            return k

        if self.stages == 1:
            return _add(state, dt, slope(state))

        # ahead[m] is the m-th stage from now, as far as it is known; a column of the tableau says what one
        # stage adds to those after it. The increment is summed apart from the state: less rounding.
        def stage(carry: tuple[list[State], State], column: Any) -> tuple[tuple[list[State], State], None]:
            ahead, total = carry
            contributions, weight = column
            k = slope(ahead[0])
            ahead = [_add(x, contributions[m] * dt, k) for m, x in enumerate([*ahead[1:], state])]
            return (ahead, _add(total, weight * dt, k)), None

        contributions = _columns(self.tableau)
        columns = (jnp.asarray(contributions, dtype), jnp.asarray(self.tableau[-1], dtype))
        carry = ([state] * contributions.shape[1], jax.tree.map(jnp.zeros_like, state))
        (_, total), _ = jax.lax.scan(stage, carry, columns)
        return jax.tree.map(jnp.add, state, total)


def _columns(tableau: tuple[tuple[float, ...], ...]) -> Float[np.ndarray, "stage ahead"]:
    """``[j, m]``: weight of stage ``j`` in stage ``j + 1 + m``; as many ``m`` as the tableau has bands."""
    stages = len(tableau) - 1
    columns = np.zeros((stages, stages))
    for i, row in enumerate(tableau[:-1]):
        for j, weight in enumerate(row):
            columns[j, i - j - 1] = weight
    bands = max(m + 1 for m in range(stages) if m == 0 or columns[:, m].any())
    return columns[:, :bands]


def _add(x: State, factor: Array, y: State) -> State:
    """``x + factor y``, leaf by leaf."""
    return jax.tree.map(lambda a, b: a + factor * b, x, y)


def _signature(tree: Any) -> tuple[Any, ...]:
    """Structure, shapes and dtypes of a pytree of arrays."""
    leaves, structure = jax.tree.flatten(tree)
    return (str(structure), *((jnp.shape(leaf), str(jnp.result_type(leaf))) for leaf in leaves))


def _dtype_of(state: Any) -> Any:
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(state)}
    if len(dtypes) != 1:
        names = ", ".join(sorted(map(str, dtypes))) or "no array at all"
        raise ValueError(f"expected a state of arrays of one dtype; got {names}. Cast before stepping")
    return dtypes.pop()


INTEGRATORS: dict[str, Integrator] = {
    integrator.name: integrator
    for integrator in (
        Integrator("forward-euler", 1, ((), (1.0,))),
        Integrator("ssp-rk2", 2, ((), (1.0,), (1 / 2, 1 / 2))),
        Integrator("ssp-rk3", 3, ((), (1.0,), (1 / 4, 1 / 4), (1 / 6, 1 / 6, 2 / 3))),
        Integrator("rk4", 4, ((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6))),
    )
}


def get_integrator(integrator: str | Integrator) -> Integrator:
    """The integrator of this name; an integrator is handed back as it is."""
    return named("integrator", INTEGRATORS, integrator)
