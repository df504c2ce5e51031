"""What all samplers share that are fitted by gradient descent: a network, a working grid, and how they are stored."""

import abc
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

from closura.closures._members import apply_by_member
from closura.closures.networks import Convolution
from closura.grids import Boundary
from closura.offline.data import QUICK_VALIDATION, FitData, Training
from closura.offline.descent import Descent, DescentConfiguration, LossAndMetrics
from closura.offline.filters import Filter
from closura.offline.sampler import SAMPLERS, ConditionalSampler, Frames, Members, check_pairs, check_question
from closura.offline.stored import StoredSettings, in_blocks, with_arrays
from closura.offline.symmetries import random_symmetry
from closura.offline.working_grid import WorkingGrid, prepare
from closura.settings import Natural

Filtered = Float[Array, "batch 2 x y"]
Residuals = Float[Array, "batch 2 X Y"]

FIELDS_PER_CALL = 64
"""Fields that are drawn in one compiled call: bounds memory, and is enough to be efficient."""

REPRESENTATIVES = 400
"""Training frames from which sizes are taken."""

PERIODIC: tuple[Boundary, Boundary] = ("periodic", "periodic")
DILATIONS = (1, 2, 4, 1, 2, 4, 2, 1)
"""Repeated for deeper networks. Eight layers see 35 points across: all of a working grid of 32."""


class DilatedNetwork(eqx.Module):
    """``h <- h + conv(silu(h)) / 2`` with kernels of 3 x 3 points whose spacing grows and shrinks."""

    first: Convolution
    inner: tuple[Convolution, ...]
    last: Convolution

    def __init__(self, c_in: int, c_out: int, *, channels: int = 48, layers: int = 8, key: PRNGKeyArray) -> None:
        first, last, *inner = jax.random.split(key, layers + 2)
        self.first = _scaled(Convolution(c_in, channels, PERIODIC, key=first), 1.7)
        self.inner = tuple(
            _scaled(Convolution(channels, channels, PERIODIC, dilation=DILATIONS[i % len(DILATIONS)], key=k), 2.4)
            for i, k in enumerate(inner)
        )
        # Small first answers: what is learned first is not washed out by random ones.
        self.last = _scaled(Convolution(channels, c_out, PERIODIC, key=last), 0.2)

    def __call__(self, x: Float[Array, "c_in x y"]) -> Float[Array, "c_out x y"]:
        """Answer to a field; under ``vmap`` members take turns, which is faster on CPUs."""
        return apply_by_member(_answer, self, x)


def _scaled(layer: Convolution, factor: float) -> Convolution:
    """With kernels ``factor`` times PyTorch's, whose variance is 1 / (3 fan_in), and no bias."""
    return eqx.tree_at(lambda c: (c.kernel, c.bias), layer, (factor * layer.kernel, jnp.zeros_like(layer.bias)))


def _answer(network: DilatedNetwork, x: Array) -> Array:
    h = network.first(jnp.moveaxis(x, 0, -1))
    for layer in network.inner:
        h = h + 0.5 * layer(jax.nn.silu(h))
    return jnp.moveaxis(network.last(jax.nn.silu(h)), -1, 0)


@dataclass(frozen=True)
class LearnedSettings(StoredSettings, abc.ABC):
    """Settings of a sampler that is fitted by gradient descent.

    Parameters
    ----------
    working_points
        Points per side of the network's grid; 0: as few as the flow needs.
    symmetries
        Move training frames by random symmetries of the flow.
    descent
        How it is trained.
    """

    working_points: Natural = 0
    symmetries: bool = True
    descent: DescentConfiguration = field(default_factory=DescentConfiguration)

    GRID: ClassVar[type[WorkingGrid]] = WorkingGrid

    def initial(self, grid: WorkingGrid, *, key: PRNGKeyArray) -> Any:
        """The untrained sampler."""
        kind: Any = next(kind.module for kind in SAMPLERS.loaded().values() if kind.settings is type(self))
        return kind.make(grid, self.of_network(), key=key)

    @abstractmethod
    def loss(self, closure: Any, filtered: Filtered, residuals: Residuals, *, key: Array) -> LossAndMetrics:
        """What training makes small, for filtered frames and residuals on the working grid in units of their size."""

    def descent_on(self, grid: WorkingGrid) -> Descent:
        """The descent: batches are pairs of filtered and full frames, ``(batch, 2, component, x, y)``.

        A random symmetry of the flow, where asked for, is part of the compiled update.
        """

        def loss(closure: LearnedSampler, pairs: Float[Array, "batch 2 2 x y"], *, key: Array) -> LossAndMetrics:
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

    def training(self, data: FitData, *, seed: int, key: PRNGKeyArray) -> Training:
        """A fit to a data set; ``key`` is that of the first weights."""
        pairs = data.pairs(data.split.train, REPRESENTATIVES)
        grid = self.working_grid(*pairs, forcing=data.flow.forcing, filtering=data.filtering)
        batches = partial(data.batches, self.descent.batch, seed=seed)
        return Training(self.descent_on(grid), self.initial(grid, key=key), lambda first: batches(first=first))

    @classmethod
    def preset(cls, preset: str) -> dict[str, Any]:
        """Settings of a fit: these, and what goes with them; KeyError where there is no such preset."""
        settings = cls()
        updates = min(400, settings.descent.updates)
        quick = replace(settings, descent=replace(settings.descent, updates=updates, warmup=min(50, updates // 2)))
        known: dict[str, dict[str, Any]] = {
            "default": {"settings": settings},
            "quick": {"settings": quick, "validation": QUICK_VALIDATION},
        }
        return known[preset]

    def fit(
        self,
        filtered: Frames,
        full: Frames,
        *,
        key: PRNGKeyArray,
        forcing: int = 4,
        filtering: Filter | None = None,
    ) -> "LearnedSampler":
        """Fit to pairs in memory, without a run folder; see :mod:`~closura.offline.sampler`.

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
        fitted: LearnedSampler = state.averaged
        return fitted


class LearnedSampler(ConditionalSampler):
    """A network on a working grid whose answers, given random keys, are residuals.

    A subclass gives :meth:`make` and :meth:`draw`.
    """

    grid: WorkingGrid
    settings: Any = eqx.field(static=True)

    @classmethod
    @abstractmethod
    def make(cls, grid: WorkingGrid, settings: Any, *, key: PRNGKeyArray) -> "LearnedSampler":
        """The untrained sampler."""

    @abstractmethod
    def draw(self, filtered: Float[Array, "2 x y"], *, key: PRNGKeyArray) -> Float[Array, "2 X Y"]:
        """One residual on the working grid, in units of its size; traceable."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of a frame."""
        return 2, self.grid.points, self.grid.points

    def sample(self, filtered: Frames, members: int, *, key: PRNGKeyArray) -> Members:
        check_question(filtered, self.shape, members)
        keys = jax.random.split(key, (filtered.shape[0], members))
        block = min(max(1, FIELDS_PER_CALL // members), filtered.shape[0])
        drawn = in_blocks(
            lambda chosen: _members_of(self, jnp.asarray(filtered[chosen], jnp.float32), keys[chosen]),
            filtered.shape[0],
            block,
        )
        return np.moveaxis(drawn, 1, 0).astype(filtered.dtype)

    def mean_and_std(self, filtered: Frames, members: int = 32) -> tuple[Frames, Frames]:
        """Of an ensemble of ``members`` with a fixed key."""
        check_question(filtered, self.shape)
        mean, std = np.empty_like(np.asarray(filtered)), np.empty_like(np.asarray(filtered))
        for i in range(filtered.shape[0]):
            drawn = self.sample(filtered[i : i + 1], members, key=jax.random.key(i))[:, 0]
            mean[i], std[i] = drawn.mean(axis=0), drawn.std(axis=0, ddof=1)
        return mean, std

    def facts(self) -> dict[str, Any]:
        return {"grid": self.grid.plain(), **self.settings.facts()}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> "LearnedSampler":
        kind: Any = next(kind.settings for kind in SAMPLERS.loaded().values() if kind.module is cls)
        settings = kind.from_facts({name: value for name, value in facts.items() if name != "grid"})
        grid = kind.GRID.from_plain(facts["grid"])
        return with_arrays(eqx.filter_eval_shape(cls.make, grid, settings, key=jax.random.key(0)), arrays)


@eqx.filter_jit
def _members_of(
    closure: LearnedSampler, filtered: Float[Array, "time 2 x y"], keys: Key[Array, "time member"]
) -> Float[Array, "time member 2 x y"]:
    def one(frame: Array, key: PRNGKeyArray) -> Array:
        return closure.grid.close(frame, closure.draw(frame, key=key))

    return jax.vmap(lambda frame, keys: jax.vmap(partial(one, frame))(keys))(filtered, keys)
