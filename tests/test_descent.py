"""Gradient descent on batches: schedules, decay, and repeatability."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.offline.descent import Descent, DescentConfiguration


class Line(eqx.Module):
    slope: jax.Array

    def __call__(self, x):
        return self.slope * x


def loss(module, batch, *, key):
    x, y = batch
    return jnp.mean((module(x) - y) ** 2), {"slope": module.slope}


def batch(seed=0):
    x = jnp.asarray(np.random.default_rng(seed).standard_normal(32), jnp.float32)
    return x, 3.0 * x


def run(configuration, updates):
    descent = Descent(configuration, loss)
    state = descent.init(Line(jnp.zeros((), jnp.float32)), key=jax.random.key(0))
    for i in range(updates):
        state, metrics = descent.update(state, batch(i))
    return state, metrics


def test_finds_the_minimum():
    state, metrics = run(DescentConfiguration(updates=300, learning_rate=0.1, warmup=5, weight_decay=0.0), 300)
    # Noise-free data: the minimum is reached as the rate falls to 1 % of 0.1.
    assert float(state.averaged.slope) == pytest.approx(3.0, abs=1e-3)
    assert set(metrics) == {"loss", "gradient", "slope"}


def test_schedules():
    cosine = DescentConfiguration(updates=100, learning_rate=1.0, warmup=10, final=0.1).rates()
    assert float(cosine(0)) == 0.0
    assert float(cosine(10)) == pytest.approx(1.0)
    assert float(cosine(100)) == pytest.approx(0.1)
    steps = DescentConfiguration(
        updates=100, learning_rate=1.0, schedule="steps", warmup=0, steps=((0.0, 1.0), (0.5, 0.2), (0.8, 0.1))
    ).rates()
    assert [float(steps(i)) for i in (0, 49, 50, 79, 80, 99)] == pytest.approx([1, 1, 0.2, 0.2, 0.1, 0.1])


def test_coupled_decay_is_that_of_pytorch():
    # One step of Adam from w = 1 without a gradient but decay: coupled, Adam makes the decay a full step of the rate.
    def flat(module, batch, *, key):
        return 0.0 * module.slope, {}

    for coupled, expected in ((True, 1 - 0.1), (False, 1 - 0.1 * 0.01)):
        c = DescentConfiguration(
            updates=5, learning_rate=0.1, schedule="constant", warmup=0, weight_decay=0.01, coupled=coupled, clip=0.0
        )
        descent = Descent(c, flat)
        state = descent.init(Line(jnp.ones((), jnp.float32)), key=jax.random.key(0))
        state, _ = descent.update(state, batch())
        assert float(state.module.slope) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "settings", [{"updates": 0}, {"schedule": "linear"}, {"average": 1.5}, {"schedule": "steps"}, {"clip": -1.0}]
)
def test_bad_settings(settings):
    with pytest.raises(Exception, match=next(iter(settings))):
        DescentConfiguration(**settings)
