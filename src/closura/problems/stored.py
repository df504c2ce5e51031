"""A reference that is computed once: a store of initial conditions with the trajectories that follow them.

Where the reference takes no notice of the coarse run, the fine solver - most of the cost of an environment step -
need not run again for every episode. Training, validation and evaluation all take their simulations from a store.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree, Scalar

from closura.core.case import Case
from closura.problems.problem import Begin, InitialState, Problem
from closura.problems.reference import Reference, Step


class ReferenceStore(eqx.Module):
    """Initial conditions and true trajectories of a number of simulations.

    Shapes: ``state (slots, component, *grid)``, every leaf of ``parameters`` with a leading slot axis,
    ``reference (slots, steps + 1, component, *grid)`` on the coarse grid, ``reference[:, 0]`` at the time of ``state``.
    """

    state: Float[Array, "slots component *grid"]
    parameters: PyTree[Array]
    reference: Float[Array, "slots times component *grid"]
    quantities: Float[Array, "slots quantity"]
    group: Int[Array, " slots"] | None = None

    @property
    def slots(self) -> int:
        """Number of simulations."""
        return self.reference.shape[0]

    @property
    def steps(self) -> int:
        """Number of coarse steps that the stored reference covers."""
        return self.reference.shape[1] - 1

    def __getitem__(self, index: Any) -> "ReferenceStore":
        """The same for a selection of slots (a slice or an array of indices)."""
        return jax.tree.map(lambda x: x[index], self)


@eqx.filter_jit
def _simulate(
    problem: Problem, numbers: Int[Array, " slots"], keys: Key[Array, " slots"], steps: int
) -> ReferenceStore:
    def one(member: tuple[Int[Array, ""], Key[Scalar, ""]]) -> tuple[Any, ...]:
        number, key = member
        state, parameters, reference, total, group = problem.begin.member(number, key=key)
        dt = problem.dt_of(parameters)

        def advance(reference: PyTree[Array], _: None) -> tuple[PyTree[Array], Float[Array, "component *grid"]]:
            field = problem.reference.field(reference)
            return problem.reference.advance(reference, state, parameters, dt), field

        last, fields = jax.lax.scan(advance, reference, None, length=steps)
        fields = jnp.concatenate([fields, problem.reference.field(last)[None]])
        return state, parameters, fields.astype(state.dtype), total, group

    # One member after the other: a batch of fine fields leaves the processor's cache (2-4 times slower).
    return ReferenceStore(*jax.lax.map(one, (numbers, keys)))


def simulate_reference(
    problem: Problem, slots: int, steps: int, *, key: Key[Scalar, ""], parts: int = 4
) -> ReferenceStore:
    """Run the fine solver for ``slots`` simulations of ``steps`` coarse steps.

    The work is cut into ``parts``, which threads hand over side by side: calls from one thread wait for each
    other, and a single field is too small to keep several cores busy.

    Raises
    ------
    ValueError
        If the reference follows the state of the coarse run, so that it cannot be stored.
    """
    numbers, keys = _members(problem, slots, steps, key)
    size = -(-slots // min(parts, slots))
    pieces = [(numbers[i : i + size], keys[i : i + size]) for i in range(0, slots, size)]
    with ThreadPoolExecutor(len(pieces)) as threads:
        stores = list(threads.map(lambda piece: _simulate(problem, piece[0], piece[1], steps), pieces))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *stores)


def reference_shapes(problem: Problem, slots: int, steps: int, *, key: Key[Scalar, ""]) -> ReferenceStore:
    """What :func:`simulate_reference` would give, as shapes and types (``jax.ShapeDtypeStruct``)."""
    numbers, keys = _members(problem, slots, steps, key)
    return eqx.filter_eval_shape(_simulate, problem, numbers, keys, steps)


def _members(
    problem: Problem, slots: int, steps: int, key: Key[Scalar, ""]
) -> tuple[Int[Array, " slots"], Key[Array, " slots"]]:
    """Numbers and keys of the simulations of a store."""
    if problem.reference.follows_state:
        raise ValueError(f"the reference of {problem.name!r} depends on the coarse state: it cannot be stored")
    if slots < 1 or steps < 1:
        raise ValueError(f"need at least one simulation of one step; got {slots} and {steps}")
    return jnp.arange(slots, dtype=jnp.int32), jax.random.split(key, slots)


class StoredReference(Reference):
    """A reference that reads a :class:`ReferenceStore`; its state is ``(slot, step)``."""

    follows_state: ClassVar[bool] = False
    reference: Float[Array, "slots times component *grid"]

    def init(self, case: Case) -> PyTree[Array]:
        """Not defined: a stored reference begins with :class:`StoredBegin`."""
        raise TypeError("a stored reference has no case: begin with StoredBegin")

    def advance(self, reference: PyTree[Array], state: Any, parameters: Any, dt: Step) -> PyTree[Array]:
        """The next step."""
        slot, step = reference
        return slot, step + 1

    def field(self, reference: PyTree[Array]) -> Float[Array, "component *grid"]:
        """As it was stored."""
        slot, step = reference
        return self.reference[slot, step]


class StoredBegin(Begin):
    """Begins at a random slot of a store."""

    state: Float[Array, "slots component *grid"]
    parameters: PyTree[Array]
    reference: Float[Array, "slots times component *grid"]
    quantities: Float[Array, "slots quantity"]

    def __call__(self, *, key: Key[Scalar, ""]) -> InitialState:
        return self.at(jax.random.randint(key, (), 0, self.state.shape[0], dtype=jnp.int32))

    def anywhere(
        self, room: int, *, early: float = 1.0, number: Int[Array, ""] | None = None, key: Key[Scalar, ""]
    ) -> tuple[InitialState, Int[Array, ""]]:
        """A random slot at a random time, on the reference, ``room`` steps or more before the stored reference ends."""
        times = self.reference.shape[1] - room
        if times < 1:
            raise ValueError(f"stored reference covers {self.reference.shape[1] - 1} steps: no room for {room}")
        for_slot, for_step = jax.random.split(key)
        slot = jax.random.randint(for_slot, (), 0, self.state.shape[0], dtype=jnp.int32)
        if early == 1.0:
            step = jax.random.randint(for_step, (), 0, times, dtype=jnp.int32)
        else:
            share = jax.random.uniform(for_step, (), jnp.float32) ** early
            step = jnp.minimum(jnp.floor(share * times).astype(jnp.int32), times - 1)
        parameters = jax.tree.map(lambda x: x[slot], self.parameters)
        return InitialState(self.reference[slot, step], parameters, (slot, step), self.quantities[slot]), step

    def at(self, slot: Int[Array, ""]) -> InitialState:
        """Begin at a given slot."""
        parameters = jax.tree.map(lambda x: x[slot], self.parameters)
        return InitialState(self.state[slot], parameters, (slot, jnp.zeros((), jnp.int32)), self.quantities[slot])


def with_store(problem: Problem, store: ReferenceStore) -> Problem:
    """The same problem with initial conditions and reference from a store; episodes end with the stored reference.

    Raises
    ------
    ValueError
        If the store is too short for the shortest episode.
    """
    episode = problem.episode
    if store.steps < episode.minimum:
        raise ValueError(f"stored reference covers {store.steps} steps, episodes need at least {episode.minimum}")
    limited = replace(episode, maximum=min(episode.maximum, store.steps))
    return replace(
        problem,
        begin=StoredBegin(store.state, store.parameters, store.reference, store.quantities),
        reference=StoredReference(store.reference),
        episode=limited,
    )
