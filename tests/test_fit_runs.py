"""Runs of fits: killed and resumed they end where an uninterrupted one does; what does not fit is refused."""

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from closura.cli import main
from closura.commands.fitting import parse_fit
from closura.interruption import Interrupted
from closura.offline.convolutional import ConvolutionalSettings
from closura.offline.data import FilterSettings, SplitSettings
from closura.offline.descent import DescentConfiguration
from closura.offline.latent_model import LatentModelSettings
from closura.offline.rom import load_model
from closura.offline.sampler import load_sampler
from closura.runs.checkpoints import read_progress
from closura.runs.configuration import to_plain
from closura.runs.fitting import forecasts
from closura.runs.fitting.configuration import (
    ClosureFitConfiguration,
    ForecastValidation,
    ModelFitConfiguration,
    SamplerValidation,
)
from closura.runs.fitting.fit import fit
from closura.runs.folder import RunError, RunFolder
from closura.trajectories import GenerationConfiguration, generate, new_flow, open_flow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three short trajectories at Reynolds number 20 on 16 points."""
    path = tmp_path_factory.mktemp("flow") / "flow.zarr"
    c = GenerationConfiguration(
        reynolds=(20.0,), grid=16, trajectories=3, duration=12.0, interval=0.12, transient=40.0, dt=0.02
    )
    generate(c, path)
    return str(path)


def closure_configuration(data):
    return ClosureFitConfiguration(
        data=data,
        settings=ConvolutionalSettings(
            channels=8, layers=2, noise=1, working_points=16, descent=DescentConfiguration(updates=6, batch=4)
        ),
        filtering=FilterSettings(cutoff=3.0),
        split=SplitSettings(held_out=(2,), validation=(1,)),
        validation=SamplerValidation(frames=4, members=2, every=3),
        log_every=1,
    )


def model_configuration(data):
    return ModelFitConfiguration(
        data=data,
        settings=LatentModelSettings(
            window=3, width=16, blocks=1, heads=2, noise=2, horizons=((0.0, 1), (0.5, 2)), disturbances=(0.05, 0.1),
            climate_steps=40, descent=DescentConfiguration(updates=6, batch=4),
        ),
        every_frames=1,
        filtering=FilterSettings(cutoff=3.0),
        split=SplitSettings(held_out=(2,), validation=(1,)),
        validation=ForecastValidation(starts=2, members=2, time=1.0, every=3),
        log_every=1,
    )  # fmt: skip


class Killed(BaseException):
    pass


def kill_at(update):
    def report(progress):
        if progress.done == update:
            raise Killed

    return report


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A run of a closure that nothing interrupted, and its result."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, fit(closure_configuration(data), folder)


@pytest.fixture(scope="module")
def killed_run(data, tmp_path_factory):
    """The same, killed after the checkpoint of update 3; to be copied."""
    folder = tmp_path_factory.mktemp("runs") / "killed"
    with pytest.raises(Killed):
        fit(closure_configuration(data), folder, report=kill_at(4))
    return folder


@pytest.fixture
def killed(killed_run, tmp_path):
    return Path(shutil.copytree(killed_run, tmp_path / "killed"))


@pytest.fixture(scope="module")
def whole_model(data, tmp_path_factory):
    """A run of a model that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    fit(model_configuration(data), folder)
    return folder


def same_weights(one, other, load=load_sampler):
    first, second = (load(folder / "weights.safetensors")[0] for folder in (one, other))
    for name, array in first.state().items():
        np.testing.assert_array_equal(array, second.state()[name])
    assert first.facts() == second.facts()  # the calibration too


def test_a_killed_fit_of_a_closure_goes_on_to_the_same_weights(data, whole, killed):
    c = closure_configuration(data)
    resumed = fit(c, killed, resume=True)
    same_weights(whole[0], killed)
    assert resumed.score == whole[1].score
    rows = (killed / "metrics.jsonl").read_text().splitlines()
    assert len(rows) == 6
    # A finished run that is resumed evaluates and calibrates again, to the same.
    again = fit(c, killed, resume=True)
    assert (again.score, again.factor) == (resumed.score, resumed.factor)


def test_a_killed_fit_of_a_model_goes_on_to_the_same_weights_where_its_data_were_moved_to(data, whole_model, tmp_path):
    c, folder, moved = model_configuration(data), tmp_path / "killed", tmp_path / "moved.zarr"
    with pytest.raises(Killed):
        fit(c, folder, report=kill_at(5))
    shutil.copytree(data, moved)
    fit(replace(c, data=str(moved)), folder, resume=True)
    same_weights(whole_model, folder, load_model)
    _, metadata = load_model(folder / "weights.safetensors")
    assert set(metadata["climate"]) == {"0.05", "0.1"}
    assert metadata["data"] == str(moved)


def test_a_model_may_be_stopped_while_its_climate_is_settled(data, whole_model, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(whole_model, tmp_path / "run"))
    energy = forecasts._energy

    def asked(frames):
        os.kill(os.getpid(), signal.SIGTERM)
        monkeypatch.setattr(forecasts, "_energy", energy)
        return energy(frames)

    monkeypatch.setattr(forecasts, "_energy", asked)
    with pytest.raises(Interrupted, match="climate was settled; continue with --resume"):
        fit(model_configuration(data), folder, resume=True)
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    assert read_progress(folder / "checkpoints" / "last.checkpoint")["update"] == 6
    fit(model_configuration(data), folder, resume=True)
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    same_weights(whole_model, folder, load_model)


def test_a_run_goes_on_with_data_that_were_moved(data, whole, killed, tmp_path, capsys):
    moved, gone = tmp_path / "moved.zarr", tmp_path / "gone.zarr"
    shutil.copytree(data, moved)
    configuration = killed / "configuration.json"
    configuration.write_text(configuration.read_text().replace(data, str(gone)))
    words = ["train", "kolmogorov-closure", "--run", str(killed), "--resume"]
    refused(capsys, words, f"the run's data are no longer at {gone}: say with --data where they were moved to")
    main([*words, "--data", str(moved)])
    same_weights(whole[0], killed)
    # From now on it knows where they are.
    assert json.loads(configuration.read_text())["data"] == str(moved)
    assert load_sampler(killed / "weights.safetensors")[1]["data"] == str(moved)


def with_identities(data, path, names):
    """A copy of a data set that says it holds other simulations."""
    flow = open_flow(data)
    with new_flow(path, replace(flow.description, identities=tuple(names))) as writer:
        for i in range(flow.trajectories):
            writer.write(i, 0, flow.read(i))
    return str(path)


def test_a_run_does_not_go_on_with_other_data(data, killed, tmp_path, capsys):
    names = list(open_flow(data).identities)
    before = (killed / "configuration.json").read_text()
    words = ["train", "kolmogorov-closure", "--run", str(killed), "--resume", "--data"]
    other = with_identities(data, tmp_path / "other.zarr", [names[0], "flow-0", names[2]])
    message = f"{other} holds other simulations than {data}, which the run began with: its trajectory 1 is flow-0"
    refused(capsys, [*words, other], message)
    # Trajectories are known by their numbers: the same ones in another order would be split otherwise.
    turned = with_identities(data, tmp_path / "turned.zarr", names[::-1])
    refused(capsys, [*words, turned], f"its trajectory 0 is {names[2]}, not {names[0]}. Give the same data with --data")
    facts = json.loads((killed / "environment.json").read_text())
    facts["data"]["train"][0]["stop"] = 7
    (killed / "environment.json").write_text(json.dumps(facts))
    refused(capsys, [*words, data], "is not the data that the run began with (train differs)")
    # A run that does not say what it has seen cannot tell.
    (killed / "environment.json").unlink()
    refused(capsys, [*words, other], "does not say which simulations the run has seen")
    assert (killed / "configuration.json").read_text() == before


def test_a_lost_checkpoint_is_not_begun_anew(data, killed):
    (killed / "checkpoints" / "last.checkpoint").unlink()
    before = (killed / "weights.safetensors").read_bytes()
    with pytest.raises(RunError, match=r"last.checkpoint is missing.*--overwrite"):
        fit(closure_configuration(data), killed, resume=True)
    assert (killed / "weights.safetensors").read_bytes() == before


def refused(capsys, arguments, message):
    """The command leaves with status 2 and one line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert message in error, error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["kolmogorov-closure", "--split.by", "interleaved"], "--split.by: interleaved frames leak"),
        (["kolmogorov-closure", "--split.by", "day"], "--split.by: unknown 'day'; valid: trajectory, time, interl"),
        (["kolmogorov-closure", "--preset", "best"], "--preset: unknown 'best'; valid: paper, default, quick"),
        (["kolmogorov-closure", "--closure", "gan"], "unknown closure 'gan'; valid: conv, gp"),
        (["kolmogorov-closure", "--settings.channel", "3"], "did you mean --settings.channels? all options: closura"),
        (["kolmogorov-closure", "--settings.layers", "0"], "--settings.layers: layers must be positive, a whole"),
        (["kolmogorov-closure", "--closure", "gp", "--settings.blocks", "1"], "at least two blocks"),
        (["kolmogorov-closure", "--closure", "flow", "--settings.method", "rk4"], "unknown 'rk4'; valid: euler, heun"),
        (["kolmogorov-closure", "--validation.frames", "x"], "--validation.frames: expected a whole number; got 'x'"),
        (["kolmogorov-closure", "--validation.frames", "0"], "--validation.frames: frames must be positive"),
        (["kolmogorov-closure", "--filter.energy", "2"], "energy must be a finite number above 0 and below 1; got 2"),
        (["kolmogorov-closure", "--seed", "-1"], "seed must be a whole number from 0 to 2^63 - 1; got -1"),
        (["kolmogorov-closure", "--checkpoint-every", "-1"], "checkpoint_every must not be negative"),
        (["kolmogorov-closure", "--data"], "--data: expected PATH; got nothing"),
        (["kolmogorov-closure", "more"], "unknown argument more"),
        (["kolmogorov-closure", "--data", "DATA"], "has 3 trajectories, 0 to 2; the split names [7, 6]"),
        (["kolmogorov-closure", "--data", "DATA", "--split.held-out", "2", "--split.validation", "1",
          "--filter.cutoff", "12"], "keeps all waves of 16 x 16 points"),
        (["kolmogorov-closure", "--run", __file__], "is no folder: choose another with --run"),
        (["kolmogorov-rom", "--settings.blocks", "0"], "--settings.blocks: blocks must be positive, a whole number"),
        (["kolmogorov-rom", "--settings.heads", "5"], "the width must be a multiple of the heads; got 128 and 5"),
        (["kolmogorov-rom", "--settings.horizons", "x"], "--settings.horizons: expected [FLOAT INT ...]; got"),
        (["kolmogorov-rom", "--model", "vae", "--settings.blocks", "0"], "blocks must be positive"),
        (["kolmogorov-rom", "--every-frames", "0"], "every_frames must be positive"),
        (["kolmogorov-rom", "--data", "DATA", "--split.held-out", "2", "--split.validation", "1", "--validation.time",
          "0.01"], "choose a longer one with --validation.time"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line(data, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    refused(capsys, ["train", *(data if word == "DATA" else word for word in words)], message)
    assert not (tmp_path / "runs").exists()


def test_a_run_of_another_kind_is_named(data, tmp_path, capsys):
    RunFolder(tmp_path / "run").create(closure_configuration(data))
    words = ["--run", str(tmp_path / "run"), "--resume"]
    refused(capsys, ["train", "kolmogorov-rom", *words], "kolmogorov-closure --resume, with the same --run")
    refused(capsys, ["train", "kolmogorov-closure", *words, "--closure", "gp"], "closure conv; it cannot go on with gp")


def test_runs_remember_what_they_have_seen(whole):
    _, metadata = load_sampler(whole[0] / "weights.safetensors")
    assert metadata["filter"] == {"filter": "spectral", "cutoff": 3.0}
    assert [s["trajectory"] for s in metadata["train"]] == [0]
    assert [s["trajectory"] for s in metadata["test"]] == [2]
    assert len({s["simulation"] for part in ("train", "validation", "test") for s in metadata[part]}) == 3


def test_configurations_travel(data):
    for c, decode in (
        (closure_configuration(data), ClosureFitConfiguration.from_plain),
        (model_configuration(data), ModelFitConfiguration.from_plain),
    ):
        assert decode(json.loads(json.dumps(to_plain(c)))) == c
    for name in ("conv", "gp", "vae", "diffusion", "flow"):
        assert ClosureFitConfiguration.preset(name, "quick").closure == name
    assert ClosureFitConfiguration.preset("vae", "paper").closure == "vae-published"
    assert ModelFitConfiguration.preset("latent", "default").settings.descent.updates == 10000


def test_other_settings_are_refused(data, whole):
    c = closure_configuration(data)
    with pytest.raises(RunError, match="already holds a run"):
        fit(c, whole[0])
    with pytest.raises(RunError, match="seed"):
        fit(replace(c, seed=3), whole[0], resume=True)


def test_leaks_and_absent_trajectories_are_refused(data, tmp_path):
    with pytest.raises(ValueError, match="interleaved frames leak"):
        SplitSettings(by="interleaved")
    c = closure_configuration(data)
    with pytest.raises(ValueError, match="has 3 trajectories, 0 to 2"):
        fit(replace(c, split=SplitSettings()), tmp_path / "run")
    with pytest.raises(ValueError, match="which data"):
        fit(replace(c, data=""), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_command_finds_published_settings():
    _, c = parse_fit(ClosureFitConfiguration, ["--closure", "vae", "--preset", "paper", "--data", "flow.zarr"])
    assert c.closure == "vae-published"
    assert c.split.only == (7,)
    _, c = parse_fit(ClosureFitConfiguration, ["--closure", "flow", "--seed", "3"])
    assert (c.closure, c.seed, c.data) == ("flow", 3, "")
    with pytest.raises(ValueError, match="unknown closure 'gan'; valid: conv, gp"):
        parse_fit(ClosureFitConfiguration, ["--closure", "gan"])


def test_published_gaussian_process_has_no_preset():
    with pytest.raises(ValueError, match=r"published_closures\.py"):
        ClosureFitConfiguration.preset("gp", "paper")
    with pytest.raises(ValueError, match="never published"):
        ClosureFitConfiguration.preset("conv", "paper")
