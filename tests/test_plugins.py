"""Problems, baselines, metrics and figures from files outside the package, by the command line."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from closura.cli import main
from closura.core import METRICS, Results
from closura.core.definition import BASELINES, PROBLEMS
from closura.learners import LEARNERS
from closura.reporting.figure import FIGURES

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the two files of the documentation; what they register is forgotten afterwards."""
    for name in ("wave.py", "wave_extras.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    for registry in (PROBLEMS, METRICS, FIGURES, BASELINES, LEARNERS):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    return tmp_path


def test_the_wave_has_at_most_sixty_lines_of_code() -> None:
    lines = (EXAMPLES / "wave.py").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 60


def test_the_documentation_prints_these_files() -> None:
    page = (EXAMPLES.parent / "docs" / "plugins.md").read_text()
    for name in ("wave.py", "wave_extras.py"):
        assert f"```python\n{(EXAMPLES / name).read_text()}```" in page


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


def test_benchmark_on_other_grids_and_steps(folder: Path) -> None:
    main(
        ["benchmark", "wave.py", "--grids", "16", "32", "--simulations", "2", "--repetitions", "1", "--batch", "2"]
        + ["--out", "out"]
    )
    found = Results.open("out")
    assert {"upwind5 16 C 0.6", "upwind5 32 C 0.6", "upwind1 32 dt 0.0125"} <= set(found.methods)
    by_grid = [found.errors(f"upwind5 {n} C 0.3").mean() for n in (16, 32)]
    assert by_grid[1] < 0.25 * by_grid[0]
    assert (folder / "out" / "front-reference.png").exists()


def test_a_second_file_adds_a_baseline_a_metric_and_a_figure(folder: Path) -> None:
    main(
        ["evaluate", "wave.py", "--plugin", "wave_extras.py", "--simulations", "2", "--steps", "6", "--no-timing"]
        + ["--out", "out", "--json", "numbers.json"]
    )
    found = Results.open("out")
    assert found.baselines == ("upwind5", "lax-wendroff")
    assert (folder / "out" / "figures" / "heights.png").exists()
    numbers = json.loads(Path("numbers.json").read_text())["methods"]["lax-wendroff"]["height_error"]
    assert numbers["mean"] == pytest.approx(found.of("height_error", "lax-wendroff")[:, -1].mean())
    # Second order: between the first and the fifth.
    last = {name: np.mean(found.errors(name)[:, -1]) for name in found.compared}
    assert last["upwind5"] < last["lax-wendroff"] < last["upwind1"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "missing.py"], "there is no file missing.py"),
        (["evaluate", "wave_extras.py"], "wave_extras.py defines no problem"),
        (["evaluate", "wave.py:other"], "wave.py has no problem 'other': it has wave"),
        (["evaluate", "wave.py", "--plugin", "missing.py"], "--plugin: there is no file missing.py"),
        (["evaluate", "wave.py", "--plugin"], "--plugin needs a Python file"),
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
