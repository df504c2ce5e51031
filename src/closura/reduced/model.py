"""What a reduced-order model is: a stochastic map from the last filtered frames to those that follow."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray, PyTree

from closura.reduced.stored import read_stored, rebuilt, write_stored

FORMAT = "closura reduced model"

STEPS_PER_CALL = 100
"""Steps of all members that are made in one compiled call: bounds memory."""


class ReducedModel(eqx.Module):
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

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """All fitted arrays by name."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Everything else that :meth:`from_state` needs, as JSON knows it."""

    @classmethod
    @abstractmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> "ReducedModel":
        """Rebuild from :meth:`state` and :meth:`facts`."""


class ModelEntry(NamedTuple):
    """A model, and the settings that it is fitted by."""

    model: type[ReducedModel]
    recipe: type[Any]


MODELS: dict[str, ModelEntry] = {}
"""Reduced-order models by name; the modules that define them add to it."""


def model_recipe(name: str) -> type[Any]:
    """The class of a model's settings.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the valid ones.
    """
    if name not in MODELS:
        raise ValueError(f"unknown reduced-order model {name!r}; valid: {', '.join(sorted(MODELS))}")
    return MODELS[name].recipe


def rollout(
    model: ReducedModel,
    start: Float[np.ndarray, "window 2 x y"],
    steps: int,
    members: int,
    *,
    key: PRNGKeyArray,
    block: int = STEPS_PER_CALL,
) -> Iterator[Float[np.ndarray, "member time 2 x y"]]:
    """An ensemble of runs from one start, block of steps by block, float32.

    Parameters
    ----------
    model
        A fitted model.
    start
        Filtered frames, one step of the model apart.
    steps, members
        Steps after the start, and runs with noise of their own.
    key
        Random key.
    block
        Steps per block.

    Raises
    ------
    ValueError
        If there are not as many frames as the model's window, or a number is not positive.
    """
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
    model: ReducedModel, starts: Float[Array, "start window 2 x y"], steps: int, members: int, *, key: PRNGKeyArray
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


def decode_all(model: ReducedModel, latents: Float[np.ndarray, "*lead latent"]) -> Float[np.ndarray, "*lead 2 x y"]:
    """Frames of latent vectors with any leading axes, block by block."""
    flat = latents.reshape(-1, latents.shape[-1])
    parts = []
    for begin in range(0, len(flat), 512):
        chosen = np.minimum(np.arange(begin, begin + 512), len(flat) - 1)
        parts.append(np.asarray(_decode(model, jnp.asarray(flat[chosen])))[: len(flat) - begin])
    frames = np.concatenate(parts)
    return frames.reshape(*latents.shape[:-1], *frames.shape[1:])


@eqx.filter_jit
def _starts(model: ReducedModel, frames: Array, keys: Key[Array, " member"]) -> PyTree[Array]:
    return jax.vmap(lambda k: model.start(frames, key=k))(keys)


@eqx.filter_jit
def _march(model: ReducedModel, carry: PyTree[Array], keys: Key[Array, "member steps"]) -> tuple[PyTree[Array], Array]:
    def one(carry: PyTree[Array], keys: Array) -> tuple[PyTree[Array], Array]:
        return jax.lax.scan(lambda c, k: model.step(c, key=k), carry, keys)

    return jax.vmap(one)(carry, keys)


@eqx.filter_jit
def _decode(model: ReducedModel, latents: Float[Array, "frame latent"]) -> Float[Array, "frame 2 x y"]:
    return jax.vmap(model.decode)(latents)


def save_model(path: str | Path, model: ReducedModel, *, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write a fitted model to one safetensors file, replacing it atomically.

    Raises
    ------
    ValueError
        If its class is not in :data:`MODELS`.
    """
    names = [name for name, entry in MODELS.items() if entry.model is type(model)]
    if not names:
        raise ValueError(f"{type(model).__name__} is not registered: no name to find it by on loading")
    return write_stored(path, FORMAT, names[0], model.state(), model.facts(), metadata)


def load_model(path: str | Path) -> tuple[ReducedModel, dict[str, Any]]:
    """Read a fitted model and its metadata.

    Raises
    ------
    ValueError
        If the file is damaged, holds something else, or the model's name is unknown.
    FileNotFoundError
        If there is no such file.
    """
    name, arrays, facts, metadata = read_stored(path, FORMAT)
    if name not in MODELS:
        raise ValueError(f"unknown reduced-order model {name!r}; valid: {', '.join(MODELS)}")
    return rebuilt(path, lambda: MODELS[name].model.from_state(arrays, facts)), metadata
