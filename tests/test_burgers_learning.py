"""Learning on vector Burgers: closures in units of the local speed, losses, windows, and the commands."""

import json
from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.cli import main
from closura.closures import build
from closura.closures.speed import local_speed, relative_to_speed
from closura.learners import BPTTS, BPTTSConfiguration
from closura.learners.bptts import SMALLEST_ERROR
from closura.problems import BurgersConfiguration, Problem, ReferenceStore, burgers, simulate_reference, with_store
from closura.runs import RunFolder
from closura.runs.configuration import train_preset
from closura.simulation.saved import load_simulations

SMALL = BurgersConfiguration(cells=10, ratio=3, fine_steps=8, viscosity=0.01, courant=0.4)
OPTIONS = {"channels": 6, "layers": 2, "radius": 1, "by_speed": True}


@pytest.fixture(scope="module")
def problem() -> Problem:
    return burgers(SMALL)


@pytest.fixture(scope="module")
def store(problem: Problem) -> ReferenceStore:
    return simulate_reference(problem, 4, 24, key=jax.random.key(0), parts=1)


class Tanh(eqx.Module):
    """A forcing that depends on the state, smooth in its parameter."""

    strength: jax.Array

    def __call__(self, seen: jax.Array) -> jax.Array:
        return self.strength * jnp.tanh(seen.astype(self.strength.dtype))


def network(problem: Problem, **changes: object) -> eqx.Module:
    """A small closure whose head does something: its weights are drawn, not zero."""
    closure = build("compact", problem.spec, explores=False, options={**OPTIONS, **changes}, key=jax.random.key(1))
    kernel = closure.head.mix.kernel
    drawn = 0.1 * jax.random.normal(jax.random.key(2), kernel.shape, jnp.float32)
    return eqx.tree_at(lambda c: c.head.mix.kernel, closure, drawn)


def test_speed_and_relative_channels(problem: Problem) -> None:
    q = np.zeros((2, 10, 10), np.float32)
    q[0, 3, 4], q[1, 3, 4] = 0.9, -0.9
    speed = np.asarray(local_speed(jnp.asarray(q), problem.spec))
    assert speed[3, 4] == pytest.approx(0.2 + 1e-4, rel=1e-5)  # a ninth of 1.8, in all nine cells around
    assert speed[2, 5] == pytest.approx(0.2 + 1e-4, rel=1e-5)
    assert speed[5, 4] == pytest.approx(1e-4, rel=1e-3)
    seen = np.asarray(relative_to_speed(jnp.asarray(q), problem.spec))
    assert seen.shape == (3, 10, 10)
    np.testing.assert_allclose(seen[:2, 3, 4], [0.9 / 0.2001, -0.9 / 0.2001], rtol=1e-5)
    np.testing.assert_allclose(seen[2], np.log(speed), rtol=1e-6)


def test_weights_grow_with_the_speed(problem: Problem) -> None:
    """Features that ignore the speed's logarithm: twice the velocity, twice the weights, four times the action."""
    closure = network(problem)
    first = closure.backbone.layers[0].kernel
    closure = eqx.tree_at(lambda c: c.backbone.layers[0].kernel, closure, first.at[:, :, 2].set(0.0))
    closure = eqx.tree_at(lambda c: c.head.mix.bias, closure, jnp.zeros_like(closure.head.mix.bias))
    q = problem.begin(key=jax.random.key(3)).state
    once, twice = closure(q), closure(2 * q)
    # The constant that is added to the speed is 1e-4 of it.
    np.testing.assert_allclose(twice, 4 * once, rtol=5e-3, atol=1e-3 * float(jnp.abs(once).max()))
    uniform = jnp.full((2, 10, 10), 0.3)
    np.testing.assert_allclose(network(problem)(uniform), 0, atol=1e-6)


def test_an_observed_diffusivity_scales_the_constant_weights() -> None:
    """Without features the weights are a constant stencil: twice the viscosity, twice the action."""
    problem = burgers(replace(SMALL, observe_viscosity=True))
    assert problem.spec.diffusivity == 2
    closure = network(problem)
    head = closure.head.mix
    bias = 0.1 * jax.random.normal(jax.random.key(7), head.bias.shape, jnp.float32)
    closure = eqx.tree_at(lambda c: (c.head.mix.kernel, c.head.mix.bias), closure, (jnp.zeros_like(head.kernel), bias))
    q = problem.begin(key=jax.random.key(3)).state
    actions = [closure(jnp.concatenate([q, jnp.full((1, 10, 10), nu)])) for nu in (1.0, 2.0)]
    assert float(jnp.abs(actions[0]).max()) > 1e-3
    np.testing.assert_allclose(actions[1], 2 * actions[0], rtol=1e-5, atol=1e-6)
    seen = relative_to_speed(jnp.concatenate([q, jnp.full((1, 10, 10), 2.0)]), problem.spec)
    np.testing.assert_allclose(seen[2], np.log(2.0), rtol=1e-6)


def test_by_speed_needs_velocities_and_stencils(problem: Problem) -> None:
    with pytest.raises(ValueError, match="weights of a stencil"):
        network(problem, output="action")
    blind = replace(problem.spec, velocity=())
    with pytest.raises(ValueError, match="observed velocities"):
        build("compact", blind, explores=False, options=OPTIONS, key=jax.random.key(0))


@pytest.mark.parametrize(("loss", "of"), [("mae", lambda e: e), ("root", np.sqrt), ("log", np.log)])
def test_losses_are_functions_of_the_mean_error(problem: Problem, store: ReferenceStore, loss: str, of: object) -> None:
    closure = network(problem)
    learner = BPTTS(BPTTSConfiguration(horizons=(5,), fractions=(1.0,), loss=loss, batch=1))
    stored = with_store(problem, store)
    episode = jax.tree.map(lambda x: x[0], learner.begin(stored, key=jax.random.key(4)))
    window = eqx.filter_jit(learner.window)(stored, closure, episode, 5)
    state, errors = episode.state, []
    slot, first = (int(i) for i in episode.reference)
    step = eqx.filter_jit(stored.step)
    for k in range(1, 6):
        state, _ = step(state, episode.parameters, closure)
        errors.append(float(stored.error(state, store.reference[slot, first + k])))
    small = 0.0 if loss == "mae" else SMALLEST_ERROR
    assert float(window.loss) == pytest.approx(float(of(np.mean(errors) + small)), rel=1e-5)


def test_gradient_of_a_window_against_finite_differences(problem: Problem, store: ReferenceStore) -> None:
    """Through four steps, solver, speed and stencil, in float64: central differences agree to 1e-6."""
    exact = burgers(replace(SMALL, precision="float64"))
    store = simulate_reference(exact, 1, 24, key=jax.random.key(5), parts=1)
    stored = with_store(exact, store)
    learner = BPTTS(BPTTSConfiguration(horizons=(4,), fractions=(1.0,), loss="mse", batch=1))
    episode = jax.tree.map(lambda x: x[0], learner.begin(stored, key=jax.random.key(4)))

    @jax.jit
    def loss(shift: jax.Array) -> jax.Array:
        return learner.window(stored, Tanh(shift), episode, 4).loss

    at, h = jnp.asarray(0.7, jnp.float64), 1e-4
    numeric = (float(loss(at + h)) - float(loss(at - h))) / (2 * h)
    # The observation is float32: its rounding is the floor of both.
    assert float(jax.grad(loss)(at)) == pytest.approx(numeric, rel=2e-4)


def test_windows_may_favour_early_times(problem: Problem, store: ReferenceStore) -> None:
    """r^2 puts half of the windows into the first quarter (1000 draws: standard deviation 1.6 %)."""
    stored = with_store(problem, store)
    keys = jax.random.split(jax.random.key(6), 1000)
    for early, share in ((1.0, 0.25), (2.0, 0.5)):
        draw = jax.jit(jax.vmap(lambda k, e=early: stored.begin.anywhere(5, early=e, key=k)[1]))
        steps = np.asarray(draw(keys))
        assert steps.min() == 0
        assert steps.max() == 19
        assert np.mean(steps < 5) == pytest.approx(share, abs=0.06)
    with pytest.raises(ValueError, match="early must be positive"):
        BPTTSConfiguration(early=0.0)


def test_presets() -> None:
    default = train_preset("default", problem="burgers")
    assert default.network.by_speed
    assert default.learning.loss == "root"
    assert train_preset("default").network.by_speed is False
    exploring = train_preset("default", problem="burgers", learner="ppo")
    assert exploring.initial_std == pytest.approx(0.01 / (0.45 / 30))
    with pytest.raises(ValueError, match=r"unknown problem.*advection, burgers"):
        train_preset("default", problem="euler")
    with pytest.raises(ValueError, match="takes BurgersConfiguration"):
        replace(train_preset("default"), name="burgers")


TINY = [
    *("--cells", "16", "--ratio", "3", "--viscosity", "0.01", "--largest-wave", "1", "--courant", "0.4"),
    *("--learning.updates", "6", "--learning.horizons", "2", "--learning.fractions", "1", "--learning.batch", "2"),
    *("--reference.slots", "4", "--reference.blocks", "2", "--reference.steps", "24", "--reference.renew-every", "4"),
    *("--validation.simulations", "2", "--validation.steps", "10", "--validation.every", "3", "--log-every", "3"),
    *("--compact.channels", "4", "--compact.layers", "1", "--compact.radius", "1"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny runs that correct different solvers."""
    folder = tmp_path_factory.mktemp("runs")
    for name, base in (("first", "upwind1"), ("fifth", "upwind5")):
        main(["train", "burgers", *TINY, "--base", base, "--run", str(folder / name)])
    return folder


def test_closures_of_different_solvers_stand_side_by_side(runs: Path, tmp_path: Path) -> None:
    configuration = RunFolder(runs / "fifth").read_configuration()
    assert (configuration.name, configuration.problem.base) == ("burgers", "upwind5")
    file, saved = tmp_path / "t.json", tmp_path / "s.zarr"
    shared = ["--simulations", "3", "--json", str(file), "--no-timing"]
    main(["evaluate", "burgers", "--closure", str(runs / "first"), "--closure", str(runs / "fifth"), *shared,
          "--steps", "12", "--save", str(saved)])  # fmt: skip
    numbers = json.loads(file.read_text())
    assert list(numbers["methods"]) == ["CGS", "upwind3", "upwind5", "upwind5 32x32", "fine", "first", "fifth"]
    # A closure that has hardly learned is close to the solver that it corrects, and to no other.
    error = {name: entry["relative_mae"]["mean"] for name, entry in numbers["methods"].items()}
    assert error["first"] == pytest.approx(error["CGS"], rel=0.2)
    assert error["fifth"] == pytest.approx(error["upwind5"], rel=0.2)
    assert error["upwind5"] < 0.5 * error["CGS"]
    assert numbers["methods"]["fifth"]["worse_than_base"]["base"] == "upwind5"
    kept = load_simulations(saved)
    assert kept["component"].values.tolist() == ["u", "v"]
    # From the saved initial conditions the same simulations come out.
    main(["evaluate", "burgers", "--closure", str(runs / "fifth"), "--start", str(saved), "--json", str(file),
          "--no-timing"])  # fmt: skip
    again = json.loads(file.read_text())["methods"]
    assert again["fifth"]["relative_mae"]["mean"] == pytest.approx(error["fifth"], rel=1e-5)


def test_given_settings_win_over_those_of_the_training(runs: Path, tmp_path: Path) -> None:
    """A free forcing, run as one that keeps totals: the closure's own change of the mean is gone."""
    file = tmp_path / "t.json"
    found = []
    for more in ([], ["--action", "mean-free"]):
        main(["evaluate", "burgers", "--closure", str(runs / "first"), "--simulations", "2", "--steps", "6",
              "--json", str(file), "--no-timing", *more])  # fmt: skip
        found.append(json.loads(file.read_text())["methods"]["first"]["relative_mae"]["mean"])
    assert found[0] != found[1]


def test_wrong_input(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["evaluate", "advection", "--closure", str(runs / "first")], "was trained on burgers"),
        (["train", "burgers", "--courant", "2"], "Lower courant"),
        (["train", "burgers", "--base", "weno"], "upwind5"),
        (["train", "burgers", "--images", "mnist"], "--images"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
        printed = capsys.readouterr()
        assert words in printed.err + printed.out
