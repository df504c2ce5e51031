"""Problems made of steppers of exponax: their steps are exponax's own, whatever their length."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

ex = pytest.importorskip("exponax", reason="exponax is not installed: pip install 'closura[exponax]'")

from closura.cli import main
from closura.core import Results
from closura.core.definition import PROBLEMS
from closura.grids import Grid
from closura.problems.exponax import from_exponax
from closura.problems.problem import Problem

EXAMPLE = Path(__file__).parents[1] / "examples" / "kuramoto_sivashinsky.py"
WAVES = {d: ex.ic.RandomTruncatedFourierSeries(d, cutoff=2) for d in (1, 2, 3)}
EQUATIONS: dict[str, tuple[Callable[..., Any], int, float, Any]] = {
    "kuramoto-sivashinsky": (lambda n, dt: ex.stepper.KuramotoSivashinsky(1, 60.0, n, dt), 32, 0.1, WAVES[1]),
    "korteweg-de vries": (lambda n, dt: ex.stepper.KortewegDeVries(1, 20.0, n, dt), 32, 0.01, WAVES[1]),
    "decaying vorticity": (
        lambda n, dt: ex.stepper.NavierStokesVorticity(2, 1.0, n, dt, diffusivity=1e-3), 16, 0.01, WAVES[2],
    ),
    "Burgers in three dimensions": (
        lambda n, dt: ex.stepper.Burgers(3, 1.0, n, dt, diffusivity=0.02), 8, 0.01,
        ex.ic.RandomMultiChannelICGenerator([WAVES[3]] * 3),
    ),
}  # fmt: skip
KEY = jax.random.key(0)


def made(name: str, **parts: Any) -> Problem:
    stepper, points, dt, initial = EQUATIONS[name]
    return from_exponax(**{"stepper": stepper, "points": points, "dt": dt, "ratio": 2, "initial": initial, **parts})


@pytest.mark.parametrize("name", EQUATIONS)
def test_steps_are_those_of_exponax(name: str) -> None:
    """Coarse solver, and a reference with twice the points and half the step, bit by bit."""
    stepper, points, dt, initial = EQUATIONS[name]
    problem = made(name, time_ratio=2)
    begun = problem.begin(key=KEY)
    start = initial(2 * points, key=KEY)
    coarse = ex.map_between_resolutions(start, points)
    np.testing.assert_array_equal(begun.state, coarse)
    np.testing.assert_array_equal(problem.coarse.step(begun.state, None, dt), stepper(points, dt)(coarse))
    half = stepper(2 * points, dt / 2)
    later = problem.reference.advance(begun.reference, begun.state, None, problem.time_step)
    # Two steps in a compiled loop and one after the other: round-off.
    np.testing.assert_allclose(later[0], half(half(start)), rtol=1e-9, atol=1e-11)
    field = ex.map_between_resolutions(later[0], points)
    np.testing.assert_array_equal(problem.reference.field(later), field)
    assert len(problem.components) == start.shape[0]


def test_a_reference_that_is_the_coarse_solver_equals_it() -> None:
    stepper, _, dt, _ = EQUATIONS["korteweg-de vries"]
    problem = made("korteweg-de vries", ratio=1, reference=stepper)
    begun = problem.begin(key=KEY)
    later = problem.reference.advance(begun.reference, begun.state, None, dt)
    np.testing.assert_array_equal(problem.coarse.step(begun.state, None, dt), problem.reference.field(later))
    with pytest.raises(ValueError, match="the reference would be the coarse solver: give a ratio"):
        made("korteweg-de vries", ratio=1)


def test_steps_of_other_lengths() -> None:
    """Known before the program is compiled, prepared for, or known only as it runs: the same to round-off."""
    stepper, points, dt, initial = EQUATIONS["kuramoto-sivashinsky"]
    solver, state = made("kuramoto-sivashinsky").coarse, initial(points, key=KEY)
    expected = stepper(points, 0.7 * dt)(state)
    ready = solver.prepared(0.7 * dt)
    assert ready.length == 0.7 * dt
    np.testing.assert_array_equal(ready.step(state, None, 0.7 * dt), expected)
    np.testing.assert_allclose(solver.step(state, None, 0.7 * dt), expected, rtol=1e-10, atol=1e-12)
    traced = jax.jit(lambda h: solver.step(state, None, h))(0.7 * dt)
    np.testing.assert_allclose(traced, expected, rtol=1e-10, atol=1e-12)
    assert solver.step(state.astype(jnp.float32), None, dt).dtype == jnp.float32  # with coefficients of 64 bits


def test_fields_keep_their_waves_on_other_grids() -> None:
    """Truncation in Fourier space: nothing is aliased, and sizes need not divide."""
    solver = made("decaying vorticity").coarse
    x, y = Grid((24, 24)).coordinates(jnp.float64)
    low, high = jnp.sin(2 * jnp.pi * (x + 2 * y))[None], jnp.cos(2 * jnp.pi * 10 * x)[None]
    x, y = Grid((16, 16)).coordinates(jnp.float64)
    expected = jnp.sin(2 * jnp.pi * (x + 2 * y))[None]
    np.testing.assert_allclose(solver.to_grid(low + high, Grid((16, 16))), expected, atol=1e-13)


def test_equal_steppers_make_equal_solvers() -> None:
    """So that methods of two builds of a problem are told to be the same, and nothing is compiled twice."""
    first, second, other = made("korteweg-de vries"), made("korteweg-de vries"), made("korteweg-de vries", dt=0.02)
    assert first.uncorrected(second) == "exponax"
    assert hash(first.coarse.make) == hash(second.coarse.make)
    assert first.coarse.make != other.coarse.make


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"ratio": 0}, "ratio must be a positive whole number; got 0"),
        ({"dt": -1.0}, "dt must be positive and warm_up not negative; got -1.0 and 0.0"),
        ({"stepper": lambda n, dt: None}, r"stepper\(points, dt\) must give a stepper of exponax; got nothing"),
        (
            {"stepper": lambda n, dt: ex.stepper.Burgers(1, 1.0, 16, dt)},
            r"must give a stepper of 32 points with steps of 0.1; got 16 points",
        ),
        ({"stepper": lambda n, dt: ex.stepper.Burgers(4, 1.0, n, dt)}, r"stepper\(32, 0.1\): .*"),
    ],
)
def test_what_does_not_fit_is_refused(parts: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        made("kuramoto-sivashinsky", **parts)
    problem = made("kuramoto-sivashinsky", initial=lambda points, key: jnp.zeros((2, points)))
    with pytest.raises(ValueError, match=r"initial\(64, key=key\) must give a field of \(1, 64\); got an array of"):
        problem.begin(key=KEY)


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The example in an empty folder, on few points."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(PROBLEMS, "_entries", dict(PROBLEMS._entries))
    return [str(EXAMPLE), "--points", "16", "--ratio", "3"]


def test_the_command_line(example: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--reference.slots", "4", "--reference.steps", "8", "--validation.simulations", "2"]
    windows = ["--learning.updates", "2", "--learning.horizons", "2", "--learning.fractions", "1"]
    main(["train", *example, "--learner", "bptts", *windows, *small, "--validation.steps", "4", "--run", "run"])
    main(
        ["evaluate", *example, "--closure", "run", "--simulations", "2", "--steps", "4", "--no-timing", "--out", "out"]
    )
    found = Results.open("out")
    assert found.reference == "exponax 48"
    assert set(found.compared) == {"exponax", "order 4", "exponax 24", "exponax 32", "run"}
    last = {name: float(np.mean(found.errors(name)[:, -1])) for name in found.compared}
    # Spectral: each finer grid has a small part of the error; a closure of two updates is next to none.
    assert last["exponax 32"] < 0.5 * last["exponax 24"] < 0.25 * last["exponax"]
    assert last["run"] == pytest.approx(last["exponax"], rel=0.2)


@pytest.mark.slow
def test_benchmark(example: list[str]) -> None:
    main(
        ["benchmark", *example, "--grids", "16", "32", "--simulations", "2", "--repetitions", "1", "--batch", "2"]
        + ["--times", "1", "2", "--out", "out"]
    )
    found = Results.open("out")
    steps = [found.errors(f"exponax 32 C {courant}").mean() for courant in (0.5, 1, 1.8)]
    assert steps[0] == pytest.approx(steps[1], rel=0.1)  # the grid's error, not that of the step
    assert found.errors("exponax 32 C 0.5").mean() < 0.3 * found.errors("exponax 16 C 0.5").mean()
