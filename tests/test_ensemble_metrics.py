"""Scores of probabilistic predictions: CRPS, intervals, spread and skill, ranks, and the published scoring."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from closura.metrics.ensembles import EnsembleScores, crps_ensemble, crps_normal, members_needed
from closura.metrics.ensembles.published import PublishedScoring, ensemble_mean_and_std
from closura.metrics.ensembles.scores import interval_ranks
from closura.reproductions.scale_separation_scores import (
    prediction_limit_error,
    trajectory_table_errors,
)

EXPECTED_CRPS = 1 / math.sqrt(math.pi)
"""E CRPS of N(0, 1) for references drawn from it: E|X - X'| - E|X - X'| / 2, with E|X - X'| = 2 / sqrt(pi)."""


def draws(members, points, seed=0, shape=(), dtype=np.float64):
    """A calibrated ensemble whose centre and spread differ from point to point, and the reference."""
    generator = np.random.default_rng(seed)
    shape = shape or (1, 1, points)
    centre, spread = generator.uniform(-2, 2, shape), generator.uniform(0.5, 1.5, shape)
    prediction = centre + spread * generator.standard_normal((members, *shape))
    reference = centre + spread * generator.standard_normal(shape)
    return prediction.astype(dtype), reference.astype(dtype)


def direct_crps(members, reference, pairs):
    """The definition with all M^2 differences."""
    distance = np.abs(members - reference).mean(axis=0)
    return distance - np.abs(members[:, None] - members[None]).sum(axis=(0, 1)) / (2 * pairs)


@pytest.mark.parametrize("members", [2, 3, 7, 50])
def test_crps_by_sorting_is_the_definition(members):
    prediction, reference = draws(members, 40)
    # sums of 50 numbers of order one: rounding only
    np.testing.assert_allclose(
        crps_ensemble(prediction, reference), direct_crps(prediction, reference, members * (members - 1)), atol=1e-13
    )
    np.testing.assert_allclose(
        crps_ensemble(prediction, reference, fair=False), direct_crps(prediction, reference, members**2), atol=1e-13
    )


def test_plain_crps_is_the_integral():
    members, reference = np.array([[-1.0], [0.5], [2.0]]), np.array([0.7])
    step = lambda x: (np.mean(members[:, 0] <= x) - (x >= reference[0])) ** 2
    value, _ = integrate.quad(step, -2, 3, points=[-1, 0.5, 0.7, 2.0])
    assert crps_ensemble(members, reference, fair=False)[0] == pytest.approx(value, abs=1e-9)  # piecewise constant


def test_crps_of_one_member_is_the_absolute_error():
    prediction, reference = draws(1, 30)
    for fair in (True, False):
        np.testing.assert_allclose(
            crps_ensemble(prediction, reference, fair=fair), np.abs(prediction[0] - reference), rtol=0
        )


def test_crps_is_not_moved_by_a_large_mean():
    prediction, reference = draws(9, 200)
    moved = crps_ensemble(prediction + 1e6, reference + 1e6)
    np.testing.assert_allclose(moved, crps_ensemble(prediction, reference), atol=1e-8)  # 1e6 leaves 1e-10 of a number


@pytest.mark.parametrize("members", [2, 5, 50])
def test_fair_crps_has_the_same_mean_for_every_size(members):
    generator = np.random.default_rng(members)
    score = crps_ensemble(generator.standard_normal((members, 100_000)), generator.standard_normal(100_000))
    standard_error = score.std() / math.sqrt(score.size)
    assert abs(score.mean() - EXPECTED_CRPS) < 4 * standard_error  # less than 1 in 10 000 by chance
    plain = crps_ensemble(generator.standard_normal((members, 100_000)), generator.standard_normal(100_000), fair=False)
    # The plain one lacks E|X - X'| / (2 M) of the spread.
    assert abs(plain.mean() - EXPECTED_CRPS * (1 + 1 / members)) < 4 * standard_error


def test_normal_crps():
    generator = np.random.default_rng(3)
    mean, std = generator.uniform(-1, 1, 20), generator.uniform(0.2, 2, 20)
    reference = generator.uniform(-3, 3, 20)
    for m, s, y, score in zip(mean, std, reference, crps_normal(mean, std, reference), strict=True):
        low, _ = integrate.quad(lambda x, m=m, s=s: stats.norm.cdf(x, m, s) ** 2, -30, y, epsabs=1e-11)
        high, _ = integrate.quad(lambda x, m=m, s=s: stats.norm.sf(x, m, s) ** 2, y, 30, epsabs=1e-11)
        assert score == pytest.approx(low + high, abs=1e-8)  # of the quadrature
    reference = generator.standard_normal(200_000)
    score = crps_normal(np.zeros(200_000), np.ones(200_000), reference)
    assert abs(score.mean() - EXPECTED_CRPS) < 4 * score.std() / math.sqrt(score.size)
    np.testing.assert_array_equal(crps_normal(mean, np.zeros(20), reference[:20]), np.abs(reference[:20] - mean))


@pytest.mark.parametrize("members", [6, 20, 33, 50])
def test_coverage_of_a_calibrated_ensemble_is_nominal(members):
    scores = EnsembleScores()
    points = 200_000
    scores.add(*draws(members, points, dtype=np.float32))
    result = scores.result()
    for level, coverage, width in zip(result.levels, result.coverage, result.width, strict=True):
        if members < members_needed(level):
            assert math.isnan(coverage)
            assert math.isnan(width)
        else:
            # Four standard errors of a frequency: 0.0045 at most.
            assert abs(coverage - level) < 4 * math.sqrt(level * (1 - level) / points)


def test_intervals_have_nominal_coverage_for_every_size():
    assert [members_needed(level) for level in (0.5, 0.68, 0.9, 0.95)] == [3, 6, 19, 39]
    for members in range(2, 60):
        for level in (0.01, 0.1, 0.5, 0.68, 0.9, 0.95):
            ranks = interval_ranks(members, level)
            assert bool(ranks) == (members >= members_needed(level))
            if ranks:
                # The interval from the a-th to the b-th member covers (b - a) / (M + 1) of exchangeable references.
                covered = sum(weight * (last - first) / (members + 1) for weight, first, last in ranks)
                assert covered == pytest.approx(level, abs=1e-12)
                assert all(weight > 0 and 0 <= first <= last < members for weight, first, last in ranks)


def test_width_is_that_of_interpolated_quantiles():
    prediction, reference = draws(50, 300)
    scores = EnsembleScores(levels=(0.9,))
    scores.add(prediction, reference)
    ends = np.quantile(prediction, [0.05, 0.95], axis=0, method="weibull")  # type 6
    assert scores.result().width[0] == pytest.approx((ends[1] - ends[0]).mean(), rel=1e-12)


def test_spread_and_ranks_of_a_calibrated_ensemble():
    for members in (4, 20):
        scores = EnsembleScores(levels=())
        scores.add(*draws(members, 100_000))
        result = scores.result()
        # 1e5 points: the ratio of two root mean squares is known to about 0.3 %
        assert result.spread_skill == pytest.approx(1, abs=0.015)
        expected = 100_000 / (members + 1)
        statistic = ((result.histogram - expected) ** 2 / expected).sum()
        assert result.histogram.shape == (members + 1,)
        assert statistic < stats.chi2.ppf(0.9999, members)


def test_overconfident_ensembles_show():
    prediction, reference = draws(20, 50_000)
    mean = prediction.mean(axis=0)
    scores = EnsembleScores()
    scores.add(mean + (prediction - mean) / 3, reference)
    result = scores.result()
    # The spread as defined is that of the members; a third of it remains.
    assert result.spread_skill == pytest.approx(1 / 3, abs=0.01)
    assert result.coverage[2] < 0.5
    assert result.histogram[0] + result.histogram[-1] > 0.5 * result.histogram.sum()


def test_ties_are_broken_at_random():
    generator = np.random.default_rng(5)
    reference = generator.integers(0, 3, (1, 1, 60_000)).astype(np.float64)
    members = generator.integers(0, 3, (5, 1, 1, 60_000)).astype(np.float64)

    def histogram(seed):
        scores = EnsembleScores(levels=(), generator=np.random.default_rng(seed))
        scores.add(members, reference)
        return scores.result().histogram

    counts = histogram(1)
    assert ((counts - 10_000) ** 2 / 10_000).sum() < stats.chi2.ppf(0.9999, 5)
    np.testing.assert_array_equal(counts, histogram(1))
    assert (counts != histogram(2)).any()


def test_one_member_and_members_without_spread():
    prediction, reference = draws(1, 0, shape=(3, 2, 4, 5))
    scores = EnsembleScores()
    scores.add(prediction, reference)
    result = scores.result()
    assert result.coverage == result.width == (0.0, 0.0, 0.0, 0.0)
    assert result.spread == result.spread_skill == 0
    assert result.crps == result.crps_plain == pytest.approx(np.abs(prediction[0] - reference).mean(), rel=1e-14)
    perfect = EnsembleScores()
    perfect.add(reference[None], reference)
    result = perfect.result()
    assert (result.relative_l2, result.crps, result.coverage[0]) == (0, 0, 0)
    assert math.isnan(result.spread_skill)
    same = EnsembleScores(levels=(0.5,))
    same.add(np.repeat(prediction, 4, axis=0), reference)
    assert same.result().crps == pytest.approx(np.abs(prediction[0] - reference).mean(), rel=1e-14)
    assert same.result().coverage == (0.0,)


def test_relative_errors_and_their_series():
    prediction, reference = draws(7, 0, shape=(5, 2, 6, 4))
    scores = EnsembleScores()
    scores.add(prediction, reference)
    result, series = scores.result(), scores.series()
    error = prediction.mean(axis=0) - reference
    exact = 1e-13  # sums of 240 numbers in another order
    assert result.relative_l1 == pytest.approx(np.abs(error).sum() / np.abs(reference).sum(), rel=exact)
    assert result.relative_l2 == pytest.approx(np.linalg.norm(error) / np.linalg.norm(reference), rel=exact)
    for component in range(2):
        part, true = error[:, component], reference[:, component]
        assert result.component_l1[component] == pytest.approx(np.abs(part).sum() / np.abs(true).sum(), rel=exact)
        assert result.component_l2[component] == pytest.approx(np.linalg.norm(part) / np.linalg.norm(true), rel=exact)
    assert result.skill == pytest.approx(np.sqrt((error**2).mean()), rel=exact)
    assert result.spread == pytest.approx(np.sqrt(prediction.var(axis=0, ddof=1).mean() * 8 / 7), rel=exact)
    for frame in range(5):
        expected = np.linalg.norm(error[frame]) / np.linalg.norm(reference[frame])
        assert series["relative_l2"][frame] == pytest.approx(expected, rel=exact)
    assert series["crps"].mean() == pytest.approx(result.crps, rel=exact)
    assert np.sqrt((series["spread"] ** 2).mean()) == pytest.approx(result.spread, rel=exact)


@pytest.mark.parametrize("kind", ["ensemble", "published"])
def test_blocks_and_merging_do_not_matter(kind, monkeypatch):
    prediction, reference = draws(6, 0, shape=(10, 2, 4, 4))
    maker = {"ensemble": EnsembleScores, "published": PublishedScoring}[kind]

    def feed(scores, part):
        if kind == "ensemble":
            scores.add(prediction[:, part], reference[part])
        else:
            mean, std = ensemble_mean_and_std(prediction[:, part])
            scores.add(mean, std, reference[part])
        return scores

    whole = feed(maker(), slice(None)).result()
    monkeypatch.setattr("closura.metrics.ensembles.scores._AT_ONCE", 500)  # two frames at a time
    blocks = feed(feed(maker(), slice(0, 3)), slice(3, 10)).result()
    merged = feed(maker(), slice(0, 7)).merge(feed(maker(), slice(7, 10))).merge(maker()).result()
    for other in (blocks, merged):
        for name, value in vars(whole).items():
            np.testing.assert_array_equal(
                list(value.values()) if isinstance(value, dict) else value,
                list(getattr(other, name).values()) if isinstance(value, dict) else getattr(other, name),
                err_msg=name,
            )


def test_single_precision_is_summed_in_double():
    prediction, reference = draws(20, 0, shape=(40, 2, 32, 32), dtype=np.float32)
    scores, jax_scores, exact = EnsembleScores(), EnsembleScores(), EnsembleScores()
    scores.add(prediction, reference)
    jax_scores.add(jnp.asarray(prediction), jnp.asarray(reference))
    exact.add(prediction.astype(np.float64), reference.astype(np.float64))
    for name in ("relative_l1", "relative_l2", "crps", "crps_plain", "coverage", "width", "spread", "skill"):
        # The same numbers, held in single precision: nothing but the order of sums may differ.
        np.testing.assert_allclose(getattr(scores.result(), name), getattr(exact.result(), name), rtol=1e-13)
        np.testing.assert_array_equal(getattr(scores.result(), name), getattr(jax_scores.result(), name))


def test_published_scores():
    generator = np.random.default_rng(4)
    shape = (10, 2, 64, 64)
    std = np.full(shape, 0.5)
    mean = generator.standard_normal(shape)
    reference = mean + std * generator.standard_normal(shape)
    scoring = PublishedScoring()
    scoring.add(mean, std, reference)
    result = scoring.result()
    for q, nominal in {1: 68.27, 2: 95.45, 3: 99.73}.items():
        tolerance = 400 * math.sqrt(nominal / 100 * (1 - nominal / 100) / reference.size)  # four standard errors
        assert abs(result.picp_percent[q] - nominal) < tolerance
        assert result.picp_percent[q] == pytest.approx(100 * (np.abs(reference - mean) <= q * std).mean(), rel=1e-12)
        assert result.mpiw[q] == pytest.approx(q, rel=1e-12)
    assert result.crps == pytest.approx(crps_normal(mean, std, reference).mean(), rel=1e-12)
    assert result.crps == pytest.approx(0.5 * EXPECTED_CRPS, rel=0.01)  # 8e4 points: 0.3 %
    assert result.relative_l1_percent == pytest.approx(100 * np.abs(mean - reference).sum() / np.abs(reference).sum())
    assert result.relative_l2_percent == pytest.approx(
        100 * np.linalg.norm(mean - reference) / np.linalg.norm(reference)
    )
    table = trajectory_table_errors(mean, reference)
    error = mean - reference
    assert table["l1"][1] == pytest.approx(np.abs(error[:, 1]).mean() / (np.abs(reference[:, 1]).mean() + 1e-8))
    assert table["l2"][0] == pytest.approx(np.linalg.norm(error[:, 0]) / np.linalg.norm(reference[:, 0]), rel=1e-9)


def test_published_limit():
    reference = np.ones((3, 1, 2, 2))
    reference[1] = 3
    error = prediction_limit_error(reference + 1, reference)
    np.testing.assert_allclose(error, [1, 1 / math.sqrt(5), 1 / math.sqrt(11 / 3)], rtol=1e-14)


def test_misuse_is_told():
    prediction, reference = draws(4, 0, shape=(3, 2, 4, 4))
    scores = EnsembleScores()
    with pytest.raises(ValueError, match="nothing was added"):
        scores.result()
    with pytest.raises(ValueError, match=r"an ensemble of one: prediction\[None\]"):
        scores.add(reference, reference)
    with pytest.raises(ValueError, match="at least one member"):
        scores.add(prediction[:0], reference)
    bad = prediction.copy()
    bad[2, 1, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="1 of 384 numbers that are not finite"):
        scores.add(bad, reference)
    with pytest.raises(ValueError, match=r"\(time, component, \*grid\)"):
        scores.add(prediction[0, 0], reference[0, 0])
    scores.add(prediction, reference)
    with pytest.raises(ValueError, match="the same number of members; got 3 after 4"):
        scores.add(prediction[:3], reference)
    with pytest.raises(ValueError, match="the same components and grid"):
        scores.add(prediction[..., :2], reference[..., :2])
    assert scores.result().frames == 3  # what was refused was not counted
    with pytest.raises(ValueError, match="same levels"):
        scores.merge(EnsembleScores(levels=(0.5,)))
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        EnsembleScores(levels=(50.0,))
    with pytest.raises(ValueError, match="cannot be negative"):
        PublishedScoring().add(reference, -np.ones_like(reference), reference)
    with pytest.raises(ValueError, match="same shape"):
        crps_normal(reference[0], reference, reference)
    zero = EnsembleScores()
    zero.add(prediction, np.zeros_like(reference))
    assert math.isnan(zero.result().relative_l2)
