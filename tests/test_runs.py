"""Runs: exact resumption, kills, divergence, and folders that are never silently replaced."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import types
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from closura.closures import CompactConfiguration
from closura.commands.evaluation import evaluation_key
from closura.io.weights import WeightsError, load_weights, read_header
from closura.learners import BPTTS, LEARNERS, BPTTSConfiguration, LearnerKind, LearnerState, PPOConfiguration, averaged
from closura.learners.eki import EKIConfiguration
from closura.problems import AdvectionConfiguration, Problem, ReferenceStore, advection, simulate_reference
from closura.runs import (
    CheckpointError,
    Interrupted,
    MissingExtraError,
    ReferenceConfiguration,
    RunError,
    RunFolder,
    TrainConfiguration,
    TrainingDiverged,
    TrainingResult,
    ValidationConfiguration,
    train,
    training,
)
from closura.runs.checkpoints import load_checkpoint, read_progress, save_checkpoint
from closura.runs.configuration import PRESETS, from_plain, to_plain, train_preset
from closura.runs.reference_bank import ReferenceBank
from closura.runs.tracking import read_metrics
from closura.runs.trainer import verdict
from closura.runs.training import Progress, validation_error

TINY = TrainConfiguration(
    problem=AdvectionConfiguration(cells=16, ratio=2, maximum_steps=12),
    network=CompactConfiguration(channels=4, layers=1, radius=1),
    learning=BPTTSConfiguration(updates=12, batch=2, horizons=(2, 3), fractions=(0.5, 0.5), proceed=0.5),
    reference=ReferenceConfiguration(slots=4, steps=12, blocks=2, renew_every=4),
    validation=ValidationConfiguration(simulations=2, steps=12, every=3),
    keep_every=6,
    log_every=3,
)
TINY_PPO = replace(
    TINY,
    learner="ppo",
    learning=PPOConfiguration(updates=12, environments=2, steps=4, minibatch=4),
)
TINY_EKI = replace(
    TINY,
    learner="eki",
    learning=EKIConfiguration(updates=12, members=4, batch=2, horizon=2, statistics=("moments",)),
    validation=replace(TINY.validation, statistics=("spectrum",)),
)
PAPER = train_preset("paper")
# The published recipe, shrunk: one episode per update, the reference simulated afresh, stop by transitions. The limit
# is reached between two validations.
TINY_PAPER = replace(
    PAPER,
    problem=replace(PAPER.problem, cells=16, ratio=2, images="synthetic", maximum_steps=12),
    closure="compact",
    network=TINY.network,
    validation=ValidationConfiguration(simulations=2, steps=5, every=3),
    log_every=1,
    keep_every=0,
    transitions=50,
    initial_std=0.02,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingResult]:
    """A finished run of TINY: only to be read; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    return folder, train(TINY, folder)


@pytest.fixture
def run_copy(finished: tuple[Path, TrainingResult], tmp_path: Path) -> Path:
    return shutil.copytree(finished[0], tmp_path / "run")


class Stop(Exception):
    pass


def stop_at(update: int) -> object:
    def report(progress: Progress) -> None:
        if progress.row["update"] == update:
            raise Stop

    return report


class Setting(NamedTuple):
    problem: Problem
    bank: ReferenceBank
    validation: ReferenceStore
    state: LearnerState


def set_up(configuration: TrainConfiguration) -> Setting:
    """What a training of this configuration begins with."""
    task = training.TrainingTask(configuration, None, 0)
    return Setting(task.problem, task.bank, task.validation, task.initial)


def without_times(path: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(path)]


# The third: the reference is renewed exactly where the checkpoint is.
AT_RENEWAL = replace(TINY, reference=replace(TINY.reference, renew_every=3))


@pytest.mark.parametrize(
    ("configuration", "stop"),
    [(TINY, 9), (TINY_PPO, 9), (TINY_EKI, 9), (AT_RENEWAL, 9), (TINY_PAPER, 5)],
    ids=["bptts", "ppo", "eki", "renewal", "paper"],
)
def test_a_resumed_run_equals_one_that_was_never_stopped(
    tmp_path: Path, configuration: TrainConfiguration, stop: int
) -> None:
    """Same metrics and weights, to the bit, across a renewal of the reference and a change of horizon."""
    whole = train(configuration, tmp_path / "whole")
    # Stopped between a row of metrics and its checkpoint: the row must not come twice.
    with pytest.raises(Stop):
        train(configuration, tmp_path / "parts", report=stop_at(stop))
    assert RunFolder(tmp_path / "parts").read_status()["state"] == "failed"
    assert read_metrics(tmp_path / "parts" / "metrics.jsonl")[-1]["update"] == stop
    assert read_progress(RunFolder(tmp_path / "parts").last)["update"] < stop
    parts = train(configuration, tmp_path / "parts", resume=True)
    assert without_times(tmp_path / "whole" / "metrics.jsonl") == without_times(tmp_path / "parts" / "metrics.jsonl")
    for file in ("weights", "final"):
        a, b = (safetensors.numpy.load_file(tmp_path / name / f"{file}.safetensors") for name in ("whole", "parts"))
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
    assert whole.validation_error == parts.validation_error
    assert whole.transitions == parts.transitions


def test_a_run_that_reaches_its_transitions_is_validated_and_finished(tmp_path: Path) -> None:
    """Whole episodes on fresh reference; the last update is validated and kept although none was due."""
    result = train(TINY_PAPER, tmp_path / "run")
    run, rows = RunFolder(tmp_path / "run"), read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert 50 <= result.transitions < 50 + 12
    assert result.updates == len(rows)
    assert result.updates % 3, "a validation was due at the last update: choose another number of transitions"
    assert run.read_status()["state"] == "finished"
    assert [row["update"] for row in rows if "validation_error" in row] == [*range(3, len(rows), 3), len(rows)]
    assert np.isfinite(rows[-1]["validation_error"])
    assert read_progress(run.last)["update"] == result.updates
    assert read_header(run.final)["metadata"]["update"] == result.updates
    lengths = [row["episode_length"] for row in rows]
    assert all(4 <= length <= 12 for length in lengths)
    assert sum(lengths) == result.transitions
    assert {"reward", "policy_std", "loss", "entropy"} <= rows[0].keys()
    # Resuming what is finished changes nothing.
    assert train(TINY_PAPER, run.path, resume=True).transitions == result.transitions
    assert read_metrics(run.metrics) == rows


def test_the_best_average_by_validation_is_selected(finished: tuple[Path, TrainingResult]) -> None:
    folder, result = finished
    run, setting = RunFolder(folder), set_up(TINY)
    errors = {r["update"]: r["validation_error"] for r in read_metrics(run.metrics) if "validation_error" in r}
    assert sorted(errors) == [3, 6, 9, 12]
    assert result.validation_error == min(errors.values())

    def recomputed(closure: eqx.Module) -> float:
        return float(validation_error(setting.problem, closure, setting.validation))

    # weights.safetensors is the average of the best update, kept files and the final one those of theirs.
    files = {run.weights: min(errors, key=errors.get), run.kept(6): 6, run.kept(12): 12, run.final: 12}
    assert sorted(run.checkpoints.glob("update-*")) == [run.kept(6), run.kept(12)]
    for file, update in files.items():
        facts = read_header(file)["metadata"]
        assert facts["update"] == update
        if file != run.final:
            assert facts["validation_error"] == errors[update]
        assert recomputed(load_weights(file)) == errors[update]
    assert recomputed(result.closure) == result.validation_error
    # It is the average that is evaluated: the weights themselves stand elsewhere.
    state, _ = load_checkpoint(run.last, set_up(TINY).state)
    assert recomputed(averaged(state)) == errors[12] != recomputed(state.closure)


def test_held_out_means_held_out() -> None:
    """For one seed, the initial conditions of training, validation and evaluation are pairwise different."""
    setting = set_up(TINY)
    test = simulate_reference(advection(TINY.problem, "test"), 2, 1, key=evaluation_key(TINY.seed))
    training_stores = [setting.bank.at(update)[0] for update in (0, 4, 8)]
    sets = {
        "training": np.concatenate([np.asarray(store.state) for store in training_stores]),
        "validation": np.asarray(setting.validation.state),
        "test": np.asarray(test.state),
    }
    for a, b in itertools.combinations(sets, 2):
        distance = np.abs(sets[a][:, None] - sets[b][None]).max(axis=(2, 3, 4))
        # Images of values 0 to 1 that are not the same one.
        assert distance.min() > 0.1, (a, b)
    # The same seed gives the same evaluation again, another seed another one.
    assert not np.array_equal(jax.random.key_data(evaluation_key(0)), jax.random.key_data(evaluation_key(1)))


def test_same_seed_same_run_and_another_seed_another(finished: tuple[Path, TrainingResult], tmp_path: Path) -> None:
    for name, seed in (("same", 0), ("other", 1)):
        train(replace(TINY, seed=seed), tmp_path / name)
    rows = without_times(finished[0] / "metrics.jsonl")
    assert rows == without_times(tmp_path / "same" / "metrics.jsonl")
    assert rows != without_times(tmp_path / "other" / "metrics.jsonl")


def test_a_killed_process_can_be_resumed(tmp_path: Path) -> None:
    """SIGKILL in another process, hours before its end: what it left goes on as if nothing had happened."""
    folder = tmp_path / "run"
    arguments = [
        "train", "advection", "--run", str(folder), "--cells", "16", "--ratio", "2", "--maximum-steps", "12",
        "--compact.channels", "4", "--compact.layers", "1", "--compact.radius", "1",
        "--learning.updates", "1000000", "--learning.batch", "2", "--learning.horizons", "2",
        "--learning.fractions", "1", "--reference.slots", "4", "--reference.blocks", "2", "--reference.steps", "12",
        "--reference.renew-every", "0", "--validation.simulations", "2", "--validation.steps", "12",
        "--validation.every", "5", "--log-every", "5",
    ]  # fmt: skip
    errors = tmp_path / "errors.txt"
    run = RunFolder(folder)
    with errors.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "closura", *arguments], stdout=subprocess.DEVNULL, stderr=file
        )
        try:
            deadline = time.monotonic() + 300
            while not run.last.exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            process.kill()
    assert process.wait() == -signal.SIGKILL, errors.read_text()
    reached = read_progress(run.last)["update"]
    assert run.read_status()["state"] == "running"

    # Nobody waits for a million updates: both go on for a little and are stopped at the same one.
    configuration, end = run.read_configuration(), reached + 10
    with pytest.raises(Stop):
        train(configuration, folder, resume=True, report=stop_at(end))
    with pytest.raises(Stop):
        train(configuration, tmp_path / "whole", report=stop_at(end))
    rows = without_times(run.metrics)
    assert [row["update"] for row in rows] == list(range(5, end + 1, 5))
    assert rows == without_times(tmp_path / "whole" / "metrics.jsonl")


def test_a_stop_signal_writes_a_checkpoint(tmp_path: Path) -> None:
    def report(progress: Progress) -> None:
        if progress.row["update"] == 4:  # a renewal, not a validation: only the signal writes a checkpoint here
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=r"after 4 of 12 updates; continue with --resume"):
        train(TINY, tmp_path / "run", report=report)
    assert RunFolder(tmp_path / "run").read_status()["state"] == "interrupted"
    assert train(TINY, tmp_path / "run", resume=True).updates == 12


def replace_learner(monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    """Train with another class under the name of BPTTS."""
    monkeypatch.setitem(LEARNERS._entries, "bptts", LearnerKind("bptts", kind, BPTTSConfiguration))


def test_a_training_that_turns_nan_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(self: BPTTS, problem: object, state: object, updates: object, stage: int) -> tuple:
        following, metrics = BPTTS(self.configuration).advance(problem, state, updates, stage)
        if following.updates > 7:
            weights, rest = eqx.partition(following.closure, eqx.is_inexact_array)
            closure = eqx.combine(jax.tree.map(lambda w: w * np.float32(np.nan), weights), rest)
            following = replace(following, closure=closure)
        return following, metrics

    replace_learner(monkeypatch, type("Poisoned", (BPTTS,), {"advance": poisoned}))
    with pytest.raises(TrainingDiverged, match=r"weights not finite between updates 6 and 8; the last good") as caught:
        train(TINY, tmp_path / "run")
    assert "--overwrite and a lower --learning.learning-rate (it was 0.003)" in str(caught.value)
    run = RunFolder(tmp_path / "run")
    assert run.read_status()["state"] == "diverged"
    assert np.isfinite(safetensors.numpy.load_file(run.weights)["head.mix.bias"]).all()
    monkeypatch.undo()
    assert train(TINY, run.path, resume=True).updates == 12
    # What is advised is accepted.
    short = replace(TINY.learning, updates=2, horizons=(2,), fractions=(1.0,))
    slower = replace(TINY, learning=replace(short, learning_rate=1e-4))
    assert train(slower, run.path, overwrite=True).updates == 2


def test_a_training_that_loses_every_simulation_ends_as_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(self: BPTTS, problem: object, *, key: object) -> object:
        carry = BPTTS(self.configuration).begin(problem, key=key)
        return eqx.tree_at(lambda c: c.state, carry, carry.state * np.float32(np.nan))

    replace_learner(monkeypatch, type("Spoilt", (BPTTS,), {"begin": spoilt}))
    long = replace(TINY.learning, updates=40, horizons=(2,), fractions=(1.0,))
    for updates, told in ((40, "last 12 updates"), (4, "last 4 updates")):
        folder = tmp_path / str(updates)
        with pytest.raises(TrainingDiverged, match=f"every simulation was lost in the {told}.*--overwrite"):
            train(replace(TINY, learning=replace(long, updates=updates)), folder)
        assert RunFolder(folder).read_status()["state"] == "diverged"


@pytest.mark.parametrize(
    ("error", "uncorrected", "expected"),
    [
        (2.65, 0.077, "worse than no closure"),
        (0.0770001, 0.077, "worse than no closure"),
        (0.077, 0.077, ""),
        (0.077 * (1 + 1e-9), 0.077, ""),
        (0.05, 0.077, ""),
        (0.05, float("inf"), ""),
        (-0.9, -1.0, "worse than no closure"),
        (-1.1, -1.0, ""),
        (None, 0.077, "no validation was finite"),
        (float("nan"), 0.077, "no validation was finite"),
        (float("inf"), float("inf"), "no validation was finite"),
        (1.0, None, ""),
    ],
)
def test_results_are_held_against_no_closure(error: float | None, uncorrected: float | None, expected: str) -> None:
    assert verdict(error, uncorrected).startswith(expected)
    assert bool(verdict(error, uncorrected)) == bool(expected)


def test_a_run_is_never_overwritten_silently(run_copy: Path, tmp_path: Path) -> None:
    before = (run_copy / "metrics.jsonl").read_bytes()
    with pytest.raises(RunError, match=r"--resume.*--overwrite"):
        train(TINY, run_copy)
    with pytest.raises(RunError, match=r"seed: 0 -> 5"):
        train(replace(TINY, seed=5), run_copy, resume=True)
    assert (run_copy / "metrics.jsonl").read_bytes() == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match="not empty and holds no run"):
        train(TINY, tmp_path / "other", overwrite=True)
    with pytest.raises(RunError, match="there is no run"):
        train(TINY, tmp_path / "nowhere", resume=True)
    assert train(replace(TINY, seed=5), run_copy, overwrite=True).updates == 12


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
    with pytest.raises(MissingExtraError, match=r"pip install 'closura\[tracking\]'"):
        train(TINY, tmp_path / "without", trackers=("tensorboard",))
    assert not (tmp_path / "without").exists()
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
    with pytest.raises(ValueError, match="unknown settings"):
        from_plain({**to_plain(TINY), "colour": "red"})


def test_weights_say_what_does_not_fit(run_copy: Path, tmp_path: Path) -> None:
    path = run_copy / "weights.safetensors"
    header = read_header(path)
    assert header["metadata"]["configuration"] == json.loads(json.dumps(to_plain(TINY)))
    spec = load_weights(path).spec
    with pytest.raises(WeightsError, match="observation: expected"):
        load_weights(path, replace(spec, observation=("u", "v")))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WeightsError, match="damaged"):
        load_weights(path)
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_weights(tmp_path / "absent.safetensors")
