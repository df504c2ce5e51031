"""Recordings as a reference: the same from every format, cut and split as said, and no held-out frame is read."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from closura import Grid, Problem
from closura.cli import main
from closura.commands.benchmark import run_benchmark_command
from closura.commands.evaluation import run_evaluate
from closura.commands.training import parse_train
from closura.metrics.pareto import Fronts
from closura.problems import simulate_reference
from closura.problems.recorded import Recordings
from closura.trajectories.recorded import recorded
from closura.trajectories.recording_file import RecordingFile

RUNS, FRAMES, FINE, INTERVAL = 10, 41, 32, 0.02

FILE = '''"""A wave that somebody has recorded; upwind differences on eight points learn from it."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

import closura


@dataclass(frozen=True)
class Physics(closura.Settings):
    """Settings.

    Parameters
    ----------
    path
        Recordings.
    numpy
        Take a step that JAX cannot trace.
    """

    path: str = "runs.zarr"
    numpy: bool = False


def step(u, dt, parameters):
    return u - dt * 8 * parameters["speed"] * (u - jnp.roll(u, 1, axis=-1))


def outside(u, dt, parameters):
    return u - dt * 8 * float(parameters["speed"]) * (u - np.roll(u, 1, axis=-1))


@closura.problem("recorded-wave", physics=Physics)
def wave(physics, split):
    """Recorded waves."""
    return closura.Problem.from_functions(
        fields=("u",), grid=closura.Grid((8,)), dt=0.02, coarse=outside if physics.numpy else step,
        reference=closura.recorded(physics.path, variables="u", parameters=("speed",), split=split),
    )
'''


def waves(runs: int = RUNS, seed: int = 0) -> xr.Dataset:
    """Exact solutions of u_t + c u_x = 0 on [0, 1), in the middle of cells; a speed for each."""
    rng = np.random.default_rng(seed)
    x, time, speed = (np.arange(FINE) + 0.5) / FINE, INTERVAL * np.arange(FRAMES), rng.uniform(0.5, 1.5, runs)
    place = x - speed[:, None, None] * time[:, None]
    phases = rng.uniform(0, 2 * np.pi, (3, runs, 1, 1))
    u = sum(np.sin(2 * np.pi * (k + 1) * place + phases[k]) / (k + 1) for k in range(3))
    return xr.Dataset(
        {"u": (("simulation", "time", "x"), np.asarray(u, np.float32)), "speed": ("simulation", speed)},
        {"time": time, "x": x},
    )


def as_files(data: xr.Dataset, folder: Path, write: Callable[[xr.Dataset, Path], Any], suffix: str) -> Path:
    folder.mkdir()
    for run in range(data.sizes["simulation"]):
        one = data.isel(simulation=run)
        write(one.drop_vars("speed").assign_attrs(speed=float(one["speed"])), folder / f"run{run}{suffix}")
    return folder


def as_hdf5(data: xr.Dataset, path: Path) -> None:
    """Arrays without names of axes, in a group, components last."""
    with h5py.File(path, "w") as file:
        file["fields/u"] = data["u"].values[..., None]
        file["speed"], file["time"] = data["speed"].values, data["time"].values


@pytest.mark.parametrize("layout", ["zarr 2", "zarr 3", "netcdf 4", "netcdf 3", "hdf5", "files"])
def test_every_format_gives_the_same_frames(layout: str, tmp_path: Path) -> None:
    data, path, variables, dims = waves(), tmp_path / "runs", "u", None
    if layout.startswith("zarr"):
        data.to_zarr(path, zarr_format=int(layout[-1]), consolidated=False)  # type: ignore[call-overload]
    elif layout == "hdf5":
        as_hdf5(data, path)
        variables, dims = "fields/u", ("simulation", "time", "x", "component")
    elif layout == "files":
        as_files(data.rename(time="t"), path, xr.Dataset.to_netcdf, ".nc")
        dims = {"time": "t"}
    else:
        # Encoded in whole numbers, as reanalyses are.
        engine, encoding = {
            "4": ("h5netcdf", {"dtype": "i4", "scale_factor": 1e-6, "_FillValue": -1}),
            "3": ("scipy", {}),
        }[layout[-1]]
        data.to_netcdf(path, engine=engine, encoding={"u": encoding})  # type: ignore[call-overload]
    found = recorded(path, variables=variables, dims=dims, parameters=("speed",), split="test")
    assert found.members == (8, 9)
    assert (found.frames, found.interval) == ((FRAMES,) * RUNS, pytest.approx(INTERVAL))
    np.testing.assert_allclose(found.parameters["speed"], data["speed"].values, rtol=1e-12)
    for run, frame in ((0, 0), (9, 40), (3, 17)):
        wanted = data["u"].values[run, frame][None]
        # Whole numbers of 1e-6 are half of that off; others are what was written.
        np.testing.assert_allclose(found.read(run, frame), wanted, atol=6e-7 if layout == "netcdf 4" else 0, rtol=0)


def step(u: Any, dt: Any, parameters: Any) -> Any:
    return u - dt * u.shape[-1] * parameters["speed"] * (u - jnp.roll(u, 1, axis=-1))


def problem_of(reference: Recordings, **more: Any) -> Problem:
    options = {"fields": ("u",), "grid": Grid((8,)), "dt": INTERVAL, "coarse": step, **more}
    return Problem.from_functions(reference=reference, **options)


def spied(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Simulations whose frames are read from now on."""
    reads: set[int] = set()
    read = RecordingFile.read

    def noted(self: RecordingFile, simulation: int, start: int, stop: int) -> np.ndarray:
        reads.add(simulation)
        return read(self, simulation, start, stop)

    monkeypatch.setattr(RecordingFile, "read", noted)
    return reads


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "runs.zarr"
    waves().chunk({"simulation": 1, "time": 16}).to_zarr(path, consolidated=False)
    return path


def opened(path: Path, split: str = "train", **more: Any) -> Recordings:
    return recorded(path, variables="u", parameters=("speed",), split=split, **more)


def test_windows_are_cut_from_training_and_held_out_recordings_begin_at_their_beginning(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    means = waves()["u"].values.reshape(RUNS, FRAMES, 8, 4).mean(axis=-1)  # over cells, as restrict does by default
    train = problem_of(opened(store), horizon=15, dt=2 * INTERVAL)
    found = simulate_reference(train, 64, 10, key=jax.random.key(0))
    assert found.reference.shape == (64, 11, 1, 8)
    starts = []
    for window in np.asarray(found.reference)[:, :, 0]:
        # Rounding of means in single precision.
        at = np.argwhere(np.abs(means - window[0]).max(axis=-1) < 1e-6)
        assert len(at) == 1
        run, frame = at[0]
        np.testing.assert_allclose(window, means[run, frame : frame + 21 : 2], atol=1e-6, rtol=0)
        starts.append((run, frame))
    assert {run for run, _ in starts} == set(range(7))  # of ten recordings one is for validation, two for the test
    frames = [frame for _, frame in starts]
    assert min(frames) <= 1
    assert max(frames) == FRAMES - 1 - 15 * 2  # all of 0 to 10 are as likely; missing one of the ends has 1e-3
    reads = spied(monkeypatch)
    test = problem_of(opened(store, "test"), horizon=15)
    found = simulate_reference(test, 100, 40, key=jax.random.key(1))
    np.testing.assert_allclose(found.reference[:, :, 0], means[8:], atol=1e-6, rtol=0)
    np.testing.assert_array_equal(found.state, found.reference[:, 0])
    with pytest.raises(ValueError, match="50 coarse steps were asked for, and recordings hold 40"):
        simulate_reference(test, 2, 50, key=jax.random.key(1))
    np.testing.assert_allclose(found.parameters["speed"], waves()["speed"].values[8:], rtol=1e-6)
    # The first recording for training says how large actions are.
    assert reads == {0, 8, 9}
    # What a typical action is does not depend on the split: weights are scaled by it.
    assert test.spec.scale == problem_of(opened(store, "validation")).spec.scale


def test_several_steps_of_the_solver_between_two_frames(store: Path) -> None:
    fast, half = (problem_of(opened(store), dt=dt) for dt in (INTERVAL, INTERVAL / 2))
    assert half.time_step == fast.time_step == INTERVAL
    begun = half.begin(key=jax.random.key(0))
    twice = step(step(begun.state, INTERVAL / 2, begun.parameters), INTERVAL / 2, begun.parameters)
    once = half.coarse.step(begun.state, begun.parameters, half.time_step)
    np.testing.assert_allclose(once, twice, rtol=1e-6, atol=1e-7)
    assert not np.allclose(once, fast.coarse.step(begun.state, begun.parameters, INTERVAL), atol=1e-4)


def test_another_restriction(store: Path) -> None:
    taken = problem_of(opened(store, "test"), restrict=lambda field, ratio: field[:, ::ratio])
    state = taken.begin.member(jnp.asarray(0), key=jax.random.key(0)).state
    np.testing.assert_array_equal(state[0], waves()["u"].values[8, 0, ::4])


def test_two_variables_and_components_in_two_dimensions(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    flow, heat = (rng.normal(size=shape).astype(np.float32) for shape in ((4, 5, 2, 8, 12), (4, 5, 8, 12)))
    axes = ("simulation", "time", "component", "x", "y")
    data = xr.Dataset(
        {"flow": (axes, flow), "heat": ((*axes[:2], *axes[3:]), heat)}, {"time": np.arange(5), "component": ["a", "b"]}
    )
    data.transpose("y", "x", ...).to_zarr(tmp_path / "runs", consolidated=False)
    found = recorded(tmp_path / "runs", variables=("flow", "heat"), split="validation")
    assert found.components == ("a", "b", "heat")
    np.testing.assert_array_equal(found.read(2, 3), np.concatenate([flow[2, 3], heat[2, 3][None]]))
    grid = Grid((4, 6), extent=(2.0, 3.0))
    named = problem_of(found, fields=("u", "v", "T"), grid=grid, dt=1.0, coarse=lambda u, dt: u)
    begun = named.begin.member(jnp.asarray(0), key=jax.random.key(0))
    np.testing.assert_allclose(begun.state[2], heat[2, 0].reshape(4, 2, 6, 2).mean(axis=(1, 3)), rtol=1e-6)


CUT = {"time": slice(0, 1)}
WRONG: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], dict[str, Any], dict[str, Any], str]] = {
    "variable": (lambda d: d, {"variables": "v"}, {}, "has no variable 'v'; it holds speed, time, u, x"),
    "parameter": (lambda d: d, {"parameters": ("nu",)}, {}, "has no parameter 'nu'"),
    "axes": (lambda d: d.rename(time="t"), {}, {}, "expected simulation, time, component, x, y, z: say what 't' is"),
    "no space": (lambda d: d.isel(x=0, drop=True), {}, {}, "needs the axes time and x"),
    "times that are not uniform": (
        lambda d: d.isel(time=[0, 1, 2, 4, 5]), {}, {}, "from frame 2 to 3 the time goes from 0.04 to 0.08"),
    "times that do not grow": (
        lambda d: d.isel(time=[0, 1, 3, 2]), {}, {}, "times must grow; frame 2 is at 0.06, frame 3 at 0.04"),
    "a single frame": (lambda d: d.isel(CUT), {}, {}, "has a single frame"),
    "too few simulations": (lambda d: d.isel(simulation=[0, 1]), {}, {}, "has 2 recordings, expected one or more each"),
    "shares": (lambda d: d, {"test": 1.5}, {}, "test must be a share above 0 and below 1, or recordings; got 1.5"),
    "no such recording": (lambda d: d, {"test": (12,)}, {}, "test names 12"),
    "held out twice": (lambda d: d, {"test": (1,), "validation": (1,)}, {}, "recording 1 is held out twice"),
    "all frames left out": (lambda d: d, {"skip": 40}, {}, "expected 2 or more that stay"),
    "points that are not uniform": (
        lambda d: d.assign_coords(x=d["x"] ** 2), {}, {}, "points along x are not uniform"),
    "a missing value": (
        lambda d: d.assign(u=d["u"].where(d["time"] != 0)), {}, {},
        "recording 0 of runs: u is missing or not finite in frame 0: fill it"),
    "grid": (lambda d: d, {}, {"grid": Grid((10,))}, "got 10: take 4, 8, 16, 32 along x"),
    "extent": (lambda d: d, {}, {"grid": Grid((8,), extent=(2.0,))}, "is 1 long along x, and the grid 2"),
    "time step": (lambda d: d, {}, {"dt": 0.03}, "a frame every 0.02, expected dt to be a multiple .* got 0.03"),
    "horizon": (lambda d: d, {}, {"horizon": 50}, "which are 40 coarse steps; expected 50 or more"),
    "fields": (lambda d: d, {}, {"fields": ("u", "v")}, "name the components of the recordings, u; got u, v"),
    "initial fields": (lambda d: d, {}, {"initial": lambda key: key}, "left out, like fine, where recordings are the"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said(what: str, tmp_path: Path) -> None:
    change, asked, more, message = WRONG[what]
    change(waves()).to_zarr(tmp_path / "runs", consolidated=False)
    options = {"variables": "u", "parameters": ("speed",), **asked}
    with pytest.raises(ValueError, match=message) as error:
        problem_of(recorded(tmp_path / "runs", **options), **more)
    assert "\n" not in str(error.value)


def test_files_that_differ_or_are_damaged_are_refused(tmp_path: Path) -> None:
    def write(data: xr.Dataset, path: Path) -> None:
        data["u"].attrs["units"] = "cm/s" if path.name == "run4.nc" else "m/s"
        data.to_netcdf(path)

    with pytest.raises(ValueError, match=r"units of run4.nc are \('cm/s',\), those of run0.nc \('m/s',\)"):
        opened(as_files(waves(), tmp_path / "units", write, ".nc"))
    files = as_files(waves(), tmp_path / "whole", xr.Dataset.to_netcdf, ".nc")
    assert opened(files).words["recordings"].startswith("10 in whole: u on 32 points")
    cut = Path(shutil.copytree(files, tmp_path / "cut"))
    whole = (cut / "run3.nc").read_bytes()
    (cut / "run3.nc").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"run3.nc cannot be read as HDF5 .*truncated"):
        opened(cut)
    path = tmp_path / "chunks"
    waves().to_zarr(path, encoding={"u": {"chunks": (1, FRAMES, FINE)}}, consolidated=False)
    (path / "u" / "c" / "2" / "0" / "0").unlink()
    with pytest.raises(ValueError, match=r"u of simulation 2, frames 0 to 40, cannot be read \(0 is missing, lost"):
        opened(path)
    opened(path, "test")  # which is whole


def plugin(folder: Path) -> Path:
    (folder / "recorded_wave.py").write_text(FILE)
    return folder / "recorded_wave.py"


SHORT = ["--reference.slots", "8", "--reference.steps", "8", "--reference.blocks", "1"]
SMALL = ["--closure", "pointwise", "--pointwise.radius", "2"]
TINY = [*SHORT, *SMALL, "--validation.steps", "20", "--validation.every", "50"]
FRONT = ["--grids", "8", "16", "--repetitions", "1", "--simulations", "4", "--times", "0.4"]


TRAINING = ["train", "recorded_wave.py", "--learner", "supervised", *TINY, "--run", "run"]


def test_nothing_held_out_is_read_in_training_and_nothing_seen_in_an_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plugin(tmp_path)
    waves().to_zarr("runs.zarr", encoding={"u": {"chunks": (1, 16, FINE)}}, consolidated=False)
    reads = spied(monkeypatch)
    with contextlib.suppress(SystemExit):  # two updates may well be worse than none
        main([*TRAINING, "--learning.updates", "2"])
    assert reads == set(range(8))

    # Other data under the same name: what it has seen is not held out.
    in_another_order()
    with pytest.raises(SystemExit):
        main(["evaluate", "recorded_wave.py", "--closure", "run", "--steps", "20"])
    assert "run has seen 2 of the 2 simulations held out here" in capsys.readouterr().err.replace("\n", " ")


def in_another_order() -> None:
    shutil.rmtree("runs.zarr")
    waves().isel(simulation=[5, 6, 7, 8, 9, 0, 1, 2, 3, 4]).to_zarr("runs.zarr", consolidated=False)


@pytest.mark.slow  # half a minute: a whole training, evaluation and benchmark
def test_a_gain_on_held_out_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plugin(tmp_path)
    waves().to_zarr("runs.zarr", consolidated=False)
    main([*TRAINING, "--learning.updates", "150"])
    found = run_evaluate(["recorded_wave.py", "--closure", "run", "--steps", "20"])
    error = found.errors("run")[:, -1].mean() / found.errors("coarse")[:, -1].mean()
    assert error < 0.8  # 0.65 was seen; where nothing is learned it is 1
    assert np.isnan(found.milliseconds("recorded"))
    front = Fronts(run_benchmark_command(["recorded_wave.py", "--closure", "run", *FRONT]))
    assert "recorded on 32 points" in capsys.readouterr().out
    costs = {name: front.cost(name, "single") for name in front.results.methods}
    assert np.isnan(costs.pop("reference: reference"))  # to read costs nothing that could be compared
    assert np.isfinite(list(costs.values())).all()
    assert len(costs) == 8  # three steps on each grid, the coarse solver and the closure at their own
    in_another_order()
    with pytest.raises(SystemExit):
        main([*TRAINING, "--learning.updates", "150", "--resume"])
    assert "was trained on other data" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.slow  # a quarter of a minute each
@pytest.mark.parametrize(
    "learner",
    [
        "ppo --numpy --learning.environments 2 --learning.steps 4",
        "bptts --learning.horizons 2 --learning.fractions 1",
        "supervised --reference.slots 0",
    ],
)
def test_learners_along_trajectories(learner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plugin(tmp_path)
    waves().to_zarr("runs.zarr", consolidated=False)
    words = [
        "train",
        "recorded_wave.py",
        *TINY,
        "--learning.updates",
        "2",
        "--run",
        "run",
        "--learner",
        *learner.split(),
    ]
    with contextlib.suppress(SystemExit):  # two updates may well be worse than none
        main(words)
    assert (tmp_path / "run" / "final.safetensors").exists()


def test_a_missing_value_in_the_midst_of_a_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plugin(tmp_path)
    data = waves()
    data["u"][8, 7, 3] = np.nan
    data.to_zarr("runs.zarr", consolidated=False)
    with pytest.raises(SystemExit) as left:
        main(["evaluate", "recorded_wave.py", "--steps", "10", "--no-timing"])
    assert left.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert said == (
        "error: recording 8 of runs.zarr: u is missing or not finite in frame 7: fill it, cut the recording there, or "
        "leave it out"
    )


def test_a_training_looks_at_the_recordings_that_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --learner the problem is built to see which one suits it: with the settings of the command line."""
    monkeypatch.chdir(tmp_path)
    plugin(tmp_path)
    waves().to_zarr("other.zarr", consolidated=False)
    _, configuration = parse_train(["recorded_wave.py", "--numpy", "--path=other.zarr", "--seed", "1"])
    assert (configuration.learner, configuration.problem.path) == ("ppo", "other.zarr")
    with pytest.raises(FileNotFoundError, match=r"no recordings at third\.zarr"):
        parse_train(["recorded_wave.py", "--path", "third.zarr"])
