"""Simulations on disk: saving those of an evaluation, and starting another one from them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from closura.problems import Problem, TruthStore, measure
from closura.simulation.storage import Simulations, load_simulations, save_simulations

ALONE = "velocity"
"""What parameters that are a single array are called in the file: so far they are advection's velocity."""


def saver(
    path: str | Path, problem: Problem, configuration: Mapping[str, Any], *, overwrite: bool = False
) -> Callable[[TruthStore, dict[str, np.ndarray]], None]:
    """What :func:`closura.evaluation.evaluate` calls to keep all fields of all methods in a zarr folder.

    Fields keep their precision, so that an evaluation that starts from them repeats this one.
    """

    def save(store: TruthStore, fields: dict[str, np.ndarray]) -> None:
        simulations = Simulations(
            problem=problem.name,
            methods={name: np.asarray(field) for name, field in fields.items()},
            steps=np.arange(store.steps + 1),
            time_step=problem.time_step,
            extent=problem.grid.extent,
            truth=np.asarray(store.truth),
            parameters={name: np.asarray(leaf) for name, leaf in _named(store.parameters).items()},
            components=problem.components,
            title=f"{problem.name}: {', '.join(fields)}",
            configuration={**configuration, "description": dict(problem.description)},
        )
        save_simulations(path, simulations, overwrite=overwrite)

    return save


def load_store(path: str | Path, problem: Problem) -> tuple[TruthStore, dict[str, str]]:
    """Beginnings and truth of saved simulations, for other methods to start from, and their description.

    Raises
    ------
    ValueError
        If the file holds another problem, another grid, components or time step, not every step, or not the
        parameters of the problem's simulations; if an initial state, a parameter or the truth is not finite; or if
        what is read is not what was written (:func:`closura.evaluation.load_simulations`).
    """
    found = load_simulations(path)
    state = next(iter(found.methods.values()))[:, 0]
    expected: dict[str, tuple[Any, Any]] = {
        "problem": (problem.name, found.problem),
        "grid": (problem.grid.shape, state.shape[2:]),
        "components": (problem.components, found.components),
        "time step": (round(problem.time_step, 12), round(found.time_step, 12)),
        "steps": (list(range(len(found.steps))), [int(s) for s in found.steps]),
    }
    wrong = [f"{name}: expected {want}, got {got}" for name, (want, got) in expected.items() if want != got]
    begins = jax.eval_shape(lambda key: problem.begin(key=key), jax.random.key(0))
    needed = _named(begins.parameters)
    missing = [] if found.truth is not None else ["no truth"]
    missing += [f"no {name}" for name in needed if name not in found.parameters]
    if wrong or missing or found.truth is None:
        raise ValueError(f"cannot start from {path}: {'; '.join([*wrong, *missing])}")
    held = {"the initial state": state, "the truth": found.truth}
    held |= {f"the parameter {name}": found.parameters[name] for name in needed}
    for name, array in held.items():
        lost = _not_finite(array)
        if lost:
            raise ValueError(
                f"cannot start from {path}: {name} is not finite in {len(lost)} of {len(state)} simulations (first "
                f"{lost[0]}, counted from 0), and no method can be judged from there; save others"
            )
    dtype = begins.state.dtype
    leaves = [jnp.asarray(found.parameters[name], leaf.dtype) for name, leaf in needed.items()]
    begun = jnp.asarray(state, dtype)
    store = TruthStore(
        begun,
        jax.tree.unflatten(jax.tree.structure(begins.parameters), leaves),
        jnp.asarray(found.truth, dtype),
        jax.vmap(lambda state: measure(problem.quantities, state))(begun),
    )
    return store, {**found.configuration.get("description", {}), "start": f"saved simulations, {Path(path).name}"}


def _not_finite(array: np.ndarray) -> list[int]:
    """The simulations that hold a number that is not finite."""
    return [index for index, each in enumerate(array) if not np.isfinite(each).all()]


def _named(parameters: Any) -> dict[str, Any]:
    """The leaves of parameters by name, in the order of the tree."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(parameters)
    return {_name(path): leaf for path, leaf in leaves}


def _name(path: tuple[Any, ...]) -> str:
    words = [str(getattr(part, "key", getattr(part, "name", getattr(part, "idx", part)))) for part in path]
    return "_".join(words) or ALONE
