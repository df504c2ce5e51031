"""``closura evaluate`` for conservation laws: the file of errors, the folder of results, and every bad input."""

import json
import math

import jax
import numpy as np
import pytest
from law_results import value

from closura.cli import main
from closura.closures import build
from closura.commands.laws import parse_evaluate_law, run_evaluate_law
from closura.core import Results
from closura.io.weights import save_weights
from closura.problems.laws.weighted_fluxes import weights_spec

OPTIONS = {"form": "published"}


def weights_file(path, r):
    """An untrained closure that weighs ``r`` sub-stencils: convex weights, of no particular merit."""
    closure = build("weights", weights_spec(r), explores=False, options=OPTIONS, key=jax.random.key(0))
    return save_weights(path, closure, architecture={"closure": "weights", "options": OPTIONS})


def run(capsys, *arguments):
    """Exit status, standard output and error of the command."""
    try:
        main(["evaluate", *arguments])
        status = 0
    except SystemExit as end:
        status = end.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def strict(path):
    """JSON without NaN and Infinity."""
    return json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_file_of_errors(tmp_path, capsys):
    weights_file(tmp_path / "agent.safetensors", 3)
    weights_file(tmp_path / "small.safetensors", 2)
    file = tmp_path / "errors.json"
    status, out, _ = run(
        capsys, "burgers-1d", "--initial", "smooth_sine,shock", "--cells", "32,64", "--time", "0.05",
        "--methods", "weno3-js", "--closure", str(tmp_path / "agent.safetensors"),
        "--closure", f"two={tmp_path / 'small.safetensors'}", "--no-timing", "--json", str(file),
    )  # fmt: skip
    assert status == 0
    assert "geometric mean" in out
    found = strict(file)
    assert found["problem"] == "burgers-1d"
    assert list(found["methods"]) == ["weno3-js", "agent", "two"]
    for by_initial in found["methods"].values():
        assert list(by_initial) == ["smooth_sine", "shock"]  # as the user gave them
        for by_cells in by_initial.values():
            assert list(by_cells) == ["32", "64"]
            for errors in by_cells.values():
                assert set(errors) == {"l1", "l2", "linf", "diverged"}
                assert errors["diverged"] is False
                assert 0 < errors["l1"] < errors["l2"] < errors["linf"]
    assert found["means"]["agent"]["64"]["l2"]["rival"] == "weno3-js"  # without weno5-js, the first method
    assert found["means"]["two"]["64"]["l2"]["rival"] == "weno3-js"  # of the same size
    assert found["settings"]["command"].startswith("closura evaluate burgers-1d --initial smooth_sine,shock")


def test_diverged_simulations_are_null_and_named(tmp_path, capsys):
    file = tmp_path / "errors.json"
    status, out, _ = run(
        capsys, "euler-1d", "--initial", "slow-shock,sod", "--cells", "64", "--methods", "weno5-js", "--no-timing",
        "--json", str(file),
    )  # fmt: skip
    assert status == 0
    found = strict(file)
    assert found["methods"]["weno5-js"]["slow-shock"]["64"] == {
        "l1": None,
        "l2": None,
        "linf": None,
        "diverged": True,
    }
    assert not found["methods"]["weno5-js"]["sod"]["64"]["diverged"]
    assert found["failures"][0]["step"] >= 1
    assert f"step {found['failures'][0]['step']}, cell {found['failures'][0]['cell'][0]}" in out.replace("\xa0", " ")


def test_folder_of_results(tmp_path, capsys):
    weights_file(tmp_path / "agent.safetensors", 3)
    folder = tmp_path / "results"
    status, out, _ = run(
        capsys, "burgers-1d", "--initial", "shock,gaussian", "--cells", "16,32", "--time", "0.02", "--methods",
        "weno5-js", "--closure", str(tmp_path / "agent.safetensors"), "--out", str(folder),
    )  # fmt: skip
    assert status == 0
    assert "report.html" in out
    names = {file.name for file in (folder / "figures").iterdir()}
    drawn = ("states", "error_profiles", "history", "evolution", "weights", "convergence", "cost", "groups")
    assert names == {f"{name}.png" for name in drawn}
    page = (folder / "report.html").read_text()
    for words in ("Observed order", "by that of weno5-js", "closura evaluate burgers-1d", "2203.08937"):
        assert words in page
    assert "http" not in page.split("<body>")[1].split("Sources")[0]  # nothing is fetched
    assert len((folder / "table.csv").read_text().splitlines()) == 1 + 2 * 2
    # All initial conditions, and each of them.
    assert len((folder / "breakdown.csv").read_text().splitlines()) == 1 + 3 * 2 * 2
    assert Results.open(folder).methods[0] == "weno5-js, 16 cells"
    assert strict(folder / "table.json")["milliseconds_per_step"]["agent"] > 0


def test_planes_are_drawn_and_move(tmp_path, capsys):
    status, _, _ = run(
        capsys, "burgers-2d", "--initial", "jsz7", "--cells", "12", "--time", "0.1", "--methods", "weno3-js",
        "--no-timing", "--out", str(tmp_path),
    )  # fmt: skip
    assert status == 0
    assert (tmp_path / "figures" / "plane_animation-jsz7.gif").read_bytes()[:6] == b"GIF89a"
    assert (tmp_path / "figures" / "planes.png").exists()


def test_defaults_of_both_laws():
    problem, options = parse_evaluate_law(["burgers-1d"])
    assert (problem.integrator, problem.courant, problem.time, problem.cells) == ("rk4", 0.1, 0.2, 128)
    assert problem.usual == ("smooth-sine", "rarefaction", "accelshock", "other-sine", "gaussian", "tophat")
    assert options.methods == "weno3-js,weno5-js,weno5-z,teno5"
    problem, _ = parse_evaluate_law(["euler-1d"])
    assert (problem.integrator, problem.courant, problem.time) == ("ssp-rk3", 0.4, None)
    assert problem.usual == ("sod", "lax", "sod2", "shu-osher")


def test_fixed_steps_and_another_integrator():
    found = run_evaluate_law(
        ["burgers-1d", "--initial", "shock", "--cells", "32", "--time", "0.05", "--methods", "weno5-js", "--time-step",
         "0.001", "--integrator", "forward-euler", "--no-timing"]
    )  # fmt: skip
    assert value(found, "steps", "weno5-js", "shock") == 50
    assert math.isfinite(value(found, "l1", "weno5-js", "shock"))


def test_published_agents_run_beside_schemes(tmp_path):
    """A file of arrays as the authors' agents have them: 6 inputs, 4 answers, so r = 2."""
    rng = np.random.default_rng(0)
    sizes = (6, 64, 64, 4)
    arrays = {f"W{k}": 0.1 * rng.standard_normal(sizes[k : k + 2]) for k in range(3)}
    arrays |= {f"b{k}": np.zeros(sizes[k + 1]) for k in range(3)}
    np.savez(tmp_path / "old.npz", **arrays)
    found = run_evaluate_law(
        ["euler-1d", "--initial", "sod", "--cells", "32", "--time", "0.02", "--methods", "weno3-js", "--no-timing",
         "--closure", str(tmp_path / "old.npz")]
    )  # fmt: skip
    assert (found.corrects("old"), found.roles["weno3-js"]) == ("weno3-js", "uncorrected")  # of the same stencil
    assert not found.failures


SHORT = ("--cells", "32", "--no-timing")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("burgers-1d", "--initial", "nonsense"), ("no initial condition of burgers-1d", "smooth-sine")),
        (("burgers-1d", "--initial", "sod"), ("one of euler-1d", "valid: smooth-sine")),
        (("euler-1d", "--initial", "smooth-sine"), ("one of burgers-1d", "valid: sod")),
        (("burgers-1d", "--initial", ","), ("--initial needs at least one entry",)),
        (("burgers-1d", "--initial", "shock,shock"), ("shock was given twice",)),
        (("burgers-1d", "--methods", "weno6"), ("unknown method 'weno6'", "weno5-js", "teno5")),
        (("burgers-1d", "--methods", "burgers-1d"), ("--closure burgers-1d",)),
        (("burgers-1d", "--methods", "weno5-js,weno5-js"), ("two methods are called weno5-js",)),
        (("burgers-1d", "--cells", "4"), ("too small for weno3-js", "at least 6 cells")),
        (("burgers-1d", "--methods", "weno9-js", "--cells", "9"), ("too small for weno9-js", "at least 10 cells")),
        (("burgers-1d", "--cells", "many"), ("whole numbers", "'many'")),
        (("burgers-1d", "--cells", "-8"), ("whole numbers",)),
        (("burgers-1d", "--courant", "5"), ("not stable with rk4", "limit")),
        (("euler-1d", "--courant", "1.6"), ("not stable with ssp-rk3", "limit")),
        (("burgers-1d", "--courant", "0"), ("courant must be positive", "got 0")),
        (("burgers-1d", "--time-step", "0.1", *SHORT), ("--time-step 0.1 on 32 cells", "not stable", "limit")),
        (("burgers-1d", "--time-step", "0"), ("must be positive",)),
        (("burgers-1d", "--time-step", "0.001", "--courant", "0.1"), ("give --courant or --time-step",)),
        (("burgers-1d", "--time", "0"), ("time must be positive",)),
        (("burgers-1d", "--time", "-1"), ("time must be positive",)),
        (("burgers-1d", "--shifts", "-1"), ("must not be negative",)),
        (("burgers-1d", "--integrator", "leapfrog"), ("unknown integrator", "ssp-rk3")),
        (("burgers-1d", "--projection", "characteristic"), ("is one equation", "leave it out")),
        (("burgers-1d", "--initial", "shock", "--boundary", "periodic"), ("does not suit a periodic boundary",)),
        (("burgers-1d", "--closure", "no/such/folder"), ("no closure at no/such/folder", "run folder")),
        (("burgers-2d", "--scatter", "4", "--initial", "jsz7", "--cells", "8", "--time", "0.01"), ("--scatter",)),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(capsys, arguments, expected):
    status, _, error = run(capsys, *arguments)
    assert status == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    for words in expected:
        assert words in error


def test_weights_that_do_not_fit_are_refused(tmp_path, capsys):
    file = weights_file(tmp_path / "agent.safetensors", 2)
    status, _, error = run(capsys, "burgers-1d", "--closure", str(file), "--r", "3")
    assert (status, error.count("\n")) == (2, 1)
    assert "r = 2" in error
    assert "r = 3 was asked for" in error
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no weights")
    status, _, error = run(capsys, "burgers-1d", "--closure", str(damaged))
    assert status == 2
    assert "damaged" in error
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    status, _, error = run(capsys, "burgers-1d", "--closure", str(tmp_path / "other.npz"))
    assert status == 2
    assert "no closure that weighs stencils" in error
    status, _, error = run(capsys, "burgers-1d", "--closure", str(file), "--closure", f"agent={file}")
    assert status == 2
    assert "two methods are called agent" in error


def test_missing_agent_of_the_package_is_named(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("closura.io.closures.AGENTS", tmp_path)
    status, _, error = run(capsys, "euler-1d", "--closure", "euler-1d")
    assert status == 2
    assert "comes without the trained agent euler-1d" in error


def test_help_names_the_problems_at_length(capsys):
    main(["list", "problems"])
    text = capsys.readouterr().out
    assert "two-dimensional viscous vector Burgers (Closure-RL)" in text
    assert "scalar inviscid Burgers in two dimensions (BPTTS)" in text
    status, out, _ = run(capsys, "burgers-2d", "--help")
    assert status == 0
    assert "scalar inviscid Burgers equation in two dimensions" in " ".join(out.replace("│", " ").split())
