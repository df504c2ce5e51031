"""The published Burgers curves, from the published network in our code (figure 4 of Closure-RL)."""

from itertools import product
from math import comb
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import network

from closura.core.case import Case
from closura.initial.velocities import TRAIN2_SETS, train_field
from closura.io.closures import load_closure
from closura.problems import BurgersConfiguration, Problem, ReferenceStore, burgers
from closura.runs.validation import rollout

STEPS = (10, 25, 50, 100, 200)
CLOSURE = (0.067, 0.050, 0.046, 0.063, 0.142)
CGS = (0.177, 0.24, 0.27, 0.31, 0.45)


def all_fields() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All 72 published initial fields, the index of each one's set of wavenumbers, and its probability."""
    fields, groups, weights = [], [], []
    for group, found in enumerate(TRAIN2_SETS):
        for signs in product((-1.0, 1.0), repeat=len(found)):
            fields.append(
                train_field(
                    (150, 150), jnp.asarray(found, jnp.float64), jnp.asarray(signs), endpoint=True, dtype=jnp.float64
                )
            )
            groups.append(group)
            weights.append(1 / 3 / comb(4, len(found)) / 2 ** len(found))
    return np.stack(fields), np.asarray(groups), np.asarray(weights)


@eqx.filter_jit
def simulate(problem: Problem, fields: Any, groups: Any) -> ReferenceStore:
    """Initial conditions and 200 steps of reference for given fine initial fields."""

    def one(item: tuple[Any, Any]) -> tuple[Any, ...]:
        field, group = item
        draw = Case(field, {"viscosity": jnp.asarray(0.003)}, group)
        state, parameters, target, quantities, _ = problem.begin.from_case(draw)

        def advance(target: Any, _: None) -> tuple[Any, Any]:
            target = problem.reference.advance(target, state, parameters, problem.time_step)
            return target, problem.reference.field(target)

        reference = jax.lax.scan(advance, target, None, length=200)[1]
        return state, parameters, jnp.concatenate([problem.reference.field(target)[None], reference]), quantities

    return ReferenceStore(*jax.lax.map(one, (fields, groups)))


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value below which half of the probability lies."""
    order = np.argsort(values)
    return float(values[order][np.searchsorted(np.cumsum(weights[order]), 0.5)])


@pytest.mark.slow
def test_published_curves(golden_folder: Path) -> None:
    """Medians over all 72 fields, weighted as they are drawn, within 20 % of the published ones at each step."""
    problem = burgers(burgers.published(BurgersConfiguration()), "test")
    policy = load_closure(network(golden_folder, "burgers"), problem.spec)
    fields, groups, weights = all_fields()
    assert len(fields) == 72
    assert weights.sum() == pytest.approx(1)
    store = simulate(problem, jnp.asarray(fields), jnp.asarray(groups, jnp.int32))

    def run(closure: Any) -> np.ndarray:
        states = rollout(problem, problem.coarse, problem.spec.limit(closure), store)
        return np.asarray(jax.vmap(jax.vmap(problem.error))(states, store.reference))

    closure = run(policy)
    coarse = run(None)
    assert np.isfinite(closure).all()
    for step, expected, uncorrected in zip(STEPS, CLOSURE, CGS, strict=True):
        found = weighted_median(closure[:, step], weights), weighted_median(coarse[:, step], weights)
        print(f"step {step}: closure {found[0]:.4f} ({expected}), CGS {found[1]:.4f} ({uncorrected})")
        assert found[0] == pytest.approx(expected, rel=0.2)
        assert found[1] == pytest.approx(uncorrected, rel=0.2)
    # Without wavenumber 2 every field fails, with it none does (spread at step 200: 12 to 18 %).
    with_two = np.array([2 in TRAIN2_SETS[group] for group in groups])
    assert closure[with_two, 200].max() < 0.3
    assert closure[~with_two, 200].min() > 0.5
