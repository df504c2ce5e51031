"""Mistakes that users make at the command line, and what reports and tables must not say."""

import shutil
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from closura.closures import compact
from closura.commands.closures import physics_of, trained_settings
from closura.commands.evaluation import parse_evaluate, run_evaluate
from closura.commands.interpret import parse_interpret
from closura.commands.training import parse_train
from closura.io.weights import save_weights
from closura.problems import build_problem
from closura.reporting.publish import remove_stale, trained_steps
from closura.runs import RunError, RunFolder, TrainConfiguration, train
from closura.runs.configuration import problem_preset, to_plain, train_preset
from closura.simulation.earlier import read_evaluation
from closura.simulation.evaluate import evaluate

SMALL = ["--cells", "12", "--ratio", "1", "--simulations", "2", "--steps", "2", "--no-timing"]


def small_burgers(**changes: object) -> TrainConfiguration:
    """A training on 12 x 12 points without a finer grid."""
    trained = train_preset("quick", problem="burgers")
    return replace(trained, problem=replace(trained.problem, cells=12, ratio=1, **changes))


def make_weights(path: Path, configuration: TrainConfiguration) -> Path:
    """An untrained network with the header that a training writes."""
    options = {"channels": 4, "layers": 1, "radius": 1}
    spec = build_problem(configuration.problem, "test").spec
    network = compact(spec, key=jax.random.key(0), **options)
    return save_weights(
        path, network, architecture={"closure": "compact", "options": options},
        metadata={"configuration": to_plain(configuration)},
    )  # fmt: skip


def test_a_file_of_weights_is_judged_on_the_solver_that_it_was_trained_to_correct(tmp_path: Path) -> None:
    """An untrained stencil does nothing: its errors are those of its base, to the last bit."""
    weights = make_weights(tmp_path / "five.safetensors", small_burgers(base="upwind5"))
    assert parse_evaluate(["burgers", "--closure", str(weights)])[1].cells == 12
    result = run_evaluate(["burgers", "--closure", str(weights), *SMALL])
    assert result.corrects("five") == "upwind5"
    np.testing.assert_array_equal(result.errors("five"), result.errors("upwind5"))
    assert result.errors("five")[:, -1].max() != result.errors("CGS")[:, -1].max()
    with pytest.raises(ValueError, match="trained on burgers: closura evaluate burgers evaluates it"):
        run_evaluate(["advection", "--closure", str(weights), "--simulations", "2", "--steps", "2", "--cells", "12"])


def test_kept_weights_say_how_they_were_trained(tmp_path: Path) -> None:
    """Not only those that lie beside a configuration.json."""
    trained = small_burgers(base="upwind3")
    kept = make_weights(tmp_path / "update-0000100.safetensors", trained)
    assert trained_settings(kept) == trained
    assert parse_interpret([str(kept)])[2] == trained.problem
    with pytest.raises(ValueError, match="trained on burgers; leave out --problem advection"):
        parse_interpret([str(kept), "--problem", "advection"])
    assert trained_settings(tmp_path) is None
    assert trained_settings(tmp_path / "absent.safetensors") is None


def test_only_published_physics_are_called_so() -> None:
    """The name decides whether published numbers stand beside an evaluation's."""
    for problem in ("advection", "burgers"):
        for preset in ("paper", "default"):
            settings = problem_preset(problem, preset)
            assert physics_of(settings) == preset
            assert physics_of(replace(settings, minimum_steps=7, precision="float64")) == preset
            assert physics_of(replace(settings, cells=40)) not in ("paper", "default")
    published = problem_preset("burgers", "paper")
    for change in ({"viscosity": 0.01}, {"reference": "upwind5"}, {"published_switch": False}, {"initial": "waves"}):
        assert physics_of(replace(published, **change)) not in ("paper", "default"), change
    assert physics_of(replace(problem_preset("advection", "paper"), ratio=8, velocity="vortex")) == "paper"


def test_resuming_under_another_name_is_refused_in_words(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.create(small_burgers())
    for arguments in (["advection"], ["burgers", "--learner", "ppo"]):
        with pytest.raises(ValueError, match=r"Resume it as: closura train burgers --run .* --resume"):
            parse_train([*arguments, "--run", str(run.path), "--resume"])
    assert parse_train(["burgers", "--run", str(run.path), "--resume"])[1] == small_burgers()


def test_a_damaged_earlier_evaluation_is_named(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.npz"
    np.savez_compressed(path, about=np.zeros(400, np.uint8))
    whole = path.read_bytes()
    for content in (b"", b"PK", whole[:100], whole):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"evaluation\.npz is no evaluation that closura can read"):
            read_evaluation(path)


def test_a_reference_that_diverges_is_no_reference() -> None:
    """The published steps leave the stable range at a larger viscosity: 4 nu dt / dx^2 = 2.7 on the fine grid."""
    problem = build_problem(replace(problem_preset("burgers", "paper"), viscosity=0.01), "test")
    with pytest.raises(
        ValueError,
        match=r"the reference \(FGS: .*\) itself diverged in 2 of 2 simulations, first at step \d",
    ):
        evaluate(problem, {}, simulations=2, steps=4, key=jax.random.key(0), timing=False)


def test_figures_of_an_earlier_evaluation_do_not_stay(tmp_path: Path) -> None:
    for name in ("groups.png", "cost.png", "animation.gif", "mine.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    remove_stale(tmp_path, {"groups", "cost", "animation"}, {"cost": tmp_path / "cost.png"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cost.png", "mine.png", "notes.txt"]


def test_longest_rollout_of_a_training() -> None:
    """Windows need not grow, and no episode outlasts the stored reference."""
    window = train_preset("default", problem="burgers")
    learning = replace(window.learning, horizons=(16, 4), fractions=(0.5, 0.5))
    assert trained_steps(to_plain(replace(window, learning=learning))) == 16
    ppo = train_preset("default", problem="burgers", learner="ppo")
    assert (ppo.problem.maximum_steps, ppo.reference.steps) == (400, 100)
    assert trained_steps(to_plain(ppo)) == 100
    assert trained_steps(to_plain(train_preset("paper", problem="burgers"))) == 200
    assert trained_steps({}) is None


def test_resuming_without_a_checkpoint_never_replaces_weights(tmp_path: Path) -> None:
    """A run folder that was shipped without its checkpoint (as those of the benchmarks) is not started over."""
    source = Path(__file__).parents[1] / "benchmarks" / "results" / "burgers" / "cgs"
    folder = tmp_path / "run"
    shutil.copytree(source, folder)
    before = (folder / "weights.safetensors").read_bytes()
    with pytest.raises(RunError, match=r"last.checkpoint is missing.*--overwrite"):
        train(RunFolder(folder).read_configuration(), folder, resume=True)
    assert (folder / "weights.safetensors").read_bytes() == before
