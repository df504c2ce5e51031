"""What a reduced-order model is: a stochastic map from the last filtered frames to those that follow."""

from abc import abstractmethod
from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray, PyTree

from closura.offline.stored import FittedKinds, FittedModule, in_blocks

STEPS_PER_CALL = 100
"""Steps of all members that are made in one compiled call: bounds memory."""


class ReducedOrderModel(FittedModule):
    """Steps the filtered flow in a latent space.

    A carry is whatever a member takes from one step to the next; its shapes never change, so that members and steps
    run in one compiled loop.
    """

    @property
    @abstractmethod
    def window(self) -> int:
        """Frames, one step apart, that a start consists of."""

    @abstractmethod
    def start(self, frames: Float[Array, "window 2 x y"], *, key: PRNGKeyArray) -> PyTree[Array]:
        """The carry after some frames of the filtered flow."""

    @abstractmethod
    def step(self, carry: PyTree[Array], *, key: PRNGKeyArray) -> tuple[PyTree[Array], Float[Array, " latent"]]:
        """The carry one step later, and the latent vector of that time."""

    @abstractmethod
    def decode(self, latent: Float[Array, " latent"]) -> Float[Array, "2 x y"]:
        """The filtered frame of a latent vector."""


MODELS = FittedKinds("reduced_model", "closura reduced model")
"""Reduced-order models by name."""

reduced_model, save_model, load_model = MODELS.register, MODELS.save, MODELS.load


def rollout(
    model: ReducedOrderModel,
    start: Float[np.ndarray, "window 2 x y"],
    steps: int,
    members: int,
    *,
    key: PRNGKeyArray,
    block: int = STEPS_PER_CALL,
) -> Iterator[Float[np.ndarray, "member time 2 x y"]]:
    """An ensemble of runs from one start, filtered frames one step of the model apart: a block of steps at a time."""
    if start.shape[0] != model.window:
        raise ValueError(f"this model starts from {model.window} frames; got {start.shape[0]}")
    if min(steps, members, block) < 1:
        raise ValueError(f"expected positive numbers of steps, members and block; got {steps}, {members}, {block}")
    first, later = jax.random.split(key)
    frames = jnp.asarray(start, jnp.float32)
    carry = _starts(model, frames, jax.random.split(first, members))
    for begin in range(0, steps, block):
        length = min(block, steps - begin)
        # The last block is made whole too, so that nothing is compiled twice.
        keys = jax.random.split(jax.random.fold_in(later, begin), (members, min(block, steps)))
        carry, latents = _march(model, carry, keys)
        yield decode_all(model, np.asarray(latents)[:, :length])


def latent_rollout(
    model: ReducedOrderModel, starts: Float[Array, "start window 2 x y"], steps: int, members: int, *, key: PRNGKeyArray
) -> Float[np.ndarray, "start member time latent"]:
    """Latent vectors of ensembles from several starts, in one compiled call."""
    count = starts.shape[0]
    first, later = jax.random.split(key)
    frames = jnp.repeat(jnp.asarray(starts, jnp.float32), members, axis=0)
    carry = eqx.filter_jit(jax.vmap(lambda f, k: model.start(f, key=k)))(
        frames, jax.random.split(first, count * members)
    )
    _, latents = _march(model, carry, jax.random.split(later, (count * members, steps)))
    return np.asarray(latents).reshape(count, members, steps, -1)


def decode_all(
    model: ReducedOrderModel, latents: Float[np.ndarray, "*lead latent"]
) -> Float[np.ndarray, "*lead 2 x y"]:
    """Frames of latent vectors with any leading axes, block by block."""
    flat = latents.reshape(-1, latents.shape[-1])
    frames = in_blocks(lambda chosen: _decode(model, jnp.asarray(flat[chosen])), len(flat), 512)
    return frames.reshape(*latents.shape[:-1], *frames.shape[1:])


@eqx.filter_jit
def _starts(model: ReducedOrderModel, frames: Array, keys: Key[Array, " member"]) -> PyTree[Array]:
    return jax.vmap(lambda k: model.start(frames, key=k))(keys)


@eqx.filter_jit
def _march(
    model: ReducedOrderModel, carry: PyTree[Array], keys: Key[Array, "member steps"]
) -> tuple[PyTree[Array], Array]:
    def one(carry: PyTree[Array], keys: Array) -> tuple[PyTree[Array], Array]:
        return jax.lax.scan(lambda c, k: model.step(c, key=k), carry, keys)

    return jax.vmap(one)(carry, keys)


@eqx.filter_jit
def _decode(model: ReducedOrderModel, latents: Float[Array, "frame latent"]) -> Float[Array, "frame 2 x y"]:
    return jax.vmap(model.decode)(latents)
