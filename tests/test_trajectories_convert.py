"""Flows of other layouts: tiny files in those layouts, converted; and each file that is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closura.trajectories import convert, open_flow, shared_trajectories
from closura.trajectories.statistics import energy_and_dissipation

h5py = pytest.importorskip("h5py")

N, FRAMES = 8, 13
SIDE = 2 * np.pi * np.arange(N) / N


def reference(trajectory: int, seed: int = 0, frames: int = FRAMES) -> np.ndarray:
    """Frames ``(time, 2, x, y)`` that tell x from y and u from v."""
    rng = np.random.default_rng([seed, trajectory])
    x, y = np.meshgrid(SIDE, SIDE, indexing="ij")
    waves = np.stack([np.sin(2 * y) + 0.1 * np.cos(x), np.cos(3 * x)])
    return waves * rng.normal(size=(frames, 2, 1, 1))


def kolsol(path: Path, change: Callable[[Any], None] = lambda file: None, seed: int = 0) -> Path:
    field = reference(0, seed)
    with h5py.File(path, "w") as file:
        file["velocity_field"] = np.moveaxis(field, 1, 3)
        file["time"] = 0.01 * np.arange(FRAMES)
        file["dissipation"] = np.zeros((FRAMES, 1))
        for name, value in {"re": 34.0, "dt": 0.01, "nk": 4, "nf": 2, "ndim": 2, "resolution": N}.items():
            file[name] = value
        change(file)
    return path


def published(path: Path, field: np.ndarray | None = None) -> Path:
    if field is None:
        field = np.stack([reference(i) for i in range(3)])
    np.save(path, field.reshape(*field.shape[:2], -1))
    return path


def the_well(path: Path, change: Callable[[Any], None] = lambda file: None) -> Path:
    field = np.stack([reference(i) for i in range(3)])
    with h5py.File(path, "w") as file:
        file.attrs.update({"dataset_name": "tiny", "grid_type": "cartesian", "n_spatial_dims": 2, "n_trajectories": 3})
        file.attrs["simulation_parameters"] = ["Reynolds"]
        file.attrs["Reynolds"] = 34.0
        file["dimensions/time"] = 200.0 + 0.12 * np.arange(FRAMES, dtype=np.float32)
        file["dimensions/x"] = SIDE.astype(np.float32)
        file["dimensions/y"] = SIDE.astype(np.float32)
        file["dimensions"].attrs["spatial_dims"] = ["x", "y"]
        for axis in "xy":
            group = file.create_group(f"boundary_conditions/{axis}_periodic")
            group.attrs["bc_type"] = "PERIODIC"
            group["mask"] = np.eye(1, N, dtype=bool)[0]
        file["t1_fields/velocity"] = np.moveaxis(field, 2, 4).astype(np.float32)
        change(file)
    return path


def replaced(name: str, value: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[name]
        file[name] = value

    return change


def grouped(name: str) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[name]
        file.create_group(name)

    return change


def attribute(name: str, key: str, value: Any) -> Callable[[Any], None]:
    return lambda file: file[name].attrs.__setitem__(key, value)


def labelled(name: str, *labels: str) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        for axis, label in zip(file[name].dims, labels, strict=True):
            axis.label = label

    return change


def unwritten(frames: int) -> Callable[[Any], None]:
    """A file that a kill left: HDF5 reads zeros where nothing was written."""

    def change(file: Any) -> None:
        field = file["velocity_field"][:frames]
        del file["velocity_field"]
        file.create_dataset("velocity_field", (FRAMES, N, N, 2), "f8", chunks=(1, N, N, 2))[:frames] = field

    return change


def empty(file: Any) -> None:
    del file["velocity_field"]
    file.create_dataset("velocity_field", (FRAMES, N, N, 2), "f8")


def flow(trajectory: int, points: int = N, frames: int = FRAMES) -> np.ndarray:
    """An incompressible flow ``(time, 2, x, y)`` whose u and v, x and y cannot be mistaken: u = 3 sin(2 y + t) +
    cos(x) sin(y), v = 0.5 cos(3 x) - sin(x) cos(y) and more of it for each trajectory."""
    side = 2 * np.pi * np.arange(points) / points
    x, y = np.meshgrid(side, side, indexing="ij")
    return np.stack([
        (trajectory + 1) * np.stack([3 * np.sin(2 * y + 0.1 * n) + np.cos(x) * np.sin(y),
                                     0.5 * np.cos(3 * x) - np.sin(x) * np.cos(y)])
        for n in range(frames)
    ])  # fmt: skip


def exchanged(file: Any) -> None:
    replaced("velocity_field", np.moveaxis(flow(0)[:, ::-1], 1, 3))(file)


def test_kolsol(tmp_path: Path) -> None:
    files = [kolsol(tmp_path / "a.h5"), kolsol(tmp_path / "b.h5", seed=1)]
    data = convert(files, "kolsol", tmp_path / "flow.zarr", stride=4, precision="float64")
    assert (data.trajectories, data.frames, data.points, data.forcing) == (2, 4, N, 2)
    assert data.interval == pytest.approx(0.04, rel=1e-12)
    np.testing.assert_array_equal(data.reynolds, [34.0, 34.0])
    np.testing.assert_array_equal(data.read(0), reference(0)[::4])
    np.testing.assert_array_equal(data.read(1), reference(0, seed=1)[::4])
    with data.dataset() as dataset:
        energy, dissipation = energy_and_dissipation(reference(0)[::4], 34.0)
        np.testing.assert_array_equal(dataset["energy"][0], energy)
        np.testing.assert_array_equal(dataset["dissipation"][0], dissipation)
    assert data.attributes["configuration"] == '{"layout": "kolsol", "sources": ["a.h5", "b.h5"], "stride": 4}'


@pytest.mark.parametrize("points", [15, 16])
@pytest.mark.parametrize("kind", ["plain", "arrays", "packed", "chunked", ">f4", "half", "more of dt", "steps"])
def test_kolsol_variants(points: int, kind: str, tmp_path: Path) -> None:
    field, options = np.moveaxis(flow(0, points), 1, 3), {}
    rtol = {"packed": 1e-3, "half": 1e-3, ">f4": 1e-6}.get(kind, 1e-14)

    def change(file: Any) -> None:
        replaced("resolution", points)(file)
        replaced("velocity_field", field)(file)
        if kind == "arrays":
            for name, value in (("re", [34.0]), ("nf", [[2]]), ("dt", np.full(FRAMES, 0.01))):
                replaced(name, value)(file)
            replaced("time", 0.01 * np.arange(FRAMES)[:, None])(file)
        elif kind == "packed":  # as xarray packs: (value - offset) / scale
            replaced("velocity_field", np.round((field - 0.25) / 2e-4).astype(np.int16))(file)
            file["velocity_field"].attrs.update(
                {"scale_factor": 2e-4, "add_offset": 0.25, "_FillValue": np.int16(-(2**15))}
            )
            replaced("time", np.arange(FRAMES, dtype=np.int32))(file)
            file["time"].attrs["scale_factor"] = 0.01
        elif kind == "chunked":
            del file["velocity_field"]
            file.create_dataset("velocity_field", data=field, chunks=(4, 4, 4, 1), compression="gzip", shuffle=True,
                                fletcher32=True)  # fmt: skip
            labelled("velocity_field", "time", "x", "y", "component")(file)
            file["time"].attrs["units"] = "s"
        elif kind in (">f4", "half"):
            replaced("velocity_field", field.astype({"half": np.float16}.get(kind, kind)))(file)
        elif kind == "more of dt":
            replaced("time", 0.04 * np.arange(FRAMES))(file)
            options["interval"] = 0.04
        elif kind == "steps":
            replaced("time", np.arange(FRAMES))(file)
            options["interval"] = 0.01

    data = convert([kolsol(tmp_path / "a.h5", change)], "kolsol", tmp_path / "o.zarr", precision="float64", **options)
    assert (data.points, data.forcing, data.reynolds.tolist()) == (points, 2, [34.0])
    assert data.interval == pytest.approx(0.04 if kind == "more of dt" else 0.01, rel=1e-12)
    np.testing.assert_allclose(data.read(0), flow(0, points), rtol=rtol, atol=4 * rtol)
    with data.dataset() as dataset:
        # <u^2> = 9/2 + 1/4, <v^2> = 1/8 + 1/4; the vorticity has 6 cos(2y), 1.5 sin(3x) and 2 cos(x) cos(y).
        np.testing.assert_allclose(dataset["energy"][0], 0.5 * (9 / 2 + 1 / 4 + 1 / 8 + 1 / 4), rtol=1e-3)
        np.testing.assert_allclose(dataset["dissipation"][0], (36 / 2 + 2.25 / 2 + 4 / 4) / 34.0, rtol=2e-3)


def test_published(tmp_path: Path) -> None:
    file = published(tmp_path / "trajectories.npy")
    seen: list[tuple[int, int]] = []
    data = convert(
        [file], "published", tmp_path / "flow.zarr", reynolds=34.0, forcing=3, interval=0.12,
        report=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert (data.trajectories, data.frames, data.points, data.forcing, data.interval) == (3, FRAMES, N, 3, 0.12)
    np.testing.assert_array_equal(data.read(1), reference(1).astype(np.float32))
    assert seen[-1] == (3 * FRAMES, 3 * FRAMES)
    # The shorter published file holds the first frames of the longer one: the identities say so.
    short = published(tmp_path / "short.npy", np.stack([reference(i)[:10] for i in range(3)]))
    less = convert([short], "published", tmp_path / "short.zarr", reynolds=34.0, forcing=3, interval=0.12)
    assert shared_trajectories(data, less) == [(0, 0), (1, 1), (2, 2)]


def test_the_well(tmp_path: Path) -> None:
    data = convert([the_well(tmp_path / "a.hdf5")], "the-well", tmp_path / "flow.zarr", forcing=3, stride=2)
    assert (data.trajectories, data.frames, data.points, data.forcing) == (3, 7, N, 3)
    assert data.interval == pytest.approx(0.24, rel=1e-4)  # single precision at time 200
    np.testing.assert_array_equal(data.reynolds, [34.0] * 3)
    np.testing.assert_array_equal(data.read(2), reference(2)[::2].astype(np.float32))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("turn", [lambda v: v[:, :, ::-1], lambda v: v.swapaxes(-1, -2)])
def test_the_wrong_order_shows_in_every_precision(dtype: str, turn: Any, tmp_path: Path) -> None:
    """Rounding of a strong mean flow to half precision makes a divergence of more than a hundredth of the gradients."""
    field = np.stack([flow(0, 16)])
    field[:, :, 0] += 10.0
    np.save(tmp_path / "a.npy", turn(field).reshape(1, FRAMES, -1).astype(dtype))
    with pytest.raises(ValueError, match="incompressible only with x and y, or u and v, the other way round"):
        convert([tmp_path / "a.npy"], "published", tmp_path / "o.zarr", reynolds=34.0, forcing=3, interval=0.1)


@pytest.mark.parametrize("dtype", [">f8", "<f4", ">f4", "<f2", ">f2", np.longdouble])
@pytest.mark.parametrize("order", ["C", "F"])
def test_published_types_and_orders_in_memory(dtype: Any, order: str, tmp_path: Path) -> None:
    field = np.stack([flow(i, 15) for i in range(3)])
    np.save(tmp_path / "a.npy", np.asarray(field.reshape(3, FRAMES, -1), dtype, order=order))
    data = convert(
        [tmp_path / "a.npy"], "published", tmp_path / "o.zarr", reynolds=34.0, forcing=3, interval=0.1, stride=3
    )
    for i in range(3):
        np.testing.assert_array_equal(data.read(i), field[i, ::3].astype(dtype).astype(np.float32))


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (
            (0, 1, 2, 4, 3),
            r"trajectory 0: the flow is incompressible only with x and y, or u and v, the other way round",
        ),
        ((0, 1, 3, 4, 2), r"trajectory 0: the flow is incompressible only with the component as last axis"),
        ((0, 1, 4, 3, 2), r"trajectory 0: the flow is incompressible only with the component as last axis"),
    ],
)
def test_published_numbers_in_another_order_are_refused(order: tuple[int, ...], message: str, tmp_path: Path) -> None:
    field = np.stack([flow(i) for i in range(3)]).transpose(order)
    np.save(tmp_path / "a.npy", field.reshape(3, FRAMES, -1).astype(np.float32))
    with pytest.raises(ValueError, match=message):
        convert([tmp_path / "a.npy"], "published", tmp_path / "o.zarr", reynolds=34.0, forcing=3, interval=0.1)


def test_flows_that_are_not_incompressible_in_any_order_are_accepted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i, field in enumerate([np.zeros((1, 4, 128)), np.full((1, 4, 128), 2.5), rng.normal(size=(1, 4, 128))]):
        np.save(tmp_path / f"{i}.npy", field)
        data = convert(
            [tmp_path / f"{i}.npy"], "published", tmp_path / f"{i}.zarr", reynolds=34.0, forcing=3, interval=0.1
        )
        np.testing.assert_array_equal(data.read(0).reshape(4, -1), field[0].astype(np.float32))


def in_order(*axes: str, follow: bool = True, scalars: dict[str, Any] | None = None) -> Callable[[Any], None]:
    """Fields whose axes are those, and whose components follow them; other parameters."""

    def change(file: Any) -> None:
        field = np.moveaxis(np.stack([flow(i) for i in range(3)]), 2, 4)
        if axes == ("y", "x"):
            field = field.swapaxes(2, 3)[..., ::-1] if follow else field.swapaxes(2, 3)
        replaced("t1_fields/velocity", field.astype(np.float32))(file)
        file["t1_fields/velocity"].attrs.update(
            {"sample_varying": True, "time_varying": True, "dim_varying": [True, True]}
        )
        file["dimensions"].attrs["spatial_dims"] = list(axes)
        for name, (value, facts) in (scalars or {}).items():
            file[f"scalars/{name}"] = value
            file[f"scalars/{name}"].attrs.update(facts)

    return change


def then(*changes: Callable[[Any], None]) -> Callable[[Any], None]:
    return lambda file: [change(file) for change in changes] and None


def no_reynolds(file: Any) -> None:
    del file.attrs["Reynolds"]


EACH, ALL = {"sample_varying": True, "time_varying": False}, {"sample_varying": False, "time_varying": False}
IN_TIME, BOTH = {"sample_varying": False, "time_varying": True}, {"sample_varying": True, "time_varying": True}


@pytest.mark.parametrize(
    ("change", "reynolds"),
    [
        (in_order("x", "y"), [34.0] * 3),
        (in_order("y", "x"), [34.0] * 3),
        (
            then(in_order("y", "x"), lambda f: f["dimensions"].attrs.__setitem__("spatial_dims", [b"y", b"x"])),
            [34.0] * 3,
        ),
        (
            then(in_order("x", "y", scalars={"Reynolds": (np.float32([34, 60, 100]), EACH)}), no_reynolds),
            [34.0, 60.0, 100.0],
        ),
        (then(in_order("y", "x", scalars={"viscosity": ([0.1, 0.05, 0.025], EACH)}), no_reynolds), [10.0, 20.0, 40.0]),
        (then(in_order("x", "y", scalars={"nu": (0.02, ALL), "Nu": (7.0, ALL)}), no_reynolds), [50.0] * 3),
        (then(in_order("x", "y", scalars={"Re": (np.full(FRAMES, 60.0), IN_TIME)}), no_reynolds), [60.0] * 3),
        (
            then(in_order("x", "y", scalars={"Re": (np.outer([1, 2, 3], np.ones(FRAMES)), BOTH)}), no_reynolds),
            [1.0, 2.0, 3.0],
        ),
        (then(in_order("x", "y", scalars={"Re": ([34.0, 60.0, 100.0], {})}), no_reynolds), [34.0, 60.0, 100.0]),
        (then(in_order("x", "y"), lambda f: f.attrs.__setitem__("Reynolds", [34.0, 60.0, 100.0])), [34.0, 60.0, 100.0]),
        (then(in_order("x", "y", scalars={"viscosity": ([1 / 34] * 3, EACH)})), [34.0] * 3),
    ],
)
def test_the_well_orders_and_parameters(change: Callable[[Any], None], reynolds: list[float], tmp_path: Path) -> None:
    data = convert([the_well(tmp_path / "a.hdf5", change)], "the-well", tmp_path / "o.zarr", forcing=2)
    np.testing.assert_allclose(data.reynolds, reynolds, rtol=1e-6)
    for i in range(3):
        np.testing.assert_array_equal(data.read(i), flow(i).astype(np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (in_order("y", "x", follow=False), "incompressible only with x and y, or u and v, the other way round"),
        (in_order("x", "z"), "expected the two spatial_dims x and y, in any order; got x, z"),
        (in_order("x", "y", "z"), "expected the two spatial_dims x and y"),
        (lambda f: f["dimensions"].attrs.__delitem__("spatial_dims"), "dimensions lacks the attribute spatial_dims"),
        (lambda f: f.attrs.__setitem__("n_spatial_dims", 3), "expected the two spatial_dims"),
        (
            in_order("x", "y", scalars={"Reynolds": ([34.0, 60.0, 100.0], EACH)}),
            r"two things of the Reynolds number, 34 \(attribute Reynolds\) and 34 to 100 \(scalars/Reynolds\)",
        ),
        (
            in_order("x", "y", scalars={"viscosity": (0.1, ALL)}),
            r"34 \(attribute Reynolds\) and 10 \(scalars/viscosity\)",
        ),
        (
            then(in_order("x", "y", scalars={"Re": (np.linspace(1, 2, FRAMES), IN_TIME)}), no_reynolds),
            "Re changes in time",
        ),
        (
            in_order("x", "y", scalars={"Re": ([1.0, 2.0], EACH)}),
            r"scalars/Re must be one number, or .* \(3\); got \(2,\)",
        ),
        (in_order("x", "y", scalars={"Re": ([1.0, 2.0, 3.0], ALL)}), "scalars/Re must be one number"),
        (in_order("x", "y", scalars={"Re": ([1.0, 2.0, -3.0], EACH)}), "scalars/Re must be positive; got -3"),
        (in_order("x", "y", scalars={"viscosity": (0.0, ALL)}), "scalars/viscosity must be positive; got 0"),
        (in_order("x", "y", scalars={"Re": ([1.0, np.nan, 3.0], EACH)}), "scalars/Re must be a finite number; got nan"),
        (in_order("x", "y", scalars={"Re": ("many", ALL)}), "scalars/Re must be an array of numbers"),
        (
            lambda f: f.attrs.__setitem__("Reynolds", [34.0, 60.0]),
            "Reynolds must be one number, or one for each trajectory",
        ),
        (
            attribute("dimensions/time", "sample_varying", True),
            r"dimensions/time has the shape \(13,\), but sample_varying is True",
        ),
        (attribute("dimensions/x", "time_varying", True), "dimensions/x changes in time"),
        (attribute("dimensions/time", "units", "days since 2000-01-01"), "has the units 'days since 2000-01-01'"),
        (attribute("dimensions/x", "units", "km"), "dimensions/x has the units 'km'"),
        (
            replaced("dimensions/time", np.ones((2, 1)) * np.arange(FRAMES)),
            "dimensions/time has 2 rows for 3 trajectories",
        ),
        (
            then(in_order("x", "y"), attribute("t1_fields/velocity", "dim_varying", [True, False])),
            "its attribute dim_varying is false",
        ),
        (then(in_order("x", "y"), labelled("t1_fields/velocity", "", "", "y", "x", "")), "labelled .*: reorder them"),
        (
            lambda f: [f["boundary_conditions"].__delitem__(each) for each in ("x_periodic", "y_periodic")],
            "boundary_conditions say nothing of x and y",
        ),
        (
            then(
                attribute("boundary_conditions/x_periodic", "associated_dims", ["x"]),
                attribute("boundary_conditions/y_periodic", "associated_dims", "x"),
            ),
            "boundary_conditions say nothing of y",
        ),
    ],
)
def test_the_well_refuses_what_it_does_not_understand(
    change: Callable[[Any], None], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        convert([the_well(tmp_path / "a.hdf5", change)], "the-well", tmp_path / "o.zarr", forcing=2)
    assert [each.name for each in tmp_path.iterdir()] == ["a.hdf5"]


def test_times_and_grids_of_each_trajectory(tmp_path: Path) -> None:
    def change(file: Any) -> None:
        in_order("y", "x")(file)
        replaced("dimensions/time", np.array([[0.0], [10.0], [20.0]]) + 0.25 * np.arange(FRAMES))(file)
        for name in ("x", "y"):
            replaced(f"dimensions/{name}", np.tile(SIDE, (3, 1)))(file)
        for name in ("time", "x", "y"):
            attribute(f"dimensions/{name}", "sample_varying", True)(file)

    data = convert([the_well(tmp_path / "a.hdf5", change)], "the-well", tmp_path / "o.zarr", forcing=2)
    assert data.interval == 0.25
    np.testing.assert_array_equal(data.read(2), flow(2).astype(np.float32))


def test_virtual_data_sets_need_their_files(tmp_path: Path) -> None:
    def change(file: Any) -> None:
        field = np.moveaxis(flow(0), 1, 3)
        with h5py.File(tmp_path / "part.h5", "w") as part:
            part["data"] = field
        layout = h5py.VirtualLayout(field.shape, "f8")
        layout[...] = h5py.VirtualSource("part.h5", "data", field.shape)
        del file["velocity_field"]
        file.create_virtual_dataset("velocity_field", layout)

    file = kolsol(tmp_path / "a.h5", change)
    np.testing.assert_array_equal(convert([file], "kolsol", tmp_path / "o.zarr", precision="float64").read(0), flow(0))
    (tmp_path / "part.h5").unlink()
    with pytest.raises(ValueError, match=r"velocity_field refers to files that are not there: part\.h5"):
        convert([file], "kolsol", tmp_path / "p.zarr")


def test_damaged_chunks_are_named(tmp_path: Path) -> None:
    def change(file: Any) -> None:
        field = np.moveaxis(flow(0), 1, 3)
        del file["velocity_field"]
        file.create_dataset("velocity_field", data=field, chunks=(1, N, N, 2), fletcher32=True)
        where.append(file["velocity_field"].id.get_chunk_info(5).byte_offset)

    where: list[int] = []
    file = kolsol(tmp_path / "a.h5", change)
    content = bytearray(file.read_bytes())
    content[where[0] + 100] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.h5: velocity_field cannot be read .*: make or copy it again"):
        convert([file], "kolsol", tmp_path / "o.zarr")


@pytest.mark.parametrize("frame", [0, 4])
def test_numbers_that_single_precision_does_not_hold(frame: int, tmp_path: Path) -> None:
    field = np.stack([flow(i) for i in range(3)])
    field[1, frame, 0, 2, 3] = 1e39
    file, facts = published(tmp_path / "a.npy", field), {"reynolds": 34.0, "forcing": 3, "interval": 0.5}
    with pytest.raises(
        ValueError,
        match=rf"trajectory 1 does not fit into float32 \(up to 3.4e\+38\) in frame {frame}, time {frame / 2:g}",
    ):
        convert([file], "published", tmp_path / "o.zarr", **facts)
    assert [each.name for each in tmp_path.iterdir()] == ["a.npy"]
    np.testing.assert_array_equal(
        convert([file], "published", tmp_path / "o.zarr", precision="float64", **facts).read(1), field[1]
    )


def test_folders_and_other_formats_are_called_what_they_are(tmp_path: Path) -> None:
    data = convert([kolsol(tmp_path / "a.h5")], "kolsol", tmp_path / "my flow.zarr")
    with pytest.raises(
        IsADirectoryError, match=r"is a zarr store, which closura reads as it is: closura data show '.*flow"
    ):
        convert([data.path], "kolsol", tmp_path / "o.zarr")
    with pytest.raises(IsADirectoryError, match="is a folder: name the files of the layout published in it"):
        convert([tmp_path], "published", tmp_path / "o.zarr", reynolds=34.0, forcing=3, interval=0.1)
    (tmp_path / "classic.dat").write_bytes(b"CDF\x02\0\0\0\0")
    (tmp_path / "b.nc").write_bytes((tmp_path / "a.h5").read_bytes())
    for name in ("classic.dat", "b.nc"):
        with pytest.raises(ValueError, match=r"is NetCDF, not the layout kolsol: .* with xarray\.open_dataset"):
            convert([tmp_path / name], "kolsol", tmp_path / "o.zarr")
    np.savez(tmp_path / "a.npz", field=np.zeros((1, 2, 128)))
    with pytest.raises(ValueError, match=r"expected one array .* got several, in an \.npz file"):
        convert([tmp_path / "a.npz"], "published", tmp_path / "o.zarr", reynolds=34.0, forcing=3, interval=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"forcing": 3, "interval": 0.1}, "does not say the Reynolds number: give it with --reynolds"),
        ({"reynolds": 34.0, "interval": 0.1}, "does not say the wavenumber of the forcing: give it with --forcing"),
        ({"reynolds": 34.0, "forcing": 3}, "does not say the time between frames: give it with --interval"),
        ({"reynolds": 34.0, "forcing": 3, "interval": 0.1, "stride": 0}, "a stride of at least 1"),
        ({"reynolds": 34.0, "forcing": -4, "interval": 0.1}, r"a\.npy has 8 points .* from 0 .* to 3; got -4"),
        ({"reynolds": 34.0, "forcing": 4, "interval": 0.1}, r"a\.npy has 8 points .* from 0 .* to 3; got 4"),
        ({"reynolds": -1.0, "forcing": 3, "interval": 0.1}, "must be positive"),
        ({"reynolds": np.nan, "forcing": 3, "interval": 0.1}, "--reynolds must be positive and finite; got nan"),
        ({"reynolds": np.inf, "forcing": 3, "interval": 0.1}, "--reynolds must be positive and finite; got inf"),
        ({"reynolds": 34.0, "forcing": 3, "interval": np.inf}, "--interval must be positive and finite; got inf"),
        ({"reynolds": 34.0, "forcing": 3, "interval": np.nan}, "--interval must be positive and finite; got nan"),
        ({"reynolds": 34.0, "forcing": 3, "interval": -0.1}, "--interval must be positive and finite; got -0.1"),
        ({"reynolds": 34.0, "forcing": 3, "interval": 0.0}, "--interval must be positive and finite; got 0"),
    ],
)
def test_missing_facts_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = published(tmp_path / "a.npy")
    with pytest.raises(ValueError, match=message):
        convert([file], "published", tmp_path / "flow.zarr", **options)
    assert [each.name for each in tmp_path.iterdir()] == ["a.npy"]


def test_contradictions_are_refused(tmp_path: Path) -> None:
    file = kolsol(tmp_path / "a.h5")
    for options, message in (
        ({"reynolds": 30.0}, "has the Reynolds number 34; --reynolds says 30"),
        ({"forcing": 3}, "has the wavenumber of the forcing 2; --forcing says 3"),
        ({"interval": 0.12}, "has the time between frames 0.01; --interval says 0.12"),
    ):
        with pytest.raises(ValueError, match=message):
            convert([file], "kolsol", tmp_path / "flow.zarr", **options)
    convert([file], "kolsol", tmp_path / "flow.zarr", reynolds=34.0, forcing=2, interval=0.01)
    with pytest.raises(FileExistsError, match=r"flow\.zarr exists"):
        convert([file], "kolsol", tmp_path / "flow.zarr")
    convert([file], "kolsol", tmp_path / "flow.zarr", overwrite=True, stride=2)
    assert open_flow(tmp_path / "flow.zarr").frames == 7


def test_files_that_disagree_are_refused(tmp_path: Path) -> None:
    def shorter(file: Any) -> None:
        replaced("velocity_field", np.moveaxis(reference(0)[:9], 1, 3))(file)
        replaced("time", 0.01 * np.arange(9))(file)

    a, b = kolsol(tmp_path / "a.h5"), kolsol(tmp_path / "b.h5", shorter)
    with pytest.raises(ValueError, match=r"b\.h5 has 8 points and 9 frames, .*a.h5 8 and 13: convert them apart"):
        convert([a, b], "kolsol", tmp_path / "flow.zarr")
    c = kolsol(tmp_path / "c.h5", replaced("nf", 3))
    with pytest.raises(ValueError, match="differ in forcing or in the time"):
        convert([a, c], "kolsol", tmp_path / "flow.zarr")
    with pytest.raises(ValueError, match="at least one file"):
        convert([], "kolsol", tmp_path / "flow.zarr")


BAD_TIME = 0.01 * np.array([*range(7), *range(9, 15)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.__delitem__("re"), "lacks re: it was not written by KolSol"),
        (replaced("time", BAD_TIME), "not uniform: from frame 6 to 7 the time goes from 0.06 to 0.09"),
        (replaced("velocity_field", np.zeros((FRAMES, N, N, N, 3))), r"must be \(time, x, y, 2\)"),
        (replaced("velocity_field", np.zeros((FRAMES, N, N + 2, 2))), r"must be \(time, x, y, 2\) on a square grid"),
        (grouped("velocity_field"), r"a\.h5: velocity_field must be an array of numbers; got a group"),
        (replaced("time", [b"now"] * FRAMES), r"a\.h5: time must be an array of numbers; got elements of type"),
        (replaced("re", "abc"), r"a\.h5: re must be a number"),
        (grouped("re"), r"a\.h5: re must be a number"),
        (replaced("re", np.nan), r"a\.h5: re must be a finite number; got nan"),
        (replaced("re", [34.0, 60.0]), r"a\.h5: re must be one number, or one for each trajectory \(1\); got \(2,\)"),
        (replaced("re", -34.0), r"a\.h5: re must be positive; got -34"),
        (replaced("re", np.linspace(34, 60, FRAMES)), r"a\.h5: re changes in time, from 34 to 60"),
        (replaced("dt", [0.0]), r"a\.h5: dt must be positive; got 0"),
        (replaced("ndim", 3), r"a\.h5: ndim is 3, but velocity_field has the shape \(13, 8, 8, 2\)"),
        (replaced("resolution", 16), r"a\.h5: resolution is 16, but velocity_field has the shape"),
        (
            replaced("dt", 0.001),
            r"two things of the time between frames, 0.01 \(time\) and 0.001 \(dt\): give .*--interval",
        ),
        (
            replaced("time", np.arange(FRAMES)),
            r"between frames, 1 \(time\) and 0.01 \(dt\): give the right one with --inter",
        ),
        (attribute("time", "units", "ms"), r"time has the units 'ms'; expected plain, non-dimensional numbers"),
        (attribute("velocity_field", "units", b"cm/s"), r"velocity_field has the units 'cm/s'"),
        (
            replaced("velocity_field", np.zeros((FRAMES, N, N, 2), np.int16)),
            "floating-point numbers; got int16 without",
        ),
        (replaced("velocity_field", np.zeros((FRAMES, N, N, 2), complex)), "an array of numbers; got .* complex128"),
        (
            labelled("velocity_field", "time", "y", "x", "component"),
            r"labelled \(time, y, x, component\); expected \(time, x, ",
        ),
        (unwritten(FRAMES - 1), r"12 of 13 parts of velocity_field were written: the file is not complete"),
        (unwritten(0), r"0 of 13 parts of velocity_field were written"),
        (empty, r"0 of 1 parts of velocity_field were written"),
        (
            lambda f: (
                attribute("velocity_field", "_FillValue", -999.0)(f),
                f["velocity_field"].__setitem__((5, 1, 1, 0), -999.0),
            ),
            "trajectory 0 is not finite in frame 5",
        ),
        (
            exchanged,
            r"a\.h5, trajectory 0: the flow is incompressible only with x and y, or u and v, the other way round",
        ),
        (replaced("nf", 2.5), r"a\.h5: nf must be a whole number; got 2.5"),
        (replaced("nf", 40), r"a\.h5 has 8 points per side: the wavenumber of the forcing must be .* to 3; got 40"),
        (lambda f: f["velocity_field"].__setitem__((5, 1, 1, 0), np.nan), "trajectory 0 is not finite in frame 5"),
    ],
)
def test_bad_kolsol_files(change: Callable[[Any], None], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        convert([kolsol(tmp_path / "a.h5", change)], "kolsol", tmp_path / "flow.zarr")
    assert [each.name for each in tmp_path.iterdir()] == ["a.h5"]


def wall(file: Any) -> None:
    file["boundary_conditions/y_periodic"].attrs["bc_type"] = b"WALL"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.__delitem__("t1_fields"), "lacks t1_fields/velocity"),
        (lambda f: f.__delitem__("boundary_conditions"), "lacks boundary_conditions"),
        (wall, "is not periodic: boundary condition 'y_periodic' is 'WALL'"),
        (lambda f: f.attrs.__setitem__("grid_type", "spherical"), "cartesian grid; got grid_type 'spherical'"),
        (lambda f: f.attrs.__setitem__("n_trajectories", 5), "n_trajectories is 5, but the velocity has 3"),
        (lambda f: f.attrs.__setitem__("n_trajectories", "x"), r"a\.hdf5: n_trajectories must be a number"),
        (lambda f: f.attrs.__setitem__("Reynolds", "x"), r"a\.hdf5: Reynolds must be a number"),
        (grouped("t1_fields/velocity"), r"a\.hdf5: t1_fields/velocity must be an array of numbers; got a group"),
        (grouped("dimensions/x"), r"a\.hdf5: dimensions/x must be an array of numbers; got a group"),
        (replaced("boundary_conditions", 1.0), r"a\.hdf5: boundary_conditions must be a group; got an array"),
        (replaced("dimensions/x", np.arange(N) / N), "box along x has the length 1, expected 2 pi"),
        (replaced("dimensions/y", np.linspace(0, 2 * np.pi, N)), "include both ends of the box"),
        (replaced("dimensions/time", BAD_TIME), "times are not uniform"),
        (replaced("dimensions/time", np.outer([1.0, 1.0, 2.0], np.arange(FRAMES))), "differs between trajectories"),
        (replaced("t1_fields/velocity", np.zeros((3, FRAMES, N, 2 * N, 2))), "square grid; got 8 x 16"),
        (replaced("t1_fields/velocity", np.zeros((3, FRAMES, N, N, 3))), r"must be \(trajectory, time, x, y, 2\)"),
        (lambda f: f["t1_fields/velocity"].__setitem__((2, 7, 1, 1, 0), np.inf), "trajectory 2 is not finite in frame"),
    ],
)  # fmt: skip
def test_bad_files_of_the_well(change: Callable[[Any], None], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        convert([the_well(tmp_path / "a.hdf5", change)], "the-well", tmp_path / "flow.zarr", forcing=3)


def test_bad_published_files(tmp_path: Path) -> None:
    facts = {"reynolds": 34.0, "forcing": 3, "interval": 0.12}
    for name, array, message in (
        ("flat", np.zeros((3, 4)), r"expected \(trajectory, time, 2 N\^2\)"),
        ("odd", np.zeros((3, 4, 100)), r"must be 2 N\^2 numbers, .* got 100"),
        ("whole", np.zeros((3, 4, 128), np.int64), "floating-point numbers; got .* of int64"),
        ("complex", np.zeros((3, 4, 128), complex), "floating-point numbers; got .* of complex128"),
        ("pairs", np.zeros((3, 4, 128), [("u", "f4"), ("v", "f4")]), "floating-point numbers"),
        ("nothing", np.zeros((0, 4, 128)), "floating-point numbers"),
        ("no-frames", np.zeros((3, 0, 128)), "floating-point numbers"),
        ("nan", np.full((3, 4, 128), np.nan), "trajectory 0 is not finite in frame 0"),
        ("objects", np.array([None]), "is no .npy file of numbers"),
    ):
        np.save(tmp_path / f"{name}.npy", array, allow_pickle=True)
        with pytest.raises(ValueError, match=message):
            convert([tmp_path / f"{name}.npy"], "published", tmp_path / "flow.zarr", **facts)
    (tmp_path / "text").write_text("text")
    for layout, message in (("published", "is no .npy file"), ("kolsol", "is no HDF5 file"), ("the-well", "no HDF5")):
        with pytest.raises(ValueError, match=message):
            convert([tmp_path / "text"], layout, tmp_path / "flow.zarr", **facts)
    with pytest.raises(FileNotFoundError, match="no file"):
        convert([tmp_path / "nothing"], "kolsol", tmp_path / "flow.zarr")
