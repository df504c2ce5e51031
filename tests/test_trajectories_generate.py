"""Generation: what is made, and that a killed run goes on bit for bit."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
import zarr

from closura.interruption import Interrupted
from closura.io.locks import FolderInUse
from closura.numerics.fourier import restrict_spectrally
from closura.problems.kolmogorov.flow import KolmogorovFlow
from closura.trajectories import (
    FlowDiverged,
    FlowWriter,
    GenerationConfiguration,
    GenerationProgress,
    generate,
    new_flow,
    open_flow,
    schema,
)
from closura.trajectories.configuration import PUBLISHED_OFFSETS
from closura.trajectories.generate import Simulation, largest_stable
from closura.trajectories.resumption import STATE, GenerationState
from closura.trajectories.statistics import energy_and_dissipation
from closura.trajectories.store import check_free

SMALL = GenerationConfiguration(
    reynolds=(34.0,), grid=16, trajectories=2, duration=2.4, interval=0.12, transient=1.0, seed=3
)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flows") / "whole.zarr"
    generate(SMALL, path)
    return path


def contents(path: Path) -> dict[str, np.ndarray]:
    with xr.open_dataset(path, engine="zarr", chunks=None) as dataset:
        return {name: dataset[name].values for name in ("velocity", "energy", "dissipation", "time", "seed")}


def assert_same(path: Path, other: Path) -> None:
    for name, array in contents(path).items():
        np.testing.assert_array_equal(array, contents(other)[name], err_msg=name)


class Killed(Exception):
    pass


def kill_when(condition: Callable[[GenerationProgress], bool]) -> Callable[[GenerationProgress], None]:
    def report(progress: GenerationProgress) -> None:
        if condition(progress):
            raise Killed

    return report


def test_the_schema_is_that_of_the_page(uninterrupted: Path) -> None:
    with xr.open_dataset(uninterrupted, engine="zarr", chunks=None) as dataset:
        velocity = dataset["velocity"]
        assert velocity.dims == ("trajectory", "time", "component", "x", "y")
        assert velocity.shape == (2, 20, 2, 16, 16)
        assert velocity.dtype == np.float32
        assert velocity.encoding["chunks"] == (1, 20, 2, 16, 16)  # one trajectory
        assert dataset["dissipation"].dims == dataset["energy"].dims == ("trajectory", "time")
        assert list(dataset["component"].values) == ["u", "v"]
        beside = {"seed", "reynolds", "identity", "check", "frame_check"}
        assert set(velocity.coords) == {"trajectory", "time", "component", "x", "y", *beside}
        assert all(dataset[name].attrs["units"] == "1" for name in ("velocity", "time", "x", "y", "reynolds"))
        assert all(dataset[name].attrs["long_name"] for name in dataset.variables)
        np.testing.assert_array_equal(dataset["seed"].values, [3, 4])
        assert dataset["seed"].dtype == np.int64
        np.testing.assert_array_equal(dataset["reynolds"].values, [34.0, 34.0])
        np.testing.assert_array_equal(dataset["x"].values, 2 * np.pi * np.arange(16) / 16)
        np.testing.assert_allclose(dataset["time"].values, 0.12 * np.arange(20), rtol=1e-14)
        about = dataset.attrs
    for name, value in {
        "problem": "kolmogorov", "forcing": 4, "points": 16, "dt": 0.01, "integrator": "rk4", "padding": "3/2",
        "nyquist": "zero", "transient": 1.0, "interval": 0.12, "boundary": "periodic",
    }.items():  # fmt: skip
        assert about[name] == value
    assert about["duration"] == pytest.approx(2.4)
    assert json.loads(about["configuration"])["seed"] == 3
    assert about["created"]
    assert about["closura_version"]
    assert len(set(open_flow(uninterrupted).identities)) == 2
    assert not (uninterrupted / STATE).exists()


def test_frames_are_those_of_the_solver(uninterrupted: Path) -> None:
    data = open_flow(uninterrupted)
    flow = KolmogorovFlow(16)
    state = jnp.asarray(flow.random_start(4))
    advance = jax.jit(lambda s: flow.march(s, jnp.asarray(34.0), 0.01, 100 + 5 * 12))
    expected = np.asarray(flow.to_velocity(advance(state)))
    # Kept in single precision; double inside, so the rounding of float32 is all the difference.
    np.testing.assert_allclose(data.read(1, 5, 6)[0], expected, atol=1e-7 * np.abs(expected).max())
    energy, dissipation = energy_and_dissipation(data.read(1).astype(np.float64), 34.0)
    stored = contents(uninterrupted)
    np.testing.assert_allclose(stored["energy"][1], energy, rtol=1e-6)
    np.testing.assert_allclose(stored["dissipation"][1], dissipation, rtol=1e-6)
    np.testing.assert_allclose(
        energy, 0.5 * np.mean(np.sum(data.read(1).astype(np.float64) ** 2, 1), (1, 2)), rtol=1e-12
    )


def test_a_trajectory_does_not_depend_on_the_others(uninterrupted: Path, tmp_path: Path) -> None:
    alone = generate(replace(SMALL, trajectories=1, seed=4), tmp_path / "alone.zarr")
    whole = open_flow(uninterrupted)
    np.testing.assert_array_equal(alone.read(0), whole.read(1))
    assert alone.identities[0] == whole.identities[1]


def test_identities_name_the_simulation_not_what_is_kept() -> None:
    same = replace(SMALL, interval=0.06, duration=6.0, transient=2.0, precision="float64", restrict=10)
    assert same.identities() == SMALL.identities()
    for other in (replace(SMALL, dt=0.02), replace(SMALL, forcing=2), replace(SMALL, start="published")):
        assert not set(other.identities()) & set(SMALL.identities())
    assert replace(SMALL, seed=4).identities()[0] == SMALL.identities()[1]


def test_several_reynolds_numbers(tmp_path: Path) -> None:
    data = generate(replace(SMALL, reynolds=(20.0, 60.0), duration=0.24, transient=0.5), tmp_path / "two.zarr")
    np.testing.assert_array_equal(data.reynolds, [20.0, 20.0, 60.0, 60.0])
    assert data.seeds == (3, 4, 5, 6)
    assert not np.array_equal(data.read(1), data.read(3))


def test_published_starts_and_restriction(tmp_path: Path) -> None:
    settings = replace(
        SMALL, grid=32, start="published", trajectories=3, transient=0.0, duration=0.24, precision="float64"
    )
    whole = generate(settings, tmp_path / "whole.zarr")
    flow = KolmogorovFlow(32)
    start = flow.random_start(5, offset=PUBLISHED_OFFSETS[2], project=False)
    # The same transform in another library: rounding of float64.
    np.testing.assert_allclose(whole.read(2, 0, 1)[0], np.fft.irfft2(start), atol=1e-15)
    small = generate(replace(settings, restrict=16), tmp_path / "small.zarr")
    assert small.points == 16
    assert small.attributes["simulated_points"] == 32
    expected = np.asarray(restrict_spectrally(jnp.asarray(whole.read(2, 1, 2)[0]), 16))
    np.testing.assert_allclose(small.read(2, 1, 2)[0], expected, atol=1e-15)
    np.testing.assert_array_equal(contents(small.path)["dissipation"], contents(whole.path)["dissipation"])


@pytest.mark.parametrize(
    "condition",
    [
        pytest.param(lambda p: 0 < p.step < 100, id="in the transient"),
        pytest.param(lambda p: p.frames == 1, id="at the first frame"),
        pytest.param(lambda p: p.frames == 13, id="between chunks"),
        pytest.param(lambda p: p.frames == 20, id="after the last frame"),
    ],
)
@pytest.mark.parametrize("save_every", [0.0, 1e9])
def test_a_killed_run_goes_on_bit_for_bit(
    condition: Callable[[GenerationProgress], bool],
    save_every: float,
    uninterrupted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(schema, "CHUNK_BYTES", 6 * 2048)  # chunks of six frames
    path = tmp_path / "flow.zarr"
    with pytest.raises(Killed):
        generate(SMALL, path, report=kill_when(condition), save_every=save_every)
    if path.exists() and (path / STATE).exists():
        with pytest.raises(ValueError, match=r"not finished; go on with: closura data generate kolmogorov .*--seed 3"):
            open_flow(path)
    seen: list[GenerationProgress] = []
    generate(SMALL, path, report=seen.append, overwrite=True)
    if save_every == 0.0 and seen:
        assert seen[0].resumed > 0
    assert_same(path, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_cleanly(number: signal.Signals, uninterrupted: Path, tmp_path: Path) -> None:
    path = tmp_path / "flow.zarr"
    before = signal.getsignal(number)

    def report(progress: GenerationProgress) -> None:
        if progress.frames == 4:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match=r"with [45] of 20 frames; go on with: closura data generate"):
        generate(SMALL, path, report=report, save_every=1e9)
    assert signal.getsignal(number) is before
    header = json.loads((path / STATE).read_bytes().split(b"\n", 1)[0])
    assert header["frames"] in (4, 5)
    generate(SMALL, path)
    assert_same(path, uninterrupted)


def test_a_sigkill_loses_nothing(tmp_path: Path) -> None:
    long = replace(SMALL, duration=48.0, transient=5.0)
    path = tmp_path / "killed.zarr"
    script = (
        "import sys, json; from closura.trajectories import GenerationConfiguration, generate;"
        "generate(GenerationConfiguration(**json.loads(sys.argv[1])), sys.argv[2], save_every=0.0)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, json.dumps(long.plain()), str(path)])
    try:
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            try:
                header = json.loads((path / STATE).read_bytes().split(b"\n", 1)[0])
            except FileNotFoundError:
                header = {"frames": 0}
            if header["frames"] >= 10:
                break
            time.sleep(0.002)
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    assert header["frames"] < long.frames
    generate(long, path)
    assert_same(path, generate(long, tmp_path / "whole.zarr").path)


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "flow.zarr"
    with pytest.raises(Killed):
        generate(SMALL, path, report=kill_when(lambda p: p.frames == 1), save_every=0.0)
    with pytest.raises(ValueError, match=r"unfinished .*dt: 0.01 there, 0.02 asked.*; go on with: closura data"):
        generate(replace(SMALL, dt=0.02), path)
    assert (path / STATE).exists()
    other = replace(SMALL, dt=0.02, duration=0.24)
    assert generate(other, path, overwrite=True).frames == 2


def test_what_is_there_is_not_lost(tmp_path: Path) -> None:
    short = replace(SMALL, duration=0.24, transient=0.0, trajectories=1)
    path = tmp_path / "flow.zarr"
    generate(short, path)
    with pytest.raises(FileExistsError, match=r"is finished; .*--overwrite"):
        generate(short, path)
    generate(replace(short, seed=9), path, overwrite=True)
    assert open_flow(path).seeds == (9,)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="no data set of flows"):
        generate(short, mine, overwrite=True)
    assert (mine / "thesis.tex").exists()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["flow.zarr", "mine"]  # nothing is left beside


def test_a_finished_data_set_stays_until_the_new_one_is_finished(tmp_path: Path) -> None:
    short = replace(SMALL, duration=0.24, transient=0.0, trajectories=1)
    path, aside = tmp_path / "flow.zarr", tmp_path / ".flow.zarr.replaced"
    generate(short, path)
    # What can be refused beforehand is, and nothing has happened.
    with pytest.raises(ValueError, match="is unstable"):
        generate(replace(short, dt=1.0, interval=1.0, duration=2.0), path, overwrite=True)
    assert open_flow(path).seeds == (3,)
    # A blow-up gives the old one back.
    wild = replace(short, reynolds=(1000.0,), dt=0.5, interval=0.5, duration=100.0, transient=100.0)
    with pytest.raises(FlowDiverged, match=r"lower --dt .* the data set that was there is back"):
        generate(wild, path, overwrite=True)
    assert open_flow(path).seeds == (3,)
    assert [each.name for each in tmp_path.iterdir()] == ["flow.zarr"]
    # A kill leaves it beside, through a change of mind too; the last one to finish removes it.
    for seed in (8, 9):
        with pytest.raises(Killed):
            generate(replace(short, seed=seed), path, overwrite=True, report=kill_when(lambda p: True), save_every=0.0)
        assert open_flow(aside).seeds == (3,)
        assert sorted(each.name for each in tmp_path.iterdir()) == [aside.name, path.name]
    assert generate(replace(short, seed=9), path).seeds == (9,)
    assert [each.name for each in tmp_path.iterdir()] == ["flow.zarr"]
    # Left by a kill between the end and the removal: the next one takes its place. Not of ours: refused.
    shutil.copytree(path, aside)
    assert generate(short, path, overwrite=True).seeds == (3,)
    assert not aside.exists()
    aside.mkdir()
    with pytest.raises(FileExistsError, match=r"\.replaced is in the way"):
        generate(replace(short, seed=9), path, overwrite=True)
    assert aside.exists()
    assert open_flow(path).seeds == (3,)


def test_symbolic_links_are_refused(tmp_path: Path) -> None:
    short = replace(SMALL, duration=0.24, transient=0.0, trajectories=1)
    generate(short, tmp_path / "flow.zarr")
    link = tmp_path / "link.zarr"
    for target in ("flow.zarr", "nowhere"):
        link.symlink_to(target)
        for overwrite in (False, True):
            with pytest.raises(FileExistsError, match=rf"link\.zarr is a symbolic link to {target}: name the folder"):
                generate(short, link, overwrite=overwrite)
            with pytest.raises(FileExistsError, match="is a symbolic link"):
                check_free(link, overwrite=overwrite)
        link.unlink()
    assert open_flow(tmp_path / "flow.zarr").seeds == (3,)


def test_what_is_all_zero_can_be_read(tmp_path: Path) -> None:
    # One trajectory with seed 0: its number and seed are chunks of zeros. One frame: so is the time.
    data = generate(replace(SMALL, duration=0.24, trajectories=1, seed=0), tmp_path / "seed.zarr")
    assert data.seeds == (0,)
    assert data.read(0).shape == (2, 2, 16, 16)
    single = generate(replace(SMALL, duration=0.12, trajectories=1, seed=0), tmp_path / "single.zarr")
    np.testing.assert_array_equal(single.times, [0.0])
    assert single.interval == 0.12
    np.testing.assert_array_equal(single.read(0), data.read(0, 0, 1))


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    path = tmp_path / "flow.zarr"
    with pytest.raises(Killed):
        generate(SMALL, path, report=kill_when(lambda p: p.frames == 1), save_every=0.0)
    state = path / STATE
    state.write_bytes(state.read_bytes()[:-8])
    with pytest.raises(ValueError, match=rf"{STATE} is damaged \(wrong checksum\)"):
        generate(SMALL, path)
    assert generate(SMALL, path, overwrite=True).frames == SMALL.frames


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stopped with 13 of 20 frames, in the middle of a chunk."""
    path = tmp_path_factory.mktemp("flows") / "stopped.zarr"
    with pytest.raises(Killed):
        generate(SMALL, path, report=kill_when(lambda p: p.frames == 13), save_every=0.0)
    return path


def first_line(path: Path, change: Callable[[dict[str, object]], None], old: bool = False) -> None:
    """Change what the state's first line says; of old, its checksum was of the spectra alone."""
    line, content = (path / STATE).read_bytes().split(b"\n", 1)
    header = json.loads(line)
    if old:
        del header["format"]
        header["sha256"] = hashlib.sha256(content).hexdigest()
    change(header)
    (path / STATE).write_bytes(json.dumps(header).encode() + b"\n" + content)


def test_any_byte_of_the_state_may_be_damaged(stopped: Path, tmp_path: Path) -> None:
    content = (stopped / STATE).read_bytes()
    rng = np.random.default_rng(0)
    line = content.index(b"\n")
    for place in [*range(line + 1), *rng.integers(line, len(content), 30)]:
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        (tmp_path / STATE).write_bytes(changed)
        with pytest.raises(ValueError, match=rf"{STATE} is damaged \(.*start again with overwrite"):
            GenerationState.load(tmp_path, SMALL)
    (tmp_path / STATE).write_bytes(content)
    assert GenerationState.load(tmp_path, SMALL).frames == 13


def test_states_of_earlier_versions_go_on(stopped: Path, uninterrupted: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(stopped, tmp_path / "flow.zarr"))
    first_line(path, lambda header: None, old=True)
    generate(SMALL, path)
    assert_same(path, uninterrupted)


@pytest.mark.parametrize(
    "change",
    [
        {"frames": 20}, {"frames": 12}, {"frames": 93}, {"frames": -1}, {"frames": 13.0}, {"frames": "13"},
        {"frames": True},
        {"step": 344}, {"step": 144}, {"step": 100244}, {"step": -244}, {"step": 244.0}, {"step": None},
        {"step": 328, "frames": 20}, {"step": 0, "frames": 13}, {"shape": [2, 2, 16, 8]}, {"shape": [1, 2, 16, 18]},
        {"shape": [2, 2, 9, 16]},
    ],
)  # fmt: skip
def test_what_an_earlier_state_says_must_fit(change: dict[str, object], stopped: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(stopped, tmp_path / "flow.zarr"))
    first_line(path, lambda header: header.update(change), old=True)
    with pytest.raises(ValueError, match=r"damaged.*start again with overwrite \(--overwrite\)"):
        generate(SMALL, path)
    with pytest.raises(ValueError, match="not finished"):
        open_flow(path)


@pytest.mark.parametrize("name", ["velocity/0.0.0.0.0", "velocity/1.0.0.0.0", "energy/1.0", "dissipation/0.0"])
@pytest.mark.parametrize("kind", ["missing", "cut", "changed"])
def test_frames_that_are_damaged_are_not_gone_on_with(
    name: str, kind: str, stopped: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(stopped, tmp_path / "flow.zarr"))
    file = path / name
    content = bytearray(file.read_bytes())
    if kind == "missing":
        file.unlink()
    else:
        content[len(content) // 2] ^= 255
        file.write_bytes(content[: len(content) // 2] if kind == "cut" else content)
    with pytest.raises(
        ValueError, match=r"does not hold the first 13 frames of trajectory [01].*start again with overwr"
    ):
        generate(SMALL, path)
    with pytest.raises(ValueError, match="not finished"):
        open_flow(path)
    generate(SMALL, path, overwrite=True)
    assert_same(path, uninterrupted)


def test_a_kill_between_frames_and_state_repeats_the_frames(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "flow.zarr"
    save, saved = GenerationState.save, []

    def killed(self: GenerationState, store: Path) -> None:
        saved.append(self.frames)
        if self.frames == 9:
            raise Killed
        save(self, store)

    with monkeypatch.context() as patch:
        patch.setattr(GenerationState, "save", killed)
        with pytest.raises(Killed):
            generate(SMALL, path, save_every=0.0)
    assert saved[-2:] == [8, 9]
    seen: list[GenerationProgress] = []
    generate(SMALL, path, report=seen.append)
    assert seen[0].resumed == 100 + 7 * 12
    assert_same(path, uninterrupted)


@pytest.mark.parametrize("kept", ["attribute", "state"])
def test_a_kill_at_the_very_end_goes_on_too(
    kept: str, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "flow.zarr"

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if kept == "attribute":
            patch.setattr(zarr, "consolidate_metadata", killed)
        else:
            patch.setattr(FlowWriter, "finish", killed)
        with pytest.raises(Killed):
            generate(SMALL, path)
    if kept == "state":
        with pytest.raises(ValueError, match="not finished"):
            open_flow(path)
    else:
        assert open_flow(path).frames == 20
    generate(SMALL, path)
    with pytest.raises(FileExistsError, match="is finished"):
        generate(SMALL, path)
    assert_same(path, uninterrupted)


def test_a_second_generation_of_one_data_set_is_refused(uninterrupted: Path, tmp_path: Path) -> None:
    path, refused = tmp_path / "flow.zarr", []

    def report(progress: GenerationProgress) -> None:
        if progress.frames in (0, 7) and len(refused) < 3:
            with pytest.raises(FolderInUse, match=rf"the data set {path} is in use: process {os.getpid()} on"):
                generate(SMALL, path, overwrite=progress.frames == 7)
            with pytest.raises(FolderInUse), new_flow(path, SMALL.description(), overwrite=True):
                pass
            refused.append(progress.frames)

    generate(SMALL, path, report=report)
    assert refused
    assert_same(path, uninterrupted)
    assert [each.name for each in tmp_path.iterdir()] == ["flow.zarr"]


def test_velocities_beyond_the_precision_are_a_blow_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    observe = Simulation.observe

    def fast(self: Simulation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        velocity, energy, dissipation = observe(self)
        velocity = velocity.copy()
        velocity[1] *= 1e40
        return velocity, energy, dissipation

    monkeypatch.setattr(Simulation, "observe", fast)
    with pytest.raises(FlowDiverged, match=r"trajectory 1 does not fit into float32 .* in frame 0, time 0: lower --dt"):
        generate(SMALL, tmp_path / "flow.zarr")
    with pytest.raises(ValueError, match="not finished"):
        open_flow(tmp_path / "flow.zarr")


def test_blow_up_names_trajectory_and_time(tmp_path: Path) -> None:
    # Viscosity allows this step (Re 1000 on 16 points); the velocity that the forcing builds up does not.
    wild = replace(SMALL, reynolds=(1000.0,), dt=0.5, interval=0.5, duration=100.0, transient=100.0)
    with pytest.raises(FlowDiverged, match=r"trajectory [01] \(Reynolds number 1000, seed [34]\) blew up.*lower --dt"):
        generate(wild, tmp_path / "wild.zarr")


def test_unstable_steps_are_refused_beforehand(tmp_path: Path) -> None:
    path = tmp_path / "flow.zarr"
    with pytest.raises(ValueError, match=r"dt 0.04 is unstable at Reynolds number 34 on 64 points.*exceed 0.033"):
        generate(replace(SMALL, grid=64, dt=0.04, integrator="euler"), path)
    assert not path.exists()
    # Forward Euler: 2 Re / k^2 with k^2 = 2 (64 / 2)^2; RK4 reaches 2.7853 on the negative real axis.
    assert largest_stable(64, 34.0, 0.0, "euler") == pytest.approx(2 * 34 / 2048)
    assert largest_stable(64, 34.0, 0.0, "rk4") == pytest.approx(2.7853 * 34 / 2048, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"interval": 0.125}, r"interval must be a whole number of dt \(0.01\); got 0.125, nearest: 0.12 and 0.13"),
        ({"interval": 0.004}, "nearest: 0.01$"),
        ({"duration": 2.5}, r"duration must be a whole number of interval \(0.12\); got 2.5, nearest: 2.4 and 2.52"),
        ({"transient": 0.005}, "transient must be a whole number of dt"),
        ({"transient": -1.0}, "transient must not be negative"),
        ({"dt": 0.0}, "dt must be positive"),
        ({"dt": 1e-320}, "interval 0.12 holds too many of dt"),
        ({"duration": 1e300}, "duration 1e\\+300 holds too many of interval"),
        ({"interval": np.inf}, "interval must be"),
        ({"duration": np.nan}, "duration must be"),
        ({"reynolds": ()}, "need a Reynolds number"),
        ({"reynolds": (-1.0,)}, "each value of reynolds must be positive"),
        ({"reynolds": (34.0, 34.0)}, "must differ"),
        ({"trajectories": 0}, "trajectories must be positive"),
        ({"grid": 15}, "even number"),
        ({"forcing": 8}, "resolve forcing"),
        ({"restrict": 16}, "restrict must be even"),
        ({"restrict": 8}, "restrict must be even, resolve the forcing"),
        ({"trajectories": 9, "start": "published"}, "there are 8 published initial fields; got 9"),
    ],
)
def test_settings_that_cannot_be(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


def test_the_command_makes_the_same_settings(tmp_path: Path) -> None:
    c = replace(SMALL, reynolds=(20.0, 34.5), restrict=10, precision="float64")
    words = c.command(tmp_path / "a b.zarr")
    assert words.startswith("closura data generate kolmogorov --reynolds 20 34.5 --forcing 4 --grid 16")
    assert words.endswith(f"--restrict 10 --out '{tmp_path}/a b.zarr'")


def test_precision_of_the_caller_is_left_alone(tmp_path: Path) -> None:
    short = replace(SMALL, duration=0.24, trajectories=1)
    with jax.enable_x64(False):
        data = generate(short, tmp_path / "a.zarr")
        assert jnp.zeros(1).dtype == jnp.float32
    generate(short, tmp_path / "b.zarr")
    assert_same(data.path, tmp_path / "b.zarr")


def test_zarr_format_is_two(uninterrupted: Path) -> None:
    assert zarr.open_group(uninterrupted, mode="r").metadata.zarr_format == 2


def test_the_batch_of_other_devices_gives_the_same(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    data = generate(SMALL, tmp_path / "flow.zarr")
    # Another program, so not to the bit; rounding of float32 beside velocities of about one.
    np.testing.assert_allclose(data.read(1), open_flow(uninterrupted).read(1), atol=1e-6)
