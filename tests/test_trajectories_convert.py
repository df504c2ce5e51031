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


def truth(trajectory: int, seed: int = 0, frames: int = FRAMES) -> np.ndarray:
    """Frames ``(time, 2, x, y)`` that tell x from y and u from v."""
    rng = np.random.default_rng([seed, trajectory])
    x, y = np.meshgrid(SIDE, SIDE, indexing="ij")
    waves = np.stack([np.sin(2 * y) + 0.1 * np.cos(x), np.cos(3 * x)])
    return waves * rng.normal(size=(frames, 2, 1, 1))


def kolsol(path: Path, change: Callable[[Any], None] = lambda file: None, seed: int = 0) -> Path:
    field = truth(0, seed)
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
        field = np.stack([truth(i) for i in range(3)])
    np.save(path, field.reshape(*field.shape[:2], -1))
    return path


def the_well(path: Path, change: Callable[[Any], None] = lambda file: None) -> Path:
    field = np.stack([truth(i) for i in range(3)])
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


def test_kolsol(tmp_path: Path) -> None:
    files = [kolsol(tmp_path / "a.h5"), kolsol(tmp_path / "b.h5", seed=1)]
    data = convert(files, "kolsol", tmp_path / "flow.zarr", stride=4, precision="float64")
    assert (data.trajectories, data.frames, data.points, data.forcing) == (2, 4, N, 2)
    assert data.interval == pytest.approx(0.04, rel=1e-12)
    np.testing.assert_array_equal(data.reynolds, [34.0, 34.0])
    np.testing.assert_array_equal(data.read(0), truth(0)[::4])
    np.testing.assert_array_equal(data.read(1), truth(0, seed=1)[::4])
    with data.dataset() as dataset:
        energy, dissipation = energy_and_dissipation(truth(0)[::4], 34.0)
        np.testing.assert_array_equal(dataset["energy"][0], energy)
        np.testing.assert_array_equal(dataset["dissipation"][0], dissipation)
    assert data.attributes["configuration"] == '{"layout": "kolsol", "sources": ["a.h5", "b.h5"], "stride": 4}'


def test_published(tmp_path: Path) -> None:
    file = published(tmp_path / "trajectories.npy")
    seen: list[tuple[int, int]] = []
    data = convert(
        [file], "published", tmp_path / "flow.zarr", reynolds=34.0, forcing=3, interval=0.12,
        report=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert (data.trajectories, data.frames, data.points, data.forcing, data.interval) == (3, FRAMES, N, 3, 0.12)
    np.testing.assert_array_equal(data.read(1), truth(1).astype(np.float32))
    assert seen[-1] == (3 * FRAMES, 3 * FRAMES)
    # The shorter published file holds the first frames of the longer one: the identities say so.
    short = published(tmp_path / "short.npy", np.stack([truth(i)[:10] for i in range(3)]))
    less = convert([short], "published", tmp_path / "short.zarr", reynolds=34.0, forcing=3, interval=0.12)
    assert shared_trajectories(data, less) == [(0, 0), (1, 1), (2, 2)]


def test_the_well(tmp_path: Path) -> None:
    data = convert([the_well(tmp_path / "a.hdf5")], "the-well", tmp_path / "flow.zarr", forcing=3, stride=2)
    assert (data.trajectories, data.frames, data.points, data.forcing) == (3, 7, N, 3)
    assert data.interval == pytest.approx(0.24, rel=1e-4)  # single precision at time 200
    np.testing.assert_array_equal(data.reynolds, [34.0] * 3)
    np.testing.assert_array_equal(data.read(2), truth(2)[::2].astype(np.float32))


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
        replaced("velocity_field", np.moveaxis(truth(0)[:9], 1, 3))(file)
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
        ("whole", np.zeros((3, 4, 128), np.int64), "floating-point numbers"),
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
