"""The published transformer of latents: a window of latent vectors to the latent vector two steps after the last.

Tokens are the latents themselves, with a sinusoidal position code added. Blocks normalise before attention and before
the inner network (64, 128, 64 units, ReLU); a head of the same size reads the last token. The answer is the latent
vector itself, no change of it. 83 520 weights at the published sizes.

What the publication has and this leaves out, because it has no effect: linear layers that embed the inputs and the
outputs, which are built and bypassed (8 320 dead weights; with them 91 840), so that the transformer's width
(hidden_dim) has to be that of the latents (num_obs). Its causal mask is made and not used: ``causal=False`` repeats
that. As only the last token is read, a mask changes what the tokens before it know.

The conditioned variant asks a parameter of the flow instead of the other tokens: queries are the tokens, the one key
and value is an embedded number. Attention to a single key is one whatever the query, so its answer is the same for all
tokens, and **without self-attention, as published, no token knows of another**: it predicts from the last one alone.

Source as :mod:`closura.reproductions.dense_autoencoder`; the variant is the sibling's, Zighed et al. (2025), arXiv
2503.23236.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.offline.transformer import Block, linear, sinusoids

REYNOLDS_UNIT = 100.0
"""What Reynolds numbers are divided by before they are embedded, so that they are near one."""


class PublishedTransformer(eqx.Module):
    """A window of latent vectors to one latent vector, whose length is the transformer's width (published:
    hidden_dim).

    Published names of blocks and heads: nattblocks, nheads. With ``causal`` (published: not) tokens see earlier ones
    and themselves only; ``conditioned`` ones take from the Reynolds number, and not from each other.
    """

    embed: eqx.nn.Linear | None
    blocks: tuple[Block, ...]
    inner: eqx.nn.Linear
    outer: eqx.nn.Linear

    def __init__(
        self,
        latent: int = 64,
        *,
        blocks: int = 2,
        heads: int = 8,
        causal: bool = False,
        conditioned: bool = False,
        key: PRNGKeyArray,
    ) -> None:
        embed, inner, outer, *rest = jax.random.split(key, blocks + 3)
        self.embed = linear(1, latent, key=embed) if conditioned else None
        self.blocks = tuple(Block(latent, heads, 2 * latent, causal=causal, activation="relu", key=k) for k in rest)
        self.inner = linear(latent, 2 * latent, key=inner)
        self.outer = linear(2 * latent, latent, key=outer)

    def __call__(
        self, tokens: Float[Array, "token latent"], reynolds: Float[Array, ""] | None = None
    ) -> Float[Array, " latent"]:
        """The latent vector two steps after the last of the tokens, which are one step apart, the oldest first."""
        context = None
        if self.embed is not None:
            if reynolds is None:
                raise ValueError("the conditioned variant needs the Reynolds number; got None")
            context = self.embed(jnp.reshape(reynolds / REYNOLDS_UNIT, (1,)).astype(tokens.dtype))[None]
        tokens = tokens + jnp.asarray(sinusoids(*tokens.shape), tokens.dtype)
        for block in self.blocks:
            tokens = block(tokens, context)
        return self.outer(jax.nn.relu(self.inner(tokens[-1])))
