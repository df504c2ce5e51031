"""What functions do with masks, NaN, integers, booleans, low precision and wrong types: the right number, or a line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from closura.arrays import masked_numbers, real_numbers
from closura.grids import Grid
from closura.interpretation import Moments, pearson
from closura.metrics.ensembles import (
    EnsembleScores,
    FlowStatistics,
    Histogram,
    SlicedHistograms,
    correlation_time,
    crps_ensemble,
    crps_normal,
    energy_spectrum,
    kinetic_energy,
    relative_l2_series,
    resolving_shell,
    valid_prediction_time,
    vorticity,
    vorticity_correlation,
    wasserstein,
)
from closura.metrics.ensembles.published import PublishedScoring, ensemble_mean_and_std
from closura.metrics.pareto import on_front
from closura.metrics.statistics import aggregate, mean_per_step, quantile_per_step, spread, steps_below_threshold
from closura.numerics import courant_number
from closura.numerics._checks import check_floating
from closura.offline import SpectralCutoff, fit_pod, mode_power
from closura.offline.sampler import check_pairs
from closura.reproductions.scale_separation_scores import trajectory_scores, trajectory_table_errors
from closura.trajectories import FlowDescription, new_flow, open_flow

RNG = np.random.default_rng(0)
REFERENCE = RNG.normal(size=(3, 2, 4, 4))
MEMBERS = REFERENCE + 0.1 * RNG.normal(size=(5, 3, 2, 4, 4))
HIDDEN = RNG.random(REFERENCE.shape) < 0.2
BAD = np.where(HIDDEN, -999.0, REFERENCE)
MASKED = np.ma.masked_equal(BAD, -999.0)
UNKNOWN = np.ma.masked_invalid(np.where(HIDDEN, np.nan, REFERENCE))


def velocity(*leading: int) -> np.ndarray:
    return RNG.normal(size=(*leading, 2, 8, 8))


def hidden(array: np.ndarray) -> np.ma.MaskedArray:
    """One number of it masked."""
    mask = np.zeros(array.shape, bool)
    mask.flat[0] = True
    return np.ma.array(array, mask=mask)


@pytest.mark.parametrize("reference", [MASKED, UNKNOWN])
def test_masked_points_of_the_reference_are_left_out_of_scores(reference: np.ma.MaskedArray) -> None:
    kept = ~HIDDEN
    point = crps_ensemble(MEMBERS, REFERENCE)
    found = crps_ensemble(MEMBERS, reference)
    assert (np.ma.getmaskarray(found) == HIDDEN).all()
    assert found.mean() == pytest.approx(point[kept].mean(), rel=1e-12)

    scores = EnsembleScores()
    for frame in range(3):  # block by block is all at once
        scores.add(MEMBERS[:, frame : frame + 1], reference[frame : frame + 1])
    result, error = scores.result(), (MEMBERS.mean(axis=0) - REFERENCE)[kept]
    assert result.crps == pytest.approx(point[kept].mean(), rel=1e-12)
    assert result.relative_l1 == pytest.approx(np.abs(error).sum() / np.abs(REFERENCE[kept]).sum(), rel=1e-12)
    assert result.relative_l2 == pytest.approx(np.linalg.norm(error) / np.linalg.norm(REFERENCE[kept]), rel=1e-12)
    assert result.skill == pytest.approx(np.sqrt(np.square(error).mean()), rel=1e-12)
    variance = MEMBERS.var(axis=0, ddof=1)[kept].mean() * 6 / 5
    assert result.spread == pytest.approx(np.sqrt(variance), rel=1e-12)
    assert result.histogram.sum() == kept.sum()
    inside = [point[frame][kept[frame]].mean() for frame in range(3)]
    np.testing.assert_allclose(scores.series()["crps"], inside, rtol=1e-12)


def test_masked_points_of_normal_and_published_scores() -> None:
    mean, std, kept = MEMBERS.mean(axis=0), MEMBERS.std(axis=0), ~HIDDEN
    point = crps_normal(mean, std, REFERENCE)
    assert crps_normal(mean, std, MASKED).mean() == pytest.approx(point[kept].mean(), rel=1e-12)
    published = PublishedScoring()
    published.add(mean, std, UNKNOWN)
    inside = np.abs(mean - REFERENCE) <= std
    assert published.result().crps == pytest.approx(point[kept].mean(), rel=1e-12)
    assert published.result().picp_percent[1] == pytest.approx(100 * inside[kept].mean(), rel=1e-12)
    assert published.result().mpiw[2] == pytest.approx(4 * std[kept].mean(), rel=1e-12)


def test_masked_members_and_frames() -> None:
    members = np.ma.array(MEMBERS.copy(), mask=False)
    members[2, 1, 0, 3, 3] = np.ma.masked  # one member unknown there: the point is left out
    members.data[2, 1, 0, 3, 3] = np.nan
    point = crps_ensemble(MEMBERS, REFERENCE)
    point[1, 0, 3, 3] = np.nan
    scores = EnsembleScores()
    scores.add(members, REFERENCE)
    assert scores.result().crps == pytest.approx(np.nanmean(point), rel=1e-12)
    with pytest.raises(ValueError, match="reference holds 1 of 96 numbers that are not finite"):
        EnsembleScores().add(MEMBERS, np.where(np.arange(96).reshape(3, 2, 4, 4) == 5, np.nan, REFERENCE))
    frame = np.ma.array(REFERENCE, mask=False)
    frame[1] = np.ma.masked
    series = EnsembleScores()
    series.add(MEMBERS, frame)
    assert np.isnan(series.series()["crps"]).tolist() == [False, True, False]
    assert np.isnan(series.series()["skill"]).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="all of 96 numbers are masked"):
        crps_ensemble(MEMBERS, np.ma.array(REFERENCE, mask=True))


def test_masked_points_of_series_and_distributions() -> None:
    kept = ~HIDDEN
    error = [
        np.linalg.norm((MEMBERS[0, t] - REFERENCE[t])[kept[t]]) / np.linalg.norm(REFERENCE[t][kept[t]])
        for t in range(3)
    ]
    np.testing.assert_allclose(relative_l2_series(MEMBERS[0], MASKED), error, rtol=1e-12)
    np.testing.assert_allclose(relative_l2_series(MEMBERS, UNKNOWN)[0], error, rtol=1e-12)
    assert wasserstein(MASKED, MEMBERS) == pytest.approx(wasserstein(REFERENCE[kept], MEMBERS), rel=1e-12)
    masked, plain = Histogram(-4, 4, 40), Histogram(-4, 4, 40)
    masked.add(UNKNOWN)
    plain.add(REFERENCE[kept])
    assert masked.count == kept.sum()
    assert masked.distance(plain) == 0.0
    slices = SlicedHistograms(1, lower=-4, upper=4, bins=40)
    slices.add(MASKED)
    assert [part.count for part in slices.slices] == kept.sum(axis=(1, 2, 3)).tolist()


NEED_ALL: list[tuple[str, Callable[[Any], Any], np.ndarray]] = [
    ("energy", kinetic_energy, velocity(3)),
    ("spectrum", energy_spectrum, velocity()),
    ("vorticity", vorticity, velocity(2)),
    ("vorticity correlation", lambda v: vorticity_correlation(v, v), velocity(2)),
    ("flow", lambda v: FlowStatistics(30.0).add(v), velocity(2)),
    ("shell", resolving_shell, RNG.random(5)),
    ("published row", lambda v: trajectory_scores(v, v), velocity(4)),
    ("published table", lambda v: trajectory_table_errors(v, v), velocity(4)),
    ("published ensemble", ensemble_mean_and_std, velocity(4)),
    ("time", lambda e: valid_prediction_time(e, 0.1), RNG.random(4)),
    ("correlation time", lambda e: correlation_time(e, 0.1), RNG.random(4)),
    ("errors", spread, RNG.random(4)),
    ("mean", mean_per_step, RNG.random((4, 3))),
    ("quantile", quantile_per_step, RNG.random((4, 3))),
    ("steps", lambda e: steps_below_threshold(e, 0.5), RNG.random((4, 3))),
    ("front", lambda e: on_front(e, e), RNG.random(4)),
    ("typical", lambda e: aggregate(e, "median"), RNG.random(4)),
    ("courant", lambda v: courant_number(v, Grid((8, 8)), 0.1), velocity()),
    ("moments", lambda x: Moments.of(x[None], x[:]), RNG.random((4, 4))),
    ("pearson", lambda x: pearson(x, x), RNG.random((2, 4))),
    ("pod", lambda x: fit_pod(x, 2), velocity(5)),
    ("modes", mode_power, velocity(5)),
    ("filter", SpectralCutoff(2.0), velocity(5)),
    ("pairs", lambda x: check_pairs(x, x), velocity(5)),
]


@pytest.mark.parametrize(("function", "values"), [case[1:] for case in NEED_ALL], ids=[case[0] for case in NEED_ALL])
def test_masks_are_never_lost(function: Callable[[Any], Any], values: np.ndarray) -> None:
    """Functions that need all numbers refuse masks; a mask that hides nothing is none."""
    with pytest.raises(ValueError, match="masked"):
        function(hidden(values))
    function(np.ma.array(values, mask=False))


@pytest.mark.parametrize("name", ["energy", "spectrum", "vorticity", "flow", "shell", "published row",
    "published table", "published ensemble", "courant", "moments", "pod", "modes", "pairs"])  # fmt: skip
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(name: str, bad: float) -> None:
    (function, values), = (case[1:] for case in NEED_ALL if case[0] == name)  # fmt: skip
    values = values.copy()
    values.flat[0] = bad
    with pytest.raises(ValueError, match="finite"):
        function(values)


def test_types_of_numbers() -> None:
    whole = np.asarray([[3, -128], [7, 127]], np.int8)
    assert (
        crps_ensemble(whole, np.asarray([0, -128], np.int8)).tolist()
        == crps_ensemble(whole.astype(float), np.asarray([0.0, -128.0])).tolist()
    )
    scores = EnsembleScores()
    scores.add(np.full((2, 1, 1, 4), -128, np.int8), np.full((1, 1, 4), -128, np.int8))
    assert scores._sums["absolute reference"].tolist() == [[512.0]]  # not |-128| in eight bits
    assert relative_l2_series(np.full((1, 1, 2, 2), 200, np.uint8), np.full((1, 1, 2, 2), 100, np.uint8)) == [1.0]
    # An event that happened or not: 1 or 0.
    events = np.asarray([[True], [True], [False], [False]])
    assert crps_ensemble(events, np.asarray([True]), fair=False).tolist() == [0.25]
    assert crps_ensemble([1.0, 2.0], 1.5, fair=False) == pytest.approx(
        0.25
    )  # lists, and a reference that is one number
    for narrow in (np.float16, jnp.bfloat16):
        many = np.full((1, 2, 64, 64), 40.0)
        members = jnp.asarray(np.stack([many, many + 1]), narrow)
        block = EnsembleScores()
        block.add(members, jnp.asarray(many, narrow))
        assert block.result().relative_l1 == pytest.approx(0.5 / 40, rel=1e-12)
        assert block.result().skill == pytest.approx(0.5, rel=1e-12)
        assert energy_spectrum(jnp.asarray(many, narrow)).sum() == pytest.approx(1600.0)
    for wrong in (REFERENCE + 0j, REFERENCE.astype(object), REFERENCE.astype(str), REFERENCE.astype("M8[s]")):
        for function in (
            lambda x: crps_ensemble(x[None], REFERENCE), lambda x: relative_l2_series(x, REFERENCE), kinetic_energy,
            wasserstein_of, spread, lambda x: Histogram().add(x),
        ):  # fmt: skip
            with pytest.raises(ValueError, match="expected real numbers, got"):
                function(wrong)


def wasserstein_of(values: Any) -> float:
    return wasserstein(values, REFERENCE)


def test_wrong_orders_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(member, \*reference\)"):
        crps_ensemble(np.moveaxis(MEMBERS, 0, -1), REFERENCE)
    with pytest.raises(ValueError, match=r"component=2, x, y"):
        kinetic_energy(np.moveaxis(velocity(3), -3, -1))
    with pytest.raises(ValueError, match=r"\(time, component=2, x, y\)"):
        trajectory_scores(velocity(), velocity())  # a single frame: its components are no times
    with pytest.raises(ValueError, match=r"\(time, component, \*grid\)"):
        trajectory_table_errors(REFERENCE[0, 0], REFERENCE[0, 0])
    with pytest.raises(ValueError, match=r"\(time,\)"):
        valid_prediction_time(np.zeros((3, 1)), 0.1)
    with pytest.raises(ValueError, match="single number"):
        ensemble_mean_and_std(np.float64(3.0))


def test_lists_keep_masks() -> None:
    part = np.ma.masked_equal([1.0, -9.0], -9.0)
    array, mask = masked_numbers([part, [3.0, 4.0]], "x")
    assert array.tolist() == [[1.0, 0.0], [3.0, 4.0]]
    assert mask is not None
    assert mask.tolist() == [[False, True], [False, False]]
    with pytest.raises(ValueError, match="1 of 4 numbers are masked"):
        real_numbers([[part], [np.asarray([3.0, 4.0])]], "x")


def test_distances_of_histograms_with_values_on_edges_and_beyond() -> None:
    for first, second, exact in (
        ([0, 1, 0.5, -1, 2], [0, 0, 0.5, 1, 1], 0.4),
        ([0.25, 0.25], [0.25, 0.75], 0.25),
        ([0.13], [0.18], 0.05),
        ([0.31, 0.92, 5.0], [0.31, 0.92, 1.0], 4 / 3),
    ):
        a, b = Histogram(0, 1, 10), Histogram(0, 1, 10)
        a.add(np.asarray(first, float))
        b.add(np.asarray(second, float))
        assert a.distance(b) == pytest.approx(exact, abs=1e-12)
        assert exact == pytest.approx(wasserstein(first, second), abs=1e-12)
    far = RNG.normal(0.5, 0.5, 3000)
    inside = np.clip(RNG.normal(0.6, 0.3, 2000), 0, 1)
    a, b = Histogram(0, 1, 100), Histogram(0, 1, 100)
    for part in np.split(far, 3):
        a.add(part)
    b.add(inside)
    assert a.distance(b) == pytest.approx(wasserstein(far, inside), abs=1e-3)


@pytest.mark.parametrize("kind", [np.uint8, np.int32, bool])
def test_whole_numbers_are_no_fields(kind: Any) -> None:
    with pytest.raises(ValueError, match="a state of floating-point numbers; got"):
        check_floating("a state", np.ones((1, 4, 4), kind))
    for wide in (np.float32, jnp.bfloat16, np.complex64):
        check_floating("a state", jnp.ones((1, 4, 4), wide))


def test_frames_are_real_and_not_masked(tmp_path: Path) -> None:
    frames = RNG.normal(size=(2, 2, 8, 8))
    description = FlowDescription(
        points=8, frames=2, interval=0.1, forcing=1, reynolds=(30.0,), identities=("a",), precision="float64"
    )
    beside = (np.ones(2), np.ones(2))
    with new_flow(tmp_path / "a.zarr", description) as writer:
        for wrong in (frames + 1j, hidden(frames), frames.astype(object)):
            with pytest.raises(ValueError, match=r"velocity: .*(masked|real numbers)"):
                writer.write(0, 0, wrong, *beside)
            with pytest.raises(ValueError, match=r"velocity: .*(masked|real numbers)"):
                writer.write_all(0, 0, wrong)
        writer.write(0, 0, frames.tolist())
    np.testing.assert_array_equal(open_flow(tmp_path / "a.zarr").read(0), frames)
