"""Problems made of steppers of exponax: their steps are exponax's own, whatever their length."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

ex = pytest.importorskip("exponax", reason="exponax is not installed: pip install 'closura[exponax]'")

from closura.cli import main
from closura.core import Results
from closura.grids import Grid
from closura.problems.exponax import from_exponax
from closura.problems.problem import Problem

begin = eqx.filter_jit(lambda problem, key: problem.begin(key=key))
step = eqx.filter_jit(lambda solver, state, dt: solver.step(state, None, dt))
advance = eqx.filter_jit(lambda p, begun: p.reference.advance(begun.reference, begun.state, None, p.time_step))
at_once = eqx.filter_jit(lambda function: function())
EXAMPLE = Path(__file__).parents[1] / "examples" / "kuramoto_sivashinsky.py"


def waves(axes: int, channels: int = 1) -> Callable[..., jax.Array]:
    """Two waves along each axis, at random places."""

    def initial(points: int, *, key: jax.Array) -> jax.Array:
        places = jax.random.uniform(key, (channels, axes), minval=0, maxval=2 * jnp.pi)
        x = jnp.meshgrid(*[2 * jnp.pi * jnp.arange(points) / points] * axes, indexing="ij")
        return jnp.stack([sum(jnp.sin(x[i] + p[i]) + jnp.cos(2 * x[i] - p[i]) for i in range(axes)) for p in places])

    return initial


EQUATIONS: dict[str, tuple[Callable[..., Any], int, float, Any]] = {
    "kuramoto-sivashinsky": (
        lambda n, dt: ex.stepper.KuramotoSivashinsky(1, 60.0, n, dt), 32, 0.1,
        ex.ic.RandomTruncatedFourierSeries(1, cutoff=5),
    ),
    "korteweg-de vries": (lambda n, dt: ex.stepper.KortewegDeVries(1, 20.0, n, dt), 32, 0.01, waves(1)),
    "decaying vorticity": (
        lambda n, dt: ex.stepper.NavierStokesVorticity(2, 1.0, n, dt, diffusivity=1e-3), 16, 0.01, waves(2),
    ),
    "Burgers in three dimensions": (
        lambda n, dt: ex.stepper.Burgers(3, 1.0, n, dt, diffusivity=0.02), 8, 0.01, waves(3, 3),
    ),
}  # fmt: skip
KEY = jax.random.key(0)


@cache
def usual(name: str) -> Problem:
    """With twice the points and half the step in the reference."""
    return made(name, time_ratio=2)


def made(name: str, **parts: Any) -> Problem:
    stepper, points, dt, initial = EQUATIONS[name]
    parts = {"stepper": stepper, "points": points, "dt": dt, "ratio": 2, "initial": initial, "finer": (), **parts}
    return from_exponax(**parts)


@pytest.mark.parametrize("name", EQUATIONS)
def test_steps_are_those_of_exponax(name: str) -> None:
    """Coarse solver, and a reference with twice the points and half the step, bit by bit."""
    stepper, points, dt, initial = EQUATIONS[name]
    problem = usual(name)
    begun, later = begin(problem, KEY), advance(problem, begin(problem, KEY))
    start = at_once(lambda: initial(2 * points, key=KEY))
    coarse = at_once(lambda: ex.map_between_resolutions(start, points))
    np.testing.assert_allclose(begun.state, coarse, rtol=1e-12, atol=1e-14)  # compiled together, and not
    own, half = at_once(lambda: (stepper(points, dt), stepper(2 * points, dt / 2)))
    np.testing.assert_array_equal(step(problem.coarse, coarse, dt), eqx.filter_jit(own)(coarse))
    # Two steps in a compiled loop and one after the other: round-off.
    np.testing.assert_allclose(later[0], at_once(lambda: half(half(start))), rtol=1e-10, atol=1e-12)
    field = at_once(lambda: ex.map_between_resolutions(later[0], points))
    np.testing.assert_allclose(at_once(lambda: problem.reference.field(later)), field, rtol=1e-12, atol=1e-14)
    assert len(problem.components) == start.shape[0]


def test_a_reference_that_is_the_coarse_solver_equals_it() -> None:
    stepper, _, dt, _ = EQUATIONS["korteweg-de vries"]
    problem = made("korteweg-de vries", ratio=1, reference=stepper)
    begun = begin(problem, KEY)
    np.testing.assert_array_equal(step(problem.coarse, begun.state, dt), advance(problem, begun)[0])
    with pytest.raises(ValueError, match="the reference would be the coarse solver: give a ratio"):
        made("korteweg-de vries", ratio=1)


def test_steps_of_other_lengths() -> None:
    """Known before the program is compiled, prepared for, or known only as it runs: the same to round-off."""
    stepper, points, dt, initial = EQUATIONS["kuramoto-sivashinsky"]
    solver, state = usual("kuramoto-sivashinsky").coarse, at_once(lambda: initial(points, key=KEY))
    own = stepper(points, 0.7 * dt)  # as exponax makes it, operation by operation
    expected, ready = eqx.filter_jit(own)(state), solver.prepared(0.7 * dt)
    assert ready.length == 0.7 * dt
    for found in (
        step(ready, state, 0.7 * dt),
        step(solver, state, 0.7 * dt),
        step(solver, state, jnp.asarray(0.7 * dt)),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)
    assert step(solver, state.astype(jnp.float32), dt).dtype == jnp.float32  # with coefficients of 64 bits


def test_fields_keep_their_waves_on_other_grids() -> None:
    """Truncation in Fourier space: nothing is aliased, and sizes need not divide."""
    solver = usual("decaying vorticity").coarse
    x, y = Grid((24, 24)).coordinates(jnp.float64)
    low, high = jnp.sin(2 * jnp.pi * (x + 2 * y))[None], jnp.cos(2 * jnp.pi * 10 * x)[None]
    x, y = Grid((16, 16)).coordinates(jnp.float64)
    expected = jnp.sin(2 * jnp.pi * (x + 2 * y))[None]
    found = at_once(lambda: solver.to_grid(low + high, Grid((16, 16))))
    np.testing.assert_allclose(found, expected, atol=1e-13)


def test_equal_steppers_make_equal_solvers() -> None:
    """So that methods of two builds of a problem are told to be the same, and nothing is compiled twice."""
    first, second = usual("korteweg-de vries"), made("korteweg-de vries")
    other = made("korteweg-de vries", dt=0.02)
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
        ({"stepper": lambda n, dt: ex.stepper.Burger(1, 1.0, n, dt)}, r"stepper\(32, 0.1\): AttributeError: .*Burger"),
    ],
)
def test_what_does_not_fit_is_refused(parts: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        made("kuramoto-sivashinsky", **parts)


def test_initial_fields_of_other_shapes_are_refused() -> None:
    problem = made("kuramoto-sivashinsky", initial=lambda points, key: jnp.zeros((2, points)))
    with pytest.raises(ValueError, match=r"initial\(64, key=key\) must give a field of \(1, 64\); got an array of"):
        problem.begin(key=KEY)


def test_the_documentation_prints_the_example() -> None:
    assert f"```python\n{EXAMPLE.read_text()}```" in (EXAMPLE.parents[1] / "docs" / "exponax.md").read_text()


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The example in an empty folder, on few points."""
    monkeypatch.chdir(tmp_path)
    return [str(EXAMPLE), "--points", "16", "--ratio", "3"]


@pytest.mark.slow
def test_the_command_line(example: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    small = [
        "--reference.slots",
        "4",
        "--reference.blocks",
        "1",
        "--reference.steps",
        "8",
        "--validation.simulations",
        "2",
    ]
    windows = ["--learning.updates", "2", "--learning.horizons", "2", "--learning.fractions", "1"]
    main(["train", *example, "--learner", "bptts", *windows, *small, "--validation.steps", "4", "--run", "run"])
    main(
        ["evaluate", *example, "--closure", "run", "--simulations", "2", "--steps", "4", "--no-timing", "--out", "out"]
    )
    found = Results.open("out")
    assert found.reference == "exponax 48"
    assert set(found.compared) == {"exponax", "order 4", "exponax 24", "exponax 32", "run"}
    last = {name: float(np.mean(found.errors(name)[:, -1])) for name in found.compared}
    # The finer the better, from grids that hold hardly a wave; a closure of two updates is next to none.
    assert last["exponax 32"] < 0.8 * last["exponax 24"] < 0.8 * last["exponax"]
    assert last["run"] == pytest.approx(last["exponax"], rel=0.2)


@pytest.mark.slow
def test_the_documentation_makes_the_other_equations() -> None:
    page = (EXAMPLE.parents[1] / "docs" / "exponax.md").read_text().partition("## Other equations")[2]
    names: dict[str, Any] = {}
    exec(page.split("```python")[1].split("```")[0], names)
    for name in ("korteweg_de_vries", "decaying_vorticity", "burgers"):
        begun = begin(names[name], KEY)
        later = step(names[name].coarse, begun.state, names[name].time_step)
        assert 0 < float(jnp.max(jnp.abs(later - begun.state))) < 0.5 * float(jnp.max(jnp.abs(begun.state)))


@pytest.mark.slow
def test_benchmark(example: list[str]) -> None:
    main(
        ["benchmark", *example, "--grids", "16", "32", "--simulations", "2", "--repetitions", "1", "--batch", "2"]
        + ["--times", "1", "2", "--out", "out"]
    )
    found = Results.open("out")
    steps = [found.errors(f"exponax 32 C {courant}").mean() for courant in (0.5, 1, 1.8)]
    assert steps[0] == pytest.approx(steps[1], rel=0.1)  # the grid's error, not that of the step
    # Both hold few waves more than the unstable ones (measured: 0.65).
    assert found.errors("exponax 32 C 0.5").mean() < 0.8 * found.errors("exponax 16 C 0.5").mean()
