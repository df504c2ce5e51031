"""Options from TOML files, what runs write of their settings, and lists of what there is."""

import json
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from closura.cli import main
from closura.commands.configuration import expanded
from closura.commands.evaluation import parse_evaluate
from closura.commands.fitting import parse_fit
from closura.commands.interpret import parse_interpret
from closura.commands.training import parse_train
from closura.core.definition import PROBLEMS, problem
from closura.plain import to_toml
from closura.runs import RunFolder
from closura.runs.configuration import train_preset
from closura.runs.fitting.configuration import ClosureFitConfiguration, ModelFitConfiguration
from closura.settings import Count, Settings


@pytest.mark.parametrize("learner", ["bptts", "ppo"])
@pytest.mark.parametrize("problem", list(PROBLEMS))
def test_what_a_run_writes_gives_the_same_run_again(problem: str, learner: str, tmp_path: Path) -> None:
    configuration = replace(train_preset("quick", problem=problem, learner=learner), seed=7)
    run = RunFolder(tmp_path / "run")
    run.create(configuration)
    assert parse_train(expanded(["--config", str(run.tables)]))[1] == configuration
    tables = tomllib.loads(run.tables.read_text())
    assert set(tables["made_with"]) == {"python", "closura", "jax", "equinox"}
    assert (tables["problem"], tables["learner"], tables["seed"]) == (problem, learner, 7)
    assert run.read_configuration() == configuration
    assert not run.holds_work()


def test_what_a_fit_writes_gives_the_same_fit_again(tmp_path: Path) -> None:
    data = str(tmp_path / "data.zarr")
    for kind, name in ((ClosureFitConfiguration, "conv"), (ModelFitConfiguration, "latent")):
        made = kind.preset(name, "quick")
        run = RunFolder(tmp_path / made.name, decode=kind.from_plain)
        run.create(replace(made, data=data))
        words = expanded(["--config", str(run.tables)])
        assert words[0] == made.name
        assert parse_fit(kind, words[1:])[1] == replace(made, data=data)


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_options_win_over_a_file(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.toml",
        'problem = "advection"\nseed = 3\n[physics]\ncells = 32\npublished_boundary = true\n'
        "[learning]\nupdates = 5\nhorizons = [2, 4]\nfractions = [0.5, 0.5]\n",
    )
    further = write(tmp_path / "b.toml", 'preset = "quick"\n[learning]\nupdates = 6\n')
    _, c = parse_train(expanded(["advection", "--seed", "4", "--config", file]))
    assert (c.seed, c.problem.cells, c.problem.published_boundary) == (4, 32, True)
    assert (c.learning.updates, c.learning.horizons) == (5, (2, 4))
    _, c = parse_train(expanded(["--config", file, f"--config={further}", "--no-published-boundary"]))
    assert (c.learning.updates, c.problem.published_boundary, c.reference.slots) == (6, False, 64)
    closures = write(tmp_path / "c.toml", 'closure = ["advection", "x=advection"]\nsimulations = 3\n')
    options, _ = parse_evaluate(expanded(["advection", "--config", closures]))
    assert (options.closure, options.simulations) == (("advection", "x=advection"), 3)
    options, _ = parse_evaluate(expanded(["advection", "--closure", "advection", "--config", closures]))
    assert options.closure == ("advection",)
    steps = write(tmp_path / "d.toml", "step = 5\n")
    assert parse_interpret(expanded(["some.npz", "--config", steps]))[1].step == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[learning]\nupdtes = 4\n", "learning.updtes: unknown key, did you mean learning.updates?"),
        ('[learning]\nupdates = "4"\n', "learning.updates: expected a whole number; got '4'"),
        ("[learning]\nupdates = 4.5\n", "learning.updates: expected a whole number; got '4.5'"),
        ("[learning]\nupdates = [4, 5]\n", "learning.updates: expected a whole number; got [4, 5]"),
        ("[learning]\nupdates = 0\n", "learning.updates: updates must be positive, a whole number below 2^31; got 0"),
        ("overwrite = 3\n", "overwrite: expected true or false; got 3"),
        ('[physics]\nimages = "mnst"\n', "physics.images: unknown 'mnst', did you mean mnist? valid: synthetic, mnist"),
        ("x = [\n", "is no TOML"),
    ],
)
def test_mistakes_in_a_file_are_named_with_file_and_key(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "mine.toml", text)
    with pytest.raises(SystemExit) as left:
        main(["train", "advection", "--config", file, "--run", str(tmp_path / "run")])
    assert left.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {file}")
    assert said in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in ((["nowhere.toml"], "there is no file nowhere.toml"), ([], "--config needs a TOML file")):
        with pytest.raises(SystemExit):
            main(["train", "advection", "--config", *words])
        assert said in capsys.readouterr().err


def test_toml_is_read_as_it_was_written() -> None:
    tables = {
        "a": 1, "b": 1e-5, "c": 2.0, "d": 'text "quoted"\n\\ é', "e": [True, False], "f": [[1, 2], [3.5]],
        "g": {"h": {"odd name": 1}, "i-j": "x"}, "empty": {}, "large": 1e300, "none": [],
    }  # fmt: skip
    assert tomllib.loads(to_toml({**tables, "gone": None})) == tables


@pytest.mark.parametrize(
    "kind", ["problems", "closures", "learners", "samplers", "metrics", "models", "figures", "tables", "baselines"]
)
def test_lists(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["list", kind])
    plain = capsys.readouterr().out
    main(["list", kind, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert all(name in plain and line in plain for name, line in found.items())
    assert len(found) >= 3
    assert all(found.values())
    laws = "burgers-1d, burgers-2d, euler-1d, euler-2d"
    own = {
        "metrics": {
            "error": "relative MAE (advection, burgers); relative profile error (convection); "
            "relative L2 error (kolmogorov, turbulence); RMS error of X (lorenz96)",
            "l2": f"L2 error ({laws})",
        },
        "baselines": {"upwind5": "a method of advection, burgers", "teno5": f"a method of {laws}"},
    }
    assert {name: found[name] for name in own.get(kind, {})} == own.get(kind, {})


@dataclass(frozen=True)
class Physics(Settings):
    cells: Count = 64


def test_presets_of_a_plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PROBLEMS, "_entries", dict(PROBLEMS._entries))
    tables = {
        "quick": {"physics": {"cells": 8}, "learning": {"bptts": {"updates": 100}}},
        "paper": "none was published",
    }
    problem("made-up", physics=Physics, presets=tables)(lambda settings, split: None)
    quick = train_preset("quick", problem="made-up")
    assert (quick.problem.cells, quick.learning.updates) == (8, 100)
    default = train_preset("default", problem="made-up", learner="ppo")
    assert (default.problem.cells, default.learner) == (64, "ppo")
    with pytest.raises(ValueError, match="none was published: choose preset quick"):
        train_preset("paper", problem="made-up")
