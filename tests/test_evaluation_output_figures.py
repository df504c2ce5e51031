"""Figures, animation and report of a synthetic evaluation with moving blobs and a method that diverges."""

import base64
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from made_results import method, results
from PIL import Image

from closura.core import Results, Role
from closura.reporting.figure import write_figures
from closura.reporting.figures.animation import animation
from closura.reporting.figures.cost import cost_scatter
from closura.reporting.figures.curves import error_curves, error_curves_median, improvement_curves, mass_error_curves
from closura.reporting.figures.fields import drawn_quantity, field_errors, field_strips, kept_fields
from closura.reporting.figures.training import training_curves
from closura.reporting.figures.violins import steps_below_threshold_violins
from closura.reporting.report import write_report
from closura.reporting.style import method_styles

SIMULATIONS, STEPS = 12, 30
FRAMES = np.arange(0, STEPS + 1, 3)
ROLES = {
    "CGS": Role.UNCORRECTED,
    "ACGS": Role.BASELINE,
    "upwind5": Role.BASELINE,
    "FGS": Role.REFERENCE,
    "spectral": Role.BASELINE,
    "closure <1>": Role.CLOSURE,
}


def blobs(spread: float, components: int = 1, size: int = 32) -> np.ndarray:
    points = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(points, points, indexing="ij")
    fields = np.zeros((2, len(FRAMES), components, size, size), np.float32)
    for frame, step in enumerate(FRAMES):
        width = 0.08 * np.sqrt(1 + spread * step / STEPS)
        dx = (x - 0.2 - 0.5 * step / STEPS + 0.5) % 1 - 0.5
        dy = (y - 0.3 - 0.2 * step / STEPS + 0.5) % 1 - 0.5
        fields[:, frame] = (0.08 / width) ** 2 * np.exp(-0.5 * (dx**2 + dy**2) / width**2)
    return fields


def make(components: int = 1, *, mass: bool = True, kept: bool = True) -> Results:
    rng = np.random.default_rng(0)
    methods, steps = {}, np.arange(STEPS + 1)
    for number, (name, role) in enumerate(ROLES.items()):
        size = 0.0 if name == "FGS" else 0.004 / (1 + number)
        error = size * steps**0.8 * np.exp(0.3 * rng.standard_normal((SIMULATIONS, 1)))
        fields, diverged = blobs(0 if name == "FGS" else number, components), np.full(SIMULATIONS, -1)
        if name == "spectral":
            error[0, 20:], error[1, 25:], diverged[:2] = np.nan, np.inf, (20, 25)
            fields[0, -2:] = np.nan
        methods[name] = method(
            role,
            error,
            conserved=np.abs(error) / 3 if mass else None,
            diverged_at=diverged,
            milliseconds_per_step=0.1 * (number + 1),
            parameters=5000 if role is Role.CLOSURE else None,
            fields=fields if kept else None,
        )
    return results(
        methods,
        problem="advection",
        time_step=0.0078,
        frames=FRAMES,
        description={"split": "held out & <kept> apart"},
        provenance={"command": "closura evaluate --name '<x>'", "seed": 3},
    )


@pytest.fixture(scope="module")
def evaluation() -> Results:
    return make()


def labels(axes) -> list[str]:
    return [text for text in axes.get_legend_handles_labels()[1] if not text.startswith("_")]


def test_error_curves(evaluation: Results, tmp_path) -> None:
    figure = error_curves(evaluation, tmp_path / "a.png", trained_steps=10)
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    # The reference has no error to draw on a logarithm.
    assert labels(axes) == ["longest rollout in training", "CGS", "ACGS", "upwind5", "spectral", "closure <1>"]
    lines = {line.get_label(): line for line in axes.lines}
    cgs = lines["CGS"].get_ydata()
    np.testing.assert_allclose(cgs, 100 * evaluation.errors("CGS")[:, 1:].mean(axis=0), rtol=1e-13)
    # The mean of the diverging method ends where the first simulation diverged, at step 20.
    assert np.flatnonzero(np.isfinite(lines["spectral"].get_ydata()))[-1] == 18
    assert sum(line.get_marker() == "x" for line in axes.lines) == 1
    assert lines["CGS"].get_color() == "#CC3311"
    assert "n = 12" in axes.get_title()
    assert (tmp_path / "a.png").stat().st_size > 20_000
    median = error_curves_median(evaluation).axes[0]
    lines = {line.get_label(): line for line in median.lines}
    assert np.isfinite(lines["spectral"].get_ydata()).all()  # two of twelve do not touch the median


def test_improvement_curves(evaluation: Results) -> None:
    (axes,) = improvement_curves(evaluation).axes
    assert labels(axes) == ["ACGS", "upwind5", "spectral", "closure <1>"]
    lines = [line for line in axes.lines if line.get_label() == "closure <1>"]
    base, own = (evaluation.errors(name)[:, 1:] for name in ("CGS", "closure <1>"))
    # The mean over simulations of single improvements, as in the paper, not the improvement of means.
    np.testing.assert_allclose(lines[0].get_ydata(), (100 * (1 - own / base)).mean(axis=0), rtol=1e-12)
    # 12 faint lines of the closure, 4 means, the zero line, and the cross of the diverging method.
    assert len(axes.lines) == 12 + 4 + 1 + 1
    with pytest.raises(ValueError, match="nothing to draw"):
        improvement_curves(evaluation.select(["CGS"]))


def test_violins_write_medians(evaluation: Results) -> None:
    (axes,) = steps_below_threshold_violins(evaluation).axes
    assert axes.get_yscale() == "log"
    texts = [text.get_text() for text in axes.texts]
    error = evaluation.errors("CGS")
    expected = np.median([int(np.argmax(row[1:] > 0.01)) for row in error])
    assert texts[0] == f"{expected:g}"
    assert any(text.endswith("never above") for text in texts)
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "CGS", "ACGS", "upwind5", "spectral", "closure <1>",
    ]  # fmt: skip


def test_cost_and_mass(evaluation: Results) -> None:
    (axes,) = cost_scatter(evaluation).axes
    assert set(labels(axes)) == {
        "CGS", "ACGS", "upwind5", "closure <1>", "FGS (the reference)", "spectral (2 of 12 diverged)",
    }  # fmt: skip
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert len(labels(mass_error_curves(evaluation).axes[0])) == 5
    with pytest.raises(ValueError, match="no method has a mass error"):
        mass_error_curves(make(mass=False, kept=False))


def test_field_strips_share_one_scale(evaluation: Results) -> None:
    figure = field_strips(evaluation, columns=4)
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(images) == 6 * 4  # five methods and the reference
    reference = evaluation.fields("FGS")[0]
    assert {image.get_clim() for image in images} == {(float(reference.min()), float(reference.max()))}
    # Axis 0 of the fields is x, the horizontal axis of the picture.
    np.testing.assert_array_equal(images[0].get_array(), evaluation.fields("CGS")[0, 0, 0].T)
    assert images[0].origin == "lower"
    errors = [axes.images[0] for axes in field_errors(evaluation).axes if axes.images]
    low, high = errors[0].get_clim()
    assert low == -high
    assert len(errors) == 5 * 6
    with pytest.raises(ValueError, match="one of the 2 kept"):
        field_strips(evaluation, simulation=2)
    with pytest.raises(ValueError, match="no fields were kept"):
        field_strips(make(kept=False))


def test_vectors_are_drawn_by_their_length() -> None:
    fields = np.zeros((2, 3, 3), np.float32)
    fields[0], fields[1] = 3.0, 4.0
    assert drawn_quantity(fields).tolist() == [[5.0] * 3] * 3
    assert drawn_quantity(fields, 1)[0, 0] == 4.0
    pictures = kept_fields(make(components=2))
    assert list(pictures)[-1] == "FGS (reference)"
    assert pictures["CGS"].shape == (len(FRAMES), 32, 32)


def test_animation(evaluation: Results, tmp_path) -> None:
    path, small = tmp_path / "a.gif", tmp_path / "b.gif"
    assert animation(evaluation, path) == path.read_bytes()
    assert path.stat().st_size < 1_000_000
    with Image.open(path) as image:
        assert image.n_frames == len(FRAMES)
        first = np.asarray(image.convert("RGB")).astype(int)
        image.seek(len(FRAMES) - 1)
        last = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(first - last).max() > 100  # the blobs moved
    # Frames and shades are given up for size, not below eight frames.
    animation(evaluation, small, frames=10, largest_bytes=1)
    with Image.open(small) as image:
        assert image.n_frames == 8
    assert small.stat().st_size < path.stat().st_size


def test_training_curves_draw_what_exists() -> None:
    rows = [{"update": k, "reward": -1 / (k + 1), "policy_loss": 0.1, "value_loss": 1.0 / (k + 1)} for k in range(90)]
    rows += [{"update": 90, "validation_error": 0.02}, {"update": 91, "validation_error": float("nan")}]
    figure = training_curves(rows)
    assert [axes.get_title() for axes in figure.axes] == ["reward", "validation error", "loss"]
    reward, validation, loss = figure.axes
    assert len(reward.lines) == 2  # the series and its running mean
    assert validation.lines[0].get_ydata().tolist() == [2.0]
    assert labels(loss) == ["policy_loss", "value_loss"]
    # A running mean over 3 values is centred.
    x, y = reward.lines[1].get_data()
    assert (x[0], x[-1], len(x)) == (1, 88, 88)
    assert y[0] == pytest.approx(-(1 + 1 / 2 + 1 / 3) / 3, rel=1e-12)
    with pytest.raises(ValueError, match="nothing to draw"):
        training_curves([{"update": 1}])


def test_styles_are_distinct() -> None:
    names = ["CGS", "ACGS", "FGS", "upwind3", "upwind5", "spectral", "closure", "published", "tiny"]
    uncorrected, baseline, reference, closure = Role.UNCORRECTED, Role.BASELINE, Role.REFERENCE, Role.CLOSURE
    roles = [uncorrected, baseline, reference, baseline, baseline, baseline, closure, closure, closure]
    styles = method_styles(dict(zip(names, roles, strict=True)))
    assert len({style.colour for style in styles.values()}) == len(names)
    assert len({style.marker for style in styles.values()}) == len(names)
    assert (styles["CGS"].colour, styles["ACGS"].colour) == ("#CC3311", "#EE7733")
    assert len({str(styles[name].line) for name in ("closure", "published", "tiny")}) == 3


def test_all_figures_without_global_state(evaluation: Results, tmp_path) -> None:
    before = dict(matplotlib.rcParams)
    written = write_figures(evaluation, tmp_path / "figures", options={"error_curves": {"trained_steps": 3}})
    assert set(written) == {
        "error_curves", "error_curves_median", "steps_below_threshold", "improvement", "mass_error", "cost",
        "fields", "field_errors", "animation", "divergence",
    }  # fmt: skip
    assert all(path.stat().st_size > 5_000 for path in written.values())
    assert dict(matplotlib.rcParams) == before
    few = write_figures(make(mass=False, kept=False), tmp_path / "few", suffix=".svg")
    assert set(few) == {
        "error_curves", "error_curves_median", "steps_below_threshold", "improvement", "cost", "divergence",
    }  # fmt: skip


class Page(HTMLParser):
    """Collects tags, attributes and text; complains about tags that do not close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.links: list[str | None] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag, attrs) -> None:
        attributes = dict(attrs)
        self.tags.add(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "img":
            self.images.append(attributes)
        if "href" in attributes:
            assert tag == "a"
            self.links.append(attributes["href"])

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text += data


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    assert page.open == []
    return page


def test_report_is_one_file_without_network(evaluation: Results, tmp_path) -> None:
    figures = write_figures(evaluation, tmp_path)
    path = write_report(
        tmp_path / "report.html",
        title="A <closure> & its baselines",
        comparisons=evaluation,
        figures=figures,
        runs={
            "ppo": {
                "metrics": [{"update": 3, "reward": np.nan}],
                "configuration": {"learner": "<ppo>"},
                "environment": {"jax": "0.10"},
            },
        },
        notes=["<script>alert(1)</script>"],
    )
    page = read(path)
    assert not page.tags & {"script", "link", "iframe"}
    assert len(page.images) == len(figures)
    for image in page.images:
        assert image["src"].startswith(("data:image/png;base64,", "data:image/gif;base64,"))
        assert image["alt"]
    first = base64.b64decode(page.images[0]["src"].split(",", 1)[1])
    # The same picture in a palette of 256 colours: smaller, and nowhere visibly different.
    assert len(first) < figures["error_curves"].stat().st_size
    shown, drawn = (
        np.asarray(Image.open(f).convert("RGB"), np.int64) for f in (BytesIO(first), figures["error_curves"])
    )
    assert shown.shape == drawn.shape
    assert np.abs(shown - drawn).mean() < 2
    assert np.abs(shown - drawn).max() < 80
    assert page.links == []
    assert "url(" not in path.read_text()
    # Text of people and of configurations is shown, not run.
    for text in ("A <closure> & its baselines", "<script>alert(1)</script>", "closure <1>", "<ppo>", "<kept>"):
        assert text in page.text
    assert "closura evaluate --name '<x>'" in page.text
    assert "2402.00972" in page.text
    assert "2 of 12" in page.text or "∞" in page.text
    assert 'name="viewport"' in path.read_text()


def test_report_of_several_evaluations(evaluation: Results, tmp_path) -> None:
    other = make(kept=False)
    cost_scatter(evaluation, tmp_path / "c.png")
    path = write_report(
        tmp_path / "r.html",
        title="two",
        comparisons={"digits": evaluation, "clothes": other},
        figures={"digits": {"cost": tmp_path / "c.png"}},
    )
    page = read(path)
    assert "digits" in page.text
    assert "clothes" in page.text
    assert len(page.images) == 1
    with pytest.raises(ValueError, match=r"figures for \['typo'\]"):
        write_report(tmp_path / "r.html", title="x", comparisons={"a": other}, figures={"typo": {}})
    with pytest.raises(ValueError, match=r"cannot show a\.pdf"):
        write_report(tmp_path / "r.html", title="x", comparisons=other, figures={"a": tmp_path / "a.pdf"})
    with pytest.raises(FileNotFoundError):
        write_report(tmp_path / "r.html", title="x", comparisons=other, figures={"a": tmp_path / "a.png"})
