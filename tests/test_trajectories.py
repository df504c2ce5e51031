"""Opening, splitting and cutting data sets of flows; each bad input and what it is told."""

import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from closura.io.locks import FolderInUse
from closura.trajectories import (
    FlowDescription,
    FlowWriter,
    Segment,
    Split,
    Windows,
    by_time,
    by_trajectory,
    check_split,
    interleaved,
    new_flow,
    open_flow,
    schema,
    shared_trajectories,
)
from closura.trajectories.statistics import Moments, energy_and_dissipation, moments_of_trajectories

POINTS, FRAMES, TRAJECTORIES = 8, 40, 4
CHUNK = 5


def frame(trajectory: int, number: int) -> np.ndarray:
    """A field that says where it belongs."""
    return np.full((2, POINTS, POINTS), 100.0 * trajectory + number) + np.array([0.0, 0.5])[:, None, None]


def description(**changes: Any) -> FlowDescription:
    plain = FlowDescription(
        points=POINTS, frames=FRAMES, interval=0.25, forcing=2, reynolds=(30.0,) * TRAJECTORIES,
        identities=tuple(f"flow-{i}" for i in range(TRAJECTORIES)),
    )  # fmt: skip
    return replace(plain, **changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flows") / "flow.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "CHUNK_BYTES", CHUNK * description().frame_bytes)
        with new_flow(path, description()) as writer:
            for i in range(TRAJECTORIES):
                writer.write(i, 0, np.stack([frame(i, n) for n in range(FRAMES)]))
    return path


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    """A copy, which may be damaged."""
    return Path(shutil.copytree(made, tmp_path / "flow.zarr"))


def test_reading(store: Path) -> None:
    data = open_flow(store)
    assert (data.trajectories, data.frames, data.points, data.interval) == (TRAJECTORIES, FRAMES, POINTS, 0.25)
    assert (data.forcing, data.chunk_frames, data.dtype) == (2, CHUNK, np.float32)
    assert data.identities == ("flow-0", "flow-1", "flow-2", "flow-3")
    assert data.seeds == (-1,) * TRAJECTORIES
    np.testing.assert_array_equal(data.read(2, 13, 17), np.stack([frame(2, n) for n in range(13, 17)]).astype("f4"))
    assert data.read(0).shape == (FRAMES, 2, POINTS, POINTS)
    with data.dataset() as dataset:
        np.testing.assert_array_equal(dataset["velocity"][3, 7], frame(3, 7))
    # A data set can be written with the description of another one.
    with new_flow(store.with_name("copy.zarr"), data.description) as writer:
        for i in range(TRAJECTORIES):
            writer.write(i, 0, data.read(i))
    assert open_flow(store.with_name("copy.zarr")).identities == data.identities
    for trajectory, start, stop in ((4, 0, 1), (0, 3, 3), (0, 0, FRAMES + 1), (-1, 0, 1)):
        with pytest.raises(ValueError, match="has trajectories 0 to 3 of 40 frames; got trajectory"):
            data.read(trajectory, start, stop)


def test_writing_refuses_what_does_not_fit(tmp_path: Path) -> None:
    bad = np.zeros((5, 2, POINTS, POINTS))
    bad[3, 0, 0, 0] = np.nan
    path = tmp_path / "flow.zarr"
    with (
        pytest.raises(ValueError, match=r"trajectory 1 is not finite in frame 3, time 0\.75"),
        new_flow(path, description()) as writer,
    ):
        writer.write(1, 0, bad)
    assert not list(tmp_path.iterdir())  # nothing half-written
    writer = FlowWriter.create(path, description())
    for trajectory, start, shape in ((0, 39, (2, 2, 8, 8)), (0, 0, (1, 2, 8, 9)), (7, 0, (1, 2, 8, 8))):
        with pytest.raises(ValueError, match="expected"):
            writer.write(trajectory, start, np.zeros(shape))
    with pytest.raises(ValueError, match="not finished; make it again"):
        open_flow(path)
    with pytest.raises(FileExistsError, match="exists"), new_flow(path, description()):
        pass
    whole = np.zeros((FRAMES, 2, POINTS, POINTS))
    with (
        pytest.raises(ValueError, match="not complete: frame 0 of trajectory 1 was not written"),
        new_flow(path, description(), overwrite=True) as writer,
    ):
        writer.write(0, 0, whole)
    with new_flow(path, description(), overwrite=True) as writer:
        for i in range(TRAJECTORIES):
            writer.write(i, 0, whole)
    assert [each.name for each in tmp_path.iterdir()] == ["flow.zarr"]


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("value", [1e39, -3.5e38, 1e200, 1e308])
def test_values_that_do_not_fit_are_refused_when_they_are_written(precision: str, value: float, tmp_path: Path) -> None:
    frames = np.zeros((FRAMES, 2, POINTS, POINTS))
    frames[3, 1, 2, 5] = value
    one = description(reynolds=(30.0,), identities=("a",), seeds=(1,), precision=precision)
    path = tmp_path / "flow.zarr"
    if precision == "float64" and abs(value) < 1e100:
        with new_flow(path, one) as writer:
            writer.write(0, 0, frames)
        assert open_flow(path).read(0)[3, 1, 2, 5] == value
        return
    what = "does not fit into float32" if precision == "float32" else "has an energy that is not finite"
    with (
        pytest.raises(ValueError, match=rf"trajectory 0 {what}.* in frame 3, time 0\.75"),
        new_flow(path, one) as writer,
    ):
        writer.write(0, 0, frames)
    assert not list(tmp_path.iterdir())


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "flow.zarr"
    with new_flow(path, description()) as writer:
        with (
            pytest.raises(FolderInUse, match=r"the data set .*flow\.zarr is in use: process"),
            new_flow(path, description()),
        ):
            pass
        for i in range(TRAJECTORIES):
            writer.write(i, 0, np.zeros((FRAMES, 2, POINTS, POINTS)))
    assert open_flow(path).frames == FRAMES
    assert [each.name for each in tmp_path.iterdir()] == ["flow.zarr"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 0}, "at least one frame"),
        ({"interval": 0.0}, "must be positive"),
        ({"reynolds": (30.0, 30.0)}, "one Reynolds number, identity and seed per trajectory"),
    ],
)
def test_descriptions_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        description(**{"seeds": (1,) * 4, **changes})


def foreign(path: Path, change: Callable[[xr.Dataset], xr.Dataset] = lambda d: d, zarr_format: Any = 3) -> Path:
    """A store that another program wrote, with xarray."""
    rng = np.random.default_rng(0)
    side = 2 * np.pi * np.arange(POINTS) / POINTS
    dataset = xr.Dataset(
        {"velocity": (schema.VELOCITY_DIMENSIONS, rng.normal(size=(2, 6, 2, POINTS, POINTS)).astype(np.float32))},
        {"time": 3.0 + 0.1 * np.arange(6, dtype=np.float32), "x": side, "y": side.astype(np.float32)},
        {"forcing": 4, "reynolds": 34.0},
    )
    change(dataset).to_zarr(path, zarr_format=zarr_format, consolidated=False)
    return path


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_stores_of_others_are_welcome(tmp_path: Path, zarr_format: int) -> None:
    data = open_flow(foreign(tmp_path / "a.zarr", zarr_format=zarr_format))
    assert (data.trajectories, data.frames, data.points, data.forcing) == (2, 6, POINTS, 4)
    assert data.interval == pytest.approx(0.1, rel=1e-6)
    np.testing.assert_array_equal(data.reynolds, [34.0, 34.0])
    # Nothing names them: their frames do.
    assert all(name.startswith("frames-") for name in data.identities)
    assert shared_trajectories(data, open_flow(foreign(tmp_path / "b.zarr"))) == [(0, 0), (1, 1)]


def both(name: str, values: np.ndarray) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda d: d.assign_coords({name: values})


def ends_included(d: xr.Dataset) -> xr.Dataset:
    return d.assign_coords(x=np.linspace(0, 2 * np.pi, POINTS))


def set_nan(d: xr.Dataset) -> xr.Dataset:
    d["velocity"][1, 4, 0, 2, 2] = np.nan
    return d


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda d: d.drop_vars("velocity").drop_attrs(), "'velocity', 'reynolds'.*'forcing'", id="nothing"),
        pytest.param(lambda d: d.drop_vars(["x", "time"]), "lacks .*variable 'time', variable 'x'", id="axes"),
        pytest.param(ends_included, "along x include both ends of the box: that is not a periodic grid", id="ends"),
        pytest.param(both("y", np.arange(POINTS) / POINTS), "box along y has the length 1, expected 2 pi", id="box"),
        pytest.param(both("x", np.geomspace(1, 2, POINTS)), "points along x are not uniform", id="stretched"),
        pytest.param(both("y", np.pi * np.arange(1, 17, 2) / 8), "along y begin at 0.39.*, expected 0", id="shifted"),
        pytest.param(lambda d: d.isel(x=slice(4)), "2 components on a square grid", id="not square"),
        pytest.param(lambda d: d.isel(component=[0]), "2 components on a square grid", id="one component"),
        pytest.param(lambda d: d.rename(x="x1", y="y1", component="c"), "lacks .*'x', .*'y'", id="names"),
        pytest.param(lambda d: d.astype(np.int16), "float16, float32 or float64 when decoded; got int16", id="whole"),
        pytest.param(lambda d: d.assign_attrs(boundary="wall"), "is not periodic .boundary 'wall'", id="walls"),
        pytest.param(lambda d: d.isel(time=[0, 1, 2, 4, 5]), "frame 2 to 3 the time goes from 3.2 to 3.4", id="gap"),
        pytest.param(both("time", -np.arange(6.0)), "times are not uniform", id="backwards"),
        pytest.param(both("time", np.array([0, 1, np.nan, 3, 4, 5])), "times are not uniform", id="time is nan"),
        pytest.param(lambda d: d.assign_attrs(interval=0.2), "is 0.2, but times are 0.1 apart", id="interval"),
        pytest.param(lambda d: d.isel(time=[0]), "single frame and no attribute 'interval'", id="one frame"),
        pytest.param(lambda d: d.assign_attrs(reynolds=-1.0), "one positive Reynolds number", id="Reynolds"),
        pytest.param(lambda d: d.assign_attrs(reynolds=[1.0, 2.0, 3.0]), "one positive Reynolds number", id="three"),
        pytest.param(lambda d: d.assign_attrs(reynolds="abc"), "flow.zarr: Reynolds numbers must be", id="Re is text"),
        pytest.param(lambda d: d.assign_attrs(forcing="four"), "flow.zarr: .*'forcing' .* got 'four'", id="forcing"),
        pytest.param(lambda d: d.assign_attrs(forcing=2.5), "'forcing' must be a whole number.* got 2.5", id="half"),
        pytest.param(lambda d: d.assign_attrs(forcing=-4), "'forcing' must be a whole number.* got -4", id="negative"),
        pytest.param(lambda d: d.assign_attrs(interval="x"), "flow.zarr: .*'interval' .* got 'x'", id="interval is x"),
        pytest.param(lambda d: d.assign_attrs(format=schema.FORMAT, format_version=9), "version 9", id="version"),
    ],
)  # fmt: skip
def test_bad_stores_are_refused_when_opened(
    change: Callable[[xr.Dataset], xr.Dataset], message: str, tmp_path: Path
) -> None:
    path = foreign(tmp_path / "flow.zarr", change, zarr_format=2)
    with pytest.raises(ValueError, match=message):
        open_flow(path)


def test_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no data set at"):
        open_flow(tmp_path / "nothing.zarr")
    (tmp_path / "file").write_text("text")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(ValueError, match="is no zarr store"):
            open_flow(path)


def test_nan_is_found_when_read(tmp_path: Path) -> None:
    data = open_flow(foreign(tmp_path / "flow.zarr", set_nan))
    assert data.read(1, 0, 4).shape[0] == 4
    with pytest.raises(ValueError, match=r"not finite in trajectory 1, frame 4, time 3.4"):
        data.read(1, 2, 6)


@pytest.mark.parametrize("damage", ["missing", "flipped", "short"])
def test_a_damaged_chunk_names_its_file(damage: str, store: Path) -> None:
    chunk = store / "velocity" / "2.3.0.0.0"  # frames 15 to 19 of trajectory 2
    content = bytearray(chunk.read_bytes())
    if damage == "missing":
        chunk.unlink()
    else:
        content[len(content) // 2] ^= 1
        chunk.write_bytes(content if damage == "flipped" else content[: len(content) // 2])
    data = open_flow(store)
    data.read(2, 0, 15), data.read(2, 20), data.read(1)
    with pytest.raises(ValueError, match=r"velocity/2\.3\.0\.0\.0 is (missing|damaged)"):
        data.read(2, 3, 30)


def test_a_missing_coordinate_file_is_named(store: Path) -> None:
    (store / "reynolds" / "0").unlink()
    with pytest.raises(ValueError, match=r"reynolds/0 is missing"):
        open_flow(store)


def test_energy_and_dissipation_of_the_laminar_flow() -> None:
    n, reynolds = 4, 34.0
    y = 2 * np.pi * np.arange(32) / 32
    size = reynolds / n**2
    u = np.broadcast_to(size * np.sin(n * y), (1, 32, 32))
    energy, dissipation = energy_and_dissipation(np.stack([u, np.zeros_like(u)], axis=1), reynolds)
    np.testing.assert_allclose(energy, size**2 / 4, rtol=1e-13)
    # In balance with the power of the forcing, <u sin(n y)> = size / 2.
    np.testing.assert_allclose(dissipation, size / 2, rtol=1e-13)


def test_moments(store: Path) -> None:
    data = open_flow(store)
    every = list(moments_of_trajectories(data))
    values = np.stack([data.read(i) for i in range(TRAJECTORIES)]).astype(np.float64)
    for (together, u, v), reference in zip(every, values, strict=True):
        for moments, part in ((together, reference), (u, reference[:, 0]), (v, reference[:, 1])):
            expected = (part.mean(), part.std(), part.max(), part.min())
            found = (moments.mean, moments.std, moments.maximum, moments.minimum)
            # Sums of squares lose digits beside a mean of 30 times the deviation.
            np.testing.assert_allclose(found, expected, rtol=1e-11)
    whole = reduce(Moments.join, [each[0] for each in every])
    np.testing.assert_allclose((whole.mean, whole.std), (values.mean(), values.std()), rtol=1e-11)


def test_segments() -> None:
    assert list(Segment(0, 3, 10, 3).frames) == [3, 6, 9]
    assert len(Segment(0, 3, 10, 3)) == 3
    for wrong in ((-1, 0, 1), (0, -1, 1), (0, 2, 2), (0, 0, 2, 0)):
        with pytest.raises(ValueError, match="a segment needs"):
            Segment(*wrong)


def test_split_by_trajectory(store: Path) -> None:
    data = open_flow(store)
    split = by_trajectory(data, held_out=(3,), validation=(2,))
    assert split == Split((Segment(0, 0, 40), Segment(1, 0, 40)), (Segment(2, 0, 40),), (Segment(3, 0, 40),))
    check_split(split.train, split.test, gap=1000)
    with pytest.raises(ValueError, match="held out once"):
        by_trajectory(data, (3,), (3,))
    with pytest.raises(ValueError, match=r"trajectories 0 to 3; got \[7, 6\]"):
        by_trajectory(data)
    with pytest.raises(ValueError, match="left for training"):
        by_trajectory(data, (0, 1), (2, 3))


def test_split_by_time(store: Path) -> None:
    data = open_flow(store)
    split = by_time(data, (0.5, 0.25, 0.25), gap=4)
    assert [s[0] for s in (split.train, split.validation, split.test)] == [
        Segment(0, 0, 16), Segment(0, 20, 28), Segment(0, 32, 40),
    ]  # fmt: skip
    check_split(split.train, (*split.validation, *split.test), gap=4)
    with pytest.raises(ValueError, match="have 4 frames between them, fewer than 5"):
        check_split(split.train, split.validation, gap=5)
    assert by_time(data, (0.75, 0.0, 0.25)) == Split(
        tuple(Segment(i, 0, 30) for i in range(4)), (), tuple(Segment(i, 30, 40) for i in range(4))
    )
    for shares, gap in (((0.5, 0.1, 0.1), 0), ((1.2, -0.4, 0.2), 0), ((0.98, 0.01, 0.01), 0), ((0.5, 0.2, 0.3), 20)):
        with pytest.raises(ValueError, match=r"shares|gap"):
            by_time(data, shares, gap=gap)


def test_leaks_are_refused_unless_asked_for(store: Path) -> None:
    split = interleaved(open_flow(store))
    assert split.train[0] == Segment(0, 0, 40, 2)
    assert split.test[0] == Segment(0, 1, 40, 2)
    with pytest.raises(ValueError, match=r"test frames leak: .* interleave; hold out whole trajectories"):
        check_split(split.train, split.test)
    check_split(split.train, split.test, allow_leak=True)
    with pytest.raises(ValueError, match="share frames"):
        check_split([Segment(0, 0, 30)], [Segment(0, 29, 40)])
    with pytest.raises(ValueError, match="interleave"):
        check_split([Segment(0, 0, 20, 4)], [Segment(0, 6, 7)])
    check_split([Segment(0, 0, 10)], [Segment(0, 10, 20), Segment(1, 0, 10)])


def test_windows_are_consecutive_frames_of_one_segment(store: Path) -> None:
    data = open_flow(store)
    windows = Windows(data, [Segment(1, 0, 12), Segment(3, 10, 31, 2)], 4, stride=2)
    assert len(windows) == 5 + 4
    assert windows.frames_of(4) == (1, range(8, 12))
    assert windows.frames_of(5) == (3, range(10, 18, 2))
    assert windows.frames_of(8) == (3, range(22, 30, 2))
    np.testing.assert_array_equal(windows[6], np.stack([frame(3, n) for n in (14, 16, 18, 20)]).astype(np.float32))
    for wrong in (-1, 9):
        with pytest.raises(ValueError, match="windows 0 to 8"):
            windows.frames_of(wrong)
    with pytest.raises(ValueError, match="no window of 50 frames fits: the longest of 1 segments has 40"):
        Windows(data, [Segment(0, 0, 40)], 50)
    with pytest.raises(ValueError, match="no window"):
        Windows(data, [], 5)
    with pytest.raises(ValueError, match="got Segment"):
        Windows(data, [Segment(0, 0, 41)], 5)
    with pytest.raises(ValueError, match="at least 1"):
        Windows(data, [Segment(0, 0, 40)], 0)


def test_batches_are_shuffled_epochs_that_a_seed_decides(store: Path) -> None:
    data = open_flow(store)
    windows = Windows(data, by_trajectory(data, (3,), (2,)).train, 3)
    assert len(windows) == 2 * 38
    stream = windows.batches(8, seed=5)
    batches = [next(stream) for _ in range(19)]  # two epochs
    assert all(batch.shape == (8, 3, 2, POINTS, POINTS) and batch.dtype == np.float32 for batch in batches)
    firsts = np.concatenate(batches)[:, 0, 0, 0, 0]
    expected = sorted(100.0 * i + n for i in range(2) for n in range(38))
    for epoch in (firsts[:76], firsts[76:]):
        assert sorted(epoch) == expected
    assert not np.array_equal(firsts[:76], firsts[76:])
    assert not np.array_equal(firsts[:76], np.sort(firsts[:76]))
    again = Windows(data, windows.segments, 3)
    for number, batch in zip(range(5), again.batches(8, seed=5), strict=False):
        np.testing.assert_array_equal(batch, batches[number])
    assert not np.array_equal(next(windows.batches(8, seed=6)), batches[0])
    for size, seed, first in ((0, 0, 0), (1, -1, 0), (1, 0, -1)):
        with pytest.raises(ValueError, match=r"need a batch size|seed must be a whole number"):
            windows.batches(size, seed=seed, first=first)


def test_batches_go_on_without_reading_what_came_before(store: Path) -> None:
    data = open_flow(store)
    windows = Windows(data, by_trajectory(data, (3,), (2,)).train, 3)
    stream = windows.batches(2, seed=1)
    eleventh = [next(stream) for _ in range(11)][10]
    fresh = Windows(data, windows.segments, 3)
    np.testing.assert_array_equal(next(fresh.batches(2, seed=1, first=10)), eleventh)
    # Two windows of three frames touch at most two chunks each.
    assert fresh.chunk.cache_info().misses <= 4


def test_memory_is_bounded_by_the_cache(tmp_path: Path) -> None:
    # 1 MiB per trajectory; two of them have 994 windows of 16 frames: 32 MB if they were laid out.
    frames, points = 512, 16
    d = description(points=points, frames=frames)
    path = tmp_path / "long.zarr"
    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "CHUNK_BYTES", 16 * d.frame_bytes)
        with new_flow(path, d) as writer:
            for i in range(TRAJECTORIES):
                writer.write(i, 0, rng.normal(size=(frames, 2, points, points)).astype(np.float32))
    data = open_flow(path)
    limit = 64 * d.frame_bytes
    windows = Windows(data, by_trajectory(data, (3,), (2,)).train, 16, cache_bytes=limit)
    stream = windows.batches(4, seed=0)
    next(stream)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(60):
        next(stream)
        assert windows.chunk.cache_info().currsize * data.chunk_frames * d.frame_bytes <= limit
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    laid_out = len(windows) * 16 * d.frame_bytes
    # The cache, two batches, a chunk with its compressed bytes and masks: far from what windows would take.
    assert peak < 6 * limit < laid_out / 30
    assert windows.chunk.cache_info().misses > 60
    # Everything is read once if there is room.
    roomy = Windows(data, windows.segments, 16)
    stream = roomy.batches(64, seed=0)
    for _ in range(40):
        next(stream)
    assert roomy.chunk.cache_info().misses == 2 * frames // 16


def test_a_single_chunk_above_the_limit_still_works(store: Path) -> None:
    windows = Windows(open_flow(store), [Segment(0, 0, 40)], 12, cache_bytes=1)
    np.testing.assert_array_equal(windows[3][:, 0, 0, 0], np.arange(3.0, 15.0))
    assert windows.chunk.cache_info().currsize == 1


def test_the_store_reads_as_plain_xarray(store: Path) -> None:
    with xr.open_zarr(store, chunks=None) as dataset:
        assert float(dataset["velocity"].sel(trajectory=1, time=0.5, component="v", x=0, y=0)) == 102.5
    assert zarr.open_group(store, mode="r").attrs["complete"] == 1


@pytest.mark.filterwarnings("ignore::xarray.SerializationWarning")
@pytest.mark.parametrize("engine", ["scipy", "h5netcdf"])  # NetCDF 3 and 4
def test_xarray_copies_the_store_to_netcdf(engine: Any, store: Path, tmp_path: Path) -> None:
    with xr.open_zarr(store) as dataset:
        dataset.load().to_netcdf(tmp_path / "a.nc", engine=engine)
    data, copy = open_flow(store), open_flow(tmp_path / "a.nc")
    assert copy.identities == data.identities
    np.testing.assert_array_equal(copy.read(1), data.read(1))
