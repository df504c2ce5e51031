"""What all closures share that are fitted by gradient descent: a network, a working grid, and how they are stored."""

import abc
from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray, Scalar

from closura.learners.descent import Descent, DescentConfiguration
from closura.learners.state import Metrics
from closura.reduced.filters import Filter
from closura.reduced.reconstruction import Frames, Members, Reconstruction, check_pairs, check_question
from closura.reduced.stored import arrays_of, with_arrays
from closura.reduced.symmetries import random_symmetry
from closura.reduced.working_grid import WorkingGrid, prepare
from closura.settings import Settings

FIELDS_PER_CALL = 64
"""Fields that are drawn in one compiled call: bounds memory, and is enough to be efficient."""

REPRESENTATIVES = 400
"""Training frames from which sizes are taken."""


class LearnedReconstruction(Reconstruction):
    """A network on a working grid whose answers, given random keys, are residuals.

    A subclass gives :meth:`draw`, and a function of the same settings that builds it untrained.
    """

    grid: WorkingGrid

    @abstractmethod
    def draw(self, filtered: Float[Array, "2 x y"], *, key: PRNGKeyArray) -> Float[Array, "2 X Y"]:
        """One residual on the working grid, in units of its size; traceable."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """The working grid, and the settings of the network."""

    @classmethod
    @abstractmethod
    def untrained(cls, facts: Mapping[str, Any], *, key: PRNGKeyArray) -> "LearnedReconstruction":
        """One with the same shapes, of :meth:`facts`."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of a frame."""
        return 2, self.grid.points, self.grid.points

    def sample(self, filtered: Frames, members: int, *, key: PRNGKeyArray) -> Members:
        check_question(filtered, self.shape, members)
        keys = jax.random.split(key, (filtered.shape[0], members))
        block = min(max(1, FIELDS_PER_CALL // members), filtered.shape[0])
        parts = []
        for first in range(0, filtered.shape[0], block):
            # The last block is filled up, so that nothing is compiled twice.
            chosen = np.minimum(np.arange(first, first + block), filtered.shape[0] - 1)
            drawn = _members_of(self, jnp.asarray(filtered[chosen], jnp.float32), keys[chosen])
            parts.append(np.asarray(drawn)[: filtered.shape[0] - first])
        return np.moveaxis(np.concatenate(parts), 1, 0).astype(filtered.dtype)

    def mean_and_std(self, filtered: Frames, members: int = 32) -> tuple[Frames, Frames]:
        """Of an ensemble of ``members`` with a fixed key."""
        check_question(filtered, self.shape)
        mean, std = np.empty_like(np.asarray(filtered)), np.empty_like(np.asarray(filtered))
        for i in range(filtered.shape[0]):
            drawn = self.sample(filtered[i : i + 1], members, key=jax.random.key(i))[:, 0]
            mean[i], std[i] = drawn.mean(axis=0), drawn.std(axis=0, ddof=1)
        return mean, std

    def state(self) -> dict[str, np.ndarray]:
        return arrays_of(self)

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> "LearnedReconstruction":
        return with_arrays(eqx.filter_eval_shape(cls.untrained, facts, key=jax.random.key(0)), arrays)


@eqx.filter_jit
def _members_of(
    closure: LearnedReconstruction, filtered: Float[Array, "time 2 x y"], keys: Key[Array, "time member"]
) -> Float[Array, "time member 2 x y"]:
    def one(frame: Array, key: PRNGKeyArray) -> Array:
        return closure.grid.close(frame, closure.draw(frame, key=key))

    return jax.vmap(lambda frame, keys: jax.vmap(partial(one, frame))(keys))(filtered, keys)


class LearnedRecipe(Settings, abc.ABC):
    """Settings of a closure that is fitted by gradient descent; subclasses are frozen dataclasses."""

    descent: DescentConfiguration
    working_points: int
    symmetries: bool

    @abc.abstractmethod
    def initial(self, grid: WorkingGrid, *, key: PRNGKeyArray) -> LearnedReconstruction:
        """The untrained closure."""

    @abc.abstractmethod
    def loss(
        self,
        closure: Any,
        filtered: Float[Array, "batch 2 x y"],
        residuals: Float[Array, "batch 2 X Y"],
        *,
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, ""], Metrics]:
        """What training makes small, for filtered frames and residuals on the working grid in units of their size."""

    def descent_on(self, grid: WorkingGrid) -> Descent:
        """The descent: batches are pairs of filtered and full frames, ``(batch, 2, component, x, y)``.

        A random symmetry of the flow, where asked for, is part of the compiled update.
        """

        def loss(
            closure: LearnedReconstruction, pairs: Float[Array, "batch 2 2 x y"], *, key: Key[Scalar, ""]
        ) -> tuple[Float[Array, ""], Metrics]:
            moves, draws = jax.random.split(key)
            if self.symmetries and grid.forcing:
                keys = jax.random.split(moves, pairs.shape[0])
                pairs = jax.vmap(lambda p, k: random_symmetry(k, grid.points, forcing=grid.forcing)(p))(pairs, keys)
            filtered, full = pairs[:, 0], pairs[:, 1]
            return self.loss(closure, filtered, jax.vmap(grid.residual)(filtered, full), key=draws)

        return Descent(self.descent, loss)

    def working_grid(
        self, filtered: Frames, full: Frames, *, forcing: int, filtering: Filter | None = None
    ) -> WorkingGrid:
        """The working grid that training frames ask for."""
        chosen = np.linspace(0, len(full) - 1, min(len(full), REPRESENTATIVES)).astype(int)
        return prepare(
            np.asarray(filtered)[chosen],
            np.asarray(full)[chosen],
            forcing=forcing,
            filtering=filtering,
            working_points=self.working_points,
        )

    def fit(
        self,
        filtered: Frames,
        full: Frames,
        *,
        key: PRNGKeyArray,
        forcing: int = 4,
        filtering: Filter | None = None,
    ) -> LearnedReconstruction:
        """Fit to pairs in memory, without a run folder.

        Parameters
        ----------
        filtered, full
            Pairs of training frames.
        key
            Random key.
        forcing
            Wavenumber of the flow's forcing; 0: none.
        filtering
            The filter, where it is known.

        Raises
        ------
        ValueError
            If the arrays are no pairs, or fewer than a batch.
        """
        check_pairs(filtered, full, least=self.descent.batch)
        grid = self.working_grid(filtered, full, forcing=forcing, filtering=filtering)
        begin, order, learn = jax.random.split(key, 3)
        descent = self.descent_on(grid)
        state = descent.init(self.initial(grid, key=begin), key=learn)
        rng = np.random.default_rng(np.asarray(jax.random.key_data(order)))
        filtered, full = np.asarray(filtered, np.float32), np.asarray(full, np.float32)
        for _ in range(self.descent.updates):
            chosen = rng.integers(0, len(full), self.descent.batch)
            state, _ = descent.update(state, jnp.asarray(np.stack([filtered[chosen], full[chosen]], axis=1)))
        return state.averaged
