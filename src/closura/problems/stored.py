"""A reference that is computed once: initial conditions with the trajectories that follow them, kept on disk.

Where the reference takes no notice of the coarse run, the fine solver - most of the cost of an environment step -
need not run again for every episode. Training, validation and evaluation all take their simulations from a store.
"""

import contextlib
import hashlib
import io
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree, Scalar

from closura.core.case import Case
from closura.io.download import cache_folder
from closura.io.files import write_atomically
from closura.io.locks import BEAT, FolderInUse, lock_of, locked
from closura.io.tensor_files import read_npz
from closura.problems.problem import Begin, InitialState, Problem
from closura.problems.reference import Reference, SolverReference, Step


class ReferenceStore(eqx.Module):
    """Initial conditions and true trajectories of a number of simulations.

    Every leaf has a leading slot axis; the reference is ``(slots, steps + 1, component, *grid)`` on the coarse grid,
    ``reference[:, 0]`` at the time of ``state``.
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
    # One member after the other: a batch of fine fields leaves the processor's cache (2-4 times slower). Not so where
    # other processes do the work.
    solver = getattr(problem.reference, "solver", problem.coarse)
    together = solver.side_by_side if solver.side_by_side > 1 else None

    def one(member: tuple[Int[Array, ""], Key[Scalar, ""]]) -> tuple[Any, ...]:
        number, key = member
        state, parameters, reference, total, group = problem.begin.member(number, key=key)
        dt = problem.dt_of(parameters)

        def advance(reference: PyTree[Array], _: None) -> tuple[PyTree[Array], Float[Array, "component *grid"]]:
            field = problem.reference.field(reference)
            return problem.reference.advance(reference, state, parameters, dt), field

        last, fields = jax.lax.scan(advance, reference, None, length=steps)
        fields = jnp.concatenate([fields, problem.reference.field(last)[None]])
        return state, parameters, fields.astype(state.dtype), total if total.size or together is None else None, group

    state, own, fields, totals, groups = jax.lax.map(one, (numbers, keys), batch_size=together)
    if totals is None:  # batches of a map cannot be arrays without elements
        totals = jnp.zeros((numbers.shape[0], 0), state.dtype)
    return ReferenceStore(state, own, fields, totals, groups)


def simulate_reference(
    problem: Problem, slots: int, steps: int, *, key: Key[Scalar, ""], parts: int = 4
) -> ReferenceStore:
    """Run the fine solver for ``slots`` simulations of ``steps`` coarse steps; fewer where there are not so many cases.

    The work is cut into ``parts``, which threads hand over side by side: calls from one thread wait for each
    other, and a single field is too small to keep several cores busy.

    Raises
    ------
    ValueError
        If the reference follows the state of the coarse run, so that it cannot be stored; if cases are not known for
        so many steps.
    """
    numbers, keys = _members(problem, slots, steps, key)
    slots = len(numbers)
    size = -(-slots // min(parts, slots))
    pieces = [(numbers[i : i + size], keys[i : i + size]) for i in range(0, slots, size)]
    with ThreadPoolExecutor(len(pieces)) as threads:
        stores = list(threads.map(lambda piece: _simulate(problem, piece[0], piece[1], steps), pieces))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *stores)


def lost_at(store: ReferenceStore, factor: float, *, rest: float = 0.0) -> Int[np.ndarray, " slots"]:
    """The first step at which each reference is not finite, or has left ``factor`` times its initial range; -1: none.

    About the middle of that range; ``rest`` is how far a field may go that begins constant.
    """
    fields = np.asarray(store.reference)
    low, high = (of(fields, axis=tuple(range(2, fields.ndim))).astype(np.float64) for of in (np.min, np.max))
    with np.errstate(invalid="ignore"):
        middle, half = (low + high)[:, :1] / 2, (high - low)[:, :1] / 2
        reach = np.where(half > 0, factor * half, rest)
        left = ~(np.isfinite(low) & np.isfinite(high) & (high - middle <= reach) & (middle - low <= reach))
    return np.where(left.any(axis=1), left.argmax(axis=1), -1)


def check_reference(
    problem: Problem, store: ReferenceStore, factor: float, consequence: str, *, rest: float = 0.0
) -> None:
    """Refuse a reference that diverges (:func:`lost_at`), with its solver, the first step and what follows from it.

    Errors against it would say that every method has diverged.
    """
    steps = lost_at(store, factor, rest=rest)
    lost = steps[steps >= 0]
    if not lost.size:
        return
    reference, words = problem.reference, problem.names[1]
    if isinstance(reference, SolverReference):
        points = " x ".join(map(str, reference.solver.grid.shape))
        words += f": {type(reference.solver).__name__} on {points} points, {reference.substeps} in each coarse step"
    advice = "Take more or shorter steps of the fine solver, or other settings"
    if isinstance(reference, SolverReference) and reference.solver.recorded:
        advice = "Leave out the beginning of the recordings, where fields have not developed (skip=), or cut them"
    if not lost.min():
        advice = "The initial conditions are not finite: look at what draws them, not at the time steps"
    range_ = f", or beyond {factor:g} times its initial range" if math.isfinite(factor) else ""
    raise ValueError(
        f"the reference ({words}) itself diverged in {len(lost)} of {store.slots} simulations, first at step "
        f"{lost.min()} (not finite{range_}): {consequence}. {advice}"
    )


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
    cases = getattr(problem.begin, "cases", None)
    there = slots if cases is None else cases.limited(slots, steps)
    return jnp.arange(there, dtype=jnp.int32), jax.random.split(key, slots)[:there]


class StoredReference(Reference):
    """A reference that reads a :class:`ReferenceStore`; its state is ``(slot, step)``."""

    follows_state: ClassVar[bool] = False
    reference: Float[Array, "slots times component *grid"]

    def init(self, case: Case) -> PyTree[Array]:
        """Not defined: a stored reference begins with :class:`StoredBegin`."""
        raise TypeError("a stored reference has no case: begin with StoredBegin")

    def advance(self, reference: PyTree[Array], state: Any, parameters: Any, dt: Step) -> PyTree[Array]:
        slot, step = reference
        return slot, step + 1

    def field(self, reference: PyTree[Array]) -> Float[Array, "component *grid"]:
        slot, step = reference
        return self.reference[slot, step]


class StoredBegin(Begin):
    """Begins at a random slot of a store."""

    store: ReferenceStore

    def __call__(self, *, key: Key[Scalar, ""]) -> InitialState:
        return self.at(jax.random.randint(key, (), 0, self.store.slots, dtype=jnp.int32))

    def anywhere(
        self, room: int, *, early: float = 1.0, number: Int[Array, ""] | None = None, key: Key[Scalar, ""]
    ) -> tuple[InitialState, Int[Array, ""]]:
        """A random slot at a random time, on the reference, ``room`` steps or more before the stored reference ends."""
        times = self.store.steps + 1 - room
        if times < 1:
            raise ValueError(f"stored reference covers {self.store.steps} steps: no room for {room}")
        for_slot, for_step = jax.random.split(key)
        slot = jax.random.randint(for_slot, (), 0, self.store.slots, dtype=jnp.int32)
        if early == 1.0:
            step = jax.random.randint(for_step, (), 0, times, dtype=jnp.int32)
        else:
            share = jax.random.uniform(for_step, (), jnp.float32) ** early
            step = jnp.minimum(jnp.floor(share * times).astype(jnp.int32), times - 1)
        return self.at(slot)._replace(state=self.store.reference[slot, step], reference=(slot, step)), step

    def at(self, slot: Int[Array, ""]) -> InitialState:
        """Begin at a given slot."""
        parameters = jax.tree.map(lambda x: x[slot], self.store.parameters)
        first = (slot, jnp.zeros((), jnp.int32))
        return InitialState(self.store.state[slot], parameters, first, self.store.quantities[slot])


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
        begin=StoredBegin(store),
        reference=StoredReference(store.reference),
        episode=limited,
    )


VERSION = 1
"""Goes up when the same settings make another reference."""


def stored_reference(
    problem: Problem, slots: int, steps: int, *, key: Key[Scalar, ""], identity: str, cache: str | Path | None = None
) -> ReferenceStore:
    """As :func:`~closura.problems.stored.simulate_reference`, from disk if it is there, and kept there.

    ``identity`` tells the problem's settings and split from all others, as far as the reference depends on them. The
    folder ``cache`` is by default ``CLOSURA_CACHE``, else the user's cache folder. A damaged file there is replaced; if
    nothing can be written there, the reference is simulated every time. While another process simulates this reference,
    it is waited for.
    """
    text = json.dumps([VERSION, identity, slots, steps, np.asarray(jax.random.key_data(key)).tolist()])
    folder = Path(cache) if cache is not None else cache_folder()
    path = folder / "references" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"
    places, structure = jax.tree_util.tree_flatten_with_path(reference_shapes(problem, slots, steps, key=key))
    names = [_name(place) for place, _ in places]

    def make() -> dict[str, np.ndarray]:
        leaves = jax.tree.leaves(simulate_reference(problem, slots, steps, key=key))
        return dict(zip(names, map(np.asarray, leaves), strict=True))

    shapes = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, (_, leaf) in zip(names, places, strict=True)}
    # Settings do not say which images a folder holds: what simulations are drawn from belongs to the reference too.
    drawn = [np.asarray(leaf) for leaf in jax.tree.leaves(problem.begin) if eqx.is_array(leaf)]
    source = _checksum({str(number): array for number, array in enumerate(drawn)})
    found = kept_arrays(path, shapes, make, moving="reference", source=source)
    return jax.tree_util.tree_unflatten(structure, [jnp.asarray(found[name]) for name in names])


def kept_arrays(
    path: Path,
    shapes: Mapping[str, jax.ShapeDtypeStruct],
    make: Callable[[], Mapping[str, np.ndarray]],
    *,
    moving: str,
    source: str = "",
    say: Callable[[str], None] = lambda words: None,
) -> Mapping[str, np.ndarray]:
    """Arrays from a file of a cache if it is whole, else made and kept there, by one process at a time.

    Parameters
    ----------
    path
        The file (``.npz``), with a checksum over names, types, shapes and numbers. Files of earlier versions have
        none: they are taken if nothing of ``moving``, the array that holds flows along its first axis, is at rest.
    shapes
        Shape and type of each array; all have to be finite.
    source
        Text that tells what the arrays are made from, as far as the file's name does not.
    say
        Is told what is waited for, and how long it took to make the arrays and where they are.
    """
    found = _read(path, shapes, moving, source)
    if found is None:
        with _alone(path, say):
            found = _read(path, shapes, moving, source)  # another process may have made it meanwhile
            if found is None:
                begun = time.perf_counter()
                found = make()
                try:
                    _write(path, found, source)
                    say(f"{time.perf_counter() - begun:.0f} s; kept in {path}")
                except OSError as error:  # a full disk costs time, not the simulation
                    say(f"not kept: {error}")
    return found


def _name(place: Any) -> str:
    """The name of a leaf of a ReferenceStore in its file: that of a field, or of a parameter."""
    field, *inner = (str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key)))) for key in place)
    if field == "group":
        field, inner = "parameters", [field]
    return field if field != "parameters" else "_".join(["parameter", *inner])


@contextlib.contextmanager
def _alone(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a file of a cache; wait for who holds it, but not for a holder that gives no sign of life."""
    with contextlib.ExitStack() as held:
        waits = False
        while True:
            try:
                held.enter_context(locked(path, "file of the cache"))
            except FolderInUse as error:
                if _lives(path):
                    if not waits:
                        say(f"waiting: {error}")
                    waits = True
                    time.sleep(0.2)
                    continue
            except OSError:  # nothing can be written there
                pass
            break
        yield


def _lives(path: Path) -> bool:
    """Whether the holder of a file's lock has given a sign of life lately, or has just let go."""
    try:
        return time.time() - lock_of(path).stat().st_mtime < 10 * BEAT
    except OSError:
        return True


def _read(
    path: Path, shapes: Mapping[str, jax.ShapeDtypeStruct], moving: str, source: str
) -> Mapping[str, np.ndarray] | None:
    try:
        found = read_npz(path)
        arrays = {name: found[name] for name in shapes}
    except (OSError, ValueError, KeyError):
        return None
    checksum = str(found["sha256"]) if "sha256" in found else None
    fits = all(arrays[name].shape == s.shape and arrays[name].dtype == s.dtype for name, s in shapes.items())
    if not fits or not all(np.isfinite(array).all() for array in arrays.values()):
        return None
    if checksum is None:
        flows = arrays[moving]
        return arrays if flows.reshape(len(flows), -1).any(axis=1).all() else None
    return arrays if checksum == _checksum(arrays, source) else None


def _write(path: Path, arrays: Mapping[str, np.ndarray], source: str) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, sha256=np.asarray(_checksum(arrays, source)), **arrays)
    write_atomically(path, buffer.getvalue())


def _checksum(arrays: Mapping[str, np.ndarray], source: str = "") -> str:
    digest = hashlib.sha256(source.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
