"""A store of true trajectories that renews itself in blocks, the same way in every run of the same seed.

The fine simulation takes no notice of the closure, so learners read it from a store instead of paying for it
in every episode; renewing one block at a time keeps new images and velocities coming. Block ``r`` of the
sequence depends on the seed and ``r`` alone: a resumed training rebuilds exactly the store it had.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, Scalar

from closura.problems import Problem, ReferenceStore, simulate_reference
from closura.problems.stored import stored_reference
from closura.settings import Count, Natural, Settings


@dataclass(frozen=True)
class ReferenceConfiguration(Settings):
    """How much reference is kept and how often it is renewed.

    Parameters
    ----------
    slots
        Simulations in the store; 0 simulates the reference afresh in every episode (as published).
    steps
        Coarse steps of each.
    blocks
        The store is renewed a block (``slots / blocks`` simulations) at a time.
    renew_every
        Updates between renewals; 0 never renews.
    keep
        Keep blocks on disk, in the cache folder, for other trainings on the same flow: for reference that takes
        minutes.
    """

    slots: Natural = 128
    steps: Count = 60
    blocks: Count = 8
    renew_every: Natural = 100
    keep: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.slots % self.blocks:
            raise ValueError(f"reference: {self.blocks} blocks do not divide {self.slots} slots")


class ReferenceBank:
    """The store at every moment of a training."""

    def __init__(
        self, problem: Problem, configuration: ReferenceConfiguration, *, key: Key[Scalar, ""], identity: str = ""
    ) -> None:
        self._problem, self._configuration, self._key, self._identity = problem, configuration, key, identity
        self._blocks: dict[int, ReferenceStore] = {}
        self._store: ReferenceStore | None = None

    def renewals(self, update: int) -> int:
        """How many renewals have happened before an update."""
        every = self._configuration.renew_every
        return update // every if every else 0

    def next_renewal(self, update: int) -> int | None:
        """The first update after this one before which a renewal happens."""
        every = self._configuration.renew_every
        return (update // every + 1) * every if every else None

    def at(self, update: int) -> tuple[ReferenceStore, Array]:
        """The store for an update, and which slots are new since the last call: booleans, ``(slots,)``."""
        c = self._configuration
        last = c.blocks - 1 + self.renewals(update)
        wanted = range(last - c.blocks + 1, last + 1)
        new = [r for r in wanted if r not in self._blocks]
        self._blocks = {r: self._blocks[r] if r in self._blocks else self._simulate(r) for r in wanted}
        in_place = sorted(wanted, key=lambda r: r % c.blocks)
        if new or self._store is None:
            self._store = jax.tree.map(lambda *x: jnp.concatenate(x), *(self._blocks[r] for r in in_place))
        size = c.slots // c.blocks
        fresh = jnp.repeat(jnp.asarray([r in new for r in in_place]), size)
        return self._store, fresh

    def _simulate(self, block: int) -> ReferenceStore:
        c = self._configuration
        size, key = c.slots // c.blocks, jax.random.fold_in(self._key, block)
        if not c.keep:
            return simulate_reference(self._problem, size, c.steps, key=key)
        return stored_reference(self._problem, size, c.steps, key=key, identity=self._identity)
