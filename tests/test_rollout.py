"""Rollouts that go astray: which simulation failed, from which step on, and what it leaves untouched."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.core import Results
from closura.core.metric import CONSERVATION
from closura.problems import AdvectionConfiguration, Problem, ReferenceStore, advection
from closura.runs.validation import rollout
from closura.simulation.evaluate import evaluate

CALM, WILD, BROKEN = range(3)
STEPS = 8


@pytest.fixture(scope="module")
def problem() -> Problem:
    # The solvers of the baselines have nothing to do with closures that go astray.
    return replace(advection(AdvectionConfiguration(cells=16, ratio=2), "test"), baselines={})


@pytest.fixture(scope="module")
def store() -> ReferenceStore:
    """Three times the same field, from 0 to 0.1 along x, carried along y only, where it is constant.

    So the solver changes nothing, and states can be told by hand; the velocity tells a closure which
    simulation it is in.
    """
    field = jnp.broadcast_to(jnp.linspace(0.0, 0.1, 16, dtype=jnp.float32)[:, None], (1, 16, 16))
    speed = jnp.asarray([0.0, 0.5, 1.0], jnp.float32)
    velocity = jnp.zeros((3, 2, 16, 16), jnp.float32).at[:, 1].set(speed[:, None, None])
    state = jnp.stack([field] * 3)
    reference = jnp.broadcast_to(state[:, None], (3, STEPS + 1, 1, 16, 16))
    return ReferenceStore(state, velocity, reference, jnp.sum(state, axis=(2, 3)))


def astray(observation: jax.Array) -> jax.Array:
    """Doubles the field where the velocity is not zero; where it is 1, gives NaN once 0.15 is passed."""
    psi, speed = observation[:1], observation[2:]
    broken = (speed > 0.75) & (jnp.max(psi) > 0.15)
    return jnp.where(broken, jnp.nan, jnp.where(speed > 0, -psi, 0.0))


class Done(NamedTuple):
    fields: np.ndarray
    result: Results


@pytest.fixture(scope="module")
def done(problem: Problem, store: ReferenceStore) -> Done:
    saved: list[dict[str, np.ndarray]] = []
    result = evaluate(
        problem, {"astray": astray}, key=jax.random.key(0), store=store, timing=False,
        save=lambda _, fields: saved.append(fields),
    )  # fmt: skip
    fields = rollout(problem, problem.coarse, problem.spec.limit(astray), store)
    np.testing.assert_array_equal(saved[0]["astray"], fields)
    return Done(np.asarray(fields), result)


def test_leaving_ten_times_the_initial_range_is_failing(done: Done) -> None:
    largest = done.fields[WILD].max(axis=(1, 2, 3))
    # Doubled until actions are clipped to [-1, 1] and the field to [-3, 3].
    np.testing.assert_allclose(largest, [0.1, 0.2, 0.4, 0.8, 1.6, 2.6, 3, 3, 3], rtol=1e-6)
    # Ten times the range about its middle ends at 0.05 + 10 * 0.05 = 0.55. All is finite: that alone tells nothing.
    assert (largest > 0.55).argmax() == done.result.diverged_at("astray")[WILD] == 3
    assert np.isfinite(done.result.errors("astray")[WILD]).all()


def test_nan_is_failing_from_its_first_step(done: Done) -> None:
    # 0.1, 0.2 (beyond 0.15: the next answer is NaN), NaN.
    assert done.result.diverged_at("astray")[BROKEN] == 2
    np.testing.assert_array_equal(np.isfinite(done.result.errors("astray")[BROKEN]), np.arange(STEPS + 1) < 2)


def test_other_simulations_are_not_touched(done: Done, problem: Problem, store: ReferenceStore) -> None:
    assert done.result.diverged_at("astray")[CALM] == -1
    for n in range(STEPS + 1):
        np.testing.assert_array_equal(done.fields[CALM, n], np.asarray(store.state[CALM]))
    np.testing.assert_array_equal(done.result.errors("astray")[CALM], 0)
    np.testing.assert_array_equal(done.result.of(CONSERVATION, "astray")[CALM], 0)
    np.testing.assert_array_equal(done.result.diverged_at("CGS"), [-1, -1, -1])
