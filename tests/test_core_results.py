"""Results: what they refuse, keep in a file, and hand on."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from made_results import method, metric, read_csv, results
from matplotlib.figure import Figure
from rich.console import Console

from closura.core import MethodResult, Metric, Results, Role
from closura.core.metric import CONSERVATION
from closura.core.results_file import FILE
from closura.metrics.comparison import improvement_on, paired_difference, worse_than_corrected
from closura.metrics.statistics import spread
from closura.plain import plain
from closura.reporting.figure import FIGURES, figure, figures_of
from closura.reporting.figures.fields import profiles
from closura.reporting.findings import best_baseline, findings
from closura.reporting.numbers import summary
from closura.reporting.publish import publish
from closura.reporting.table import TABLES, Table, print_tables, table
from closura.reporting.tables import summary_table, write_csv
from closura.simulation.earlier import read_evaluation

STEPS = 4
ERRORS = np.outer([1.0, 2.0, 3.0], 0.01 * np.arange(STEPS + 1))
ERROR = metric("error", title="relative MAE", percent=True)


def build(methods: dict[str, MethodResult] | None = None, **changes: Any) -> Results:
    given = {"a": method(Role.UNCORRECTED, ERRORS), "b": method(Role.CLOSURE, ERRORS / 2)}
    facts: dict[str, Any] = {"metrics": [ERROR], "error": "error", "times": np.arange(STEPS + 1.0), **changes}
    return Results.build("p", given if methods is None else methods, **facts)


def whole() -> Results:
    """Everything that results can hold."""
    rng, shape = np.random.default_rng(0), (2, 2, 1, 6, 5)
    lost = np.array(ERRORS)
    lost[1, 3:] = np.inf
    lost[2, 4] = np.nan
    methods = {
        "CGS": method(Role.UNCORRECTED, ERRORS, conserved=ERRORS / 3, fields=rng.standard_normal(shape)),
        "Δ [x]": method(
            Role.CLOSURE, lost, conserved=lost / 3, corrects="WENO", fields=rng.standard_normal(shape),
            actions=rng.standard_normal(shape), values={"score": np.asarray([1.0, np.nan, 3.0])},
        ),
        "WENO": method(Role.BASELINE, ERRORS / 4, milliseconds_per_step=float("nan")),
        "DNS": method(Role.REFERENCE, 0 * ERRORS, conserved=0 * ERRORS),
    }  # fmt: skip
    return results(
        methods, frames=[0, 4], groups=("x", "y", "y"), components=("ψ",), channels=("forcing",), origin="upper",
        scale=np.ones((3, STEPS + 1)), metrics=[metric("score", better="higher", unit="m/s")],
        description={"split": "held out", "ü": "≤"}, provenance={"command": "closura evaluate", "seed": 3},
    )  # fmt: skip


def test_a_file_holds_all_numbers(tmp_path: Path) -> None:
    written = whole()
    path = written.save(tmp_path / "deep" / "folder")
    assert path == tmp_path / "deep" / "folder" / FILE
    assert [file.name for file in path.parent.iterdir()] == [FILE]  # no temporary file stays
    for read in (Results.open(path), Results.open(path.parent)):
        assert summary(read) == summary(written)
        assert json.dumps(plain(summary(read))) == json.dumps(plain(summary(written)))
        assert (read.roles, read.groups, read.description) == (written.roles, written.groups, written.description)
        assert (read.provenance, read.metrics.keys()) == (written.provenance, written.metrics.keys())
        assert [read.corrects(name) for name in read.methods] == [written.corrects(name) for name in written.methods]
        assert read.attribute("origin") == "upper"
        for name in written.methods:
            np.testing.assert_array_equal(read.errors(name), written.errors(name))
            np.testing.assert_array_equal(read.diverged_at(name), written.diverged_at(name))
            assert read.parameters(name) == written.parameters(name)
            assert read.fields(name) is None
    for name, found in written.metrics.items():
        assert Results.open(path).metrics[name].attributes == found.attributes


def test_fields_are_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    written = whole()
    read = Results.open(written.save(tmp_path, fields=True))
    xr.testing.assert_identical(read.data, Results.open(read.save(tmp_path / "again", fields=True)).data)
    for name in written.methods:
        for mine, theirs in (
            (read.fields(name), written.fields(name)),
            (read.actions(name), written.actions(name)),
        ):
            assert (mine is None) == (theirs is None)
            if mine is not None and theirs is not None:
                np.testing.assert_array_equal(mine, theirs)
    assert (read.components, read.channels, read.frames.tolist()) == (("ψ",), ("forcing",), [0, 4])


def test_results_without_times_are_kept_too(tmp_path: Path) -> None:
    found = build({"a": MethodResult(Role.UNCORRECTED, {"error": np.asarray([0.1, 0.3])})}, times=(), metrics=[ERROR])
    back = Results.open(found.save(tmp_path))
    assert (back.steps, back.moment(0)) == (0, "the end")
    assert summary(back)["methods"]["a"]["relative_mae"]["mean"] == pytest.approx(0.2)
    assert summary_table(back).headings[2] == "relative MAE (%) at the end"


def test_what_is_no_file_of_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there are no results at"):
        Results.open(tmp_path)
    path = whole().save(tmp_path)
    good = path.read_bytes()
    for content in (b"", b"CDF", b"\x89HDF\r\n\x1a\n", good[:600], good[: len(good) // 2], b"no results\n" * 100):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"results\.nc holds no results that closura can read"):
            Results.open(path)
    other = tmp_path / "other.nc"
    xr.Dataset({"a": ("x", np.zeros(2))}).to_netcdf(other, engine="h5netcdf")
    with pytest.raises(ValueError, match=r"other\.nc holds no results"):
        Results.open(other)


def test_no_flipped_bit_changes_what_is_read(tmp_path: Path) -> None:
    path, expected = whole().save(tmp_path), summary(whole())
    good, refused = bytearray(path.read_bytes()), 0
    # The second half holds arrays; what the library says of a broken structure is its own affair.
    for place in np.random.default_rng(0).integers(4 * len(good), 8 * len(good), 40):
        bad = good.copy()
        bad[place // 8] ^= 1 << (place % 8)
        path.write_bytes(bad)
        try:
            assert summary(Results.open(path)) == expected  # but for bits that mean nothing
        except ValueError:
            refused += 1
    assert refused > 5
    path.write_bytes(good)
    with xr.open_dataset(path, engine="h5netcdf") as file:
        data = file.load()
    data["error"][0, 0, 1] += 1e-9
    data.to_netcdf(path, engine="h5netcdf")
    with pytest.raises(ValueError, match="it is damaged or was changed"):
        Results.open(path)


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    path = whole().save(tmp_path)
    with xr.open_dataset(path, engine="h5netcdf") as file:
        data = file.load()
    data.assign_attrs(closura_format=2).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(ValueError, match="format 2; this closura reads 1"):
        Results.open(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = whole().save(tmp_path)
    good = path.read_bytes()

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(xr.Dataset, "to_netcdf", stop)
    with pytest.raises(KeyboardInterrupt):
        whole().save(tmp_path)
    assert path.read_bytes() == good
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_a_link_to_results_stays(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / FILE).symlink_to(tmp_path / "kept.nc")
    whole().save(tmp_path / "a")
    assert (tmp_path / "a" / FILE).is_symlink()
    assert Results.open(tmp_path / "kept.nc").methods == whole().methods


SHORT = {"a": method(Role.UNCORRECTED, ERRORS[:, :3])}
PICTURES = np.zeros((1, 2, 1, 4, 4), np.float32)


@pytest.mark.parametrize(
    ("methods", "changes", "said"),
    [
        ({}, {}, "at least one method; got none"),
        (SHORT, {}, r"a: error must be \(case, time\) = \(3, 5\) or \(case,\); got shape \(3, 3\)"),
        ({"a": method(Role.UNCORRECTED, np.zeros((0, 5)))}, {}, "at least one case"),
        ({"a": MethodResult(Role.UNCORRECTED, {"error": np.asarray(1.0)})}, {}, "a: error must be .*a single number"),
        ({"a": MethodResult(Role.UNCORRECTED, {})}, {}, "a has no values of error, the metric that counts"),
        (
            {"a": MethodResult(Role.UNCORRECTED, {"error": ERRORS, "eror": ERRORS})},
            {},
            "a has values of eror; the metrics are error",
        ),
        (None, {"error": "typo"}, "the metric that counts, 'typo', is not among the metrics: error"),
        (None, {"metrics": [ERROR, ERROR]}, "two metrics have one name: error, error"),
        (None, {"metrics": [ERROR, metric("parameters")]}, "metrics cannot be called parameters"),
        (None, {"steps": [0, 1]}, "steps need one number per time, 5; got 2"),
        (None, {"groups": ("x",)}, "groups need one name per simulation, 3; got 1"),
        (
            {"a": method(Role.UNCORRECTED, ERRORS, diverged_at=np.zeros(2, np.int64))},
            {},
            r"diverged_at must be \(3,\); got \(2,\)",
        ),
        (
            {"a": method(Role.UNCORRECTED, ERRORS), "b": method(Role.CLOSURE, ERRORS, corrects="typo")},
            {},
            r"closures correct \['typo'\]; the methods are a, b",
        ),
        (
            {name: method(Role.REFERENCE, ERRORS) for name in ("a", "b")} | {"c": method(Role.CLOSURE, ERRORS)},
            {},
            "one method can be the reference; got a, b",
        ),
        (
            {name: method(Role.UNCORRECTED, ERRORS) for name in ("a", "b")},
            {},
            "one method can be the uncorrected; got a, b",
        ),
        ({"a": method(Role.REFERENCE, ERRORS)}, {}, "a method beside the reference; got a"),
        (
            {"a": method(Role.UNCORRECTED, ERRORS, fields=PICTURES)},
            {"frames": [0]},
            r"must be \(kept, 1 frames, component, \*grid\); got \(1, 2, 1, 4, 4\)",
        ),
        (
            {
                "a": method(Role.UNCORRECTED, ERRORS, fields=PICTURES),
                "b": method(Role.CLOSURE, ERRORS, fields=PICTURES[..., :3]),
            },
            {"frames": [0, 4]},
            "must all have one shape",
        ),
        ({"a": method(Role.UNCORRECTED, ERRORS, facts={"role": 1})}, {}, "a fact about methods cannot be called role"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(methods: dict | None, changes: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build(methods, **changes)


def test_facts_about_some_of_the_methods(tmp_path: Path) -> None:
    found = build({
        "a": method(Role.UNCORRECTED, ERRORS, facts={"note": "implicit"}),
        "b": method(Role.CLOSURE, ERRORS, facts={"points": 32}),
    })  # fmt: skip
    back = Results.open(found.save(tmp_path)).data
    assert back["note"].values.tolist() == ["implicit", ""]
    np.testing.assert_array_equal(back["points"], [np.nan, 32])


def test_two_methods_of_one_name_are_refused() -> None:
    data = build().data
    with pytest.raises(ValueError, match="two methods have one name: a, a"):
        Results(data.assign_coords(method=["a", "a"]))
    with pytest.raises(ValueError, match="results lack role"):
        Results(data.drop_vars("role"))
    with pytest.raises(ValueError, match="is not a valid Role"):
        Results(data.assign_coords(role=("method", ["uncorrected", "unheard of"])))
    for name in ("problem", "error", "description", "provenance"):
        with pytest.raises(ValueError, match=f"results lack {name}"):
            Results(data.drop_attrs().assign_attrs({k: v for k, v in data.attrs.items() if k != name}))


def test_some_of_the_methods() -> None:
    found = whole()
    some = found.select(["DNS", "CGS"])
    assert some.methods == ("CGS", "DNS")
    np.testing.assert_array_equal(some.errors("CGS"), found.errors("CGS"))
    np.testing.assert_array_equal(some.fields("CGS"), found.fields("CGS"))
    assert some.description == found.description
    assert found.select(found.methods).methods == found.methods
    with pytest.raises(KeyError, match=r"unknown method 'typo'; valid: CGS, Δ \[x\]"):
        found.select(["CGS", "typo"])
    with pytest.raises(ValueError, match=r"closures correct \['WENO'\]"):
        found.select(["CGS", "Δ [x]"])
    with pytest.raises(ValueError, match="at least one method"):
        found.select([])


def test_a_tidy_table() -> None:
    found = whole()
    rows = found.to_pandas()
    assert len(rows) == 4 * 3 * (STEPS + 1)
    assert {"method", "case", "time", "step", "role", "corrects", "group", "error", CONSERVATION, "score"} == set(rows)
    one = rows[(rows["method"] == "Δ [x]") & (rows["case"] == 2) & (rows["step"] == 3)].iloc[0]
    assert one["error"] == pytest.approx(0.09)
    assert (one["role"], one["corrects"], one["group"], one["score"]) == ("closure", "WENO", "y", 3.0)
    means = rows[rows["step"] == STEPS].groupby("method")["error"].mean()
    assert means["CGS"] == pytest.approx(0.08)


def test_failures_are_listed_with_their_groups() -> None:
    assert whole().failures == [
        {"method": "Δ [x]", "case": 1, "group": "y", "index": 3},
        {"method": "Δ [x]", "case": 2, "group": "y", "index": 4},
    ]


def other_metrics() -> Results:
    """A correlation, higher is better, at each time, and a number of whole simulations with a unit."""
    correlation = np.tile(np.linspace(1, 0.5, STEPS + 1), (3, 1))
    broken = np.array(correlation)
    broken[0, 4] = np.nan
    values = [
        {"correlation": correlation, "drag": np.asarray([1.0, 2.0, 6.0])},
        {"correlation": broken, "drag": np.asarray([2.0, 2.0, 2.0])},
    ]
    return results(
        {"CGS": method(Role.UNCORRECTED, ERRORS, values=values[0]),
         "net": method(Role.CLOSURE, ERRORS / 2, values=values[1])},
        metrics=[metric("correlation", better="higher"), metric("drag", title="drag", unit="N", aggregate="geometric")],
        description={"split": "held out"},
    )  # fmt: skip


def test_other_metrics_stand_in_summary_tables_and_csv(tmp_path: Path) -> None:
    found = other_metrics()
    numbers = summary(found)
    assert numbers["metrics"]["correlation"] == {
        "title": "correlation", "unit": "1", "percent": False, "better": "higher", "aggregate": "mean",
    }  # fmt: skip
    drag = numbers["methods"]["CGS"]["drag"]
    assert (drag["mean"], drag["max"], drag["n"]) == (3.0, 6.0, 3)
    assert drag["geometric_mean"] == pytest.approx(12 ** (1 / 3))
    assert numbers["methods"]["CGS"]["correlation"]["mean"] == pytest.approx(0.5)
    # What is not finite is as bad as can be: here the smallest.
    net = numbers["methods"]["net"]["correlation"]
    assert (net["mean"], net["min"], net["max"], net["median"], net["not_finite"]) == (None, None, 0.5, 0.5, 1)
    assert net["mean_of_finite"] == pytest.approx(0.5)
    made = summary_table(found)
    cells = dict(zip(made.headings[1:], dict(made.rows)["net"], strict=True))
    assert cells["drag (N), geometric mean"] == "2.00"
    assert cells["correlation"] == "-∞ (0.500)"
    rows = read_csv(write_csv(found, tmp_path / "t.csv"))
    assert float(rows[0]["drag_mean"]) == 3.0
    assert float(rows[0]["correlation_median"]) == pytest.approx(0.5)
    assert (rows[1]["correlation_mean"], rows[1]["correlation_mean_of_finite"]) == ("", "0.5")


def test_not_finite_is_the_worst_either_way() -> None:
    values = np.asarray([np.nan, 1.0, 2.0])
    assert spread(values, better="higher") == {
        "mean": -np.inf, "std": np.inf, "median": 1.0, "min": -np.inf, "max": 2.0, "mean_of_finite": 1.5,
        "std_of_finite": 0.5, "not_finite": 1,
    }  # fmt: skip
    finite = np.asarray([3.0, 1.0, 8.0])
    assert spread(finite, better="higher") == spread(finite)


def test_higher_may_be_better_in_the_metric_that_counts() -> None:
    scores = {"CGS": 0.5, "upwind5": 0.8, "net": 0.9, "worse": 0.4}
    roles = [Role.UNCORRECTED, Role.BASELINE, Role.CLOSURE, Role.CLOSURE]
    shaken = np.asarray([[0.01], [0.0], [-0.01]])
    methods = {
        name: MethodResult(role, {"skill": np.full((3, 2), score) + (name == "net") * shaken})
        for (name, score), role in zip(scores.items(), roles, strict=True)
    }
    found = Results.build("p", methods, [metric("skill", better="higher")], error="skill", times=[0.0, 1.0])
    assert best_baseline(found) == "upwind5"
    assert improvement_on(found, "net", "CGS") == pytest.approx(0.8)
    assert improvement_on(found, "worse", "CGS") == pytest.approx(-0.2)
    assert worse_than_corrected(found, "net")["simulations"] == 0
    assert worse_than_corrected(found, "worse")["at_last_step"] == 3
    assert paired_difference(found, "net", "upwind5")["better"] == 3
    said = findings(found)
    assert "Against upwind5, the best classical method on this grid: better, 0.900 against 0.800" in said["net"][0]
    assert "larger in 3 of 3 simulations" in said["net"][0]
    assert "on this grid: worse, " in said["worse"][0]


# What users register.


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registries as they were, afterwards."""
    for registry in (FIGURES, TABLES):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))


@pytest.mark.usefixtures("registered")
def test_parts_of_the_user_are_published(tmp_path: Path) -> None:
    @figure("drags", needs=("drag",), caption="Drag of all simulations <N>.", section="Forces")
    def drags(results: Results, figure: Any) -> None:
        axes = figure.subplots()
        for name in results.compared:
            axes.plot(results.of("drag", name), label=name)
        axes.legend()

    @figure("waves", needs=("height",), caption="Heights.")
    def waves(results: Results, figure: Any) -> None:
        raise AssertionError("nothing to draw")

    @figure("elsewhere", caption="Of another problem.", problems=("burgers",))
    def elsewhere(results: Results, figure: Any) -> None:
        raise AssertionError("nothing to draw")

    @table("drags", needs=("drag",), order=5)
    def drag_table(results: Results) -> list[Table]:
        rows = [(name, [f"{results.of('drag', name).max():g} N"]) for name in results.compared]
        return [Table("Largest drag", ["method", "of <all>"], rows, note="A note of the user.")]

    found = other_metrics()
    assert drags in figures_of(found)
    assert not {waves, elsewhere} & {*figures_of(found)}
    out = publish(found, tmp_path, title="mine")
    assert out.figures["drags"] == tmp_path / "figures" / "drags.png"
    assert out.figures["drags"].stat().st_size > 5_000
    text = out.report.read_text()
    for words in ("Drag of all simulations &lt;N&gt;.", "<h2>Forces</h2>", "Largest drag", "of &lt;all&gt;", "6 N",
                  "A note of the user.", "drag (N)", "correlation"):  # fmt: skip
        assert words in text, words
    assert json.loads(out.table.read_text())["methods"]["CGS"]["drag"]["max"] == 6.0
    assert "drag_mean" in read_csv(out.csv)[0]
    shown = io.StringIO()
    print_tables(found, console=Console(width=200, file=shown))
    assert "Largest drag" in shown.getvalue()
    # Results that are opened again have it all too.
    again = publish(Results.open(tmp_path), tmp_path / "again", title="mine")
    assert "drags" in again.figures
    with pytest.raises(KeyError):
        drags(whole())


# Earlier versions.


def earlier(path: Path, **about: Any) -> Path:
    """A file as closura 0.11 wrote it."""
    methods = [("CGS", None), ("upwind5", None), ("fine", None), ("upwind5 32x32", None), ("truth", 9)]
    arrays: dict[str, Any] = {"scale": np.ones((3, STEPS + 1))}
    for number, (name, _) in enumerate(methods):
        arrays[f"error_{number}"] = 0 * ERRORS if name == "fine" else ERRORS / (1 + number)
        arrays[f"diverged_at_{number}"] = np.asarray([-1, 2, -1]) if name == "truth" else np.full(3, -1)
        arrays[f"milliseconds_{number}"] = np.asarray([0.5 * number, np.nan])
        if name != "upwind5 32x32":
            arrays[f"mass_error_{number}"] = ERRORS / 7
    text = json.dumps({
        "format": 1, "methods": [{"name": name, "parameters": count} for name, count in methods],
        "problem": "burgers", "steps": STEPS, "simulations": 3, "time_step": 0.25, "description": {"split": "held"},
        "threshold": 0.1, "configuration": {"command": "closura evaluate"}, "origin": "lower",
        "groups": ["x", "x", "y"], "bases": {"truth": "upwind5"}, "finer": ["upwind5 32x32"], "quantity": "momentum",
        "components": ["u", "v"], "channels": ["forcing u"], **about,
    })  # fmt: skip
    np.savez_compressed(path, about=np.frombuffer(text.encode(), np.uint8), **arrays)
    return path


def test_earlier_evaluations_are_read(tmp_path: Path) -> None:
    found = read_evaluation(earlier(tmp_path / "evaluation.npz"))
    # A closure is one whatever it is called; the reference was known by its usual names.
    assert found.roles == {
        "CGS": "uncorrected", "upwind5": "baseline", "fine": "reference", "upwind5 32x32": "fine baseline",
        "truth": "closure",
    }  # fmt: skip
    assert (found.problem, found.steps, found.simulations, found.time_step) == ("burgers", STEPS, 3, 0.25)
    np.testing.assert_array_equal(found.errors("truth"), ERRORS / 5)
    np.testing.assert_array_equal(found.diverged_at("truth"), [-1, 2, -1])
    assert (found.corrects("truth"), found.parameters("truth"), found.milliseconds("truth")) == ("upwind5", 9, 2.0)
    assert (found.attribute("threshold"), found.attribute("quantity")) == (0.1, "momentum")
    assert (found.groups, found.components, found.channels) == (("x", "x", "y"), ("u", "v"), ("forcing u",))
    assert not found.has(CONSERVATION, "upwind5 32x32")
    numbers = summary(found)
    assert (numbers["error"], numbers["truth"]) == ("relative_mae", "fine")
    assert numbers["methods"]["truth"]["relative_to_initial"]["mean"] > 0
    assert summary(Results.open(found.save(tmp_path))) == numbers


def test_later_ones_say_their_reference_and_error(tmp_path: Path) -> None:
    about = {"truth": "upwind5", "error_name": "relative L2 error"}
    found = read_evaluation(earlier(tmp_path / "evaluation.npz", **about))
    assert (found.reference, found.roles["fine"]) == ("upwind5", Role.BASELINE)
    assert found.error.title == "relative L2 error"
    with pytest.raises(ValueError, match=r"evaluation\.npz is no evaluation .*format 2; this closura reads 1"):
        read_evaluation(earlier(tmp_path / "evaluation.npz", format=2))
    with pytest.raises(ValueError, match="it lacks error_9; it is damaged"):
        read_evaluation(earlier(tmp_path / "evaluation.npz", arrays=["error_0", "error_9"]))
    with pytest.raises(FileNotFoundError):
        read_evaluation(tmp_path / "none.npz")


def test_metrics_need_names_of_variables() -> None:
    with pytest.raises(ValueError, match="the name of a metric is that of a variable"):
        Metric("peak error", lambda field, reference: 0.0)
    assert Metric("peak_error", lambda field, reference: 0.0).title == "peak error"


def test_rounding_makes_no_closure_worse() -> None:
    found = build({"a": method(Role.UNCORRECTED, ERRORS), "b": method(Role.CLOSURE, ERRORS * (1 + 2e-6))})
    assert worse_than_corrected(found, "b")["simulations"] == 0
    found = build({"a": method(Role.UNCORRECTED, ERRORS), "b": method(Role.CLOSURE, ERRORS * 1.001)})
    assert worse_than_corrected(found, "b")["simulations"] == 3


def test_profiles_stand_at_the_points_of_the_grid() -> None:
    kept = np.zeros((1, 2, 1, 8), np.float32)
    methods = {"a": method(Role.UNCORRECTED, ERRORS, fields=kept)}
    for length, first, last in ((22.0, 0.0, 22.0 * 7 / 8), (None, 1 / 16, 15 / 16)):  # points, and middles of cells
        found = build(methods, frames=np.asarray([0, STEPS]), **({"length": length} if length else {}))
        drawn = Figure()
        profiles.make(found, drawn)
        points = drawn.axes[0].lines[0].get_xdata()
        assert (points[0], points[-1]) == pytest.approx((first, last))
