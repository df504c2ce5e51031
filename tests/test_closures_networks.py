"""Published networks reproduce their published outputs; every closure keeps its promises."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import golden_files, network, read
from scipy.stats import norm

from closura.closures import ActorCritic, Normal, build, compact, ircnn
from closura.closures.convolution import plain_convolutions
from closura.closures.networks import ACTIVATIONS, ConvolutionStack
from closura.core import ClosureSpec
from closura.io.closures import load_closure

ADVECTION = ClosureSpec(("psi", "u", "v"), ("forcing",), ("periodic", "periodic"))
BURGERS = ClosureSpec(("u", "v"), ("forcing_u", "forcing_v"), ("periodic", "periodic"), acts_on=(0, 1))


def normal(seed: int, shape: tuple[int, ...], dtype: type = np.float32) -> jax.Array:
    """Drawn by NumPy, which has nothing to compile."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


# Compiled once for all networks of one kind.
answer = eqx.filter_jit(lambda network, x: network(x))
evaluate = eqx.filter_jit(lambda policy, x: policy.evaluate(x))


@eqx.filter_jit
def evaluate_plainly(policy: ActorCritic, x: jax.Array) -> tuple[Normal, jax.Array]:
    with plain_convolutions():
        return policy.evaluate(x)


@pytest.mark.parametrize(
    "file", [*golden_files("closure-rl", "adv_*.npz"), *golden_files("closure-rl", "burgers_*.npz")]
)
def test_published_outputs(file: Path) -> None:
    problem, spec = ("advection", ADVECTION) if file.stem.startswith("adv_") else ("burgers", BURGERS)
    policy = load_closure(network(file.parent, problem), spec)
    data = read(file)
    observation = jnp.asarray(data["obs_0"].swapaxes(-1, -2))  # files are [y, x]
    # float32 sums of 576 terms through 7 layers in another order: some 1e-7 relative.
    for actions, value in (evaluate(policy, observation), evaluate_plainly(policy, observation)):
        for ours, name in (
            (actions.mean, "action_mean_0"),
            (actions.std, "action_std_0"),
            (value[None], "value_0"),
        ):
            assert ours.dtype == jnp.float32
            np.testing.assert_allclose(ours.swapaxes(-1, -2), data[name], atol=1e-5, rtol=1e-5, err_msg=name)


def test_parts_of_the_evaluation_agree(golden_folder: Path) -> None:
    policy = load_closure(network(golden_folder, "advection"), ADVECTION)
    observation = normal(0, (3, 16, 16))
    actions, value = policy.evaluate(observation)
    np.testing.assert_array_equal(policy(observation), actions.mean)
    np.testing.assert_array_equal(policy.value(observation), value)


@pytest.mark.parametrize(("spec", "parameters"), [(ADVECTION, 188_163), (BURGERS, 188_741)])
def test_ircnn_is_the_published_network(spec: ClosureSpec, parameters: int) -> None:
    """Number of parameters of the code's networks; receptive fields of the paper's table 4 and the head."""
    facts = build("ircnn", spec, explores=True, key=jax.random.key(0)).describe()
    assert facts["parameters"] == parameters
    assert facts["receptive_field"] == [3, 7, 13, 21, 27, 31, 33]


def randomised(network: eqx.Module, seed: int = 0) -> eqx.Module:
    """Closures start from "no closure": tests of what they see need other weights."""
    arrays, rest = eqx.partition(network, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(arrays)
    drawn = [
        normal(seed + i, leaf.shape) / np.float32(np.sqrt(max(1, leaf.size / leaf.shape[-1])))
        for i, leaf in enumerate(leaves)
    ]
    return eqx.combine(jax.tree.unflatten(structure, drawn), rest)


@pytest.mark.parametrize(("name", "explores"), [("ircnn", True), ("compact", False)])
def test_sees_as_far_as_it_says(name: str, explores: bool) -> None:
    """The gradient of one point's action reaches exactly the stated field, along both axes."""
    network = randomised(build(name, ADVECTION, explores=explores, key=jax.random.key(0)))
    size = 41  # more than the largest receptive field, 33
    x = normal(99, (3, size, size), np.float64)
    gradient = jax.jit(jax.grad(lambda x: network(x)[0, size // 2, size // 2]))(x)
    seen = np.abs(np.asarray(gradient)).max(axis=0) > 0
    stated = network.describe()["receptive_field"][-1]
    for axis in (0, 1):
        reached = np.flatnonzero(seen.any(axis=axis))
        assert (reached.min(), reached.max()) == (size // 2 - stated // 2, size // 2 + stated // 2)


@pytest.mark.parametrize(("name", "explores"), [("ircnn", True), ("compact", False)])
def test_translation(name: str, explores: bool) -> None:
    """On a periodic grid a shifted observation gives the shifted action."""
    network = randomised(build(name, ADVECTION, explores=explores, key=jax.random.key(0)))
    x = normal(99, (3, 24, 20))
    shifted = answer(network, jnp.roll(x, (5, -7), (1, 2)))
    # The same products in blocks at other places: float32 rounding.
    scale = float(jnp.max(jnp.abs(shifted)))
    np.testing.assert_allclose(shifted, jnp.roll(answer(network, x), (5, -7), (1, 2)), atol=1e-5 * scale)
    assert scale > 0


@pytest.mark.parametrize(
    ("name", "boundary", "grid"),
    [
        ("compact", ("outflow",), (20,)),
        ("compact", ("periodic", "outflow"), (12, 10)),
        ("compact", ("periodic",) * 3, (6, 7, 5)),
        ("ircnn", ("outflow",), (20,)),  # in 2-D it stands in the other tests, and 3-D compiles slowly
    ],
)
def test_all_closures_in_all_dimensions(name: str, boundary: tuple, grid: tuple[int, ...]) -> None:
    """Shapes and precision; a deterministic closure starts from "no closure"."""
    spec = ClosureSpec(("q", "p"), ("a", "b"), boundary, acts_on=(0, 1), scale=0.1)
    options = {"channels": 6} if name == "compact" else {}
    for dtype in (jnp.float32, jnp.float64) if len(grid) == 1 else (jnp.float32,):
        x = normal(1, (2, *grid), dtype)
        policy = build(name, spec, explores=True, options=options, key=jax.random.key(0))
        actions, value = evaluate(policy, x)
        assert actions.mean.shape == actions.std.shape == (2, *grid)
        assert value.shape == actions.log_prob(actions.mean).shape == grid
        assert {actions.mean.dtype, actions.std.dtype, value.dtype} == {jnp.dtype(dtype)}
        action = answer(build(name, spec, explores=False, options=options, key=jax.random.key(0)), x)
        assert action.shape == (2, *grid)
        assert action.dtype == dtype
        assert not np.any(action)


def test_initial_spread() -> None:
    x = jnp.asarray(np.random.default_rng(2).uniform(size=(3, 16, 16)), jnp.float32)
    distribution = eqx.filter_jit(lambda policy, x: policy.evaluate(x)[0])
    for std in (0.003, 0.5, 3.0):
        for name in ("ircnn", "compact"):
            policy = build(name, ADVECTION, explores=True, initial_std=std, key=jax.random.key(0))
            actions = distribution(policy, x)
            np.testing.assert_allclose(actions.std, std, rtol=0.01)  # 1 %: the head's weights are small, not zero
            assert float(jnp.max(jnp.abs(actions.mean))) < 0.1 * std
    published = distribution(build("ircnn", ADVECTION, explores=True, key=jax.random.key(0)), x)
    # softplus of a number near 0, as the spec measured: 0.69.
    assert float(jnp.mean(published.std)) == pytest.approx(0.69, abs=0.05)


def test_initial_weights_are_uniform_within_the_fan_in() -> None:
    layer = ircnn(ADVECTION, key=jax.random.key(0)).backbone.layers[1]
    limit = 1 / np.sqrt(64 * 9)
    assert float(jnp.max(jnp.abs(layer.kernel))) <= limit
    # 36,864 draws: the standard error of the standard deviation is 0.4 %.
    assert float(jnp.std(layer.kernel)) == pytest.approx(limit / np.sqrt(3), rel=0.02)


def test_normal_against_scipy() -> None:
    generator = np.random.default_rng(0)
    mean, action = generator.normal(size=(2, 2, 4, 5))
    std = generator.uniform(0.1, 2, (2, 4, 5))
    ours = Normal(jnp.asarray(mean), jnp.asarray(std))
    expected = norm(mean, std)
    np.testing.assert_allclose(ours.log_prob(jnp.asarray(action)), expected.logpdf(action).sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(ours.entropy(), expected.entropy().sum(axis=0), rtol=1e-12)
    draws = jax.vmap(ours.sample)(jax.random.split(jax.random.key(0), 10_000))
    # Standard error 1 % of std; 40 numbers stay within 4 of them.
    np.testing.assert_allclose((draws.mean(axis=0) - mean) / std, 0, atol=0.045)
    np.testing.assert_allclose(draws.std(axis=0) / std, 1, atol=0.035)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation: str) -> None:
    stack = ConvolutionStack(3, (4, 6), ("periodic",), activation=activation, key=jax.random.key(0))
    assert stack.channels == [4, 6]
    assert stack.receptive_field == [3, 5]
    assert stack(jnp.ones((10, 3), jnp.float32)).shape == (10, 6)


def test_seeds_decide_the_weights() -> None:
    same = [compact(ADVECTION, key=jax.random.key(k)).backbone.layers[0].kernel for k in (0, 0, 1)]
    np.testing.assert_array_equal(same[0], same[1])
    assert np.any(same[0] != same[2])


def test_misuse_says_what_is_wrong() -> None:
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="valid: compact, ircnn"):
        build("resnet", ADVECTION, explores=True, key=key)
    with pytest.raises(ValueError, match=r"width.*valid: .*channels"):
        build("compact", ADVECTION, explores=True, options={"width": 3}, key=key)
    with pytest.raises(ValueError, match=r"psi, u, v; got shape \(2, 8, 8\)"):
        ircnn(ADVECTION, key=key)(jnp.zeros((2, 8, 8), jnp.float32))
    with pytest.raises(ValueError, match="vmap"):
        compact(ADVECTION, key=key)(jnp.zeros((5, 3, 8, 8), jnp.float32))
    with pytest.raises(ValueError, match="relu"):
        compact(ADVECTION, activation="swish", key=key)
    with pytest.raises(ValueError, match="initial_std"):
        build("ircnn", ADVECTION, initial_std=0.1, key=key)
    with pytest.raises(ValueError, match="initial_std must be above"):
        build("ircnn", ADVECTION, explores=True, initial_std=0.0, key=key)
