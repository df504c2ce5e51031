"""``closura train kolmogorov`` and ``closura evaluate kolmogorov``, on flows so small that they take seconds."""

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from closura.cli import main
from closura.commands.report import ReportOptions, _Run, evaluate_runs
from closura.core import Results, Role
from closura.reporting.report import write_report
from closura.reporting.tables import write_json
from closura.runs import RunFolder

FLOW = [
    "--cells", "8", "--fine-cells", "24", "--reynolds", "15", "--forcing", "2", "--finer", "12", "--pool", "8",
    "--chains", "2", "--transient", "6", "--spacing", "2", "--settle", "0.6", "--spin-cells", "12",
]  # fmt: skip
TRAIN = [
    "train", "kolmogorov", *FLOW, "--learning.updates", "40", "--learning.horizons", "4", "--learning.fractions", "1",
    "--learning.batch", "4", "--reference.slots", "8", "--reference.steps", "12", "--reference.blocks", "2",
    "--validation.simulations", "4", "--validation.steps", "10", "--validation.every", "20",
    "--compact.channels", "8", "--compact.layers", "2",
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("CLOSURA_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "small"
    main([*TRAIN, "--run", str(folder)])
    return folder


def test_training_leaves_a_run(run):
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    assert json.loads((run / "configuration.json").read_text())["name"] == "kolmogorov"


def test_evaluation_of_a_run_on_another_flow(run, tmp_path, capsys):
    out = tmp_path / "out"
    main([
        "evaluate", "kolmogorov", "--closure", f"mine={run}", "--simulations", "3", "--time", "4", "--long", "6",
        "--reynolds", "18", "--lyapunov", "0.1", "--tune-smagorinsky", "--no-timing", "--out", str(out), "--json",
        str(tmp_path / "numbers.json"),
    ])  # fmt: skip
    said = capsys.readouterr().out
    assert "mine" in said
    assert "Smagorinsky constant, tuned on training flow" in said
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert found["reynolds"] == 18
    assert found["cells"] == 8  # that of the closure's training
    roles = {name: entry["role"] for name, entry in found["methods"].items()}
    assert roles == {
        "no model": "uncorrected", "smagorinsky": "baseline", "12x12": "fine baseline",
        "persistence": "naive forecast", "fine": "reference", "mine": "closure",
    }  # fmt: skip
    assert found["methods"].pop("fine")["flow"]["energy_error"] == 0
    for name, entry in found["methods"].items():
        times = entry["correlation_time_0.8"]
        assert 0 <= times["mean"] <= 4 + 1e-9
        assert times["n"] == 3
        assert times["lyapunov_times"] == pytest.approx(0.1 * times["mean"])
        assert entry["diverged"] == 0, name
    assert found["methods"]["mine"]["parameters"] > 0
    assert (out / "report.html").stat().st_size > 10_000
    drawn = {file.stem for file in (out / "figures").iterdir()}
    assert {"correlations", "error_curves_median", "fields", "spectra", "vorticity", "training-mine"} <= drawn
    assert "By correlation > 0.8 (time): Against" in said
    again = Results.open(out)
    assert again.roles["persistence"] is Role.NAIVE
    write_json(again, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "numbers.json").read_text()


def test_lost_simulations_are_counted_and_not_averaged_away():
    import jax

    from closura.problems import KolmogorovConfiguration, build_problem
    from closura.problems.kolmogorov.evaluation import evaluate_flow
    from closura.reporting.numbers import summary

    c = KolmogorovConfiguration(
        cells=8, fine_cells=24, reynolds=15.0, forcing=2, finer=(), pool=8, chains=2, transient=6.0, spacing=2.0,
        settle=0.6, spin_cells=12,
    )  # fmt: skip
    problem = build_problem(c, "test")
    pump = {"pump": lambda seen: -2.0 * seen[:2]}  # grows by 40 % a step
    found = evaluate_flow(
        problem, pump, simulations=2, time=4.0, long=4.0, key=jax.random.key(0), lyapunov=0.0, timing=False
    )
    entry = summary(found)["methods"]["pump"]
    assert entry["diverged"] == 2
    assert entry["flow"] is None
    assert found.of("correlation", "pump")[:, -1].max() == 0.0
    assert np.isinf(found.errors("pump")[:, -1]).all()
    np.testing.assert_allclose(found.of("correlation", "no model")[:, 0], 1.0, atol=1e-6)  # all begin with the same
    assert np.isfinite(found.errors("no model")).all()


def test_a_report_hands_states_to_the_solver_that_a_closure_corrects(run, tmp_path, monkeypatch):
    """A closure of zeros on finite volumes errs as its solver alone, from the reference's waves, in L2."""
    folder, page = tmp_path / "zero", tmp_path / "page.html"
    shutil.copytree(run, folder)
    settings = json.loads((folder / "configuration.json").read_text())
    settings["problem"] |= {"cells": 12, "solver": "staggered", "precision": "float64", "finer": []}
    (folder / "configuration.json").write_text(json.dumps(settings))
    zeros = lambda seen: jnp.zeros((2, *seen.shape[1:]), seen.dtype)
    monkeypatch.setattr("closura.commands.report.load_closure", lambda path, spec: zeros)
    runs = {"zero": _Run(RunFolder(folder), RunFolder(folder).read_configuration())}
    found = evaluate_runs(runs, ReportOptions(simulations=2, steps=10, frames=2, timing=False), ["zero"])
    base = found.corrects("zero")
    assert base.startswith("no model (finite volumes")
    np.testing.assert_allclose(found.errors("zero"), found.errors(base), rtol=1e-9, atol=1e-12)
    assert found.errors("zero")[:, 0].max() < 1e-6  # all begin with the same waves
    assert 0 < found.errors("zero")[:, 1].max() < 0.1
    write_report(page, title="zero", comparisons=found, figures={})
    assert "relative L2 error (%) at step 10" in page.read_text()
    assert "relative MAE" not in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "kolmogorov", "--simulations", "0"], "simulations must be positive"),
        (["evaluate", "kolmogorov", "--cells", "9"], "even number of points"),
        (["evaluate", "kolmogorov", "--lyapunov", "-1"], "must not be negative"),
        (["evaluate", "kolmogorov", "--closure", "nowhere"], "nowhere"),
        (["train", "kolmogorov", "--preset", "paper"], "nothing was published"),
        (["train", "kolmogorov", "--reynolds", "-3", "--run", "never"], "reynolds must be positive and finite; got -3"),
    ],
)
def test_wrong_input_is_one_line(arguments, said, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1
