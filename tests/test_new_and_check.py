"""Files to begin with run as they are, and what is wrong with a problem is found."""

import contextlib
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from closura import Grid, Problem, Program, Results
from closura.cli import main
from closura.commands.new import new_problem
from closura.core.definition import PROBLEMS
from closura.host.pool import close_pools
from closura.metrics.criterion import Measurements
from closura.simulation.checks import Finding, check_problem, pays

SPARING = "--learning.updates 2 --learning.environments 2 --learning.steps 4 --reference.slots 8 --reference.steps 8"
SMALL = (f"{SPARING} --validation.simulations 2 --validation.steps 8").split()


@pytest.mark.parametrize("solver", ["numpy", "jax"])
def test_a_new_problem_runs_as_it_is(
    solver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"spirals-{solver}"
    main(["new", "problem", name, "--solver", solver])
    file = f"{name.replace('-', '_')}.py"
    assert f"next: closura check {file}" in capsys.readouterr().out
    main(["check", file, "--points", "8", "--steps", "8"])
    out = capsys.readouterr().out
    assert "WRONG" not in out
    assert ("runs outside JAX and has no gradient" in out) == (solver == "numpy")
    assert ("bptts" in out) == (solver == "jax")
    assert "order" in out
    assert "k^p" in out


def made(solver: str, compiler: str, folder: Path) -> str:
    """Write a problem with a program and compile it; the name of both."""
    if shutil.which(compiler) is None or shutil.which("make") is None:
        pytest.skip(f"no {compiler} or make on this machine")
    new_problem(f"shocks-{solver}", solver, folder)
    subprocess.run(["make", "-s", f"shocks_{solver}"], check=True, cwd=folder)
    return f"shocks_{solver}"


def errors(program: Path) -> list[float]:
    """What a program says of itself, run alone."""
    said = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return [float(line.split()[-2]) for line in said.splitlines()]


def test_the_program_in_c_is_that_in_fortran(tmp_path: Path) -> None:
    # The same solver: 64 points, 100 steps, printed with three digits.
    assert errors(tmp_path / made("c", "gcc", tmp_path)) == [pytest.approx(ALONE, abs=2e-3)]


def test_a_program_learns_and_takes_its_closure_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole way at a tiny size; how much it gains is another test's."""
    monkeypatch.chdir(tmp_path)
    module = made("fortran", "gfortran", tmp_path)
    with contextlib.suppress(SystemExit):  # two updates may well be worse than none
        main(["train", f"{module}.py", "--points", "16", "--run", "run", *SMALL])
    assert "the solver runs outside JAX" in capsys.readouterr().out
    close_pools()
    main(["export", "run", "--to", "fortran", "--name", "closure", "--out", "closure"])
    subprocess.run(["make", "-s", "closed"], check=True)
    without, closed = errors(tmp_path / "closed")
    assert without == pytest.approx(ALONE, abs=2e-3)
    assert closed != without


ALONE = 4.957
"""Error of the solver alone in percent."""


PAGE = Path(__file__).parent.parent / "docs" / "your-own-solver.md"
TINY = {
    "train": (*SMALL, "--points", "16"),
    "evaluate": ("--points", "16", "--steps", "8", "--simulations", "2"),
    "check": ("--points", "8", "--steps", "4"),
    "benchmark": ("--points", "8", "--grids", "8", "--times", "0.4", "--simulations", "2", "--repetitions", "1"),
}
"""What makes the page's commands short; the last value of an option counts."""


def lines(heading: str) -> list[str]:
    """The commands under a heading of the page."""
    part = PAGE.read_text().split(f"## {heading}")[1].split("\n## ")[0]
    return [line for block in re.findall(r"```bash\n(.*?)```", part, re.S) for line in block.splitlines()]


def walked(heading: str, tiny: bool) -> list[str]:
    """Run a part of the page; what the program has printed at its end."""
    said: list[str] = []
    for line in lines(heading):
        program, *words = shlex.split(line)
        if program == "closura":
            with contextlib.suppress(SystemExit):  # two updates may well be worse than none
                main([*words, *(TINY.get(words[0], ()) if tiny else ())])
            close_pools()
        else:
            said.append(subprocess.run([program, *words], check=True, capture_output=True, text=True).stdout)
    return said


def test_the_page_for_numpy_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    walked("A solver in NumPy", tiny=True)
    assert (tmp_path / "spirals-evaluated" / "summary.json").exists() or list(
        (tmp_path / "spirals-evaluated").iterdir()
    )
    assert list((tmp_path / "spirals-front").glob("*.csv"))
    assert (tmp_path / "spirals-c" / "spirals.c").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gfortran") is None, reason="no gfortran on this machine")
@pytest.mark.parametrize("heading", ["A solver in NumPy", "A solver in Fortran, or C"])
def test_the_page_halves_the_error(heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained as printed: the held-out error falls by half at least, and so does that of the linked program."""
    monkeypatch.chdir(tmp_path)
    said = walked(heading, tiny=False)
    (run,) = [path for path in (tmp_path / "spirals", tmp_path / "shocks" / "run") if path.exists()]
    folder = tmp_path / ("spirals-evaluated" if run.name == "spirals" else "shocks/evaluated")
    results = Results.open(folder)
    coarse, closed = (float(np.mean(results.of("error", name)[:, -1])) for name in ("coarse", run.name))
    assert closed <= 0.5 * coarse
    if said:
        without, linked = (float(line.split()[-2]) for line in said[-1].splitlines())
        assert linked <= 0.5 * without


def test_new_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    new_problem("mine-first", "numpy", tmp_path)
    for name, said in (
        ("mine-first", "is there already"),
        ("Mine", "lower-case letters"),
        ("class", "lower-case letters"),
        ("advection", "is a problem of closura already"),
    ):
        with pytest.raises(ValueError, match=said):
            new_problem(name, "numpy", tmp_path)


# What is wrong -------------------------------------------------------------------------------------------------------


def smooth(state, dt):  # type: ignore[no-untyped-def]
    n = state.shape[-1]
    return state + dt * n**2 * (jnp.roll(state, 1, -1) + jnp.roll(state, -1, -1) - 2 * state)


def bumps(rng: np.random.Generator) -> np.ndarray:
    x = np.arange(32) / 32
    return np.exp(np.cos(2 * np.pi * (x - rng.random())))[None]


def findings(**changes: object) -> dict[str, Finding]:
    def make(split: str) -> Problem:
        parts: dict = {"fields": ("u",), "grid": Grid((8,)), "dt": 4e-3, "coarse": smooth, "initial": bumps}
        parts |= {"substeps": 16, "conserved": (("mass", lambda field: jnp.sum(field)),)}
        return Problem.from_functions(**{**parts, **changes})

    return {each.check: each for each in check_problem(make, lambda differentiable: "some", steps=40)}


def test_a_sound_problem_has_nothing_wrong() -> None:
    found = findings()
    assert {each.status for each in found.values()} <= {"ok", "note"}
    # Second order in space, first in time with steps that shrink as the square: order two.
    assert float(found["convergence"].words.split("order ")[1]) == pytest.approx(2.0, abs=0.3)
    # dt n^2 is 0.256 of at most 0.5; what grows slowly does not show within 40 steps.
    assert found["stability"].words == "stable up to 2 times the time step, not at 4"
    change = found["conservation"].words.split("by ")[1].split(" ")[0]
    assert float(change) < 1e-5


class Unsteady:
    """Gives another state each time."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, state, dt):  # type: ignore[no-untyped-def]
        self.calls += 1
        return np.asarray(smooth(np.array(state), dt)) + 1e-3 * self.calls


@pytest.mark.parametrize(
    ("changes", "check", "said"),
    [
        ({"coarse": Unsteady(), "scale": 0.1}, "step", "steps from one state differ"),
        ({"initial": lambda rng: bumps(np.random.default_rng(1))}, "cases", "draw the same initial state"),
        ({"coarse": lambda s, dt: smooth(s, dt) + dt * jnp.sign(s), "fine": smooth}, "convergence", "not converge"),
        ({"restrict": lambda field, ratio: field[:, 2::ratio]}, "grids", None),
        (
            {"coarse": lambda s, dt: smooth(s, dt) * (1 - dt), "fine": None},
            "conservation",
            "mass changes by 0.15 (coarse) and 0.15 (reference)",
        ),
    ],
)
def test_what_is_wrong_is_found(changes: dict, check: str, said: str | None) -> None:
    found = findings(**changes)[check]
    if said is None:  # both initial states are taken from the fine one by the same function, and agree
        assert found.status == "ok"
    else:
        assert found.status == ("note" if check == "conservation" else "wrong")
        assert said in found.words


def test_a_check_that_fails_has_status_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (path,) = new_problem("spirals-wrong", "numpy", tmp_path)
    path.write_text(path.read_text().replace("rng.normal(size", "np.random.default_rng(1).normal(size"))
    with pytest.raises(SystemExit) as left:
        main(["check", path.name, "--points", "8", "--steps", "4"])
    assert left.value.code == 2
    assert "WRONG  cases" in capsys.readouterr().out
    assert "spirals-wrong" in PROBLEMS
    assert isinstance(Program(("x",)), Program)


def test_a_check_of_a_solver_that_refinement_costs_nothing() -> None:
    """Spectral errors fall by orders, and small grids cost the same: no powers beyond what a number holds."""

    def found(errors: list[float], costs: list[float]) -> Finding:
        names = ("8", "16")
        errors = {name: np.full(4, e) for name, e in zip(names, errors, strict=True)}  # type: ignore[assignment]
        turns = {name: np.full(5, c) for name, c in zip(names, costs, strict=True)}
        return pays(Measurements(names, "8", errors, turns, kinds={"net": np.full(5, 4 * costs[0])}))  # type: ignore[arg-type]

    assert "it takes no longer, and k^p has no bound" in found([2.0, 0.01], [1e-4, 1.02e-4]).words
    steep = found([2.0, 1e-9], [1e-4, 1.06e-4])
    assert steep.status == "note"
    # Beyond the finer grid's cost nothing was measured: at least its own gain.
    assert "net: k = 4, at least 2e+09" in steep.words
    fair = found([2.0, 1.0], [1.0, 8.0])
    # p = ln 2 / ln 8 = 1/3, and 4^(1/3) = 1.587.
    assert "p = 0.333 [0.333, 0.333]" in fair.words
    assert "net: k = 4, 1.59" in fair.words
    assert fair.status == "ok"
