"""``closura benchmark``: tables, figures, files, and every bad input."""

import csv
import json

import jax
import numpy as np
import pytest

from closura.cli import main
from closura.closures import build
from closura.io.weights import save_weights
from closura.problems import AdvectionConfiguration, build_problem
from closura.problems.laws.weighted_fluxes import weights_spec

SMALL = ("--cells", "16", "--ratio", "2", "--simulations", "3", "--repetitions", "1", "--batch", "2")


def run(capsys, *arguments):
    """Exit status, standard output and error of the command."""
    try:
        main(["benchmark", *map(str, arguments)])
        status = 0
    except SystemExit as end:
        status = end.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def strict(path):
    """JSON without NaN and Infinity."""
    return json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


@pytest.fixture(scope="module")
def compact(tmp_path_factory):
    """An untrained compact closure: it does nothing."""
    problem = build_problem(AdvectionConfiguration(cells=16, ratio=2), "test")
    closure = build("compact", problem.spec, explores=False, key=jax.random.key(0))
    path = tmp_path_factory.mktemp("weights") / "compact.safetensors"
    return save_weights(path, closure, architecture={"closure": "compact", "options": {}})


def test_advection(tmp_path, capsys, compact):
    out, file = tmp_path / "fronts", tmp_path / "numbers.json"
    status, said, _ = run(
        capsys, "advection", *SMALL, "--grids", 8, "--courant", 0.5, 0.9, "--schemes", "upwind5",
        "--closure", f"idle={compact}", "--out", out, "--json", file,
    )  # fmt: skip
    assert status == 0
    assert "advection: relative MAE at t = 0.7969, n = 3" in said
    assert {p.name for p in out.iterdir()} == {
        *(
            "configuration.toml",
            "table.md",
            "table.csv",
            "criterion.csv",
            "criterion-published.png",
            "criterion-exact.png",
            "fronts.json",
            "results.nc",
            "report.html",
            "front-published.png",
            "front-exact.png",
        ),
    }
    found = strict(file)
    assert found == strict(out / "fronts.json")
    assert list(found["truths"]) == ["published", "exact"]
    assert found["times"] == ["0.7969"]
    assert found["settings"]["command"].startswith("closura benchmark advection --cells 16")
    assert found["settings"]["clock"] == "wall"
    assert "jax" in found["settings"]["environment"]["packages"]
    by_name = {c["name"]: c for c in found["contenders"]}
    assert {"upwind5 8 C 0.5", "upwind5 8 C 0.9", "reference: published", "idle", "idle, burnt in"} <= set(by_name)
    assert not any(name.startswith("ACGS") for name in by_name)
    for one in found["contenders"]:
        assert set(one["milliseconds_per_unit_of_time"]) == {"single", "batched"}
        for reference in ("published", "exact"):
            errors = one["errors"][reference]["0.7969"]
            assert set(errors) == {
                *(
                    "typical",
                    "mean",
                    "std",
                    "median",
                    "mean_of_finite",
                    "not_finite",
                    "front",
                    "paired",
                    "per_simulation",
                ),
            }
            assert len(errors["per_simulation"]) == 3
            assert set(errors["paired"]) == {"value", "low", "high", "better", "not_finite"}
    # A closure that does nothing is the coarse solver, and costs more.
    idle, base = by_name["idle"], by_name["CGS 16 dt 0.0156"]
    assert idle["errors"]["exact"]["0.7969"]["mean"] == pytest.approx(
        base["errors"]["exact"]["0.7969"]["mean"], rel=1e-3
    )
    assert by_name["reference: published"]["errors"]["published"]["0.7969"]["mean"] == 0
    rows = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    assert len(rows) == 2 * len(by_name)
    page = (out / "table.md").read_text()
    assert "## All methods" in page
    # p is the slope of a line through the rows that nothing dominates, fitted by hand.
    of_exact = [row for row in rows if row["reference"] == "exact" and row["role"] not in ("closure", "reference")]
    points = sorted((float(row["ms_single_lower"]), float(row["error"])) for row in of_exact)
    front: list[tuple[float, float]] = []
    for cost, error in points:
        if not front or error < 0.95 * front[-1][1]:
            front.append((cost, error))
    by_hand = -np.polyfit(*np.log(front).T, 1)[0]
    criterion = list(csv.DictReader((out / "criterion.csv").read_text().splitlines()))
    whole = [
        row for row in criterion if (row["what"], row["reference"], row["calls"]) == ("front, whole", "exact", "single")
    ]
    assert float(whole[0]["p"]) == pytest.approx(by_hand, rel=5e-3)  # of numbers with four digits
    assert int(whole[0]["points"]) == len(front)
    assert {row["what"] for row in criterion} >= {"kind compact", "kind pointwise", "closure idle"}
    # It is worth its cost to nobody: it does nothing.
    (useless,) = [row for row in criterion if row["what"] == "closure idle" and row["reference"] == "exact"][:1]
    assert float(useless["gain"]) == pytest.approx(1.0, rel=1e-3)
    assert useless["verdict"] != "pays"  # on a busy machine its cost may be too uncertain to say that it does not
    assert "What a closure has to achieve: relative MAE by exact" in said
    assert "| upwind5 | 8 | C 0.9 |" in page.replace("**", "")


def test_closure_names_and_problems(capsys, compact):
    status, _, said = run(capsys, "advection", *SMALL, "--closure", f"a={compact}", "--closure", f"a={compact}")
    assert status == 2
    assert "two closures are called a" in said
    status, _, said = run(
        capsys, "burgers", "--cells", 16, "--ratio", 2, "--simulations", 2, "--closure", f"a={compact}"
    )
    assert status == 2
    assert "was made for another problem" in said
    status, _, said = run(capsys, "advection", *SMALL, "--closure", "nowhere.safetensors")
    assert status == 2
    assert "nowhere.safetensors" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "which problem? closura benchmark PROBLEM"),
        (("burgers-3d",), "valid: advection, burgers, kolmogorov, turbulence, burgers-1d"),
        (("advection", *SMALL, "--schemes", "upwnd5"), "unknown scheme 'upwnd5', did you mean upwind5? valid: CGS"),
        (("advection", *SMALL, "--grids", "24"), "a grid of 24 points per side cannot be compared on 16"),
        (("advection", *SMALL, "--courant", "-1"), "each value of courant must be positive"),
        (("advection", *SMALL, "--times", "0.1"), "no multiple of the time step"),
        (("advection", *SMALL, "--form", "flux"), "that of the advective form"),
        (("burgers-1d", "--grids", "32", "--simulations", "2", "--reference", "best"), "no method is called 'best'"),
        (("advection", "--simulations", "0"), "simulations must be positive"),
        (("advection", "--shcemes", "CGS"), "unknown option --shcemes"),
        (("burgers-1d", "--schemes", "weno4"), "unknown scheme 'weno4'"),
        (("euler-1d", "--times", "9"), "the first waves leave the domain"),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, words):
    status, _, said = run(capsys, *arguments)
    assert status == 2
    assert words in said
    assert len(said.strip().splitlines()) == 1


def test_conservation_law(tmp_path, capsys):
    options = {"form": "published"}
    closure = build("weights", weights_spec(2), explores=False, options=options, key=jax.random.key(0))
    agent = save_weights(tmp_path / "a.safetensors", closure, architecture={"closure": "weights", "options": options})
    status, said, _ = run(
        capsys, "burgers-1d", "--grids", 64, 32, "--schemes", "weno3-js", "--courant", 0.5, "--simulations", 3,
        "--repetitions", 1, "--batch", 2, "--times", 0.05, 0.1, "--closure", f"agent={agent}",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert status == 0
    assert "L2 error of u" in said
    found = strict(tmp_path / "out" / "fronts.json")
    assert [c["name"] for c in found["contenders"]] == ["weno3-js 32 C 0.5", "weno3-js 64 C 0.5", "agent 32 C 0.5"]
    assert found["times"] == ["0.05", "0.1"]
    pictures = {"front-exact-t0.05.png", "front-exact-t0.1.png", "criterion-exact.png"}
    assert {p.name for p in (tmp_path / "out").glob("*.png")} == pictures
