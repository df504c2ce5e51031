"""What stands beside the table: chosen steps, groups, bases, published numbers; and the command ``closura report``."""

import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from made_results import method, read_csv, results
from rich.console import Console

from closura.cli import main
from closura.commands import report
from closura.commands.closures import training_arguments
from closura.commands.report import as_evaluated
from closura.commands.training import parse_train
from closura.core import MethodResult, Results, Role
from closura.metrics.comparison import improvement_per_simulation, worse_since, worse_than_corrected
from closura.problems import AdvectionConfiguration, advection
from closura.problems.burgers_setup import BurgersConfiguration, burgers
from closura.reporting.figures.curves import error_curves, error_curves_initial, error_curves_median, improvement_curves
from closura.reporting.figures.failures import divergence_curves, group_errors
from closura.reporting.figures.fields import action_strips
from closura.reporting.figures.violins import steps_below_threshold_violins
from closura.reporting.findings import findings
from closura.reporting.numbers import errors_at, group_names, steps_shown, summary
from closura.reporting.published_curves import STEPS, published_curves
from closura.reporting.scales import colour_scales
from closura.reporting.table import print_tables, tables_of
from closura.reporting.tables import footnotes, summary_table, write_breakdown_csv, write_csv
from closura.reproductions.closure_rl_figures import ADVECTION, BURGERS
from closura.simulation.evaluate import evaluate
from closura.simulation.saved import load_store, saver

N = 25


def made() -> dict[str, MethodResult]:
    """Four simulations; errors grow linearly with the step, so that everything can be told by hand.

    At step n: CGS 0.04 n, upwind5 0.01 n; the closure 0.02 n in the first three simulations, and in the last
    0.0025 n until it diverges at step 20.
    """
    steps = np.arange(N + 1, dtype=np.float64)
    ours = np.tile(0.02 * steps, (4, 1))
    ours[3] = 0.0025 * steps
    ours[3, 20:] = np.inf
    return {
        "CGS": method(Role.UNCORRECTED, np.tile(0.04 * steps, (4, 1))),
        "upwind5": method(Role.BASELINE, np.tile(0.01 * steps, (4, 1))),
        "finer": method(Role.FINE_BASELINE, np.tile(0.001 * steps, (4, 1))),
        "FGS": method(Role.REFERENCE, np.zeros((4, N + 1))),
        "ours": method(Role.CLOSURE, ours, diverged_at=np.asarray([-1, -1, -1, 20]), corrects="upwind5"),
    }


def joined(methods: dict[str, MethodResult]) -> Results:
    return results(
        methods, problem="burgers", time_step=0.03, threshold=0.1,
        scale=np.tile(0.5 ** (np.arange(N + 1.0) / N), (4, 1)), groups=("{2,4}", "{2,4}", "{8}", "{8}"),
        components=("u", "v"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def evaluation() -> Results:
    return joined(made())


def test_errors_at_a_step_by_hand(evaluation: Results) -> None:
    assert steps_shown(evaluation) == (10, 25)
    found = errors_at(evaluation, "ours", 10)
    # 0.2, 0.2, 0.2, 0.025. Tolerances: rounding.
    assert found["mean"] == pytest.approx(0.625 / 4, rel=1e-14)
    assert found["median"] == pytest.approx(0.2, rel=1e-14)
    assert found["lower_quartile"] == pytest.approx(0.025 + 0.75 * 0.175, rel=1e-14)
    assert (found["n"], found["diverged"], found["above_100_percent"]) == (4, 0, 0)
    # The true field has shrunk to 2^(-10/25) of its size.
    assert found["relative_to_initial"]["median"] == pytest.approx(0.2 * 0.5**0.4, rel=1e-14)
    last = errors_at(evaluation, "ours", 25)
    assert (last["mean"], last["diverged"], last["above_100_percent"]) == (np.inf, 1, 1)
    assert last["mean_of_finite"] == pytest.approx(0.5, rel=1e-14)
    assert errors_at(evaluation, "ours", 19)["diverged"] == 0
    assert errors_at(evaluation, "CGS", 25)["above_100_percent"] == 0  # exactly 100 % is not above


def test_groups_keep_their_failures(evaluation: Results, tmp_path: Path) -> None:
    assert group_names(evaluation) == ("{8}", "{2,4}")
    numbers = summary(evaluation)
    groups = numbers["by_group"]
    assert [groups[name]["n"] for name in ("{8}", "{2,4}")] == [2, 2]
    last = groups["{8}"]["steps"][-1]
    assert (last["step"], last["time"]) == (25, 0.75)
    ours = last["methods"]["ours"]
    assert (ours["mean"], ours["median"], ours["diverged"], ours["above_100_percent"]) == (None, None, 1, 1)
    assert groups["{2,4}"]["steps"][-1]["methods"]["ours"]["median"] == pytest.approx(0.5, rel=1e-14)
    assert [moment["step"] for moment in numbers["by_step"]] == [10, 25]

    tables = tables_of(evaluation)[1:]
    assert [table.shown for table in tables] == [True, True, False]
    assert tables[1].headings == ["group", "n", "CGS", "upwind5", "finer", "ours"]
    assert dict(tables[1].rows)["{8}"][-1] == "∞; ∞ (50.0); 1 diverged; 1 > 100 %"
    console = Console(width=120, file=io.StringIO(), record=True)
    print_tables(evaluation, console=console)
    text = console.export_text().replace("\u00a0", " ")
    for expected in ("step 10, t = 0.3", "Groups of simulations at step 25, t = 0.75", "{2,4}", "1 diverged"):
        assert expected in text
    rows = read_csv(write_breakdown_csv(evaluation, tmp_path / "b.csv"))
    assert list(rows[0]) == [
        *("problem", "group", "step", "time", "method", "n"),
        *(f"relative_mae_{key}_percent" for key in ("mean", "std", "median", "lower_quartile", "upper_quartile")),
        *("relative_mae_max_percent", "relative_mae_mean_of_finite_percent"),
        *(f"relative_to_initial_{key}_percent" for key in ("mean", "std", "median")),
        *("diverged", "above_100_percent"),
    ]
    assert len(rows) == 3 * 2 * 4  # all and two groups, two steps, four methods that are evaluated
    assert {row["relative_mae_mean_percent"] for row in rows if row["method"] == "ours" and row["step"] == "25"} == {
        "", "50.0",
    }  # fmt: skip


def test_closures_are_compared_with_what_they_correct(evaluation: Results, tmp_path: Path) -> None:
    assert (evaluation.corrects("ours"), evaluation.corrects("upwind5")) == ("upwind5", "CGS")
    assert worse_since(evaluation, "ours").tolist() == [1, 1, 1, 20]
    assert worse_than_corrected(evaluation, "ours") == {
        "base": "upwind5", "simulations": 4, "first_step": 1, "median_first_step": 1.0, "at_last_step": 4, "n": 4,
    }  # fmt: skip
    on_base = improvement_per_simulation(evaluation, "ours", "upwind5")
    np.testing.assert_allclose(on_base[:, 10], [-1, -1, -1, 0.75], rtol=1e-14)
    # A copy that corrects CGS and never diverges is better than it everywhere.
    tame = joined({**made(), "ours": method(Role.CLOSURE, np.tile(0.02 * np.arange(N + 1.0), (4, 1)))})
    assert worse_than_corrected(tame, "ours")["simulations"] == 0
    assert worse_than_corrected(tame, "ours")["first_step"] is None
    entry = summary(tame)["methods"]["ours"]
    assert (entry["base"], entry["improvement_on_base"]) == ("CGS", entry["improvement"])
    text = " ".join(findings(evaluation)["ours"])
    assert "Against upwind5, the solver that it corrects and the best classical method on this grid" in text
    assert "does worse than upwind5 at some step in 4 of 4" in text
    assert "Against finer, on a finer grid" in text
    assert text.count("best classical method") == 1  # the finer grid is no baseline
    assert "2 simulations" not in text
    assert "1 simulations end above 100 % or diverged, in {8}" in text
    assert "never does worse" in " ".join(findings(tame)["ours"])
    headings, rows = summary_table(tame).headings, summary_table(tame).rows
    assert "mass error (%)" not in headings  # nothing is conserved
    cells = dict(zip(headings[1:], dict(rows)["ours"], strict=True))
    assert cells["of initial field (%)"] == "25.0 ± 0"
    assert cells["ever worse than base"] == "0 of 4"
    assert any("has 50.0 % of its initial size" in line for line in footnotes(tame))
    row = read_csv(write_csv(tame, tmp_path / "t.csv"))[-1]
    assert (row["base"], row["ever_worse_than_base"]) == ("CGS", "0")
    assert float(row["relative_to_initial_mean_percent"]) == pytest.approx(25.0, rel=1e-12)
    with pytest.raises(ValueError, match=r"closures correct \['typo'\]; the methods are CGS, upwind5"):
        joined({**made(), "ours": replace(made()["ours"], corrects="typo")})


def test_figures_of_groups_losses_and_bases(evaluation: Results) -> None:
    (axes,) = divergence_curves(evaluation).axes
    assert axes.lines[0].get_ydata()[[19, 20, 25]].tolist() == [0, 1, 1]
    (axes,) = group_errors(evaluation).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["{8} (n = 2)", "{2,4} (n = 2)"]
    assert sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == "x") == 1
    labels = improvement_curves(evaluation).axes[0].get_legend_handles_labels()[1]
    assert "ours on upwind5" in labels
    (axes,) = error_curves_initial(evaluation).axes
    line = next(line for line in axes.lines if line.get_label() == "CGS")
    assert line.get_ydata()[-1] == pytest.approx(50.0, rel=1e-12)
    # The physical time stands above the steps.
    (time,) = axes.child_axes
    assert time.get_xlabel() == "time t"
    axes.figure.draw_without_rendering()
    np.testing.assert_allclose(time.get_xlim(), (0, N * 0.03), rtol=1e-12)
    with pytest.raises(ValueError, match="cannot be referred to the initial field"):
        error_curves_initial(Results(evaluation.data.drop_vars("scale")))


def test_published_numbers_beside_ours(golden_folder: Path) -> None:
    """The few numbers kept agree with the curves that they were read from, to the digits given."""
    curves = json.loads((golden_folder / "published_figure_curves.json").read_text())
    for name, key in (("CGS", "CGS"), ("ACGS", "ACGS"), ("Closure-RL", "RL")):
        mean = np.asarray(curves[f"fig2_left_{key}"]["mean"])[np.asarray(STEPS) - 1]
        np.testing.assert_allclose(ADVECTION.error[name], mean, rtol=5e-3)
    for figure, key, found in (
        ("fig4_left", "CGS", BURGERS.error["CGS"]),
        ("fig4_left", "RL", BURGERS.error["Closure-RL"]),
        ("fig4_mid", "RL", tuple(-value for value in BURGERS.reduction["Closure-RL"])),
    ):
        curve = curves[f"{figure}_{key}"]
        # Lines of the figures are thinned out: interpolated, half a percent of the range.
        values = np.interp(np.asarray(STEPS) - 1, curve["x"], curve["y"])
        np.testing.assert_allclose(found, values, rtol=0.02, atol=0.5)


def published(steps: int, **changes: Any) -> Results:
    at = np.arange(steps + 1)
    errors = {name: np.interp(at, (0, *STEPS), (0, *values)) / 100 for name, values in BURGERS.error.items()}
    methods = {
        "CGS": method(Role.UNCORRECTED, np.stack([errors["CGS"]] * 3)),
        "net": method(Role.CLOSURE, np.stack([errors["Closure-RL"]] * 3)),
    }
    values = {"problem": "burgers", "time_step": 0.03, "description": {"preset": "paper"}, "threshold": 0.1, **changes}
    return results(methods, **values)


def test_published_figures_are_repeated_only_by_the_published_settings() -> None:
    assert published_curves(published(50)) is BURGERS
    assert published_curves(published(50, description={"preset": "default"})) is None
    assert published_curves(published(50, time_step=0.015)) is None
    assert published_curves(published(50, problem="other")) is None
    mnist = {"preset": "paper", "images": "mnist", "velocity": "train (published family)"}
    assert published_curves(published(50, problem="advection", time_step=0.25 / 64, description=mnist)) is ADVECTION
    vortex = {**mnist, "velocity": "vortex"}
    assert published_curves(published(50, problem="advection", time_step=0.25 / 64, description=vortex)) is None

    repeated = published(100)
    (axes,) = error_curves_median(repeated).axes
    drawn = axes.get_legend_handles_labels()[1]
    assert drawn == ["CGS", "net", "CGS, published", "Closure-RL, published"]
    assert "CGS, published" not in error_curves(repeated).axes[0].get_legend_handles_labels()[1]  # medians they are
    (axes,) = steps_below_threshold_violins(repeated).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["CGS", "net", "Closure-RL\npublished"]
    assert {"3", "157"} <= {text.get_text() for text in axes.texts}
    # With another threshold than the published one there is nothing to compare.
    (axes,) = steps_below_threshold_violins(published(100, threshold=0.05)).axes
    assert len(axes.get_xticklabels()) == 2


def test_faded_fields_have_a_scale_for_each_moment() -> None:
    size = np.asarray([1.0, 0.9, 0.1], np.float32)[:, None, None]
    reference = size * np.linspace(-1, 1, 16, dtype=np.float32).reshape(1, 4, 4)
    scales, shared = colour_scales({"reference": reference, "x": 9 * reference}, "reference", [0, 1, 2])
    assert not shared
    assert [scale.vmax for scale in scales] == pytest.approx([1.0, 0.9, 0.1], rel=1e-6)
    scales, shared = colour_scales({"reference": reference}, "reference", [0, 1])
    assert shared
    assert scales[0].vmax == 1.0


def doubled(observation: jax.Array) -> jax.Array:
    """A closure that pushes along what it sees; the bound of the published actions clips it."""
    return 2.0 * observation[:2]


@pytest.fixture(scope="module")
def small() -> BurgersConfiguration:
    return BurgersConfiguration(cells=8, ratio=3, fine_steps=3, largest_wave=2, action_bound=1.0, courant=0.3)


def test_burgers_with_another_base_is_saved_and_started_again(small: BurgersConfiguration, tmp_path: Path) -> None:
    problem = burgers(replace(small, viscosity_factor=2.0), "test")
    problem = replace(problem, baselines={"upwind5": problem.baselines["upwind5"]})
    other = burgers(replace(small, viscosity_factor=2.0, base="upwind5"), "test")
    path = tmp_path / "s.zarr"
    result = evaluate(
        problem, {"mine": doubled}, simulations=3, steps=4, key=jax.random.key(0), timing=False, frames=3, keep=2,
        own={"mine": other}, save=saver(path, problem, {}),
    )  # fmt: skip
    assert result.methods == ("CGS", "upwind5", "upwind5 16x16", "fine", "mine")
    assert (result.corrects("mine"), result.fine_baselines, result.baselines) == (
        "upwind5", ("upwind5 16x16",), ("upwind5",),
    )  # fmt: skip
    assert result.closures == ("mine",)
    assert (result.components, result.channels) == (("u", "v"), ("forcing u", "forcing v"))
    # The answers at kept frames, clipped to the bound of 1, in the fields at these frames.
    actions, fields = result.actions("mine"), result.fields("mine")
    assert actions is not None and fields is not None  # noqa: PT018
    np.testing.assert_allclose(actions, np.clip(2 * fields, -1, 1), rtol=1e-6)
    assert result.actions("CGS") is None
    assert len(action_strips(result).axes) == 3 * 3
    np.testing.assert_allclose(result.data["scale"][:, 0], 1.0)
    # Simulations come back with their viscosities: all methods on the coarse grid repeat themselves.
    store, said = load_store(path, problem)
    assert set(store.parameters) == {"viscosity"}
    assert store.state.dtype == np.float32
    again = evaluate(
        problem, {"mine": doubled}, key=jax.random.key(5), store=store, timing=False, description=said,
        own={"mine": other},
    )  # fmt: skip
    for name in ("CGS", "upwind5", "mine"):
        np.testing.assert_array_equal(again.errors(name), result.errors(name))
    assert again.fine_baselines == ()  # fine initial data are not in the file
    with pytest.raises(ValueError, match="own problems are those of closures; got other"):
        evaluate(problem, {"mine": doubled}, key=jax.random.key(0), store=store, own={"other": other})
    with pytest.raises(ValueError, match="cannot be called"):
        evaluate(problem, {"upwind5 16x16": doubled}, key=jax.random.key(0), store=store)
    with pytest.raises(ValueError, match=r"components: expected .'psi',., got .'u', 'v'."):
        load_store(path, advection(AdvectionConfiguration(cells=8, ratio=2), "test"))


def test_groups_of_the_published_family(small: BurgersConfiguration, tmp_path: Path) -> None:
    problem = replace(burgers(replace(small, initial="published", ratio=5), "test"), baselines={}, finer={})
    path = tmp_path / "s.zarr"
    result = evaluate(
        problem, {}, simulations=5, steps=2, key=jax.random.key(0), timing=False, save=saver(path, problem, {})
    )
    assert set(result.groups) <= set(problem.groups)
    store, _ = load_store(path, problem)
    again = evaluate(problem, {}, key=jax.random.key(0), store=store, timing=False)
    assert again.groups == result.groups


TRAIN = [
    "train", "advection", "--cells", "16", "--ratio", "2", "--compact.channels", "4", "--compact.layers", "1",
    "--compact.radius", "1", "--learning.updates", "4", "--learning.batch", "2", "--learning.horizons", "2",
    "--learning.fractions", "1", "--reference.slots", "4", "--reference.blocks", "2", "--reference.steps", "8",
    "--validation.simulations", "2", "--validation.steps", "8", "--validation.every", "2",
]  # fmt: skip


def test_the_command_reports_runs_and_evaluations(
    evaluation: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, ready = tmp_path / "one", tmp_path / "two", tmp_path / "ready"
    main([*TRAIN, "--run", str(one)])
    # The same weights under the settings of another training.
    shutil.copytree(one, two)
    plain = json.loads((two / "configuration.json").read_text())
    plain["seed"], plain["problem"]["minimum_steps"] = 1, 2
    (two / "configuration.json").write_text(json.dumps(plain))
    evaluation.save(ready)
    error_curves(evaluation, ready / "figures" / "error_curves.png")

    def one_figure(evaluation: Results, folder: Path, *, options: Any = None, known: Any = None) -> dict[str, Path]:
        if known is not None:
            return {}
        error_curves(evaluation, folder / "error_curves.png", **options["error_curves"])
        return {"error_curves": folder / "error_curves.png"}

    monkeypatch.setattr(report, "write_figures", one_figure)
    out = tmp_path / "report.html"
    main(["report", str(one), f"other={two}", str(ready), "--out", str(out), "--simulations", "2", "--steps", "5",
          "--no-timing"])  # fmt: skip
    assert f"report: {out}\n" in capsys.readouterr().out
    text = out.read_text()
    # Runs that differ in episodes and seeds alone stand in one table.
    assert text.count("<h2 id=") == 5
    assert "Advection: cells 16, ratio 2" in text
    assert re.search(r'<tr class="learned"><th scope="row">one</th>', text)
    assert re.search(r'<tr class="learned"><th scope="row">other</th>', text)
    assert text.count("What was recorded during training") >= 2
    assert f"closura report {one}" in text
    assert "Groups of simulations at step 25" in text
    assert "<script" not in text
    # The command that is printed gives the same training.
    printed = re.findall(r'<pre class="command">closura train (.+?)</pre>', text, re.S)
    assert len(printed) == 2
    _, configuration = parse_train(printed[1].split(" "))
    assert (configuration.seed, configuration.problem.minimum_steps, configuration.learning.updates) == (1, 2, 4)
    assert training_arguments(configuration) == printed[1].split(" ")[:-2]
    for arguments, message in (
        ([], "which run?"),
        ([str(tmp_path)], "neither a run folder"),
        ([str(one), str(one)], "two runs are called one"),
        ([str(one), "--simulations", "0"], "simulations must be positive"),
        ([str(one), "--threshold", "0"], "threshold must be positive"),
    ):
        with pytest.raises(SystemExit):
            main(["report", *arguments])
        assert message in capsys.readouterr().err


def test_settings_of_the_closure_do_not_separate_runs(small: BurgersConfiguration) -> None:
    assert as_evaluated(replace(small, base="upwind5", action_bound=3.0, error_threshold=0.5)) == as_evaluated(small)
    assert as_evaluated(replace(small, viscosity=0.01)) != as_evaluated(small)
