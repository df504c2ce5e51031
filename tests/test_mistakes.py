"""Mistakes in files of users: each is refused in one line that says where, what was got and what was expected."""

import re
from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.cli import main
from closura.closures import CLOSURES, build
from closura.core.case import CaseSampler
from closura.core.definition import PROBLEMS
from closura.core.mistakes import in_a_line
from closura.io.weights import load_weights, save_weights
from closura.problems import Problem, build_problem
from closura.problems.from_solvers import RELATIVE_L2, check_parts
from closura.problems.stored import ReferenceStore, lost_at
from closura.runs.validation import prepare_validation
from closura.simulation.evaluate import evaluate

EXAMPLES = Path(__file__).parents[1] / "examples"
STEP = "return state / 3 + 2 / 3 * euler(0.75 * state + 0.25 * euler(euler(state)))"
CASE = "return closura.Case(jnp.exp((2 + 10 * width) * (jnp.cos(2 * jnp.pi * (x - place)) - 1))[None])"
DT = "dt=physics.courant * coarse.spacing[0]"


@pytest.fixture(autouse=True)
def registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten afterwards."""
    for registry in (PROBLEMS, CLOSURES):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))


def changed(folder: Path, old: str = "", new: str = "", example: str = "wave") -> Path:
    """An example with one mistake."""
    text = (EXAMPLES / f"{example}.py").read_text()
    assert old in text
    path = folder / "mine.py"
    path.write_text(text.replace(old, new))
    return path


def problem_of(path: Path, **settings: object) -> Problem:
    kind = PROBLEMS.find(str(path))
    PROBLEMS._entries[kind.name] = kind
    return build_problem(kind.settings(**settings), "test")


def line_of(function: Callable[[], object]) -> str:
    """What the command line says of the error that a function ends with."""
    try:
        function()
    except Exception as error:
        return in_a_line(error)
    return ""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("return closura.Problem", "_ = closura.Problem", "a closura.Problem; got nothing: forgot `return`?"),
        (CASE, CASE.replace("return", "_ ="), "Bumps.sample must return a closura.Case; got nothing: forgot `return`?"),
        (CASE, "return x[None]", "must return a closura.Case; got an array of float32 with shape (1, 256)"),
        (CASE, CASE.replace("[None]", ""), "is (component, x); got an array of shape (256,)"),
        ('baselines=("upwind5",)', 'baselines=("up",)', "a step of 'up': mine.py, line 45: KeyError: 'up'"),
        (DT, "dt=-0.1", "dt of a closura.Problem must be a positive number; got -0.1"),
        ("lambda name, grid: Advection(grid, name)", "Advection", "has 'upwind1' as its grid: wrong order?"),
        ("def wave(physics, split):", "def wave(physics):", "define wave(physics, split); got (physics)"),
        ("parameters, dt):\n        def", "dt):\n        def", "advance must take (self, state, parameters, dt)"),
        (STEP, STEP.replace("return", "_ ="), "float32 (1, 32); got nothing: forgot `return`? (of Advection.advance)"),
        (STEP, "return np.asarray(state)", "mine.py, line 48: NameError: name 'np' is not defined"),
        (STEP, "return state if state.max() > 1 else 2 * state", "JAX traces this code: take jax.numpy for NumPy"),
        ("jnp.asarray(1 / self", "jnp.ones(3) * (1 / self", "Advection.rate must give one number; got shape (3,)"),
        ("@dataclass(frozen=True)\n", "", "Physics lacks @dataclass(frozen=True)"),
        ("(closura.Settings)", "", "Physics lacks closura.Settings as its base"),
        ('problem("wave"', 'problem("advection"', "'advection' is one of closura's own"),
    ],
)  # fmt: skip
def test_a_wrong_problem_is_refused_in_a_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    line = line_of(lambda: problem_of(changed(tmp_path, old, new)))
    assert said in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("part", "wrong", "said"),
    [
        (
            "cases",
            CaseSampler,
            "cases of a closura.Problem must be a closura.CaseSampler",
        ),
        ("baselines", "up", "baselines of a closura.Problem must be a tuple of names of methods"),
        ("reference", "up", "reference of a closura.Problem must be the name of a method and its grid; got 'up'"),
        ("dt", "0.1", "dt of a closura.Problem must be a positive number; got '0.1'"),
    ],
)
def test_a_wrong_part_of_a_problem_is_named(
    tmp_path: Path, part: str, wrong: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: dict[str, object] = {}
    kind = PROBLEMS.find(str(changed(tmp_path)))
    monkeypatch.setattr(Problem, "from_solvers", staticmethod(lambda **given: parts.update(given)))
    kind(kind.settings(), "test")
    with pytest.raises(ValueError, match=re.escape(said)):
        check_parts(horizon=100, error=RELATIVE_L2, **{**parts, part: wrong})


def test_the_command_says_it_and_keeps_the_traceback_for_debugging(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["evaluate", str(changed(tmp_path, "uncorrected=", "uncorected="))]
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("error: mine.py, line 67: TypeError")
    monkeypatch.setenv("CLOSURA_TRACEBACK", "1")
    with pytest.raises(TypeError):
        main(words)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("eqx.Module", "object", "has no trainable arrays; got a Formula: subclass equinox.Module"),
        ("self.weights = jnp.zeros", "self.weights = np.zeros", "NameError: name 'np' is not defined"),
        ("        return total", "        return total[0]", "got an array of float32 with shape (32,)"),
        ("        return total", "        return total[:, ::2]", "got an array of float32 with shape (1, 16)"),
        ("        return total", "        return total + x", "NameError: name 'x' is not defined"),
        ("spec, *, key, order", "spec, order", "must be made as Formula(spec, *, key, order)"),
    ],
)
def test_a_wrong_closure_is_refused_in_a_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    problem = problem_of(changed(tmp_path))
    path = changed(tmp_path, old, new, example="formula")

    def check() -> None:
        problem.check_action(build(str(path), problem.spec, key=jax.random.key(0)), "closure formula")

    assert said in line_of(check)


def test_a_reference_that_is_unstable_is_no_reference(tmp_path: Path) -> None:
    problem = problem_of(changed(tmp_path), courant=2.5)
    with pytest.raises(ValueError, match=r"\(upwind5 256: .*\) itself diverged in 2 of 2 .*evaluated.*ake more or"):
        evaluate(problem, {}, simulations=2, steps=3, key=jax.random.key(0), timing=False)
    where = r"\(upwind5 256: Advection on 256 points, 8 in each coarse step\) itself diverged in 2 of 2 .*t step [1-9]"
    with pytest.raises(ValueError, match=where):  # of the first simulations of a training
        prepare_validation(problem, 2, 40, key=jax.random.key(0))
    lost = problem_of(changed(tmp_path, CASE, CASE.replace("Case(", "Case(jnp.nan * ")))
    with pytest.raises(ValueError, match="The initial conditions are not finite"):
        evaluate(lost, {}, simulations=1, steps=1, key=jax.random.key(0), timing=False)
    with pytest.raises(ValueError, match=r"first at step 0 .* The initial conditions are not finite"):
        prepare_validation(lost, 1, 1, key=jax.random.key(0))


def test_when_a_reference_leaves_its_initial_range() -> None:
    initial = np.asarray([[-1.0, 3.0], [2.0, 2.0]])  # one field of range 2 about 1, one that begins constant
    fields = np.stack([initial, initial + [[0, 17.9], [0, 0]], initial + [[0, 18.1], [0, 5]]], axis=1)[:, :, None]
    store = ReferenceStore(jnp.asarray(initial[:, None]), {}, jnp.asarray(fields), jnp.zeros((2, 0)))
    np.testing.assert_array_equal(lost_at(store, 10.0), [2, 2])
    np.testing.assert_array_equal(lost_at(store, 10.0, rest=np.inf), [2, -1])
    np.testing.assert_array_equal(lost_at(store, 11.0, rest=np.inf), [-1, -1])
    broken = eqx.tree_at(lambda s: s.reference, store, store.reference.at[1, 1].set(jnp.nan))
    np.testing.assert_array_equal(lost_at(broken, 1e6, rest=np.inf), [-1, 1])


class Shift(eqx.Module):
    """A closure with a single number."""

    w: jax.Array

    def __call__(self, observation: jax.Array) -> jax.Array:
        return self.w + 0 * observation


def test_a_single_number_keeps_its_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(changed(tmp_path))

    def shift(spec: object, *, key: object) -> Shift:
        return Shift(jnp.asarray(0.5))

    from closura.closures import closure

    closure("shift")(shift)
    for weights in (Shift(jnp.asarray(2.0)), Shift(jnp.asarray([2.0]))):  # earlier files have an array of one
        path = save_weights(
            tmp_path / "w.safetensors", weights, architecture={"closure": "shift", "options": {}}, spec=problem.spec
        )
        read = load_weights(path, problem.spec)
        assert read.w.shape == ()
        np.testing.assert_array_equal(read.w, 2.0)
