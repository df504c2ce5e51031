"""Runs of fits: killed and resumed they end where an uninterrupted one does; what does not fit is refused."""

from dataclasses import replace

import numpy as np
import pytest

from closura.commands.fitting import parse_train_closure
from closura.learners.descent import DescentConfiguration
from closura.reduced.convolutional import ConvolutionalRecipe
from closura.reduced.latent_model import LatentRecipe
from closura.reduced.model import load_model
from closura.reduced.reconstruction import load_reconstruction
from closura.runs.configuration import to_plain
from closura.runs.fitting.closure import fit_closure
from closura.runs.fitting.configuration import (
    ClosureFitConfiguration,
    FilterConfiguration,
    ForecastJudgeConfiguration,
    JudgeConfiguration,
    ModelFitConfiguration,
    SplitConfiguration,
    closure_fit_from_plain,
    model_fit_from_plain,
)
from closura.runs.fitting.model import fit_model
from closura.runs.fitting.presets import closure_preset, model_preset
from closura.runs.folder import RunError
from closura.trajectories import GenerationConfiguration, generate


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
        recipe=ConvolutionalRecipe(
            channels=8, layers=2, noise=1, working_points=16, descent=DescentConfiguration(updates=6, batch=4)
        ),
        filtering=FilterConfiguration(cutoff=3.0),
        split=SplitConfiguration(held_out=(2,), validation=(1,)),
        judge=JudgeConfiguration(frames=4, members=2, every=3),
        log_every=1,
    )


def model_configuration(data):
    return ModelFitConfiguration(
        data=data,
        recipe=LatentRecipe(
            window=3, width=16, blocks=1, heads=2, noise=2, horizons=((0.0, 1), (0.5, 2)), disturbances=(0.05, 0.1),
            climate_steps=40, descent=DescentConfiguration(updates=6, batch=4),
        ),
        every_frames=1,
        filtering=FilterConfiguration(cutoff=3.0),
        split=SplitConfiguration(held_out=(2,), validation=(1,)),
        judge=ForecastJudgeConfiguration(starts=2, members=2, time=1.0, every=3),
        log_every=1,
    )  # fmt: skip


class Killed(BaseException):
    pass


def kill_at(update):
    def report(progress):
        if progress.done == update:
            raise Killed

    return report


def test_a_killed_fit_of_a_closure_goes_on_to_the_same_weights(data, tmp_path):
    c = closure_configuration(data)
    whole = fit_closure(c, tmp_path / "whole")
    with pytest.raises(Killed):
        fit_closure(c, tmp_path / "killed", report=kill_at(4))  # after the checkpoint of update 3
    resumed = fit_closure(c, tmp_path / "killed", resume=True)
    first, second = (load_reconstruction(tmp_path / name / "weights.safetensors")[0] for name in ("whole", "killed"))
    for name, array in first.state().items():
        np.testing.assert_array_equal(array, second.state()[name])
    assert first.facts() == second.facts()  # the calibration too
    assert resumed.score == whole.score
    rows = (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()
    assert len(rows) == 6
    # A finished run that is resumed judges and calibrates again, to the same.
    again = fit_closure(c, tmp_path / "killed", resume=True)
    assert (again.score, again.factor) == (resumed.score, resumed.factor)


def test_a_killed_fit_of_a_model_goes_on_to_the_same_weights(data, tmp_path):
    c = model_configuration(data)
    fit_model(c, tmp_path / "whole")
    with pytest.raises(Killed):
        fit_model(c, tmp_path / "killed", report=kill_at(5))
    fit_model(c, tmp_path / "killed", resume=True)
    first, second = (load_model(tmp_path / name / "weights.safetensors") for name in ("whole", "killed"))
    for name, array in first[0].state().items():
        np.testing.assert_array_equal(array, second[0].state()[name])
    assert first[0].facts() == second[0].facts()
    assert set(first[1]["climate"]) == {"0.05", "0.1"}


def test_runs_remember_what_they_have_seen(data, tmp_path):
    fit_closure(closure_configuration(data), tmp_path / "run")
    _, metadata = load_reconstruction(tmp_path / "run" / "weights.safetensors")
    assert metadata["filter"] == {"filter": "spectral", "cutoff": 3.0}
    assert [s["trajectory"] for s in metadata["train"]] == [0]
    assert [s["trajectory"] for s in metadata["test"]] == [2]
    assert len({s["simulation"] for part in ("train", "validation", "test") for s in metadata[part]}) == 3


def test_configurations_travel(data):
    for c, decode in (
        (closure_configuration(data), closure_fit_from_plain),
        (model_configuration(data), model_fit_from_plain),
    ):
        import json

        assert decode(json.loads(json.dumps(to_plain(c)))) == c
    for name in ("conv", "gp", "vae", "diffusion", "flow"):
        assert closure_preset(name, "quick").closure == name
    assert closure_preset("vae", "paper").closure == "vae-published"
    assert model_preset("latent", "default").recipe.descent.updates == 10000


def test_other_settings_are_refused(data, tmp_path):
    c = closure_configuration(data)
    fit_closure(c, tmp_path / "run")
    with pytest.raises(RunError, match="already holds a run"):
        fit_closure(c, tmp_path / "run")
    with pytest.raises(RunError, match="seed"):
        fit_closure(replace(c, seed=3), tmp_path / "run", resume=True)


def test_leaks_and_absent_trajectories_are_refused(data, tmp_path):
    with pytest.raises(ValueError, match="interleaved frames leak"):
        SplitConfiguration(by="interleaved")
    c = closure_configuration(data)
    with pytest.raises(ValueError, match="has 3 trajectories, 0 to 2"):
        fit_closure(replace(c, split=SplitConfiguration()), tmp_path / "run")
    with pytest.raises(ValueError, match="which data"):
        fit_closure(replace(c, data=""), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_command_finds_published_recipes():
    _, c = parse_train_closure(["--closure", "vae", "--preset", "paper", "--data", "flow.zarr"])
    assert c.closure == "vae-published"
    assert c.split.only == (7,)
    _, c = parse_train_closure(["--closure", "flow", "--seed", "3"])
    assert (c.closure, c.seed, c.data) == ("flow", 3, "")
    with pytest.raises(ValueError, match="unknown closure 'gan'; valid: conv, gp"):
        parse_train_closure(["--closure", "gan"])


def test_published_gaussian_process_has_no_preset():
    with pytest.raises(ValueError, match=r"published_closures\.py"):
        closure_preset("gp", "paper")
    with pytest.raises(ValueError, match="never published"):
        closure_preset("conv", "paper")
