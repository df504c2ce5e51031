"""What a closure was trained on is known again, however it was cut, converted or renamed; and nothing else is."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from closura.offline.baselines import Persistence
from closura.offline.data import FilterSettings, FitData, SplitSettings, check_same_simulations, fit_data
from closura.offline.filters import SpectralCutoff
from closura.offline.fitted import FittedClosure, load_fitted_closure
from closura.offline.held_out import choose_windows
from closura.offline.sampler import save_sampler
from closura.trajectories import (
    FlowData,
    FlowDescription,
    GenerationConfiguration,
    by_trajectory,
    new_flow,
    open_flow,
    shared_trajectories,
)
from closura.trajectories.identity import first_frame_name, same_simulation, sample

POINTS, FRAMES = 16, 60
CHOSEN = FilterSettings(cutoff=3.0)
SPLIT = SplitSettings(held_out=(2,), validation=(1,))


def waves(seed: int, frames: int = FRAMES, points: int = POINTS) -> np.ndarray:
    """Travelling waves without divergence, ``(time, 2, x, y)``, float32."""
    rng = np.random.default_rng(seed)
    x = 2 * np.pi * np.arange(points) / points
    t = 0.12 * np.arange(frames)[:, None, None]
    out = np.zeros((frames, 2, points, points))
    for kx, ky in ((1, 1), (2, 1), (1, 2), (0, 4), (3, 4)):
        a, phase, speed = rng.uniform(0.3, 1.0), rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.0)
        wave = a * np.sin(kx * x[:, None] + ky * x[None] + phase + speed * t)
        out += np.stack([-ky * wave, kx * wave], axis=1)
    return out.astype(np.float32)


def write(path: Path, flows: list[np.ndarray], reynolds: float | tuple[float, ...] = 34.0, **facts: Any) -> FlowData:
    numbers = reynolds if isinstance(reynolds, tuple) else (reynolds,) * len(flows)
    description = FlowDescription(
        points=flows[0].shape[-1], frames=len(flows[0]), interval=0.12, forcing=4, reynolds=numbers,
        **{"identities": tuple(f"flow-{i}" for i in range(len(flows))), "seeds": tuple(range(len(flows))), **facts},
    )  # fmt: skip
    with new_flow(path, description) as writer:
        for i, frames in enumerate(flows):
            writer.write(i, 0, frames)
    return open_flow(path)


def raw(path: Path, flows: np.ndarray, reynolds: Any = 34.0, **attributes: Any) -> Path:
    """A store that knows nothing of where its flows come from."""
    side = 2 * np.pi * np.arange(flows.shape[-1]) / flows.shape[-1]
    coordinates = {
        "time": 0.12 * np.arange(flows.shape[1]), "x": side, "y": side,
        "reynolds": ("trajectory", np.broadcast_to(np.asarray(reynolds, float), len(flows))),
    }  # fmt: skip
    dims = ("trajectory", "time", "component", "x", "y")
    xr.Dataset({"velocity": (dims, flows)}, coordinates, {"forcing": 4, **attributes}).to_zarr(path, zarr_format=2)
    return path


def rewritten(path: Path, change: Callable[[xr.Dataset], xr.Dataset], to: Path) -> Path:
    """A store as xarray writes it again."""
    with xr.open_zarr(path, chunks=None, decode_times=False) as dataset:
        changed = change(dataset.load())
    for name in changed.variables:
        changed[name].encoding = {}
    changed.to_zarr(to, zarr_format=2)
    return to


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> FlowData:
    return write(tmp_path_factory.mktemp("flows") / "flow.zarr", [waves(i) for i in range(4)])


@pytest.fixture(scope="module")
def trained(flow: FlowData, tmp_path_factory: pytest.TempPathFactory) -> FittedClosure:
    """A closure of trajectories 0 and 1, chosen on 2; 3 is held out."""
    data = FitData(flow, by_trajectory(flow, (3,), (2,)), SpectralCutoff(3.0))
    file = tmp_path_factory.mktemp("run") / "weights.safetensors"
    save_sampler(file, Persistence(waves(0)[0]), metadata=data.record())
    return load_fitted_closure("held", file)


def seen(subject: FittedClosure, data: FlowData) -> list[int]:
    return [i for i in range(data.trajectories) if subject.seen(data, i)]


def bare(d: xr.Dataset) -> xr.Dataset:
    """Velocity and axes alone."""
    kept = d[["velocity"]].reset_coords(drop=True).assign_attrs(reynolds=34.0)
    kept.attrs = {"forcing": 4, "reynolds": 34.0}
    return kept


def backwards(d: xr.Dataset) -> xr.Dataset:
    return bare(d.assign(velocity=(d["velocity"].dims, d["velocity"].values[:, ::-1])))


def stale(d: xr.Dataset) -> xr.Dataset:
    """Velocities in another order than all that says whose they are."""
    return d.assign(velocity=(d["velocity"].dims, d["velocity"].values[::-1]))


CUTS: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], list[int]]] = {
    "one": (lambda d: d.isel(trajectory=[1]), [0]),
    "one held out": (lambda d: d.isel(trajectory=[3]), []),
    "reversed": (lambda d: d.isel(trajectory=[3, 2, 1, 0]), [1, 2, 3]),
    "some": (lambda d: d.isel(trajectory=[3, 1]), [1]),
    "joined": (lambda d: xr.concat([d.isel(trajectory=[3]), d.isel(trajectory=[0])], "trajectory"), [1]),
    "late": (lambda d: d.isel(time=slice(40, None)), [0, 1, 2]),
    "thinned": (lambda d: d.isel(time=slice(1, None, 3)), [0, 1, 2]),
    "few": (lambda d: d.isel(time=slice(31, 34)), [0, 1, 2]),
    "coarse": (lambda d: d.isel(x=slice(None, None, 2), y=slice(None, None, 2)), [0, 1, 2]),
    "half": (lambda d: d.assign(velocity=d["velocity"].astype("f2")), [0, 1, 2]),
    "double": (lambda d: d.assign(velocity=d["velocity"].astype("f8")), [0, 1, 2]),
    "stale": (stale, [1, 2, 3]),
    "without names": (lambda d: d.drop_vars("identity"), [0, 1, 2]),
    "bare": (bare, [0, 1, 2]),
    "bare, late, thinned": (lambda d: bare(d.isel(time=slice(20, None, 2))), [0, 1, 2]),
    "bare, one frame": (lambda d: bare(d.isel(time=[17])).assign_attrs(interval=1.0), [0, 1, 2]),
    "bare, backwards": (backwards, [0, 1, 2]),
    "bare, coarse": (lambda d: bare(d.isel(x=slice(None, None, 2), y=slice(None, None, 2))), [0, 1, 2]),
    "bare, coarser": (lambda d: bare(d.isel(x=slice(None, None, 4), y=slice(None, None, 4))), [0, 1, 2]),
    "bare, half, reversed": (lambda d: bare(d.isel(trajectory=[3, 2, 1, 0])).astype("f2"), [1, 2, 3]),
    "bare, coarse, half, late": (
        lambda d: bare(d.isel(x=slice(None, None, 2), y=slice(None, None, 2), time=slice(30, None))).astype("f2"),
        [0, 1, 2],
    ),
    "bare, another Reynolds number": (lambda d: bare(d).assign_attrs(reynolds=60.0), [0, 1, 2]),
}  # fmt: skip


@pytest.mark.parametrize("name", CUTS)
def test_what_was_trained_on_is_known_again(name: str, flow: FlowData, trained: FittedClosure, tmp_path: Path) -> None:
    change, expected = CUTS[name]
    data = open_flow(rewritten(flow.path, change, tmp_path / "cut.zarr"))
    assert seen(trained, data) == expected
    free = [i for i in range(data.trajectories) if i not in expected]
    if free:
        assert [s.trajectory for s in choose_windows([trained], data)] == free
    else:
        with pytest.raises(ValueError, match=r"every trajectory of .*cut\.zarr was seen in training or validation"):
            choose_windows([trained], data)


def test_names_go_where_the_trajectories_go(flow: FlowData, tmp_path: Path) -> None:
    assert flow.identities == ("flow-0", "flow-1", "flow-2", "flow-3")
    for name, order in (("one", [1]), ("turned", [3, 2, 1, 0]), ("twice", [2, 2])):
        cut = rewritten(flow.path, lambda d, order=order: d.isel(trajectory=order), tmp_path / f"{name}.zarr")
        assert open_flow(cut).identities == tuple(f"flow-{i}" for i in order)
        assert open_flow(cut).seeds == tuple(order)
    # A name that the frames do not bear out is not believed.
    data = open_flow(rewritten(flow.path, stale, tmp_path / "stale.zarr"))
    assert all(each.startswith("frames-") for each in data.identities)


def test_names_that_were_changed_are_refused(flow: FlowData, tmp_path: Path) -> None:
    for name, change in (
        ("identity", lambda d: d.assign_coords(identity=("trajectory", d["identity"].values[::-1]))),
        ("reynolds", lambda d: d.assign_coords(reynolds=2 * d["reynolds"])),
        ("seed", lambda d: d.assign_coords(seed=d["seed"] + 1)),
        ("forcing", lambda d: d.assign_attrs(forcing=2)),
    ):
        with pytest.raises(ValueError, match=r"of trajectory 0 .* is not what was written: .*drop_vars\('check'\)"):
            open_flow(rewritten(flow.path, change, tmp_path / f"{name}.zarr"))
    changed = rewritten(
        flow.path, lambda d: d.assign_coords(reynolds=2 * d["reynolds"]).drop_vars("check"), tmp_path / "said.zarr"
    )
    assert open_flow(changed).reynolds.tolist() == [68.0] * 4


def test_checksums_of_frames_along_other_axes_are_refused_by_name(flow: FlowData, tmp_path: Path) -> None:
    renamed = rewritten(
        flow.path, lambda d: d.assign(frame_check=(("trajectory", "other"), d["frame_check"].values)), tmp_path / "a"
    )
    with pytest.raises(ValueError, match="a: frame_check must have the dimensions trajectory, time; got"):
        open_flow(renamed)


def test_weights_of_earlier_versions_know_names_and_data(
    flow: FlowData, trained: FittedClosure, tmp_path: Path
) -> None:
    """Without samples of frames they are taken from the data; without these, all names in doubt count."""
    metadata = {key: value for key, value in trained.metadata.items() if key != "seen"}
    old = replace(trained, metadata=metadata)
    lost = replace(trained, metadata={**metadata, "data": "gone.zarr"})
    half = open_flow(rewritten(flow.path, CUTS["half"][0], tmp_path / "half.zarr"))
    turned = open_flow(rewritten(flow.path, CUTS["reversed"][0], tmp_path / "turned.zarr"))
    naked = open_flow(rewritten(flow.path, bare, tmp_path / "bare.zarr"))
    assert [seen(old, data) for data in (flow, half, turned, naked)] == [[0, 1, 2], [0, 1, 2], [1, 2, 3], [0, 1, 2]]
    assert [seen(lost, data) for data in (flow, half, turned)] == [[0, 1, 2], [0, 1, 2, 3], [1, 2, 3]]


def earlier(path: Path, names: list[str]) -> None:
    """Makes a store one of the earlier format: names in an attribute, no checksums."""
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    for name in ("identity", "check", "frame_check"):
        del group[name]
    group.attrs["identities"] = names
    zarr.consolidate_metadata(path, zarr_format=2)


def test_stores_of_earlier_versions(tmp_path: Path) -> None:
    made = GenerationConfiguration(reynolds=(20.0, 33.3), trajectories=2, seed=5, grid=16)
    names = list(made.identities())
    about = made.description()
    path = write(
        tmp_path / "old.zarr", [waves(i) for i in range(4)], about.reynolds, seeds=about.seeds,
        attributes=about.attributes,
    ).path  # fmt: skip
    earlier(path, names)
    assert open_flow(path).identities == tuple(names)
    # By Reynolds number and seed, whatever became of the order and of the numbers.
    for order in ([1], [3, 2, 1, 0], [2, 0]):
        cut = rewritten(
            path,
            lambda d, o=order: d.isel(trajectory=o).assign_coords(trajectory=range(len(o))),
            tmp_path / f"{order}.zarr",
        )
        assert open_flow(cut).identities == tuple(names[i] for i in order)
    wrong = rewritten(path, lambda d: d.assign_coords(reynolds=d["reynolds"] * 2), tmp_path / "wrong.zarr")
    with pytest.raises(ValueError, match="trajectory 0 has the Reynolds number 40 and the seed 5, which none"):
        open_flow(wrong)
    # Of flows that were not generated, by their numbers.
    other = write(tmp_path / "other.zarr", [waves(i) for i in range(4)]).path
    earlier(other, ["a", "b", "c", "d"])
    assert open_flow(other).identities == ("a", "b", "c", "d")
    cut = open_flow(rewritten(other, lambda d: d.isel(trajectory=[2, 1]), tmp_path / "part.zarr"))
    assert cut.identities == ("c", "b")
    # Flows of unknown origin were named by their first frame: runs know them by that name too.
    firsts = [first_frame_name(waves(i)[0]) for i in range(4)]
    earlier(write(tmp_path / "converted.zarr", [waves(i) for i in range(4)]).path, firsts)
    data = open_flow(tmp_path / "converted.zarr")
    assert all(data.is_called(i, name) for i, name in enumerate(firsts))
    assert not data.is_called(0, firsts[1])
    stored = {"train": [{"trajectory": i, "simulation": name} for i, name in enumerate(firsts)]}
    check_same_simulations(stored, data)
    with pytest.raises(ValueError, match="holds other simulations"):
        check_same_simulations({"train": [{"trajectory": 0, "simulation": firsts[1]}]}, data)


def from_one_initial(common: int) -> np.ndarray:
    flows = np.stack([waves(i) for i in range(3)])
    flows[1:, :common] = flows[0, :common]
    return flows


def at_rest(frames: int) -> np.ndarray:
    flows = np.stack([waves(i) for i in range(3)])
    flows[:, :frames] = 0
    return flows


@pytest.mark.parametrize("reynolds", [(34.0, 60.0, 100.0), (34.0, 34.0, 34.0)])
@pytest.mark.parametrize(
    "flows",
    [from_one_initial(1), from_one_initial(5), at_rest(5), at_rest(1)],
    ids=["field", "start", "rest", "one"],
)
def test_flows_from_one_initial_are_different_ones(
    flows: np.ndarray, reynolds: tuple[float, ...], tmp_path: Path
) -> None:
    path = raw(tmp_path / "sweep.zarr", flows, reynolds)
    data = fit_data(str(path), CHOSEN, SPLIT)
    assert len(set(data.flow.identities)) == 3
    # A closure of one of them is evaluated on the others.
    file = tmp_path / "weights.safetensors"
    save_sampler(file, Persistence(flows[0, 9]), metadata=data.record())
    assert seen(load_fitted_closure("swept", file), data.flow) == [0, 1]


def test_the_same_flow_twice_is_refused(tmp_path: Path) -> None:
    flows = np.stack([waves(0), waves(1), waves(0)])
    for name, changed, reynolds in (
        ("twice", flows, 34.0),
        ("half", flows.astype("f2"), 34.0),
        ("relabelled", flows, (34.0, 34.0, 60.0)),
        ("steady", np.broadcast_to(waves(0)[:1], flows.shape), (34.0, 60.0, 100.0)),
    ):
        path = raw(tmp_path / f"{name}.zarr", changed, reynolds)
        with pytest.raises(
            ValueError, match=r"trajectories 0 and [12] of .* (the same simulation|hold the same frames)"
        ):
            fit_data(str(path), CHOSEN, SPLIT)
    shifted = np.stack([waves(0, 80)[:60], waves(1), waves(0, 80)[20:]])
    with pytest.raises(ValueError, match=r"trajectories 0 and 2 of .* hold the same frames"):
        fit_data(str(raw(tmp_path / "shifted.zarr", shifted)), CHOSEN, SPLIT)
    # Nearly the same is another one, as is one of another size.
    nearly = np.stack([waves(0), 0.999 * waves(0), 1.001 * waves(0)]).astype("f4")
    assert fit_data(str(raw(tmp_path / "nearly.zarr", nearly)), CHOSEN, SPLIT).flow.trajectories == 3


def test_a_part_of_a_trajectory_that_was_split_in_time(flow: FlowData, tmp_path: Path) -> None:
    c = SplitSettings(by="time", shares=(0.5, 0.0, 0.5), gap=10)
    data = fit_data(str(flow.path), CHOSEN, c)
    file = tmp_path / "weights.safetensors"
    save_sampler(file, Persistence(waves(0)[0]), metadata=data.record())
    subject = load_fitted_closure("timed", file)
    assert choose_windows([subject], flow)[0].frames == range(35, 60)
    # Elsewhere a cut is free only if nothing of it was seen: 0 to 24 were.
    for first, expected in ((20, [0, 1, 2, 3]), (25, []), (40, [])):
        cut = rewritten(flow.path, lambda d, n=first: bare(d.isel(time=slice(n, None))), tmp_path / f"{first}.zarr")
        assert seen(subject, open_flow(cut)) == expected


def test_shared_trajectories_are_found_by_their_frames(flow: FlowData, tmp_path: Path) -> None:
    cut = open_flow(
        rewritten(flow.path, lambda d: bare(d.isel(trajectory=[2, 0], time=slice(30, 50))), tmp_path / "a.zarr")
    )
    assert shared_trajectories(flow, cut) == [(0, 1), (2, 0)]
    assert shared_trajectories(cut, flow) == [(0, 2), (1, 0)]
    assert shared_trajectories(flow, write(tmp_path / "b.zarr", [waves(9)], identities=("other",))) == []


@pytest.mark.parametrize(
    ("points", "coarse"), [(16, 8), (16, 4), (24, 12), (24, 8), (20, 10), (48, 16), (30, 15), (64, 8)]
)
def test_samples_are_common_to_coarser_grids(points: int, coarse: int) -> None:
    fine = waves(0, 5, points)
    step = points // coarse
    ours, theirs = sample(fine[:, :, ::step, ::step], points), sample(fine, points)
    both = np.isfinite(ours)
    assert both[0].sum() >= 4
    np.testing.assert_array_equal(ours[both], theirs[both])
    assert same_simulation(np.arange(5.0), ours, theirs, 1.0)
    assert not same_simulation(np.arange(5.0), sample(waves(1, 5, points)[:, :, ::step, ::step], points), theirs, 1.0)


def test_frames_that_are_not_finite_are_no_match() -> None:
    known = sample(waves(0), POINTS)
    lost = known.copy()
    lost[10:] = np.nan
    times = 0.12 * np.arange(FRAMES)
    assert same_simulation(times, lost, known, 0.12)
    assert same_simulation(times, known, lost, 0.12)
    assert not same_simulation(times, np.full_like(known, np.nan), known, 0.12)
