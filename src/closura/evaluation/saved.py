"""Simulations on disk: saving those of an evaluation, and starting another one from them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from closura.evaluation.storage import Simulations, load_simulations, save_simulations
from closura.problems import Problem, TruthStore, measure


def saver(
    path: str | Path, problem: Problem, configuration: Mapping[str, Any], *, overwrite: bool = False
) -> Callable[[TruthStore, dict[str, np.ndarray]], None]:
    """What :func:`closura.evaluation.evaluate` calls to keep all fields of all methods in a zarr folder."""

    def save(store: TruthStore, fields: dict[str, np.ndarray]) -> None:
        simulations = Simulations(
            problem=problem.name,
            methods={name: np.asarray(field, np.float32) for name, field in fields.items()},
            steps=np.arange(store.steps + 1),
            time_step=problem.time_step,
            extent=problem.grid.extent,
            truth=np.asarray(store.truth, np.float32),
            parameters={"velocity": np.asarray(store.parameters)},
            components=("psi",),
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
        If the file holds another problem, another grid or another time step, or not every step.
    """
    found = load_simulations(path)
    state = next(iter(found.methods.values()))[:, 0]
    expected = {
        "problem": (problem.name, found.problem),
        "grid": (problem.grid.shape, state.shape[2:]),
        "time step": (round(problem.time_step, 12), round(found.time_step, 12)),
        "steps": (list(range(len(found.steps))), [int(s) for s in found.steps]),
    }
    wrong = [f"{name}: expected {want}, got {got}" for name, (want, got) in expected.items() if want != got]
    if wrong or found.truth is None or "velocity" not in found.parameters:
        missing = [] if found.truth is not None else ["no truth"]
        missing += [] if "velocity" in found.parameters else ["no velocity"]
        raise ValueError(f"cannot start from {path}: {'; '.join([*wrong, *missing])}")
    begun = jnp.asarray(state)
    store = TruthStore(
        begun,
        jnp.asarray(found.parameters["velocity"]),
        jnp.asarray(found.truth),
        jax.vmap(lambda state: measure(problem.quantities, state))(begun),
    )
    return store, {**found.configuration.get("description", {}), "start": f"saved simulations, {Path(path).name}"}
