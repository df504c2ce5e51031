"""Runs: exact resumption, kills, divergence, and folders that are never silently replaced."""

import json
import os
import signal
import subprocess
import sys
import time
import types
from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from closura.interop.weights import WeightsError, load_weights, read_header
from closura.learners import BPTTS, BPTTSConfiguration, PPOConfiguration
from closura.problems import AdvectionConfiguration
from closura.runs import (
    CheckpointError,
    CompactConfiguration,
    Interrupted,
    MissingExtraError,
    RunError,
    RunFolder,
    TrainConfiguration,
    TrainingDiverged,
    TruthConfiguration,
    ValidationConfiguration,
    train,
    training,
)
from closura.runs.checkpoints import load_checkpoint, save_checkpoint
from closura.runs.configuration import from_plain, to_plain
from closura.runs.presets import PRESETS, train_preset
from closura.runs.tracking import read_metrics
from closura.runs.training import Progress

TINY = TrainConfiguration(
    problem=AdvectionConfiguration(cells=16, ratio=2, maximum_steps=12),
    compact=CompactConfiguration(channels=4, layers=2, radius=1),
    learning=BPTTSConfiguration(updates=12, batch=2, horizons=(2, 3), fractions=(0.5, 0.5), proceed=0.5),
    truth=TruthConfiguration(slots=4, steps=12, blocks=2, renew_every=4),
    validation=ValidationConfiguration(simulations=2, steps=5, every=3),
    keep_every=6,
    log_every=3,
)
TINY_PPO = replace(
    TINY,
    learner="ppo",
    learning=PPOConfiguration(updates=12, environments=2, steps=4, minibatch=4),
)


class Stop(Exception):
    pass


def stop_at(update: int) -> object:
    def report(progress: Progress) -> None:
        if progress.row["update"] == update:
            raise Stop

    return report


def without_times(path: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(path)]


# The third: the truth is renewed exactly where the checkpoint is.
AT_RENEWAL = replace(TINY, truth=replace(TINY.truth, renew_every=3))


@pytest.mark.parametrize("configuration", [TINY, TINY_PPO, AT_RENEWAL], ids=["bptts", "ppo", "renewal"])
def test_a_resumed_run_equals_one_that_was_never_stopped(tmp_path: Path, configuration: TrainConfiguration) -> None:
    """Same metrics and weights, to the bit, across a renewal of the truth and a change of horizon."""
    whole = train(configuration, tmp_path / "whole")
    # Stopped between a row of metrics and its checkpoint: the row must not come twice.
    with pytest.raises(Stop):
        train(configuration, tmp_path / "parts", report=stop_at(9))
    assert read_metrics(tmp_path / "parts" / "metrics.jsonl")[-1]["update"] == 9
    parts = train(configuration, tmp_path / "parts", resume=True)
    assert without_times(tmp_path / "whole" / "metrics.jsonl") == without_times(tmp_path / "parts" / "metrics.jsonl")
    a, b = (safetensors.numpy.load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
    assert whole.validation_error == parts.validation_error
    kept = sorted(p.name for p in (tmp_path / "whole" / "checkpoints").glob("update-*"))
    assert kept == ["update-0000006.safetensors", "update-0000012.safetensors"]


def test_same_seed_same_run_and_another_seed_another(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(replace(TINY, seed=seed), tmp_path / name)
    rows = [without_times(tmp_path / name / "metrics.jsonl") for name in "abc"]
    assert rows[0] == rows[1]
    assert rows[0] != rows[2]


def test_a_killed_process_can_be_resumed(tmp_path: Path) -> None:
    """SIGKILL at an arbitrary moment, in another process, then --resume."""
    folder = tmp_path / "run"
    arguments = [
        "train", "advection", "--run", str(folder), "--cells", "16", "--ratio", "2", "--compact.channels", "4",
        "--learning.updates", "400", "--learning.batch", "2", "--truth.slots", "4", "--truth.blocks", "2",
        "--truth.steps", "20", "--validation.simulations", "2", "--validation.steps", "5", "--validation.every", "5",
        "--log-every", "5", "--learning.horizons", "2", "--learning.fractions", "1",
    ]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "closura", *arguments], stdout=subprocess.DEVNULL)
    last = RunFolder(folder).last
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    configuration = RunFolder(folder).read_configuration()
    result = train(configuration, folder, resume=True)
    assert result.updates == 400
    updates = [row["update"] for row in read_metrics(folder / "metrics.jsonl")]
    assert updates == sorted(set(updates))
    assert updates[-1] == 400


def test_a_stop_signal_writes_a_checkpoint(tmp_path: Path) -> None:
    def report(progress: Progress) -> None:
        if progress.row["update"] == 4:  # a renewal, not a validation: only the signal writes a checkpoint here
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=r"after 4 of 12 updates; continue with --resume"):
        train(TINY, tmp_path / "run", report=report)
    assert RunFolder(tmp_path / "run").read_status()["state"] == "interrupted"
    assert train(TINY, tmp_path / "run", resume=True).updates == 12


def test_a_training_that_turns_nan_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy = BPTTS.update

    def poisoned(self: BPTTS, problem: object, state: object, stage: int) -> tuple:
        following, metrics = healthy(self, problem, state, stage)
        factor = jnp.where(following.updates > 7, jnp.nan, 1.0).astype(jnp.float32)
        weights, rest = eqx.partition(following.closure, eqx.is_inexact_array)
        closure = eqx.combine(jax.tree.map(lambda w: w * factor, weights), rest)
        return replace(following, closure=closure), metrics

    # Another type, so that no compiled update of the healthy learner is reused.
    monkeypatch.setitem(training.LEARNERS, "bptts", type("Poisoned", (BPTTS,), {"update": poisoned}))
    with pytest.raises(TrainingDiverged, match=r"weights not finite between updates 6 and 8; the last good"):
        train(TINY, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert run.read_status()["state"] == "diverged"
    assert np.isfinite(safetensors.numpy.load_file(run.weights)["head.mix.bias"]).all()
    monkeypatch.undo()
    assert train(TINY, run.path, resume=True).updates == 12


def test_the_paper_preset_trains_on_whole_episodes(tmp_path: Path) -> None:
    """The published recipe, shrunk: one episode per update, the truth simulated afresh, stop by transitions."""
    paper = train_preset("paper")
    configuration = replace(
        paper,
        problem=replace(paper.problem, cells=16, ratio=2, images="synthetic", maximum_steps=12),
        closure="compact",
        compact=CompactConfiguration(channels=4, layers=2, radius=1),
        validation=ValidationConfiguration(simulations=2, steps=5, every=2),
        log_every=2,
        keep_every=0,
        transitions=40,
        initial_std=0.02,
    )
    result = train(configuration, tmp_path / "run")
    assert 40 <= result.transitions < 40 + 2 * 12
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert all(4 <= row["episode_length"] <= 12 for row in rows)
    assert {"reward", "policy_std", "loss", "entropy"} <= rows[0].keys()


def test_a_run_is_never_overwritten_silently(tmp_path: Path) -> None:
    train(TINY, tmp_path / "run")
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with pytest.raises(RunError, match=r"--resume.*--overwrite"):
        train(TINY, tmp_path / "run")
    with pytest.raises(RunError, match=r"seed: 0 -> 5"):
        train(replace(TINY, seed=5), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match="not empty and holds no run"):
        train(TINY, tmp_path / "other", overwrite=True)
    with pytest.raises(RunError, match="there is no run"):
        train(TINY, tmp_path / "nowhere", resume=True)
    assert train(replace(TINY, seed=5), tmp_path / "run", overwrite=True).updates == 12


def test_checkpoints_are_checked(tmp_path: Path) -> None:
    state = {"a": jnp.arange(4.0), "b": jnp.zeros((2, 2), jnp.int32)}
    path = tmp_path / "x.checkpoint"
    save_checkpoint(path, state, {"best": 0.5})
    loaded, progress = load_checkpoint(path, jax.tree.map(jnp.zeros_like, state))
    np.testing.assert_array_equal(loaded["a"], state["a"])
    assert progress == {"best": 0.5}
    with pytest.raises(CheckpointError, match="does not fit"):
        load_checkpoint(path, {"a": jnp.zeros(5), "b": state["b"]})
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path, state)
    path.write_bytes(content[:-1] + b"!")
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path, state)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "absent", state)


def test_trackers_get_every_row_and_missing_ones_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtraError, match=r"closura\[tracking\]"):
        train(TINY, tmp_path / "without", trackers=("tensorboard",))
    seen: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            assert folder == str(tmp_path / "run" / "tensorboard")

        def add_scalar(self, name: str, value: float, step: int) -> None:
            seen.append((name, value, step))

        def close(self) -> None:
            seen.append(("closed", 0.0, 0))

    module = types.ModuleType("tensorboardX")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    train(TINY, tmp_path / "run", trackers=("tensorboard",))
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [value for name, value, _ in seen if name == "loss"] == [row["loss"] for row in rows]
    assert seen[-1][0] == "closed"


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("learner", ["bptts", "ppo", "a2c"])
def test_configurations_survive_their_file(preset: str, learner: str) -> None:
    configuration = train_preset(preset, learner=learner)
    assert from_plain(json.loads(json.dumps(to_plain(configuration)))) == configuration


def test_unknown_presets_and_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="takes PPOConfiguration"):
        replace(TINY, learner="ppo")
    with pytest.raises(ValueError, match="not a configuration"):
        from_plain({**to_plain(TINY), "colour": "red"})


def test_weights_say_what_does_not_fit(tmp_path: Path) -> None:
    train(TINY, tmp_path / "run")
    path = tmp_path / "run" / "weights.safetensors"
    header = read_header(path)
    assert header["metadata"]["configuration"] == json.loads(json.dumps(to_plain(TINY)))
    decision = load_weights(path).decision
    with pytest.raises(WeightsError, match="observation: expected"):
        load_weights(path, replace(decision, observation=("u", "v")))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WeightsError, match="damaged"):
        load_weights(path)
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_weights(tmp_path / "absent.safetensors")
