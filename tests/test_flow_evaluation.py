"""Studies of closures and reduced-order models on small synthetic flows, by numbers that can be worked out by hand."""

import json
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.core import Results
from closura.io.locks import FolderInUse, locked
from closura.offline.baselines import Climatology, Persistence
from closura.offline.closure_scoring import score_closures
from closura.offline.comparisons import ClosureComparison, ModelComparison, choose_starts, spread_frames
from closura.offline.ensembles import close, write_rollout
from closura.offline.filters import SpectralCutoff
from closura.offline.fitted import load_fitted_closure, load_fitted_model
from closura.offline.gaussian_process import GaussianProcessSampler, GaussianProcessSettings
from closura.offline.held_out import TimeWindow, choose_windows, common_filter
from closura.offline.model_reference import reference_trajectories
from closura.offline.model_scoring import score_models
from closura.offline.numbers import closure_entry, study_of
from closura.offline.rom import ReducedOrderModel, reduced_model, save_model
from closura.offline.run_scores import fates
from closura.offline.sampler import load_sampler, save_sampler
from closura.offline.variables import scores_of
from closura.plain import plain
from closura.reporting.figure import figures_of
from closura.reporting.numbers import all_numbers
from closura.reporting.publish import publish
from closura.reporting.table import tables_of
from closura.reporting.tables import write_json
from closura.trajectories import FlowDescription, new_flow, open_flow

POINTS, FRAMES, INTERVAL, WINDOW = 16, 60, 0.1, 2
FILTER = SpectralCutoff(3.0)
CHOSEN = spread_frames(TimeWindow(4, range(FRAMES)), 12, None)


@reduced_model("toy", settings=dict)
class Toy(ReducedOrderModel):
    """The last frame, multiplied by a number and stirred."""

    growth: float = eqx.field(static=True)
    noise: float = eqx.field(static=True)

    @property
    def window(self):
        return WINDOW

    def start(self, frames, *, key):
        return frames[-1].ravel()

    def step(self, carry, *, key):
        noise = jnp.asarray(self.noise, carry.dtype) * jax.random.normal(key, (), carry.dtype)
        z = jnp.asarray(self.growth, carry.dtype) * carry * (1 + noise)
        return z, z

    def decode(self, latent):
        return latent.reshape(2, POINTS, POINTS)

    def state(self):
        return {"nothing": np.zeros(1, np.float32)}

    def facts(self):
        return {"growth": self.growth, "noise": self.noise}

    @classmethod
    def from_state(cls, arrays, facts):
        return cls(facts["growth"], facts["noise"])


def flow_frames(seed, frames=FRAMES):
    """Travelling vortices without divergence, float32."""
    rng = np.random.default_rng(seed)
    x = 2 * np.pi * np.arange(POINTS) / POINTS
    t = INTERVAL * np.arange(frames)
    u = np.zeros((frames, POINTS, POINTS))
    v = np.zeros_like(u)
    for kx, ky in ((1, 1), (2, 1), (1, 2), (0, 4), (3, 4), (5, 1)):
        a, phase, speed = rng.uniform(0.3, 1.0), rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.0)
        wave = kx * x[:, None] + ky * x[None] + phase + speed * t[:, None, None]
        u += -a * ky * np.sin(wave) / np.hypot(kx, ky)
        v += a * kx * np.sin(wave) / np.hypot(kx, ky)
    return np.stack([u, v], axis=1).astype(np.float32)


def write_flow(path, *, seeds=(0, 1, 2, 3, 4), reynolds=34.0, points=POINTS, forcing=4, interval=INTERVAL):
    numbers = reynolds if isinstance(reynolds, tuple) else (reynolds,) * len(seeds)
    description = FlowDescription(
        points=points, frames=FRAMES, interval=interval, forcing=forcing, reynolds=numbers,
        identities=tuple(f"synthetic-{seed}" for seed in seeds),
    )  # fmt: skip
    with new_flow(path, description) as writer:
        for i, seed in enumerate(seeds):
            frames = flow_frames(seed)
            writer.write(i, 0, frames if points == POINTS else np.zeros((FRAMES, 2, points, points), np.float32))
    return open_flow(path)


def facts(data, *, train=(0, 1, 2), validation=(3,), test=(4,)):
    def segments(numbers):
        return [
            {"simulation": data.identities[i], "trajectory": i, "start": 0, "stop": data.frames, "step": 1}
            for i in numbers
        ]

    return {
        "data": str(data.path), "filter": FILTER.plain(), "forcing": data.forcing, "interval": data.interval,
        "points": data.points, "reynolds": [34.0], "train": segments(train), "validation": segments(validation),
        "test": segments(test),
    }  # fmt: skip


def climatology_of(data, numbers):
    frames = np.concatenate([data.read(i) for i in numbers])
    return Climatology(frames.mean(axis=0), frames.std(axis=0), frames)


def closure_run(folder, data, *, metadata=None, frames=(0, 1, 2)):
    """A run whose closure is climatology under another name: quick, random, and known."""
    folder.mkdir()
    closure = climatology_of(data, frames)
    save_sampler(folder / "weights.safetensors", closure, metadata=metadata or facts(data))
    save_sampler(folder / "climatology.safetensors", climatology_of(data, (0, 1, 2)), metadata={})
    (folder / "status.json").write_text(json.dumps({"state": "finished", "seconds": 12.5}))
    return folder


def model_run(folder, data, *, growth=1.0, noise=0.05, metadata=None):
    folder.mkdir()
    own = {**facts(data), "every_frames": 2} if metadata is None else metadata
    save_model(folder / "weights.safetensors", Toy(growth, noise), metadata=own)
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("flows")
    data = write_flow(root / "flow.zarr")
    return {
        "root": root, "data": data, "closure": closure_run(root / "toy", data), "model": model_run(root / "rom", data),
    }  # fmt: skip


def closure_study(world, **changes):
    data = world["data"]
    windows = (TimeWindow(4, range(FRAMES)),)
    frames = tuple(spread_frames(s, 12, None) for s in windows)
    settings = {"members": 20, "seed": 3, **changes}
    return ClosureComparison(data, FILTER, windows, frames, **settings)


@pytest.fixture(scope="module")
def closures(world):
    subject = load_fitted_closure("toy", world["closure"])
    return score_closures(closure_study(world), [subject])


def test_frames_lie_in_the_middle_of_equal_parts():
    assert spread_frames(TimeWindow(0, range(10, 20)), 2, None).tolist() == [12, 17]
    assert spread_frames(TimeWindow(0, range(10, 20)), None, 4).tolist() == [10, 14, 18]
    with pytest.raises(ValueError, match="--frames or --every"):
        spread_frames(TimeWindow(0, range(10)), 2, 2)


def test_rows_that_every_table_has_are_those_of_hand_calculation(world, closures):
    chosen = CHOSEN
    full = world["data"].read(4).astype(np.float64)[chosen]
    first = world["data"].read(4, 0, 1)[0].astype(np.float64)
    for name, prediction in (("none", FILTER(full)), ("persistence", np.broadcast_to(first, full.shape))):
        found = closure_entry(closures, name)
        error = np.abs(prediction - full)
        # Fields are single precision, sums double.
        assert found["relative_l1"] == pytest.approx(error.sum() / np.abs(full).sum(), rel=1e-5)
        assert found["relative_l2"] == pytest.approx(np.linalg.norm(error) / np.linalg.norm(full), rel=1e-5)
        assert found["crps"] == pytest.approx(error.mean(), rel=1e-5)
        assert found["coverage"]["90"] == 0
        assert found["interval_width_90"] == 0


def test_climatology_is_the_one_of_the_run(world, closures):
    data = world["data"]
    train = np.concatenate([data.read(i) for i in (0, 1, 2)]).astype(np.float64)
    full = data.read(4).astype(np.float64)[CHOSEN]
    # The mean of 20 draws scatters about the climate's: error^2 = (y - m)^2 + s^2 / 20 in expectation.
    expected = np.sqrt((np.square(full - train.mean(0)) + train.var(0) / 20).sum() / np.square(full).sum())
    found = closure_entry(closures, "climatology")
    assert found["relative_l2"] == pytest.approx(expected, rel=0.03)


def test_the_same_seed_and_frames_for_all_rows(closures):
    # The toy closure is the climatology of the same frames: with the same keys both draw the same samples.
    climate, toy = (scores_of(closures, name) for name in ("climatology", "toy"))
    assert climate.crps == toy.crps
    assert np.array_equal(climate.histogram, toy.histogram)


def test_json_layout(closures, tmp_path):
    found = json.loads(write_json(closures, tmp_path / "c.json").read_text())
    assert list(found["methods"]) == ["none", "persistence", "climatology", "toy"]
    for entry in found["methods"].values():
        assert set(entry["coverage"]) == {"50", "68", "90", "95"}
        for key in ("relative_l1", "relative_l2", "crps", "interval_width_90", "seconds_per_frame"):
            assert isinstance(entry[key], float), key
        assert entry["flow"]["spectrum_ratio"]["shells"][0] == 1
        assert entry["spread_over_parts"]["crps"]["n"] == 5
    assert found["methods"]["toy"]["coverage"]["95"] is None  # 20 members have no such interval
    assert found["methods"]["toy"]["training_seconds"] == 12.5
    assert found["frames"] == 12


def test_a_perfect_closure_scores_perfectly(world, tmp_path):
    data = world["data"]
    frame = data.read(4, 7, 8)[0]
    save_sampler(tmp_path / "held.safetensors", Persistence(frame), metadata=facts(data))
    study = ClosureComparison(data, FILTER, (TimeWindow(4, range(FRAMES)),), (np.array([7]),), 20)
    result = score_closures(study, [load_fitted_closure("held", tmp_path / "held.safetensors")])
    found = closure_entry(result, "held")
    assert found["relative_l2"] == 0
    assert found["flow"]["spectrum_ratio"]["largest_deviation"] == pytest.approx(0, abs=1e-12)
    assert found["flow"]["energy_distance"] == pytest.approx(0, abs=1e-15)  # differences of means within bins
    assert "climatology" not in result.methods
    assert "that row is missing" in study_of(result)["notes"][0]


def test_samples_that_are_not_finite_are_counted_and_spoil_the_score(world, tmp_path):
    data = world["data"]
    broken = climatology_of(data, (0,))
    frames = broken.frames.copy()
    frames[:6] = np.nan
    lost = Climatology(broken.mean, broken.std, frames)
    save_sampler(tmp_path / "lost.safetensors", broken, metadata=facts(data))
    # No file holds such a closure: what is not finite is refused when it is read.
    subject = replace(load_fitted_closure("lost", tmp_path / "lost.safetensors"), closure=lost)
    result = score_closures(closure_study(world), [subject])
    entry = plain(closure_entry(result, "lost"))
    assert entry["diverged_samples"] > 0
    assert entry["frames_left_out"] > 0
    assert entry["crps"] is None
    assert entry["coverage"] == {"50": None, "68": None, "90": None, "95": None}
    if entry["frames_left_out"] < 12:
        assert entry["of_finite_frames"]["crps"] > 0
    assert "∞" in dict(tables_of(result)[0].rows)["lost"][1]  # after the role


def test_published_scoring_is_labelled_everywhere(world, tmp_path):
    result = score_closures(closure_study(world, scoring="published"), [load_fitted_closure("toy", world["closure"])])
    found = json.loads(write_json(result, tmp_path / "p.json").read_text())
    assert found["scoring"] == "published"
    entry = found["methods"]["none"]
    scores = [key for key in entry if "crps" in key or "l1" in key or "l2" in key or "picp" in key]
    assert scores
    assert all(key.startswith("published_") for key in scores)
    full = world["data"].read(4).astype(np.float64)[CHOSEN]
    expected = 100 * np.linalg.norm(FILTER(full) - full) / np.linalg.norm(full)
    assert entry["published_relative_l2_percent"] == pytest.approx(expected, rel=1e-5)
    assert "coverage" not in entry
    published = publish(result, tmp_path / "out", title="published")
    assert "Published scoring" in published.report.read_text()


def test_report_of_closures(closures, tmp_path):
    published = publish(closures, tmp_path / "out", title="closures")
    text = published.report.read_text()
    expected = {"groups", "cost", "series", "samples", "calibration", "energies", "flow_spectra", "space_time"}
    assert set(published.figures) == expected
    assert text.count("<figure>") == len(expected)
    assert "http://" not in text.split("Sources")[0]
    lines = published.csv.read_text().splitlines()
    assert lines[0].startswith("method,scoring,relative_l1")
    assert len(lines) == 5


def test_trajectories_that_were_seen_are_refused(world):
    subject = load_fitted_closure("toy", world["closure"])
    data = world["data"]
    assert choose_windows([subject], data) == (TimeWindow(4, range(FRAMES)),)
    for seen in (1, 3):
        with pytest.raises(
            ValueError, match=f"trajectory {seen} was seen in training or validation by toy.*allow-leak"
        ):
            choose_windows([subject], data, (seen,))
    assert choose_windows([subject], data, (1,), allow_leak=True)[0].trajectory == 1
    with pytest.raises(ValueError, match="trajectories 0 to 4; got 9"):
        choose_windows([subject], data, (9,))


def test_identities_tell_leaks_in_other_files_too(world, tmp_path):
    subject = load_fitted_closure("toy", world["closure"])
    other = write_flow(tmp_path / "other.zarr", seeds=(7, 2, 8))
    assert [s.trajectory for s in choose_windows([subject], other)] == [0, 2]
    only = write_flow(tmp_path / "only.zarr", seeds=(1, 2))
    with pytest.raises(ValueError, match="every trajectory"):
        choose_windows([subject], only)


def test_a_split_in_time_leaves_its_test_frames(world, tmp_path):
    data = world["data"]
    parts = {"train": (0, 30), "validation": (32, 40), "test": (45, 60)}
    own = facts(data)
    for name, (start, stop) in parts.items():
        own[name] = [
            {"simulation": data.identities[i], "trajectory": i, "start": start, "stop": stop, "step": 1}
            for i in range(5)
        ]
    subject = load_fitted_closure("timed", closure_run(tmp_path / "timed", data, metadata=own))
    assert choose_windows([subject], data) == tuple(TimeWindow(i, range(45, 60)) for i in range(5))
    # Interleaved frames are no held-out ones.
    for i, name in enumerate(("train", "test")):
        own[name] = [{**segment, "start": i, "stop": 60, "step": 2} for segment in own[name]]
    subject = load_fitted_closure("woven", closure_run(tmp_path / "woven", data, metadata=own))
    with pytest.raises(ValueError, match="every trajectory"):
        choose_windows([subject], data)


def test_closures_must_share_a_filter(world, tmp_path):
    data = world["data"]
    own = {**facts(data), "filter": {"filter": "gaussian", "width": 1.0}}
    both = [
        load_fitted_closure("toy", world["closure"]),
        load_fitted_closure("wide", closure_run(tmp_path / "wide", data, metadata=own)),
    ]
    with pytest.raises(ValueError, match=r"filters differ: toy has spectral \(cutoff 3\), wide has gaussian"):
        common_filter(both, POINTS)
    # Cut-offs between the same waves are the same filter: the next wave after 3 is |(3, 1)| = 3.16.
    assert common_filter(both[:1], POINTS, SpectralCutoff(3.1)).plain()["cutoff"] == 3.1


# Reduced-order models


def run_models(world, *, closure=None, folder=None, **changes):
    model = load_fitted_model("rom", folder or world["model"])
    windows = (TimeWindow(4, range(FRAMES)),)
    starts = choose_starts([model], world["data"], windows, 2, 12)
    settings = {"steps": 40, "members": 6, "slice_steps": 10, "lyapunov": 0.068, **changes}
    study = ModelComparison(world["data"], windows, starts, closure=closure, **settings)
    return score_models(study, [model], climate=world["data"].read(0))


@pytest.fixture(scope="module")
def models(world):
    return run_models(world, closure=load_fitted_closure("toy", world["closure"]))


def test_starts_are_spread_over_the_first_half(world):
    model = load_fitted_model("rom", world["model"])
    # A window of 2 steps of 2 frames spans 3 frames; a step takes 2 more: 55 of 60 are left to move in.
    assert choose_starts([model], world["data"], [TimeWindow(4, range(FRAMES))], 3, 10) == ((0, 13, 27),)
    assert choose_starts([model], world["data"], [TimeWindow(4, range(20, 60))], 1, 10) == ((20,),)
    with pytest.raises(ValueError, match="do not fit"):
        choose_starts([model], world["data"], [TimeWindow(4, range(56, 60))], 1, 10)


def test_persistence_forecast_by_hand(world, models):
    data = world["data"]
    frames = FILTER(data.read(4)).astype(np.float64)
    first = study_of(models)["starts"][0]["first_frame"]
    held, reference = frames[first + 2], frames[first + 4 :: 2][: len(models.times[1:])]
    expected = np.linalg.norm((held - reference).reshape(len(reference), -1), axis=1)
    expected /= np.linalg.norm(reference.reshape(len(reference), -1), axis=1)
    np.testing.assert_allclose(
        models.of("relative_l2", "persistence")[0, 1:], expected, rtol=1e-5
    )  # single precision fields
    failed = expected > 0.5
    valid = models.times[1:][np.argmax(failed)] if failed.any() else models.times[1:][-1]
    assert models.of("valid_time", "persistence")[0] == pytest.approx(valid)
    assert bool(models.of("valid_time_censored", "persistence")[0]) != failed.any()
    entry = all_numbers(models)["methods"]["persistence"]["valid_time"]
    assert entry["lyapunov_times"] == pytest.approx(entry["mean"] * 0.068)
    np.testing.assert_allclose(models.times[1:], 0.2 * np.arange(1, len(models.times[1:]) + 1))


def test_leads_end_with_the_reference(models):
    # The later start is at frame 27: its window ends at 29, and 15 steps of 2 frames fit into 59.
    assert [start["first_frame"] for start in study_of(models)["starts"]] == [0, 27]
    assert len(models.times[1:]) == 15


def test_model_numbers(models, tmp_path):
    found = json.loads(write_json(models, tmp_path / "m.json").read_text())
    assert list(found["methods"]) == ["persistence", "climatology", "rom"]
    entry = found["methods"]["rom"]
    assert entry["runs"] == 12
    assert len(entry["lead_time"]["crps"]) == 15
    for kind in ("filtered", "unclosed", "closed"):
        distances = entry["energy_distance"][kind]
        assert len(distances["pooled"]) == len(distances["single_mean"]) == 4
        assert distances["bar"] > 0
        assert distances["bar_from"] == 15  # three full slices of 10 steps of each of five trajectories
    assert entry["seconds_per_step"] > 0
    assert found["reference"] == "all 5 trajectories of the data set"
    assert found["lyapunov_exponent"] == 0.068


def test_slices_longer_than_the_run_are_refused(world):
    with pytest.raises(ValueError, match=r"slices of 50 steps do not fit into runs of 40 steps: give --slice"):
        run_models(world, slice_steps=50)


def test_the_reference_has_the_reynolds_numbers_that_are_judged(tmp_path):
    data = write_flow(tmp_path / "mixed.zarr", reynolds=(34.0, 34.0, 60.0, 60.0, 34.0))
    assert reference_trajectories(data, [4]) == (
        [0, 1, 4], "the 3 trajectories of the data set at Reynolds number 34",
    )  # fmt: skip
    assert reference_trajectories(data, [2])[0] == [2, 3]
    assert reference_trajectories(data, [0, 2])[1] == "all 5 trajectories of the data set"
    assert reference_trajectories(data, [0, 1, 2, 3]) == ([0, 1, 2, 3], "the 4 evaluated trajectories")


def test_slices_and_bar_of_the_reference_are_of_one_reynolds_number(world, tmp_path):
    data = write_flow(tmp_path / "mixed.zarr", reynolds=(34.0, 34.0, 60.0, 60.0, 34.0))
    result = run_models({**world, "data": data})
    assert study_of(result)["reference"] == "the 3 trajectories of the data set at Reynolds number 34"
    # Three full slices of 10 steps of each of three trajectories.
    assert int(result.data["distance_bar_from"].sel(kind="filtered")) == 9


def test_a_model_that_stands_still_is_persistence(world, tmp_path):
    still = model_run(tmp_path / "still", world["data"], noise=0.0)
    result = run_models(world, folder=still)
    for score in ("relative_l2", "crps"):
        np.testing.assert_allclose(result.of(score, "rom"), result.of(score, "persistence"), rtol=1e-5)
    assert lost_members(result) == {"not_finite": 0, "blown_up": 0, "collapsed": 0}


def lost_members(result):
    return {key: result.data[key].sel({"method": "rom"}).item() for key in ("not_finite", "blown_up", "collapsed")}


@pytest.mark.parametrize(("growth", "fate"), [(1.2, "blown_up"), (0.8, "collapsed"), (1e6, "not_finite")])
def test_lost_members_are_counted(world, tmp_path, growth, fate):
    folder = model_run(tmp_path / "wild", world["data"], growth=growth)
    result = run_models(world, folder=folder)
    expected = {"not_finite": 0, "blown_up": 0, "collapsed": 0, fate: 12}
    assert lost_members(result) == expected
    text = json.loads(write_json(result, tmp_path / "m.json").read_text())
    last = text["methods"]["rom"]["lead_time"]["relative_l2"][-1]
    assert (last is None) == (fate == "not_finite")
    if fate == "not_finite":  # nothing to draw is no reason to fail
        publish(result, tmp_path / "out", title="models")


def test_fates_are_exclusive():
    energy = np.ones((4, 20))
    energy[1, 10:] = 4.0
    energy[2, :10] = 0.1
    energy[3, 19] = np.nan
    assert fates(energy, 10, 1.0) == {"not_finite": 1, "blown_up": 1, "collapsed": 1}


def test_report_of_models(models, tmp_path):
    published = publish(models, tmp_path / "out", title="models")
    assert {"lead_time", "energy_distances", "flow_spectra", "error_curves"} <= set(published.figures)
    assert published.report.read_text().count("<figure>") == len(published.figures)
    assert len(published.csv.read_text().splitlines()) == 1 + 3 * 15


@pytest.mark.parametrize("which", ["closures", "models"])
def test_saved_results_open_with_all_that_is_told(which, request, tmp_path):
    made = request.getfixturevalue(which)
    made.save(tmp_path)
    opened = Results.open(tmp_path)
    assert all_numbers(opened) == all_numbers(made)
    assert [each.rows for each in tables_of(opened)] == [each.rows for each in tables_of(made)]
    assert [kind.name for kind in figures_of(opened)] == [kind.name for kind in figures_of(made)]


# Rollouts


def roll(world, path, **changes):
    model = load_fitted_model("rom", changes.pop("folder", world["model"]))
    settings = {"trajectories": (4,), "steps": 7, "members": 3, **changes}
    return write_rollout(
        model, changes.get("data", world["data"]), path, **{k: v for k, v in settings.items() if k != "data"}
    )


def test_rollout_is_a_data_set_with_provenance(world, tmp_path):
    result = roll(world, tmp_path / "r.zarr", trajectories=(4, 1), first_frame=5)
    data = open_flow(tmp_path / "r.zarr")
    assert (data.trajectories, data.frames, data.points) == (6, 7, POINTS)
    assert data.interval == pytest.approx(0.2)
    assert len(set(data.identities)) == 6
    about = data.attributes["rollout"]
    assert about["model"].endswith("weights.safetensors")
    assert len(about["model_sha256"]) == 64
    assert about["closure"] is None
    assert about["start"] == str(world["data"].path)
    assert about["start_times"] == pytest.approx([0.5, 0.7])
    assert about["first_time"] == pytest.approx(0.9)
    assert data.attributes["members"][4] == {"start_simulation": "synthetic-1", "start_trajectory": 1, "member": 1}
    assert result.diverged == {}
    # The toy multiplies the last filtered frame of the window: members are multiples of it.
    start = FILTER(world["data"].read(4, 7, 8))[0]
    frame = data.read(2, 0, 1)[0]
    ratio = (frame * start).sum() / (start * start).sum()
    np.testing.assert_allclose(frame, ratio * start, atol=1e-5)
    assert ratio != 1


def test_rollouts_repeat_by_seed(world, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        roll(world, tmp_path / f"{name}.zarr", seed=seed)
    a, b, c = (open_flow(tmp_path / f"{name}.zarr").read(1) for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_two_rollouts_into_one_data_set_are_refused(world, tmp_path):
    with (
        locked(tmp_path / "r.zarr", "data set"),
        pytest.raises(FolderInUse, match="is in use: process"),
    ):
        roll(world, tmp_path / "r.zarr")
    assert not list(tmp_path.iterdir())


def test_frames_that_the_precision_does_not_hold_are_kept_as_lost(world, tmp_path):
    one = FlowDescription(points=POINTS, frames=6, interval=0.1, forcing=2, reynolds=(34.0,), identities=("a",))
    frames = np.ones((6, 2, POINTS, POINTS))
    frames[4] = 1e39
    with new_flow(tmp_path / "r.zarr", one) as writer:
        assert writer.write_all(0, 0, frames) == 4
    data = open_flow(tmp_path / "r.zarr")
    np.testing.assert_array_equal(data.read(0, 0, 4), frames[:4])
    with pytest.raises(ValueError, match="not finite in trajectory 0, frame 4"):
        data.read(0, 3, 5)
    with data.dataset() as dataset:
        np.testing.assert_array_equal(np.isnan(dataset["energy"][0]), [False] * 4 + [True] * 2)


def test_members_do_not_depend_on_how_many_starts_there_are(world, tmp_path):
    roll(world, tmp_path / "one.zarr", trajectories=(4,))
    roll(world, tmp_path / "two.zarr", trajectories=(1, 4))
    assert np.array_equal(open_flow(tmp_path / "one.zarr").read(0), open_flow(tmp_path / "two.zarr").read(3))


def test_closed_rollouts_hold_samples_of_the_closure(world, tmp_path):
    closure = load_fitted_closure("toy", world["closure"])
    roll(world, tmp_path / "closed.zarr", closure=closure)
    data = open_flow(tmp_path / "closed.zarr")
    assert data.attributes["closed"] is True
    assert data.attributes["rollout"]["closure"].endswith("weights.safetensors")
    known = load_sampler(world["closure"] / "weights.safetensors")[0].frames
    for frame in data.read(0):  # each is one of the frames that the toy closure draws from
        assert (np.abs(known - frame).max(axis=(1, 2, 3)) == 0).any()


class Joint(Climatology):
    """Adds one draw to all frames of a question: the extreme of frames that are drawn jointly."""

    def sample(self, filtered, members, *, key):
        drawn = np.asarray(jax.random.normal(key, (members, 1, 2, POINTS, POINTS), np.float32))
        return np.asarray(filtered)[None] + np.broadcast_to(drawn, (members, *filtered.shape))


def test_members_are_closed_independently_of_each_other(world):
    inner = climatology_of(world["data"], (0,))
    subject = replace(load_fitted_closure("toy", world["closure"]), closure=Joint(inner.mean, inner.std, inner.frames))
    filtered = np.zeros((3, 4, 2, POINTS, POINTS), np.float32)
    filtered[2, 1:] = np.nan
    closed = close(subject, filtered, key=jax.random.key(0))
    assert closed.dtype == np.float32
    # The frames of a member went together, and members did not: 512 independent values, correlated to 1 / sqrt(512).
    assert np.array_equal(closed[0, 0], closed[0, 3])
    assert abs(np.corrcoef(closed[0, 0].ravel(), closed[1, 0].ravel())[0, 1]) < 0.2
    assert np.isfinite(closed[2, 0]).all()
    assert np.isnan(closed[2, 1:]).all()
    # What a member gets does not depend on who is lost beside it.
    whole = close(subject, np.zeros_like(filtered), key=jax.random.key(0))
    assert np.array_equal(whole[:2], closed[:2])


def test_a_gaussian_process_closes_like_members_independently(world):
    full = world["data"].read(0)
    filtered = FILTER(full)
    fitted = GaussianProcessSettings(inputs=4, outputs=4, blocks=3).fit(filtered, full, key=jax.random.key(0))
    # One whose only randomness is that of the process, far from its points: unit spread, and joint between frames.
    arrays = fitted.state()
    arrays |= {name: np.zeros_like(arrays[name]) for name in ("extras", "remainders")} | {"scales": np.ones(4)}
    process = GaussianProcessSampler.from_state(arrays, {**fitted.facts(), "length": 0.01, "noise": 1e-9})
    subject = replace(load_fitted_closure("toy", world["closure"]), closure=process)
    frame = FILTER(world["data"].read(4, 7, 8))[0]
    drawn = close(subject, np.broadcast_to(frame, (2, 3, *frame.shape)).copy(), key=jax.random.key(1))
    size = drawn.astype(np.float64).std()
    # The same field in other frames of one member gets the same draw, up to the jitter; in another member it does not.
    np.testing.assert_allclose(drawn[0, 0], drawn[0, 2], rtol=0, atol=1e-3 * size)
    assert np.abs(drawn[0, 0] - drawn[1, 0]).max() > 0.1 * size


def test_a_rollout_does_not_replace_its_start(world, tmp_path):
    source = write_flow(tmp_path / "source.zarr")
    (tmp_path / "link.zarr").symlink_to(source.path)
    for out in (source.path, tmp_path / "link.zarr", tmp_path / "x" / ".." / "source.zarr"):
        with pytest.raises(ValueError, match="the data set that runs start from"):
            roll(world, out, data=source, overwrite=True)
    assert open_flow(source.path).frames == FRAMES


def test_lost_members_are_kept_and_told(world, tmp_path):
    folder = model_run(tmp_path / "wild", world["data"], growth=1e6)
    result = roll(world, tmp_path / "wild.zarr", folder=folder, steps=10)
    assert set(result.diverged) == {0, 1, 2}
    first = result.diverged[0]
    data = open_flow(tmp_path / "wild.zarr")
    assert data.attributes["diverged"] == {str(i): frame for i, frame in result.diverged.items()}
    assert np.isfinite(data.read(0, 0, first)).all()
    with pytest.raises(ValueError, match=f"not finite in trajectory 0, frame {first}"):
        data.read(0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": 8}, "points per side"),
        ({"forcing": 2}, "wavenumber of the forcing"),
        ({"interval": 0.15}, "a step must be a whole number"),
    ],
)
def test_starts_that_do_not_fit_are_refused(world, tmp_path, changes, message):
    other = write_flow(tmp_path / "other.zarr", **changes)
    with pytest.raises(ValueError, match=message):
        roll(world, tmp_path / "r.zarr", data=other)
    assert not (tmp_path / "r.zarr").exists()


def test_too_few_frames_unknown_trajectories_and_existing_output(world, tmp_path):
    with pytest.raises(ValueError, match="has 60: choose another --first-frame"):
        roll(world, tmp_path / "r.zarr", first_frame=58)
    with pytest.raises(ValueError, match="trajectories 0 to 4; got 7"):
        roll(world, tmp_path / "r.zarr", trajectories=(7,))
    roll(world, tmp_path / "r.zarr")
    with pytest.raises(FileExistsError, match="--overwrite"):
        roll(world, tmp_path / "r.zarr")
    roll(world, tmp_path / "r.zarr", overwrite=True, steps=3)
    assert open_flow(tmp_path / "r.zarr").frames == 3


def test_another_reynolds_number_is_said(world, tmp_path):
    other = write_flow(tmp_path / "other.zarr", reynolds=60.0)
    result = roll(world, tmp_path / "r.zarr", data=other)
    assert result.notes == ("rom was trained at Reynolds number 34, used at 60.",)
    assert result.data.reynolds[0] == 60


def test_an_interrupted_rollout_leaves_nothing(world, tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        roll(world, tmp_path / "r.zarr", report=stop)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_models(world, tmp_path):
    with pytest.raises(FileNotFoundError, match="no run folder and no file"):
        load_fitted_model("none", tmp_path / "none")
    with pytest.raises(ValueError, match="expected a closura reduced model"):
        load_fitted_model("toy", world["closure"])
    bare = model_run(tmp_path / "bare", world["data"], metadata={})
    with pytest.raises(ValueError, match="does not say its filter, interval, points, forcing"):
        load_fitted_model("bare", bare)
