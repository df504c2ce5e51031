"""Problems, baselines, metrics and figures from files outside the package, by the command line."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.cli import main
from closura.closures import CLOSURES, build
from closura.commands.closures import command_tables, training_arguments
from closura.commands.configuration import expanded
from closura.commands.evaluation import EvaluateOptions
from closura.commands.problems import check_baselines
from closura.commands.results import command_line
from closura.core import METRICS, Results
from closura.core.definition import BASELINES, PROBLEMS, baselines_of
from closura.core.registry import load_plugins
from closura.learners import LEARNERS, Learner, LearnerState, learner
from closura.plain import to_toml
from closura.problems import build_problem
from closura.reporting.figure import FIGURES, figures_of
from closura.reporting.table import TABLES
from closura.runs import RunFolder
from closura.runs.configuration import problem_preset, train_preset
from closura.runs.training import TrainingTask

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the two files of the documentation; what they register is forgotten afterwards."""
    for name in ("wave.py", "wave_extras.py", "formula.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    for registry in (PROBLEMS, CLOSURES, METRICS, FIGURES, TABLES, BASELINES, LEARNERS):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    return tmp_path


def test_the_wave_has_at_most_sixty_lines_of_code() -> None:
    lines = (EXAMPLES / "wave.py").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 60


def test_the_documentation_prints_these_files() -> None:
    page = (EXAMPLES.parent / "docs" / "plugins.md").read_text()
    for name in ("wave.py", "wave_extras.py", "formula.py"):
        assert f"```python\n{(EXAMPLES / name).read_text()}```" in page


def test_the_problem_from_python(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))
    page = (EXAMPLES.parent / "docs" / "plugins.md").read_text().partition("## From Python")[2]
    code = (
        page.split("```python")[1].split("closure = ")[0].replace("simulations=20, steps=50", "simulations=2, steps=4")
    )
    names: dict[str, Any] = {}
    exec(code, names)  # as printed, but for fewer simulations
    assert names["results"].errors("upwind5").shape == (2, 5)
    del sys.modules["wave"]


def test_evaluate_with_options_and_errors_as_built_in_problems_have(folder: Path, capsys) -> None:
    main(
        ["evaluate", "./wave.py", "--cells", "16", "--simulations", "3", "--steps", "8", "--out", "out", "--no-timing"]
    )
    found = Results.open("out")
    assert found.problem == "wave"
    assert (found.uncorrected, found.baselines, found.reference) == ("upwind1", ("upwind5",), "upwind5 128")
    # Upwind differences of order one and five, on bumps that sixteen points hold well enough.
    assert found.errors("upwind5")[:, -1].max() < 0.5 * found.errors("upwind1")[:, -1].min()
    assert (folder / "out" / "figures" / "profiles.png").exists()
    assert "split" in json.loads((folder / "out" / "table.json").read_text())["description"]
    with pytest.raises(SystemExit) as left:
        main(["evaluate", "wave.py:wave", "--cells", "-3"])
    assert left.value.code == 2
    assert "cells must be positive" in capsys.readouterr().err


FAULTY = """
import closura
@closura.metric("vector")
def vector(field, reference):
    return abs(field - reference)
@closura.metric("raises")
def raises(field, reference):
    return undefined
@closura.figure("misspelt", needs=("hight_error",), caption="Nothing.")
def misspelt(results, figure):
    pass
"""


def test_a_second_file_adds_a_baseline_a_metric_and_a_figure(folder: Path, capsys) -> None:
    (folder / "faulty.py").write_text(FAULTY)
    with pytest.raises(SystemExit) as left:  # what fails costs nothing else
        main(
            ["evaluate", "wave.py", "--plugin", "wave_extras.py", "--simulations", "2", "--steps", "6", "--no-timing"]
            + ["--plugin", "faulty.py", "--out", "out", "--json", "numbers.json"]
        )
    assert left.value.code == 4
    said = " ".join(capsys.readouterr().err.split())
    assert "metric vector (ValueError: expected a scalar; got shape (1, 32) (faulty.py))" in said
    assert "metric raises (NameError: name 'undefined' is not defined (faulty.py, line 8))" in said
    assert "misspelt (ValueError: needs hight_error, which the results lack: did you mean height_error?)" in said
    found = Results.open("out")
    assert not {"vector", "raises"} & set(found.metrics)
    failures: dict[str, str] = {}
    assert [kind.name for kind in figures_of(found, failures, FIGURES.added())] == ["heights"]
    assert found.baselines == ("upwind5", "lax-wendroff")
    assert (folder / "out" / "figures" / "heights.png").exists()
    assert "Worst simulation" in (folder / "out" / "report.html").read_text()
    numbers = json.loads(Path("numbers.json").read_text())["methods"]["lax-wendroff"]["height_error"]
    assert numbers["mean"] == pytest.approx(found.of("height_error", "lax-wendroff")[:, -1].mean())
    # Second order: between the first and the fifth.
    last = {name: np.mean(found.errors(name)[:, -1]) for name in found.compared}
    assert last["upwind5"] < last["lax-wendroff"] < last["upwind1"]


@pytest.mark.parametrize("command", ["train", "evaluate", "benchmark"])
def test_help_shows_only_what_a_problem_has(command: str, folder: Path, capsys) -> None:
    """No images, nothing published."""
    shown = {}
    for problem in ("./wave.py", "advection"):
        with pytest.raises(SystemExit) as left:
            main([command, problem, "--help"])
        assert left.value.code == 0
        shown[problem] = capsys.readouterr().out
    assert "--cells" in shown["./wave.py"]
    assert not [word for word in ("--data-dir", "paper", "mnist") if word in shown["./wave.py"]]
    assert all(word in shown["advection"] for word in ("--data-dir", "--preset {paper,default"))


def test_benchmark_on_other_grids_and_steps_with_an_added_metric(folder: Path, capsys) -> None:
    (folder / "faulty.py").write_text(FAULTY)
    with pytest.raises(SystemExit) as left:
        main(
            ["benchmark", "wave.py", "--plugin", "wave_extras.py", "--plugin", "faulty.py", "--grids", "16", "32"]
            + ["--simulations", "2", "--repetitions", "1", "--batch", "2", "--out", "out"]
        )
    assert left.value.code == 4
    said = " ".join(capsys.readouterr().err.split())
    assert "metric vector (ValueError: expected a scalar; got shape (1, 32)" in said
    found = Results.open("out")
    assert {"upwind5 16 C 0.6", "upwind5 32 C 0.6", "upwind1 32 dt 0.0125"} <= set(found.methods)
    by_grid = [found.errors(f"upwind5 {n} C 0.3").mean() for n in (16, 32)]
    assert by_grid[1] < 0.25 * by_grid[0]
    assert (folder / "out" / "front-reference.png").exists()
    assert "vector" not in found.metrics
    heights = {name: found.of("height_error", name)[:, -1].mean() for name in found.methods}
    assert heights["reference: reference"] == 0
    # Upwind differences of first order lower a bump more than those of fifth order do.
    assert heights["upwind5 32 C 0.3"] < 0.2 * heights["upwind1 32 C 0.3"]
    numbers = json.loads((folder / "out" / "fronts.json").read_text())
    assert numbers["metrics"]["height_error"]["percent"] is True
    one = next(each for each in numbers["contenders"] if each["name"] == "upwind5 32 C 0.3")
    written = next(iter(one["errors"]["reference"].values()))["metrics"]["height_error"]
    assert written == pytest.approx(heights["upwind5 32 C 0.3"], rel=1e-3)  # four digits
    assert "height_error,height_error_std" in (folder / "out" / "table.csv").read_text()
    assert "error of the largest value, % |" in (folder / "out" / "table.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "missing.py"], "there is no file missing.py"),
        (["evaluate", "wave_extras.py"], "wave_extras.py defines no problem"),
        (["evaluate", "wave.py:other"], "wave.py has no problem 'other': it has wave"),
        (["evaluate", "wave.py", "--plugin", "missing.py"], "--plugin: there is no file missing.py"),
        (["evaluate", "wave.py", "--plugin"], "--plugin needs a Python file"),
        (["train", "wave.py", "--preset", "paper"], "nothing was published of wave"),
        (["train", "wave.py", "--closure", "formula"], "or a FILE.py, or what --plugin FILE.py adds"),
        (["train", "wave.py", "--cell", "3"], "all options: closura train wave.py --help"),
        (["list"], "which list? closura list KIND"),
        (["evaluate", "broken.py"], "cannot import broken.py, line 2: NameError"),
        (["evaluate", "shapes.py"], "problem shapes: its reference on the coarse grid must be like its initial state"),
    ],
)
def test_mistakes_are_told_in_a_line(folder: Path, capsys, words: list[str], said: str) -> None:
    (folder / "broken.py").write_text("import closura\nx = undefined\n")
    text = (folder / "wave.py").read_text().replace('"wave"', '"shapes"')
    method = "    def to_grid(self, state, grid):\n        return state\n\n    def rate("
    text = text.replace("    def rate(", method)  # nothing is taken to another grid
    (folder / "shapes.py").write_text(text)
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


TRAIN = [
    *(
        "--preset",
        "quick",
        "--cells",
        "16",
        "--learning.updates",
        "40",
        "--reference.slots",
        "8",
        "--reference.steps",
        "16",
    ),
    *(
        "--reference.blocks",
        "2",
        "--validation.simulations",
        "4",
        "--validation.steps",
        "16",
        "--validation.every",
        "20",
    ),
    *("--compact.channels", "8", "--log-every", "20"),
]


def forget_wave() -> None:
    PROBLEMS._entries.pop("wave", None)
    for name in [name for name in sys.modules if name.startswith("closura_file_")]:
        del sys.modules[name]


def test_train_resume_evaluate_report_and_interpret(folder: Path, capsys) -> None:
    main(["train", "wave.py", *TRAIN, "--learning.horizons", "4", "--learning.fractions", "1", "--run", "runs/wave"])
    assert "closura evaluate wave.py --closure runs/wave" in capsys.readouterr().out
    plain = json.loads(Path("runs/wave/configuration.json").read_text())
    assert plain["files"][0][0] == str(folder / "wave.py")
    main(["train", "wave.py", "--run", "runs/wave", "--resume"])
    main(["evaluate", "wave.py", "--closure", "runs/wave", "--simulations", "4", "--steps", "16", "--no-timing"]
         + ["--out", "out"])  # fmt: skip
    found = Results.open("out")
    assert found.closures == ("wave",)
    assert found.errors("wave")[:, -1].mean() < found.errors("upwind1")[:, -1].mean()
    forget_wave()  # as in a new process: the run knows its file
    main(["report", "runs/wave", "--simulations", "2", "--steps", "8", "--no-timing", "--out", "report.html"])
    assert "wave.py:wave" in Path("report.html").read_text()
    main(["interpret", "runs/wave", "--simulations", "4", "--step", "3"])
    assert "found: A =" in capsys.readouterr().out
    # Another content of the file: the run is evaluated, and not continued.
    (folder / "wave.py").write_text((folder / "wave.py").read_text() + "\n# changed\n")
    with pytest.raises(SystemExit) as left:
        main(["train", "wave.py", "--run", "runs/wave", "--resume"])
    assert left.value.code == 2
    assert "was started with other settings" in capsys.readouterr().err
    forget_wave()
    with pytest.raises(SystemExit):
        main(["report", "runs/wave", "--out", "report.html"])
    assert "which has changed since" in capsys.readouterr().err


def test_a_learner_of_a_second_file(folder: Path) -> None:
    main(
        ["train", "wave.py", "--plugin", "wave_extras.py", "--learner", "one-step", *TRAIN, "--run", "runs/one"]
        + ["--learning.batch", "8"]
    )
    status = json.loads(Path("runs/one/status.json").read_text())
    assert status["state"] == "finished"
    assert status["best"] < status["uncorrected"]


BASELINES_OF_TWO = """
import closura, equinox as eqx
class Held(closura.Solver):
    grid: closura.Grid = eqx.field(static=True)
    def advance(self, state, parameters, dt):
        return state
@closura.baseline("held", problem="lake")
def one(grid):
    return Held(grid)
@closura.baseline("held", problem="burgers")
def two(grid):
    return Held(grid)
"""


def test_baselines_of_built_in_problems_and_of_one_name(folder: Path, capsys) -> None:
    (folder / "two.py").write_text(BASELINES_OF_TWO)
    load_plugins(["two.py"])
    assert {"held@lake", "held@burgers"} <= set(BASELINES)
    settings = problem_preset("burgers", "default")
    problem = build_problem(replace(settings, cells=12, ratio=1), "test")
    assert type(problem.baselines["held"]).__name__ == "Held"
    check_baselines("burgers")
    assert "baseline held is for lake, a problem that is not known here" in capsys.readouterr().err
    with pytest.raises(ValueError, match="'held' is already a method of burgers"):
        baselines_of("burgers", ("held",))
    (folder / "two.py").write_text(BASELINES_OF_TWO.replace('"burgers"', '"lake"'))
    with pytest.raises(ValueError, match="has two baselines called held@lake"):
        load_plugins(["two.py"])
    (folder / "law.py").write_text(BASELINES_OF_TWO.replace('"burgers"', '"euler-1d"'))
    load_plugins(["law.py"])
    with pytest.raises(ValueError, match="the methods of euler-1d weigh fluxes"):
        check_baselines("euler-1d")


def test_plugins_are_recorded_in_commands_and_configurations(folder: Path) -> None:
    load_plugins(["wave_extras.py"])
    assert command_line("evaluate", ["wave.py"]) == "closura evaluate wave.py --plugin wave_extras.py"
    tables = command_tables(EvaluateOptions(), problem="wave.py")
    (folder / "mine.toml").write_text(to_toml(tables))
    path = str(folder / "wave_extras.py")
    assert expanded(["--config", "mine.toml"], "evaluate")[-2:] == ["--plugin", path]
    configuration = train_preset("quick", problem=str(folder / "wave.py"), learner="one-step")
    assert training_arguments(configuration)[-2:] == ["--plugin", path]
    RunFolder(folder / "run").create(configuration)
    assert expanded(["--config", "run/configuration.toml"], "train")[-2:] == ["--plugin", path]
    with pytest.raises(ValueError, match="is that of a training, for closura train"):
        expanded(["wave.py", "--config", "run/configuration.toml"], "evaluate")
    with (folder / "wave_extras.py").open("a") as file:
        file.write("# changed\n")
    with pytest.raises(ValueError, match=r"wave_extras\.py, which has changed since"):
        expanded(["--config", "mine.toml"], "evaluate")
    words = expanded(["--config", "mine.toml", "--plugin", "wave_extras.py"], "evaluate")
    assert words.count("--plugin") == 1


def test_mistakes_of_learners(folder: Path) -> None:
    load_plugins(["wave_extras.py"])
    one_step = LEARNERS.find("one-step")
    problem = build_problem(PROBLEMS.find("wave.py").settings(cells=8), "train")
    closure = build("compact", problem.spec, options={"channels": 4, "layers": 1}, key=jax.random.key(0))

    def updated(change: Callable[[Any, Any], Any]) -> None:
        class Mine(one_step.make):
            def update(self, problem, state, stage):
                return change(*super().update(problem, state, stage))

        learner = Mine(one_step.settings())
        state = learner.init(problem, closure, key=jax.random.key(1))
        learner.advance(problem, state, jnp.asarray(1, jnp.int32), 0)

    with pytest.raises(ValueError, match=r"Mine.update: metric loss must be a scalar; got \(3,\)"):
        updated(lambda state, metrics: (state, {"loss": metrics["loss"] * jnp.ones(3)}))
    with pytest.raises(ValueError, match=r"must keep all shapes of its state: \.carry nothing becomes"):
        updated(lambda state, metrics: (replace(state, carry=jnp.zeros(2)), metrics))
    with pytest.raises(ValueError, match="learner none: None_ lacks begin, optimiser, stages, update"):
        learner("none")(type("None_", (Learner,), {}))
    # A training counts the updates that it asked for.
    task = TrainingTask.__new__(TrainingTask)
    task.bank, task.problem = None, problem
    state = LearnerState(closure, None, None, None, jnp.zeros(2, jnp.uint32), jnp.zeros((), jnp.int32), jnp.zeros(()))
    task.learner = SimpleNamespace(stage_of=lambda update: (0, 4), advance=lambda *_: (state, {}))
    with pytest.raises(ValueError, match="must give a state with one more of its updates"):
        task.advance(state, 0, 4)


def test_a_closure_of_a_second_file(folder: Path, capsys) -> None:
    short = [*TRAIN[:-4], "--log-every", "20"]
    words = ["train", "wave.py", "--closure", "formula.py", "--formula.order", "2", *short, "--learning.horizons", "4"]
    main([*words, "--learning.fractions", "1", "--run", "runs/formula"])
    status = json.loads(Path("runs/formula/status.json").read_text())
    assert status["best"] < status["uncorrected"]
    capsys.readouterr()
    forget_wave()
    with pytest.raises(SystemExit):  # nothing in a file of weights is executed
        main(["interpret", "runs/formula/weights.safetensors", "--simulations", "4", "--step", "3"])
    assert "name its file: --problem" in capsys.readouterr().err
    main(["interpret", "runs/formula/weights.safetensors", "--problem", "wave.py", "--simulations", "4", "--step", "3"])
    assert "found: A =" in capsys.readouterr().out
