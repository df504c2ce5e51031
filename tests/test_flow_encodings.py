"""Stores of flows are read as xarray decodes them, whoever wrote them; what is not understood is refused by name."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from closura.trajectories import FlowData, FlowDescription, new_flow, open_flow

POINTS, FRAMES, DIMS = 8, 6, ("trajectory", "time", "component", "x", "y")
SIDE = 2 * np.pi * np.arange(POINTS) / POINTS
VELOCITY = np.random.default_rng(0).normal(size=(2, FRAMES, 2, POINTS, POINTS)).astype(np.float32)

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning", "ignore::xarray.SerializationWarning")


def dataset(**coordinates: Any) -> xr.Dataset:
    plain = {
        "time": 0.25 * np.arange(FRAMES), "x": SIDE, "y": SIDE, "component": ["u", "v"],
        "reynolds": ("trajectory", [34.0, 60.0]), "seed": ("trajectory", [3, 4]),
    }  # fmt: skip
    return xr.Dataset({"velocity": (DIMS, VELOCITY)}, {**plain, **coordinates}, {"forcing": 2})


def turned(d: xr.Dataset) -> xr.Dataset:
    return d.isel(component=[1, 0])


ENCODED: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], dict[str, Any]]] = {
    "plain": (lambda d: d, {}),
    "scale": (lambda d: d, {"velocity": {"scale_factor": 2.0, "dtype": "f4"}}),
    "offset": (lambda d: d, {"velocity": {"add_offset": 1.5, "dtype": "f4"}}),
    "whole numbers": (
        lambda d: d, {"velocity": {"scale_factor": 1e-4, "add_offset": 0.1, "dtype": "i4", "_FillValue": -99999}},
    ),
    "fill": (lambda d: d, {"velocity": {"_FillValue": np.float32(-999)}}),
    "missing": (lambda d: d, {"velocity": {"missing_value": np.float32(-999), "_FillValue": None}}),
    "parameters": (
        lambda d: d, {"reynolds": {"scale_factor": 0.5, "dtype": "i2"}, "seed": {"add_offset": 1.0, "dtype": "i2"}},
    ),
    "axes": (lambda d: d, {"x": {"scale_factor": 2.0, "dtype": "f8"}, "time": {"scale_factor": 0.25, "dtype": "i4"}}),
    "v, u": (turned, {}),
    "turned axes": (lambda d: d.transpose("y", "component", "time", "x", "trajectory"), {}),
    "y before x": (lambda d: d.transpose("trajectory", "time", "component", "y", "x"), {}),
    "time first": (lambda d: d.transpose("time", "trajectory", ...), {}),
    "downwards": (lambda d: d.isel(x=slice(None, None, -1), y=[3, 1, 0, 2, 4, 7, 6, 5]), {}),
    "big endian": (lambda d: d.astype(">f4"), {}),
    "half": (lambda d: d.assign(velocity=d["velocity"].astype("f2")), {}),
    "double": (lambda d: d.astype("f8"), {}),
    "chunks": (lambda d: d, {"velocity": {"chunks": (1, 2, 1, POINTS, 4)}}),
    "degrees": (lambda d: d.assign_coords(x=("x", np.rad2deg(SIDE), {"units": "degrees"})), {}),
    "metres per second": (lambda d: d.assign(velocity=d["velocity"].assign_attrs(units="m s-1")), {}),
}  # fmt: skip


def same(data: FlowData, name: str) -> None:
    """What was read is what was put in, to the precision of the store."""
    tolerance = {"whole numbers": 1e-4, "half": 2e-3, "scale": 1e-6, "offset": 1e-6}.get(name, 0.0)
    for i in range(2):
        np.testing.assert_allclose(data.read(i), VELOCITY[i], rtol=0, atol=tolerance * 4)
        np.testing.assert_array_equal(data.read(i, 3, 5), data.read(i)[3:5])
    assert data.interval == pytest.approx(0.25, rel=1e-12)
    assert data.reynolds.tolist() == [34.0, 60.0]
    assert data.seeds == (3, 4)
    if name not in ("whole numbers", "scale", "offset"):  # where xarray decides
        assert data.dtype == (np.float64 if name == "double" else np.float32)
    assert data.read(0).dtype == data.dtype
    assert data.dtype.isnative


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", ENCODED)
def test_zarr_is_decoded(name: str, zarr_format: Any, tmp_path: Path) -> None:
    change, encoding = ENCODED[name]
    change(dataset()).to_zarr(tmp_path / "a.zarr", zarr_format=zarr_format, encoding=encoding, consolidated=False)
    same(open_flow(tmp_path / "a.zarr"), name)


@pytest.mark.parametrize(
    "name", ["plain", "scale", "fill", "axes", "parameters", "v, u", "y before x", "downwards", "double"]
)
@pytest.mark.parametrize("engine", ["scipy", "h5netcdf"])  # NetCDF 3 and 4
def test_netcdf_is_decoded(name: str, engine: Any, tmp_path: Path) -> None:
    change, encoding = ENCODED[name]
    change(dataset()).to_netcdf(tmp_path / "a.nc", engine=engine, encoding=encoding)
    same(open_flow(tmp_path / "a.nc"), name)


TIMES: dict[str, tuple[Any, dict[str, Any]]] = {
    "timedelta": ((250 * np.arange(FRAMES)).astype("m8[ms]").astype("m8[ns]"), {}),
    "timedelta in hours": (
        (250 * np.arange(FRAMES)).astype("m8[ms]").astype("m8[ns]"), {"units": "hours", "dtype": "f8"},
    ),
    "dates": (np.datetime64("2026-01-31", "ns") + (250 * np.arange(FRAMES)).astype("m8[ms]"), {}),
    "seconds": (("time", 0.25 * np.arange(FRAMES), {"units": "s"}), {}),
    "milliseconds": (("time", 250 * np.arange(FRAMES), {"units": "ms"}), {}),
    "minutes": (("time", 0.25 / 60 * np.arange(FRAMES), {"units": "min"}), {}),
    "hours": (("time", 0.25 / 3600 * np.arange(FRAMES), {"units": "Hrs"}), {}),
    "none": (("time", 0.25 * np.arange(FRAMES), {"units": "dimensionless"}), {}),
    "a dash": (("time", 0.25 * np.arange(FRAMES), {"units": "-"}), {}),
}  # fmt: skip


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", TIMES)
def test_times_with_a_unit_are_seconds(name: str, zarr_format: Any, tmp_path: Path) -> None:
    values, encoding = TIMES[name]
    d = dataset(time=values)
    d.to_zarr(tmp_path / "a.zarr", zarr_format=zarr_format, encoding={"time": encoding}, consolidated=False)
    data = open_flow(tmp_path / "a.zarr")
    np.testing.assert_allclose(data.times, 0.25 * np.arange(FRAMES), atol=1e-9)
    assert data.interval == pytest.approx(0.25, rel=1e-9)


def gaps(d: xr.Dataset) -> xr.Dataset:
    values = d["velocity"].values.copy()
    values[1, 4, 0, 2, 2] = np.nan
    return d.assign(velocity=(d["velocity"].dims, values))


@pytest.mark.parametrize("encoding", [{"_FillValue": np.float32(-999)},
                                      {"missing_value": np.float32(1e20), "_FillValue": None},
                                      {"_FillValue": -32768, "scale_factor": 1e-3, "dtype": "i2"}])  # fmt: skip
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_missing_values_are_refused_with_their_frame(
    encoding: dict[str, Any], zarr_format: Any, tmp_path: Path
) -> None:
    gaps(dataset()).to_zarr(
        tmp_path / "a.zarr", zarr_format=zarr_format, encoding={"velocity": encoding}, consolidated=False
    )
    data = open_flow(tmp_path / "a.zarr")
    assert np.isfinite(data.read(1, 0, 4)).all()
    with pytest.raises(ValueError, match=r"a\.zarr is not finite in trajectory 1, frame 4, time 1"):
        data.read(1)


def with_unit(name: str, unit: str) -> Callable[[xr.Dataset], xr.Dataset]:
    def change(d: xr.Dataset) -> xr.Dataset:
        d[name].attrs["units"] = unit
        return d

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_unit("time", "eddy turnovers"), "time has the unit 'eddy turnovers', which is .*in seconds"),
        (with_unit("time", "months"), "time has the unit 'months'"),
        (with_unit("time", "Ms"), "time has the unit 'Ms', which is not understood"),  # millions, not milli
        (with_unit("time", "Msec"), "time has the unit 'Msec'"),
        (with_unit("time", "ds"), "time has the unit 'ds'"),  # tenths of seconds, not days
        (with_unit("x", "Mm"), "x has the unit 'Mm'"),
        (with_unit("x", "ms"), "x has the unit 'ms'"),
        (with_unit("velocity", "cm s-1"), "velocity has the unit 'cm s-1', which is .*metres per second"),
        (with_unit("reynolds", "m2"), "reynolds has the unit 'm2'"),
        (with_unit("x", "furlong"), "x has the unit 'furlong'"),
        (with_unit("y", "cm"), "the box along y has the length 0.0628"),
        (lambda d: d.assign_coords(component=["a", "b"]), r"must be called u \(along x\) and v; got \['a', 'b'\]"),
        (lambda d: d.assign_coords(component=["u", "u"]), "must be called u"),
        (lambda d: d.assign_coords(component=[0, 1]), "must be called u"),
        (lambda d: (1000 * d["velocity"]).astype("i4").to_dataset(name="velocity").assign_attrs(d.attrs), "got int32"),
        (lambda d: d.rename(trajectory="run"), "must have the dimensions"),
        (lambda d: d.assign_coords(reynolds=("time", np.full(FRAMES, 34.0))), "reynolds must have the dimension traj"),
        (lambda d: d.assign_coords(seed=("trajectory", ["a", "b"])), "needs one seed per trajectory"),
        (lambda d: d.assign_coords(time=[str(i) for i in range(FRAMES)]), "time must be numbers"),
        (lambda d: d.assign_coords(x=SIDE - SIDE[3]), "along x begin at"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_by_name(
    change: Callable[[xr.Dataset], xr.Dataset], message: str, tmp_path: Path
) -> None:
    change(dataset()).to_zarr(tmp_path / "a.zarr", zarr_format=2, consolidated=False)
    with pytest.raises(ValueError, match=message) as error:
        open_flow(tmp_path / "a.zarr")
    assert "\n" not in str(error.value)


def test_sharded_stores(tmp_path: Path) -> None:
    encoding = {"velocity": {"chunks": (1, 1, 2, POINTS, POINTS), "shards": (1, FRAMES, 2, POINTS, POINTS)}}
    dataset().to_zarr(tmp_path / "a.zarr", zarr_format=3, encoding=encoding, consolidated=False)
    data = open_flow(tmp_path / "a.zarr")
    same(data, "plain")
    assert data.chunk_frames == FRAMES


def written_by_zarr(path: Path, velocity: np.ndarray, zarr_format: Any, **options: Any) -> Path:
    """A store that zarr-python writes with its defaults: chunks of nothing but zeros are no files."""
    group = zarr.create_group(path, zarr_format=zarr_format, attributes={"forcing": 1, "reynolds": 34.0})
    arrays = {"velocity": (velocity, DIMS), "time": (0.25 * np.arange(velocity.shape[1]), ("time",)),
              "x": (SIDE, ("x",)), "y": (SIDE, ("y",))}  # fmt: skip
    for name, (values, dims) in arrays.items():
        named: dict[str, Any] = {"dimension_names": dims} if zarr_format == 3 else {
            "attributes": {"_ARRAY_DIMENSIONS": list(dims)}
        }  # fmt: skip
        chunks = (1, 1, *values.shape[2:]) if name == "velocity" else values.shape
        own = options if name == "velocity" else {}
        group.create_array(name, shape=values.shape, chunks=chunks, dtype=values.dtype, **named, **own)[...] = values
    return path


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_absent_chunks_are_the_fill_value(zarr_format: Any, tmp_path: Path) -> None:
    rest = VELOCITY[:1].copy()
    rest[:, :2] = 0
    data = open_flow(written_by_zarr(tmp_path / "zeros.zarr", rest, zarr_format))
    np.testing.assert_array_equal(data.read(0), rest[0])
    assert len(list((data.path / "velocity").rglob("*0.0.0" if zarr_format == 2 else "0/0/0"))) == FRAMES - 2
    # Filled with NaN, a chunk that is absent was never written.
    gone = rest.copy()
    gone[:, 3] = np.nan
    data = open_flow(written_by_zarr(tmp_path / "nan.zarr", gone, zarr_format, fill_value=float("nan")))
    np.testing.assert_array_equal(data.read(0, 0, 3), rest[0, :3])
    with pytest.raises(ValueError, match=r"velocity/.*0.3.0.0.0 is missing"):
        data.read(0)
    # A value of one's own that means missing.
    marked = np.where(np.isnan(gone), np.float32(-999), gone)
    data = open_flow(written_by_zarr(tmp_path / "marked.zarr", marked, zarr_format, fill_value=-999.0))
    if zarr_format == 2:  # where it is what xarray calls _FillValue
        with pytest.raises(ValueError, match="is missing"):
            data.read(0)
    np.testing.assert_array_equal(data.read(0, 0, 3), rest[0, :3])


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_flows_at_rest_by_xarray(zarr_format: Any, tmp_path: Path) -> None:
    rest = VELOCITY.copy()
    rest[0, 0] = rest[1] = 0
    d = dataset(seed=("trajectory", [0, 0])).assign(velocity=(DIMS, rest))
    encoding = {"velocity": {"chunks": (1, 1, 2, POINTS, POINTS)}}
    for name, times in (("all", slice(None)), ("first", slice(0, 1))):
        d.isel(time=times).assign_attrs(interval=0.25).to_zarr(
            tmp_path / f"{name}.zarr", zarr_format=zarr_format, encoding=encoding, consolidated=False
        )
        data = open_flow(tmp_path / f"{name}.zarr")
        for i in range(2):
            np.testing.assert_array_equal(data.read(i), rest[i, times])
        assert data.seeds == (0, 0)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    description = FlowDescription(
        points=POINTS,
        frames=FRAMES,
        interval=0.25,
        forcing=2,
        reynolds=(34.0, 60.5),
        identities=("a", "b"),
        seeds=(0, 1),
    )
    with new_flow(tmp_path / "own.zarr", description) as writer:
        for i in range(2):
            writer.write(i, 0, VELOCITY[i])
    return tmp_path / "own.zarr"


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("clean", [False, True])
def test_our_own_store_cut_by_xarray_opens(clean: bool, zarr_format: Any, store: Path, tmp_path: Path) -> None:
    """The seed 0, the number 0 and the time 0 are chunks of nothing but zeros, which xarray does not write."""
    with xr.open_zarr(store, chunks=None, decode_times=False) as d:
        cuts = {
            "first": d.isel(trajectory=[0]), "frame": d.isel(trajectory=[0], time=[0]),
            "third": d.isel(time=slice(None, None, 3)),
        }  # fmt: skip
        for name, cut in cuts.items():
            for variable in cut.variables if clean or zarr_format == 3 else ():
                cut[variable].encoding = {}
            cut.to_zarr(tmp_path / f"{name}.zarr", zarr_format=zarr_format, consolidated=False)
    for name, times, interval in (
        ("first", slice(None), 0.25),
        ("frame", slice(0, 1), 0.25),
        ("third", slice(None, None, 3), 0.75),
    ):
        data = open_flow(tmp_path / f"{name}.zarr")
        assert (data.identities[0], data.seeds[0], data.interval) == ("a", 0, interval)
        np.testing.assert_array_equal(data.read(0), VELOCITY[0, times])


def flipped(file: Path, most: int) -> Iterator[int]:
    """Flips bits that are spread over a file, one at a time, and puts the file back."""
    content = file.read_bytes()
    for bit in np.unique(np.linspace(0, 8 * len(content) - 1, most).astype(int)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << int(bit) % 8
        file.write_bytes(changed)
        yield int(bit)
    file.write_bytes(content)


def opened(path: Path) -> FlowData | None:
    """A data set, or None if it is refused in one line that names it."""
    try:
        return open_flow(path)
    except ValueError as error:
        if path.name in str(error) and "\n" not in str(error):
            return None
        raise


@pytest.mark.parametrize("name", ["time", "component", "x", "seed", "reynolds", "identity", "check"])
def test_no_flipped_bit_of_a_coordinate_goes_unseen(name: str, store: Path) -> None:
    before, file = open_flow(store), store / name / "0"
    for _ in flipped(file, 12):
        after = opened(store)
        # Some bits of a compressed file mean nothing.
        if after is not None:
            assert after.reynolds.tolist() == before.reynolds.tolist()
            assert (after.seeds, after.identities) == (before.seeds, before.identities)
            np.testing.assert_array_equal(after.times, before.times)
    file.unlink()
    with pytest.raises(ValueError, match=f"own.zarr/{name}/0 is missing"):
        open_flow(store)


@pytest.mark.parametrize("name", ["reynolds", "seed", "identity", "check"])
def test_flipped_bits_of_uncompressed_copies(name: str, store: Path, tmp_path: Path) -> None:
    with xr.open_zarr(store, chunks=None, decode_times=False) as d:
        cut = d.isel(trajectory=[1, 0]).load()
    for variable in cut.variables:
        cut[variable].encoding = {}
    cut.to_zarr(tmp_path / "b.zarr", zarr_format=2, encoding={name: {"compressors": None}}, consolidated=False)
    before, found = open_flow(tmp_path / "b.zarr"), 0
    for _ in flipped(tmp_path / "b.zarr" / name / "0", 32):
        after = opened(tmp_path / "b.zarr")
        if after is None:
            found += 1
            continue
        # A change of the Reynolds number beyond its sixth digit is none.
        np.testing.assert_allclose(after.reynolds, before.reynolds, rtol=1e-5)
        assert (after.seeds, after.identities) == (before.seeds, before.identities)
    assert found >= (8 if name == "reynolds" else 32)


def test_a_chunk_that_a_copy_lost(store: Path, tmp_path: Path) -> None:
    """In format 3 it is read as zeros, which the checksums of the frames do not fit."""
    with xr.open_zarr(store, chunks=None, decode_times=False) as d:
        for variable in d.variables:
            d[variable].encoding = {}
        d.to_zarr(tmp_path / "b.zarr", zarr_format=3, consolidated=False,
                  encoding={"velocity": {"chunks": (1, 2, 2, POINTS, POINTS)}})  # fmt: skip
    shutil.rmtree(tmp_path / "b.zarr/velocity/c/1/1")
    data = open_flow(tmp_path / "b.zarr")
    assert data.read(1, 0, 2).shape[0] == 2
    with pytest.raises(ValueError, match="velocity/c/1/1/0/0/0 is missing"):
        data.read(1)


def test_files_that_are_no_netcdf_of_flows(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    (tmp_path / "b.nc").write_bytes(b"CDF\x01" + bytes(3))
    for name in ("a.h5", "b.nc"):
        with pytest.raises(ValueError, match=f"{name} cannot be read as NetCDF") as error:
            open_flow(tmp_path / name)
        assert "\n" not in str(error.value)
    dataset().drop_vars("time").to_netcdf(tmp_path / "c.nc", engine="scipy")
    with pytest.raises(ValueError, match="lacks what a data set of flows needs: variable 'time'"):
        open_flow(tmp_path / "c.nc")
