"""Transformers over windows of latent vectors [Vaswani2017], with layer norms before each part.

.. code-block:: bibtex

    @inproceedings{Vaswani2017,
      title = {Attention is All you Need}, author = {Vaswani, Ashish and others},
      booktitle = {Advances in Neural Information Processing Systems}, volume = {30}, year = {2017}
    }
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray


class Attention(eqx.Module):
    """Self-attention with several heads; where it is ``causal`` tokens see earlier ones and themselves only."""

    query: eqx.nn.Linear
    keys: eqx.nn.Linear
    values: eqx.nn.Linear
    output: eqx.nn.Linear
    heads: int = eqx.field(static=True)
    causal: bool = eqx.field(static=True)

    def __init__(self, width: int, heads: int, *, causal: bool, key: PRNGKeyArray) -> None:
        if heads < 1 or width % heads:
            raise ValueError(f"the width of tokens must be a multiple of the heads; got {width} and {heads}")
        q, k, v, o = jax.random.split(key, 4)
        self.query = linear(width, width, key=q)
        self.keys = linear(width, width, key=k)
        self.values = linear(width, width, key=v)
        self.output = linear(width, width, key=o)
        self.heads = heads
        self.causal = causal

    def __call__(
        self, tokens: Float[Array, "token width"], context: Float[Array, "source width"] | None = None
    ) -> Float[Array, "token width"]:
        """Mix tokens, or take from a ``context`` (cross-attention)."""
        source = tokens if context is None else context
        q, k, v = (
            jax.vmap(layer)(x).reshape(x.shape[0], self.heads, -1)
            for layer, x in ((self.query, tokens), (self.keys, source), (self.values, source))
        )
        scores = jnp.einsum("thd,shd->hts", q, k) / math.sqrt(q.shape[-1])
        if self.causal and context is None:
            allowed = np.tril(np.ones((tokens.shape[0], tokens.shape[0]), bool))
            scores = jnp.where(allowed, scores, -jnp.inf)
        mixed = jnp.einsum("hts,shd->thd", jax.nn.softmax(scores, axis=-1), v)
        return jax.vmap(self.output)(mixed.reshape(tokens.shape[0], -1))


class Block(eqx.Module):
    """Attention, then a network for every token, both added to their input."""

    before_attention: eqx.nn.LayerNorm
    attention: Attention
    before_network: eqx.nn.LayerNorm
    inner: eqx.nn.Linear
    outer: eqx.nn.Linear
    activation: str = eqx.field(static=True)

    def __init__(
        self, width: int, heads: int, hidden: int, *, causal: bool, activation: str = "gelu", key: PRNGKeyArray
    ) -> None:
        a, b, c = jax.random.split(key, 3)
        self.before_attention = eqx.nn.LayerNorm(width, dtype=jnp.float32)
        self.attention = Attention(width, heads, causal=causal, key=a)
        self.before_network = eqx.nn.LayerNorm(width, dtype=jnp.float32)
        self.inner = linear(width, hidden, key=b)
        self.outer = linear(hidden, width, key=c)
        self.activation = activation

    def __call__(
        self, tokens: Float[Array, "token width"], context: Float[Array, "source width"] | None = None
    ) -> Float[Array, "token width"]:
        """All tokens of a window."""
        act = {"gelu": jax.nn.gelu, "relu": jax.nn.relu}[self.activation]
        tokens = tokens + self.attention(jax.vmap(self.before_attention)(tokens), context)

        def network(token: Array) -> Array:
            return self.outer(act(self.inner(self.before_network(token))))

        return tokens + jax.vmap(network)(tokens)


def sinusoids(length: int, width: int) -> Float[np.ndarray, "token width"]:
    """The position code of the paper: sine and cosine of position / 10000^(2 i / width), alternating."""
    position = np.arange(length)[:, None]
    rate = np.exp(-math.log(10000.0) * np.arange(0, width, 2) / width)
    code = np.zeros((length, width))
    code[:, 0::2] = np.sin(position * rate)
    code[:, 1::2] = np.cos(position * rate[: width // 2])
    return code.astype(np.float32)


def linear(c_in: int, c_out: int, *, key: PRNGKeyArray) -> eqx.nn.Linear:
    """Weights uniform in +- 1 / sqrt(c_in), PyTorch's default, in float32 whatever JAX's default is."""
    return eqx.nn.Linear(c_in, c_out, dtype=jnp.float32, key=key)
