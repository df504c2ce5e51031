"""Fully connected layers for closures that see all they need in their own channels."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
}


class Dense(eqx.Module):
    """``x W + b`` over the last axis; Glorot-uniform weights and no bias before training."""

    weight: Float[Array, "inputs outputs"]
    bias: Float[Array, " outputs"]

    def __init__(self, inputs: int, outputs: int, *, dtype: jnp.dtype | type = jnp.float32, key: PRNGKeyArray) -> None:
        reach = (6.0 / (inputs + outputs)) ** 0.5
        self.weight = jax.random.uniform(key, (inputs, outputs), dtype, -reach, reach)
        self.bias = jnp.zeros((outputs,), dtype)

    def __call__(self, x: Float[Array, "*agents inputs"]) -> Float[Array, "*agents outputs"]:
        # The derivative by a weight that is stored the other way round is one product in the order that XLA's fast
        # kernels on CPU take; from `x @ weight` it comes out transposed, and twice as slow. (Without the barrier XLA
        # turns the one into the other.)
        turned = jax.lax.optimization_barrier(self.weight.T)
        return jax.lax.dot_general(x, turned, (((x.ndim - 1,), (1,)), ((), ()))) + self.bias


class Perceptron(eqx.Module):
    """Dense layers with an activation between them; the last one is linear."""

    layers: tuple[Dense, ...]
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: str = "relu",
        zero_last: bool = False,
        dtype: jnp.dtype | type = jnp.float32,
        key: PRNGKeyArray,
    ) -> None:
        if activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {activation!r}; valid: {', '.join(ACTIVATIONS)}")
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"a network needs positive sizes of inputs and outputs; got {tuple(sizes)}")
        keys = jax.random.split(key, len(sizes) - 1)
        layers = [Dense(a, b, dtype=dtype, key=k) for a, b, k in zip(sizes[:-1], sizes[1:], keys, strict=True)]
        if zero_last:
            layers[-1] = jax.tree.map(jnp.zeros_like, layers[-1])
        self.layers, self.activation = tuple(layers), activation

    @classmethod
    def starting_from(
        cls,
        start: Sequence[float],
        sizes: Sequence[int],
        *,
        activation: str = "relu",
        dtype: jnp.dtype | type = jnp.float32,
        key: PRNGKeyArray,
    ) -> "Perceptron":
        """One with an output for each number of ``start``, which is its answer before training."""
        network = cls((*sizes, len(start)), activation=activation, zero_last=True, dtype=dtype, key=key)
        return eqx.tree_at(lambda n: n.layers[-1].bias, network, jnp.asarray(start, dtype))

    def __call__(self, x: Float[Array, "*agents inputs"]) -> Float[Array, "*agents outputs"]:
        act = ACTIVATIONS[self.activation]
        for layer in self.layers[:-1]:
            x = act(layer(x))
        return self.layers[-1](x)
