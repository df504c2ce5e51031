"""Simulations on disk: what is written comes back, and what is wrong is said."""

import contextlib
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from jaxtyping import TypeCheckError

from closura.problems import ReferenceStore, advection
from closura.problems.advection_setup import AdvectionConfiguration
from closura.simulation.saved import (
    configuration_of,
    labelled_simulations,
    load_simulations,
    load_store,
    open_simulations,
    save_simulations,
    saver,
)


def make(axes: int = 2, dtype: type = np.float32, **changes: object) -> xr.Dataset:
    rng = np.random.default_rng(1)
    shape = (3, 4, 2, *(8, 6, 5)[:axes])
    fields = {name: rng.standard_normal(shape).astype(dtype) for name in ("CGS", "Δ closure")}
    fields["CGS"][1, 2:] = np.nan
    fields["CGS"][2, 3:] = np.inf
    parts = {
        "methods": fields,
        "reference": rng.standard_normal(shape).astype(dtype),
        "steps": np.asarray([0, 5, 10, 400]),
        "time_step": 0.25,
        "extent": (2.0, 1.0, 3.0)[:axes],
        "parameters": {"velocity": rng.standard_normal((3, 2, 16)), "image": np.asarray([5, 7, 11])},
        "components": ("u", "v"),
        "configuration": {"seed": 1, "nested": {"bad": float("nan")}},
        "title": "a test",
    }
    return labelled_simulations("burgers", **{**parts, **changes})


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(axes: int, dtype: type, tmp_path) -> None:
    written = make(axes, dtype)
    path = save_simulations(tmp_path / "runs" / "s.zarr", written)
    read = load_simulations(path)
    assert read["solver"].values.tolist() == ["CGS", "Δ closure"]
    assert set(read.data_vars) == {"state", "truth", "parameter_velocity", "parameter_image"}
    for name, array in written.variables.items():
        if array.dtype.kind != "U":
            assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)  # bit for bit, NaN and infinity included
        assert read[name].attrs == array.attrs
    assert read["state"].dtype == dtype
    assert configuration_of(read) == {"seed": 1, "nested": {"bad": None}}
    assert {name: value for name, value in read.attrs.items() if name != "checksums"} == written.attrs
    assert [file.name for file in path.parent.iterdir()] == ["s.zarr"]


def test_labels_units_and_chunks(tmp_path) -> None:
    path = save_simulations(tmp_path / "s.zarr", make())
    with open_simulations(path) as dataset:
        state = dataset["state"]
        assert state.dims == ("solver", "simulation", "step", "component", "x", "y")
        assert state.encoding["chunks"] == (1, 1, 4, 2, 8, 6)
        # x of eight points on a length of 2: i * 2 / 8.
        assert dataset["x"].values.tolist() == [0.25 * i for i in range(8)]
        assert dataset["x"].attrs["units"] == "1"
        assert dataset["time"].values.tolist() == [0.0, 1.25, 2.5, 100.0]
        assert dataset["time"].attrs["units"] == "1"
        one = state.sel(solver="Δ closure", step=400, component="v").isel(simulation=1)
        np.testing.assert_array_equal(one.values, make()["state"].values[1, 1, 3, 1])
        assert dataset.attrs["closura_version"]
        assert "axis after component is x" in dataset.attrs["conventions"]
        assert json.loads(dataset.attrs["configuration"])["seed"] == 1


def test_overwriting_is_asked_for(tmp_path) -> None:
    path = save_simulations(tmp_path / "s.zarr", make())
    with pytest.raises(FileExistsError, match="overwrite=True"):
        save_simulations(path, make())
    save_simulations(path, make(title="second"), overwrite=True)
    assert load_simulations(path).attrs["title"] == "second"
    assert [file.name for file in tmp_path.iterdir()] == ["s.zarr"]
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="is not a folder of simulations"):
        save_simulations(precious, make(), overwrite=True)
    assert (precious / "thesis.txt").exists()


def test_an_interrupted_write_leaves_the_old_folder(tmp_path, monkeypatch) -> None:
    path = save_simulations(tmp_path / "s.zarr", make())

    def stop(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(xr.Dataset, "to_zarr", stop)
    with pytest.raises(KeyboardInterrupt):
        save_simulations(path, make(title="second"), overwrite=True)
    assert load_simulations(path).attrs["title"] == "a test"
    assert [file.name for file in tmp_path.iterdir()] == ["s.zarr"]


def test_what_cannot_be_read_is_said(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no simulations at"):
        load_simulations(tmp_path / "missing.zarr")
    with pytest.raises(ValueError, match="no folder written by save_simulations"):
        load_simulations(tmp_path)
    other = tmp_path / "other.zarr"
    xr.Dataset({"a": ("x", np.zeros(2))}).to_zarr(other, zarr_format=2, consolidated=True)
    with pytest.raises(ValueError, match="not written by save_simulations"):
        load_simulations(other)
    newer = tmp_path / "newer.zarr"
    attributes = {"format": "closura simulations", "format_version": 99, "closura_version": "9.9"}
    xr.Dataset({"a": ("x", np.zeros(2))}, attrs=attributes).to_zarr(newer, zarr_format=2, consolidated=True)
    with pytest.raises(ValueError, match=r"version 99, written by closura 9\.9"):
        load_simulations(newer)
    damaged = tmp_path / "damaged.zarr"
    attributes["format_version"] = 1
    xr.Dataset({"a": ("x", np.zeros(2))}, attrs=attributes).to_zarr(damaged, zarr_format=2, consolidated=True)
    with pytest.raises(ValueError, match="lacks state, solver, step, component"):
        load_simulations(damaged)


def test_records_refuse_what_does_not_fit() -> None:
    field = np.zeros((3, 4, 2, 8, 6), np.float32)
    for changes in (
        {"components": ("u", "v", "w")},
        {"parameters": {"velocity": np.zeros((2, 2))}},
        {"methods": {}},
        {"methods": {"a": field, "b": np.zeros((3, 4, 2, 8, 7), np.float32)}},
    ):
        with pytest.raises((ValueError, TypeCheckError)):
            make(**changes)


def earlier(path: Path) -> Path:
    """The folder as closura wrote it before there were hashes: format version 1."""
    for name in (".zattrs", ".zmetadata"):
        text = json.loads((path / name).read_text())
        attributes = text if name == ".zattrs" else text["metadata"][".zattrs"]
        attributes["format_version"] = 1
        del attributes["checksums"]
        (path / name).write_text(json.dumps(text))
    return path


PARTS = ("truth", "state", "parameter_velocity", "parameter_image", "step", "solver", "component", "time", "x")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("part", PARTS)
def test_a_damaged_chunk_is_refused_by_name(version: int, part: str, tmp_path) -> None:
    path = save_simulations(tmp_path / "s.zarr", make())
    if version == 1:
        earlier(path)
    chunk = sorted((path / part).glob("[0-9]*"))[-1]
    good = chunk.read_bytes()
    for damage in (None, b"", good[:-1], good[: len(good) // 2], good + b"\0", b"\xff" * len(good)):
        chunk.unlink()
        if damage is not None:
            chunk.write_bytes(damage)
        with pytest.raises(ValueError, match=r"s\.zarr") as caught:
            load_simulations(path)
        assert part in str(caught.value)
        chunk.write_bytes(good)
    np.testing.assert_array_equal(load_simulations(path)["truth"], make()["truth"])


@pytest.mark.parametrize("part", PARTS)
def test_no_flipped_bit_of_a_chunk_changes_what_is_read(part: str, tmp_path) -> None:
    path = save_simulations(tmp_path / "s.zarr", make())
    chunk = sorted((path / part).glob("[0-9]*"))[0]
    good = bytearray(chunk.read_bytes())
    for place in np.random.default_rng(0).integers(0, 8 * len(good), 8):
        bad = good.copy()
        bad[place // 8] ^= 1 << (place % 8)
        chunk.write_bytes(bad)
        with contextlib.suppress(ValueError):  # but for bits that mean nothing to the decoder
            read = load_simulations(path)
            np.testing.assert_array_equal(read["truth"], make()["truth"])
            np.testing.assert_array_equal(read["step"], make()["step"])
            assert read["solver"].values.tolist() == ["CGS", "Δ closure"]


@pytest.mark.parametrize("change", [
    ("time_step", 0.5), ("extent", "[2.0, 2.0]"), ("problem", "advection"), ("configuration", '{"seed": 2}'),
    ("field_unit", "km/s"), ("format_version", 3), ("checksums", "{}"), ("checksums", "{"),
])  # fmt: skip
def test_a_changed_attribute_is_refused(change: tuple[str, object], tmp_path) -> None:
    path = save_simulations(tmp_path / "s.zarr", make())
    for name in (".zattrs", ".zmetadata"):
        text = json.loads((path / name).read_text())
        (text if name == ".zattrs" else text["metadata"][".zattrs"])[change[0]] = change[1]
        (path / name).write_text(json.dumps(text))
    with pytest.raises(ValueError, match=r"s\.zarr"):
        load_simulations(path)


def test_zeros_are_no_damage(tmp_path) -> None:
    """Zarr need not write chunks of nothing but zeros; a field at rest is one."""
    field = np.zeros((3, 4, 2, 8, 6), np.float32)
    rest = make(
        methods={"CGS": field, "other": field},
        reference=field,
        parameters={"group": np.zeros(3, np.int32), "flag": np.asarray([True, False, True])},
        steps=np.arange(4),
    )
    path = save_simulations(tmp_path / "s.zarr", rest)
    read = load_simulations(path)
    assert not np.any(read["truth"])
    assert read["parameter_group"].values.tolist() == [0, 0, 0]
    assert read["parameter_flag"].values.tolist() == [True, False, True]
    (tmp_path / "s.zarr" / "state" / "0.0.0.0.0.0").unlink(missing_ok=True)
    assert not np.any(load_simulations(path)["state"].sel(solver="CGS"))  # absent or not, it is what was written


@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
@pytest.mark.parametrize("options", [{"zarr_format": 2}, {"zarr_format": 2, "consolidated": False}, {"zarr_format": 3}])
def test_copies_by_xarray(options: dict, tmp_path) -> None:
    path = save_simulations(tmp_path / "s.zarr", make())
    with open_simulations(path) as dataset:
        plain = dataset.drop_encoding()
        plain.to_zarr(tmp_path / "copy.zarr", **options)
        plain.isel(simulation=[1]).to_zarr(tmp_path / "cut.zarr", **options)
        plain.isel(simulation=[2, 1, 0]).to_zarr(tmp_path / "order.zarr", **options)
        plain.drop_vars("truth").to_zarr(tmp_path / "less.zarr", **options)
    read = load_simulations(tmp_path / "copy.zarr")
    np.testing.assert_array_equal(read["truth"], make()["truth"])
    assert configuration_of(read) == {"seed": 1, "nested": {"bad": None}}
    with pytest.raises(ValueError, match=r"cut\.zarr holds a part of what was written \(simulation 1 of 3\)"):
        load_simulations(tmp_path / "cut.zarr")
    with pytest.raises(ValueError, match=r"order\.zarr: .* is not what was written"):
        load_simulations(tmp_path / "order.zarr")
    with pytest.raises(ValueError, match=r"less\.zarr lacks truth"):
        load_simulations(tmp_path / "less.zarr")


def test_starting_from_what_is_not_finite_is_refused(tmp_path) -> None:
    problem = advection(AdvectionConfiguration(cells=8, ratio=2))
    rng = np.random.default_rng(0)
    reference = rng.random((3, 3, 1, 8, 8), np.float32)
    velocity, fields = rng.random((3, 2, 8, 8), np.float32), np.repeat(reference[:, :1], 3, axis=1)

    def save(**changes: np.ndarray) -> Path:
        path = tmp_path / "s.zarr"
        parts = {"truth": reference, "CGS": fields, "velocity": velocity, **changes}
        state, parameters, true = (jnp.asarray(parts[name]) for name in ("CGS", "velocity", "truth"))
        store = ReferenceStore(state[:, 0], parameters, true, jnp.zeros((3, 1), jnp.float32))
        saver(path, problem, {}, overwrite=True)(store, {"CGS": parts["CGS"]})
        return path

    loaded, _ = load_store(save(), problem)
    np.testing.assert_array_equal(loaded.reference, reference)

    def bad(array: np.ndarray, *place: int, value: float = np.nan) -> np.ndarray:
        array = np.array(array)
        array[place] = value
        return array

    later = save(CGS=bad(fields, 1, 2, 0, 3, 3))
    load_store(later, problem)  # a method that diverged is no beginning
    for changes, message in (
        ({"CGS": bad(fields, 1, 0, 0, 3, 3)}, r"the initial state is not finite in 1 of 3 simulations \(first 1"),
        ({"CGS": bad(fields, 2, 0, 0, 0, 0, value=np.inf)}, "the initial state is not finite in 1 of 3"),
        ({"velocity": bad(velocity, 0, 1, 0, 0)}, r"the parameter velocity is not finite .*first 0"),
        ({"truth": bad(reference, 2, 1, 0, 0, 0)}, r"the reference is not finite .*first 2"),
    ):
        with pytest.raises(ValueError, match=message):
            load_store(save(**changes), problem)
