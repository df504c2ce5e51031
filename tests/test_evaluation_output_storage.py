"""Simulations on disk: what is written comes back, and what is wrong is said."""

import dataclasses
import json

import numpy as np
import pytest
import xarray as xr

from closura.evaluation.results import Evaluation, MethodResult
from closura.evaluation.storage import (
    Simulations,
    load_simulations,
    open_simulations,
    save_simulations,
    simulations_of,
)


def make(axes: int = 2, dtype: type = np.float32) -> Simulations:
    rng = np.random.default_rng(1)
    shape = (3, 4, 2, *(8, 6, 5)[:axes])
    fields = {name: rng.standard_normal(shape).astype(dtype) for name in ("CGS", "Δ closure")}
    fields["CGS"][1, 2:] = np.nan
    fields["CGS"][2, 3:] = np.inf
    return Simulations(
        "burgers",
        fields,
        np.asarray([0, 5, 10, 400]),
        0.25,
        (2.0, 1.0, 3.0)[:axes],
        rng.standard_normal(shape).astype(dtype),
        {"velocity": rng.standard_normal((3, 2, 16)), "image": np.asarray([5, 7, 11])},
        ("u", "v"),
        "a test",
        {"seed": 1, "nested": {"bad": float("nan")}},
        length_unit="m",
        time_unit="s",
        field_unit="m/s",
    )


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(axes: int, dtype: type, tmp_path) -> None:
    written = make(axes, dtype)
    path = save_simulations(tmp_path / "runs" / "s.zarr", written)
    read = load_simulations(path)
    assert list(read.methods) == ["CGS", "Δ closure"]
    for name, array in written.methods.items():
        assert read.methods[name].dtype == dtype
        np.testing.assert_array_equal(read.methods[name], array)  # bit for bit, NaN and infinity included
    np.testing.assert_array_equal(read.truth, written.truth)
    np.testing.assert_array_equal(read.steps, written.steps)
    assert set(read.parameters) == {"velocity", "image"}
    np.testing.assert_array_equal(read.parameters["velocity"], written.parameters["velocity"])
    assert read.parameters["image"].dtype == written.parameters["image"].dtype
    assert read.configuration == {"seed": 1, "nested": {"bad": None}}
    for name in (
        "problem",
        "time_step",
        "extent",
        "components",
        "title",
        "length_unit",
        "time_unit",
        "field_unit",
    ):
        assert getattr(read, name) == getattr(written, name)
    assert [file.name for file in path.parent.iterdir()] == ["s.zarr"]


def test_labels_units_and_chunks(tmp_path) -> None:
    path = save_simulations(tmp_path / "s.zarr", make())
    with open_simulations(path) as dataset:
        state = dataset["state"]
        assert state.dims == ("solver", "simulation", "step", "component", "x", "y")
        assert state.encoding["chunks"] == (1, 1, 4, 2, 8, 6)
        # x of eight points on a length of 2: i * 2 / 8.
        assert dataset["x"].values.tolist() == [0.25 * i for i in range(8)]
        assert dataset["x"].attrs["units"] == "m"
        assert dataset["time"].values.tolist() == [0.0, 1.25, 2.5, 100.0]
        assert dataset["time"].attrs["units"] == "s"
        one = state.sel(solver="Δ closure", step=400, component="v").isel(simulation=1)
        np.testing.assert_array_equal(one.values, make().methods["Δ closure"][1, 3, 1])
        assert dataset.attrs["closura_version"]
        assert "axis after component is x" in dataset.attrs["conventions"]
        assert json.loads(dataset.attrs["configuration"])["seed"] == 1


def test_overwriting_is_asked_for(tmp_path) -> None:
    path = save_simulations(tmp_path / "s.zarr", make())
    with pytest.raises(FileExistsError, match="overwrite=True"):
        save_simulations(path, make())
    save_simulations(path, dataclasses.replace(make(), title="second"), overwrite=True)
    assert load_simulations(path).title == "second"
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
        save_simulations(path, dataclasses.replace(make(), title="second"), overwrite=True)
    assert load_simulations(path).title == "a test"
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
    good = make()
    with pytest.raises(ValueError, match="need 4 steps, 2 components and 2 lengths; got 3, 2 and 2"):
        dataclasses.replace(good, steps=np.arange(3))
    with pytest.raises(ValueError, match="must start with 3 simulations"):
        dataclasses.replace(good, parameters={"velocity": np.zeros((2, 2))})
    with pytest.raises(ValueError, match="at least one method"):
        dataclasses.replace(good, methods={})
    with pytest.raises(ValueError, match="must have the shape"):
        dataclasses.replace(good, methods={**good.methods, "b": np.zeros((3, 4, 2, 8, 7), np.float32)})


def test_the_fields_of_an_evaluation(tmp_path) -> None:
    fields = np.zeros((1, 2, 1, 4, 4), np.float32)
    result = MethodResult("CGS", np.zeros((2, 3)), None, np.asarray([-1, -1]), 1.0, 1.0, None, fields)
    evaluation = Evaluation(
        "advection", {"CGS": result}, 2, 2, 0.5, np.asarray([0, 2]), fields + 1, {"split": "test"},
        configuration={"command": "closura evaluate"},
    )  # fmt: skip
    read = load_simulations(save_simulations(tmp_path / "s.zarr", simulations_of(evaluation, extent=(1.0, 1.0))))
    assert read.steps.tolist() == [0, 2]
    assert float(read.truth.min()) == 1.0
    assert read.configuration == {"command": "closura evaluate", "description": {"split": "test"}}
    bare = Evaluation("p", {"CGS": dataclasses.replace(result, fields=None)}, 2, 2, 0.5)
    with pytest.raises(ValueError, match="no fields were kept"):
        simulations_of(bare, extent=(1.0,))
