"""Statistics of fields: what they are, rewards and losses that are made of them, and learning from them alone."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.cli import main
from closura.closures import build
from closura.environment import Environment
from closura.grids import Grid
from closura.learners.eki import EKI, EKIConfiguration
from closura.problems import AdvectionConfiguration, Problem, advection, build_problem, simulate_reference, with_store
from closura.problems.laws.setup import Burgers1DConfiguration
from closura.problems.statistics import (
    Statistics,
    StatisticsReward,
    cell_gains,
    increments,
    moments,
    quantiles,
    shell_energies,
    statistics_of,
)
from closura.runs import RunFolder
from closura.runs.configuration import train_preset
from closura.runs.validation import prepare_validation, validation_error

EXAMPLES = Path(__file__).parents[1] / "examples"


def wave(grid: Grid, *numbers: int) -> jax.Array:
    """cos(2 pi sum n_a x_a / L_a), of one component."""
    phase = sum(
        n * x / length for n, x, length in zip(numbers, grid.coordinates(jnp.float64), grid.extent, strict=True)
    )
    return jnp.cos(2 * math.pi * phase)[None]


@pytest.mark.parametrize(
    ("grid", "numbers", "shell"),
    [
        (Grid((16,)), (3,), 3),
        (Grid((16, 12), (2.0, 2.0)), (3, 4), 5),
        (Grid((16, 16), (1.0, 2.0)), (2, 3), 5),  # k in units of 2 pi / 2: (4, 3)
        (Grid((8, 8, 8)), (1, 2, 2), 3),
    ],
)
def test_a_wave_is_in_its_shell(grid: Grid, numbers: tuple[int, ...], shell: int) -> None:
    found = np.asarray(shell_energies(wave(grid, *numbers), grid))[0]
    # Half the mean square of a cosine; float64.
    np.testing.assert_allclose(found[shell - 1], 0.25, rtol=1e-12)
    np.testing.assert_allclose(np.delete(found, shell - 1), 0, atol=1e-15)


def test_fields_that_end_are_mirrored() -> None:
    """A half cosine between the walls is one wave of the mirrored field; without that its ends would be a jump."""
    grid = Grid((16,), boundary=("outflow",))
    field = jnp.cos(3 * math.pi * (jnp.arange(16) + 0.5) / 16)[None]
    found = np.asarray(shell_energies(field, grid))[0]
    np.testing.assert_allclose(found[2], 0.25, rtol=1e-12)
    np.testing.assert_allclose(np.delete(found, 2), 0, atol=1e-15)


def test_other_statistics_by_hand() -> None:
    generator = np.random.default_rng(0)
    field, grid = generator.normal(size=(2, 8, 6)), Grid((8, 6))
    np.testing.assert_allclose(moments.of(jnp.asarray(field), grid), [*field.mean((1, 2)), *field.var((1, 2))])
    shares = (np.arange(16) + 0.5) / 16
    expected = np.quantile(field.reshape(2, -1), shares, axis=1)
    np.testing.assert_allclose(quantiles.of(jnp.asarray(field), grid), expected)
    ramp, open_ = 0.5 * jnp.arange(8.0)[None], Grid((8,), boundary=("outflow",))
    np.testing.assert_allclose(increments.of(ramp, open_), [0.25, 0.0625, 1.0, 1.0])  # over one cell, and two
    np.testing.assert_allclose(increments.of(ramp, Grid((8,)))[0], (7 * 0.25 + 3.5**2) / 8)


def test_differences_count_in_units_of_the_spread_and_beyond_the_band() -> None:
    grid, field = Grid((8,)), jnp.asarray(np.random.default_rng(1).normal(size=(1, 8)))
    plain = Statistics((moments,), grid)
    target = plain.scores(plain.values(field)) - jnp.asarray([0.3, -0.5])
    assert float(plain.distance(plain.values(field), target)) == pytest.approx((0.3**2 + 0.5**2) / 2)
    weighed = Statistics((moments,), grid, weights=jnp.asarray([4.0, 1.0]), band=jnp.asarray([0.1, 1.0]))
    assert float(weighed.distance(weighed.values(field), target)) == pytest.approx(4 * 0.2**2 / 2)


@pytest.fixture(scope="module")
def problem() -> Problem:
    found = advection(AdvectionConfiguration(cells=16, ratio=2, maximum_steps=12), "train")
    return with_store(found, simulate_reference(found, 8, 12, key=jax.random.key(0)))


def test_weights_are_one_over_the_variance_among_fields_of_the_reference(problem: Problem) -> None:
    found = statistics_of(problem, ("moments",), draws=400)
    fields = np.asarray(problem.begin.store.reference)[:, :-1]  # where one more step is left
    axes = (2, 3, 4)
    spread = np.stack([fields.mean(axes).ravel(), fields.var(axes).ravel()])
    # 400 draws of 96 fields: a variance to a tenth, twice over.
    np.testing.assert_allclose(1 / found.weights, spread.var(axis=1), rtol=0.3)


def test_rewards_add_up_to_what_the_distance_falls_by(problem: Problem) -> None:
    statistics = statistics_of(problem, ("spectrum", "quantiles"))
    paid = eqx.tree_at(lambda p: p.reward, problem, StatisticsReward(statistics, problem.reward))
    environment, score = Environment(paid), lambda f: statistics.scores(statistics.values(f))

    @eqx.filter_jit
    def play() -> Any:
        first = episode = environment.reset_batch_anywhere(1, 5, key=jax.random.key(1))
        episode = first = jax.tree.map(lambda x: x[0] + 0.1 if x.dtype == jnp.float32 and x.ndim == 4 else x[0], first)
        total = jnp.zeros((16, 16))
        for _ in range(5):
            episode, step = environment.step(episode, jnp.full((1, 16, 16), 0.01, jnp.float32))
            total += step.reward
        ends = [
            statistics.distance(statistics.values(e.state), score(problem.reference.field(e.reference)))
            for e in (first, episode)
        ]
        return total, ends

    total, (before, after) = play()
    # float32 distances of order one.
    np.testing.assert_allclose(total, float(before - after), rtol=1e-4)


def test_gains_are_divided_among_the_cells_that_made_them() -> None:
    """A statistic without a formula for it: the mean over the cells is the gain, and who did nothing gets little."""
    grid, generator = Grid((32,)), np.random.default_rng(2)
    statistics = Statistics((quantiles, moments), grid)
    before, other = (jnp.asarray(generator.normal(size=(1, 32))) for _ in range(2))
    change = 0.1 * other * (jnp.arange(32) < 8)
    target = statistics.scores(statistics.values(jnp.asarray(generator.normal(size=(1, 32)))))
    paid = np.asarray(cell_gains(statistics, before, change, target))
    distance = lambda f: float(statistics.distance(statistics.values(f), target))
    assert paid.mean() == pytest.approx(distance(before) - distance(before + change), rel=1e-9)
    assert np.abs(paid[8:]).mean() < 0.05 * np.abs(paid[:8]).mean()


@pytest.mark.slow
def test_statistics_alone_lower_their_distance_held_out() -> None:
    """Burgers' equation by ensembles."""
    names = ("spectrum", "increments")
    plain = build_problem(Burgers1DConfiguration(cells=32, ratio=3, steps=20), "train")
    own = with_store(plain, simulate_reference(plain, 8, 12, key=jax.random.key(0), parts=1))
    learner = EKI(EKIConfiguration(updates=20, members=16, horizon=10, spread=0.2, statistics=names))
    untrained = build("weights", own.spec, options={"hidden": (4,)}, key=jax.random.key(1))
    state = learner.init(own, untrained, key=jax.random.key(2))
    state, metrics = learner.advance(own, state, jnp.asarray(20, jnp.int32), 0)
    assert all(np.isfinite(float(v)) for v in metrics.values())
    validation = prepare_validation(plain, 8, 12, statistics=names, key=jax.random.key(3))
    before, after = (float(validation_error(own, c, validation)) for c in (None, state.closure))
    assert after < 0.8 * before  # measured: 0.52


EXTREMES = """
import jax.numpy as jnp

import closura


@closura.statistic("extremes")
def extremes(field, grid):
    \"\"\"Smallest and largest value.\"\"\"
    return jnp.stack([jnp.min(field), jnp.max(field)])
"""


def test_a_statistic_of_ones_own_on_a_problem_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """From two files: trained, selected and recorded by it, and listed."""
    file, run = tmp_path / "extremes.py", tmp_path / "run"
    file.write_text(EXTREMES)
    names = ["extremes", "spectrum"]
    options = ["--plugin", str(file), "--learner", "eki", "--closure", "pointwise", "--pointwise.radius", "1",
               "--learning.updates", "20", "--learning.members", "12", "--reference.slots", "16",
               "--learning.statistics", *names, "--validation.statistics", *names, "--validation.every", "10",
               "--validation.simulations", "4", "--validation.steps", "20"]  # fmt: skip
    main(["train", str(EXAMPLES / "wave.py"), "--run", str(run), *options])
    said = capsys.readouterr().out
    assert "of extremes, spectrum" in said
    facts = json.loads((run / "status.json").read_text())
    assert facts["best"] < 0.7 * facts["uncorrected"]  # measured: 0.46
    configuration = RunFolder(run).read_configuration()
    assert configuration.learning.statistics == configuration.validation.statistics == tuple(names)
    assert str(file) in [path for path, _ in configuration.files]
    main(["list", "statistics"])
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("increments", "quantiles", "Mean and variance of each component"))


def test_statistics_are_refused_where_there_are_none() -> None:
    with pytest.raises(ValueError, match="unknown statistic 'spectra', did you mean spectrum"):
        EKIConfiguration(statistics=("spectra",))
    found = train_preset("quick", problem="burgers-1d", learner="ppo")
    with pytest.raises(ValueError, match="statistics moments need a reference that runs by itself"):
        replace(found, learning=replace(found.learning, statistics=("moments",)))
