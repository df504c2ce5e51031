"""Runs that something ends or shares: killed before any write, interrupted in set-up, damaged, begun twice."""

import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from test_runs import TINY

from closura.cli import main
from closura.interruption import Interrupted
from closura.io import files
from closura.io.locks import FolderInUse, lock_of
from closura.io.weights import read_header
from closura.problems import stored
from closura.problems.registry import build_problem
from closura.problems.stored import stored_reference
from closura.runs import CheckpointError, RunError, RunFolder, train, training
from closura.runs.checkpoints import load_checkpoint, read_progress, save_checkpoint
from closura.runs.tracking import MetricsFile, read_metrics

SMALL = replace(
    TINY,
    learning=replace(TINY.learning, updates=6, horizons=(2,), fractions=(1.0,)),
    validation=replace(TINY.validation, simulations=2, steps=4, every=4),
    reference=replace(TINY.reference, renew_every=0),
    keep_every=2,  # weights stand before the first validation
    log_every=2,
)


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing ended; only to be read."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(SMALL, folder)
    return folder


def same_result(one: Path, other: Path) -> None:
    for name in ("weights", "final"):
        a, b = (safetensors.numpy.load_file(folder / f"{name}.safetensors") for folder in (one, other))
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[key], b[key]) for key in a)
    rows = [[{**row, "seconds": 0} for row in read_metrics(folder / "metrics.jsonl")] for folder in (one, other)]
    assert rows[0] == rows[1]


def killed_at(monkeypatch: pytest.MonkeyPatch, number: int, work: Callable[[], object]) -> bool:
    """Do work until its ``number``-th rename, which leaves what a kill would; whether it came so far."""
    count, real = [0], os.replace

    class Cut:
        """What SIGKILL leaves: nothing after it runs, so nothing half-written is removed."""

        @staticmethod
        def replace(a: Path, b: Path) -> None:
            count[0] += 1
            if count[0] == number:
                shutil.copy(a, f"{a}.kept")
                raise Killed
            real(a, b)

    monkeypatch.setattr(files.os, "replace", Cut.replace)
    try:
        work()
    except Killed:
        return True
    finally:
        monkeypatch.setattr(files.os, "replace", real)
        for path in list(Path(os.environ["RUN"]).rglob("*.kept")):
            path.rename(path.with_suffix(""))  # the half-written file, as a kill leaves it
    return False


def test_a_run_killed_before_any_of_its_renames_can_be_resumed_or_begun_again(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state that a kill leaves is taken by --resume, or by the same command where there is nothing to resume."""
    ways, number = set(), 0
    monkeypatch.setattr(RunFolder, "write_status", silenced(RunFolder.write_status))
    while True:
        number += 1
        run = tmp_path / str(number)
        monkeypatch.setenv("RUN", str(run))
        if not killed_at(monkeypatch, number, lambda run=run: train(SMALL, run)):
            break
        resumes = (run / "configuration.json").exists()
        ways.add(resumes)
        again = Path(shutil.copytree(run, tmp_path / f"{number}-again"))
        if not resumes:
            with pytest.raises(RunError, match="begin one with the same command without --resume"):
                train(SMALL, run, resume=True)
        train(SMALL, run, resume=resumes)
        same_result(whole, run)
        assert not [path for path in run.rglob(".*")]
        if number in (1, 2, 4):  # before the first checkpoint
            train(SMALL, again)
            same_result(whole, again)
    assert ways == {True, False}
    assert number > 12


def silenced(write: Callable[..., None]) -> Callable[..., None]:
    """A kill writes no status."""

    def status(self: RunFolder, state: str, **facts: object) -> None:
        if state != "failed":
            write(self, state, **facts)

    return status


def test_a_replaced_run_that_was_killed_half_way_leaves_no_mixture(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    monkeypatch.setenv("RUN", str(run))
    other = replace(SMALL, seed=5)
    with pytest.raises(RunError, match="already holds a run"):
        train(other, run)
    assert killed_at(monkeypatch, 1, lambda: train(other, run, overwrite=True))
    # The old settings stand, and nothing of the old results with which they could go on.
    assert not RunFolder(run).last.exists()
    assert not RunFolder(run).weights.exists()
    train(SMALL, run, resume=True)
    same_result(whole, run)


@pytest.mark.parametrize("name", ["thesis.tex", "weights.safetensors", "checkpoints/last.checkpoint"])
def test_what_is_no_unfinished_start_is_left_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    (tmp_path / "run" / ".configuration.json.0123abcd").write_text("{")
    for overwrite in (False, True):
        with pytest.raises(RunError, match="not empty and holds no run"):
            RunFolder(tmp_path / "run").check(SMALL, resume=False, overwrite=overwrite)
    # A configuration that is not one of a run is not replaced without a word.
    (tmp_path / "run" / "configuration.json").write_text("[1]")
    with pytest.raises(RunError, match="already holds a run"):
        RunFolder(tmp_path / "run").check(SMALL, resume=False, overwrite=False)
    with pytest.raises(RunError, match="is damaged"):
        RunFolder(tmp_path / "run").check(SMALL, resume=True, overwrite=False)


def test_a_training_holds_its_folder_from_the_first_look_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In set-up and in the loop: every way to begin a second one is refused, and the first notices nothing."""
    refused = []

    def another(*_: object) -> None:
        for flags in ({}, {"overwrite": True}, {"resume": True}):
            with pytest.raises(FolderInUse, match=f"in use: process {os.getpid()} on .*Wait until it ends, stop it"):
                train(SMALL, tmp_path / "run", **flags)
            refused.append(flags)

    set_up = training.TrainingTask
    monkeypatch.setattr(training, "TrainingTask", lambda *given: (another(), set_up(*given))[1])
    train(SMALL, tmp_path / "run", report=lambda progress: another() if progress.done == 2 else None)
    assert len(refused) == 6
    assert [row["update"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [2, 4, 6]
    assert not lock_of(tmp_path / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_set_up_leaves_a_run_that_can_be_begun(
    tmp_path: Path, whole: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> None:
        try:
            os.kill(os.getpid(), number)
        except Exception as error:  # as libraries do
            raise ValueError("something else") from error
        pytest.fail("the signal did not end the set-up")

    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    new, replaced, resumed = tmp_path / "new", tmp_path / "replaced", tmp_path / "resumed"
    for folder in (replaced, resumed):
        shutil.copytree(whole, folder)
    RunFolder(resumed).write_status("running")
    with monkeypatch.context() as patched:
        patched.setattr(training, "TrainingTask", asked)
        with pytest.raises(Interrupted, match="before the first update; continue with --resume"):
            train(SMALL, new)
        with pytest.raises(Interrupted, match="as it was"):
            train(SMALL, replaced, overwrite=True)
        with pytest.raises(Interrupted, match="continue with --resume"):
            train(SMALL, resumed, resume=True)
    assert {path: (replaced / path.relative_to(whole)).read_bytes() for path in before} == before
    assert RunFolder(new).read_status()["state"] == RunFolder(resumed).read_status()["state"] == "interrupted"
    shutil.copytree(new, tmp_path / "same")
    train(SMALL, new, resume=True)
    train(SMALL, tmp_path / "same")
    for folder in (new, tmp_path / "same"):
        same_result(whole, folder)


def test_a_command_does_not_wait_for_compiled_code_that_no_signal_reaches(tmp_path: Path) -> None:
    """As shells start what runs in the background: with SIGINT ignored, and the main thread deaf to signals."""
    code = """
        import signal, sys, time
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        from closura import interruption
        interruption.GRACE = 0.1
        said = lambda message: print(message, file=sys.stderr, flush=True)
        def deaf():
            while True:
                try: print("begun", flush=True); time.sleep(60)
                except KeyboardInterrupt: pass
        with interruption.leaving_promptly(said):
            with interruption.stopped_at_once("stopped early", lambda: open(sys.argv[1], "w").write("noted")): deaf()
    """
    arguments = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "note")]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error == "stopped early\n"
    assert (tmp_path / "note").read_text() == "noted"
    assert time.monotonic() - begun < 30


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[Path, dict[str, object]]:
    path = tmp_path / "run" / "checkpoints" / "last.checkpoint"
    state = {"a": jnp.arange(3.0, dtype=jnp.float32)}
    facts = {"update": 90, "best": 0.07, "seconds": 1.5, "uncorrected": math.inf, "data": "images Δ 0 to 9"}
    save_checkpoint(path, state, facts)
    return path, state


def test_any_flipped_bit_of_a_checkpoint_is_refused(checkpoint: tuple[Path, dict[str, object]]) -> None:
    path, state = checkpoint
    content = path.read_bytes()
    assert read_progress(path, total=90)["uncorrected"] is None
    for position in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(CheckpointError, match=r"damaged|update closura") as error:
                load_checkpoint(path, state)
            assert "\n" not in str(error.value)
    (path.parent.parent / "weights.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"still in .*weights.safetensors, .*--overwrite, .*--run"):
        read_progress(path)


def first_version(path: Path) -> tuple[dict[str, object], Callable[..., None]]:
    """Rewrite a checkpoint as earlier versions did; gives its facts, and a function that changes them."""
    line, content = path.read_bytes().split(b"\n", 1)
    facts = json.loads(line)["progress"]

    def write(**changed: object) -> None:
        progress = {name: value for name, value in {**facts, **changed}.items() if value != "absent"}
        head = {"length": len(content), "sha256": hashlib.sha256(content).hexdigest(), "progress": progress}
        path.write_bytes(json.dumps(head).encode() + b"\n" + content)

    write()
    return facts, write


def test_checkpoints_of_the_first_version_go_on_and_their_facts_are_checked(tmp_path: Path, whole: Path) -> None:
    class Stop(Exception):
        pass

    def stop(progress: training.Progress) -> None:
        if progress.done == 6:
            raise Stop

    run = tmp_path / "run"
    with pytest.raises(Stop):
        train(SMALL, run, report=stop)
    path = RunFolder(run).last
    facts, write = first_version(path)
    assert facts["update"] == 4
    wrong = [
        {"update": value} for value in (-1, 2, 7, 10**30, "4", 4.0, None, True, "absent")
    ] + [
        {"best": value} for value in ("x", math.nan, math.inf, 10**400, [], True)
    ] + [{"data": 5}, {"seconds": "absent"}, {"seconds": math.nan}, {"rows": [{"loss": "x"}]}]  # fmt: skip
    for changed in wrong:
        write(**changed)
        with pytest.raises(CheckpointError, match=r"is damaged: .*still in .*weights.safetensors"):
            train(SMALL, run, resume=True)
    write(uncorrected=math.inf)
    train(SMALL, run, resume=True)
    same_result(whole, run)


def test_a_damaged_row_of_metrics_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    good = [{"update": n, "validation_error": math.inf if n == 2 else 0.5} for n in range(1, 6)]
    lines = [json.dumps(row).encode() for row in good]  # with Infinity, as earlier versions wrote
    damaged = [b"{", b"[1]", b"5", b"\xff\xfe", b'{"update": "x"}', b'{"loss": 1}', b'{"update": 3, "loss": "x"}']
    damaged.append(b"[" * 9999)
    path.write_bytes(b"\n".join([lines[0], *damaged, *lines[1:4], b"", lines[4][:-3]]))
    assert read_metrics(path) == good[:4]
    MetricsFile(path, keep_until=3).close()
    assert read_metrics(path) == good[:3]
    assert "Infinity" not in path.read_text()
    assert json.loads(path.read_text().splitlines()[1]) == {"update": 2, "validation_error": None}


def test_no_file_of_a_run_that_is_lost_holds_what_json_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "validation_error", lambda *_: jnp.asarray(jnp.inf))
    result = train(SMALL, tmp_path / "run")
    assert result.uncorrected_error == result.validation_error == math.inf

    def refuse(name: str) -> None:
        raise AssertionError(name)

    run = RunFolder(tmp_path / "run")
    texts = [path.read_bytes() for path in run.path.glob("*.json")]
    texts += [run.last.read_bytes().split(b"\n")[0], *run.metrics.read_bytes().splitlines()]
    with safetensors.safe_open(run.kept(2), "numpy") as file:
        texts += [file.metadata()["metadata"]]
    assert len(texts) == 3 + 1 + 3 + 1
    for text in texts:
        json.loads(text, parse_constant=refuse)
    assert read_header(run.kept(2))["metadata"]["validation_error"] is None


def test_kept_reference_of_any_problem_is_read_back_and_what_is_damaged_is_simulated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parameters of advection are one array, not a dictionary of them."""
    problem, key = build_problem(SMALL.problem, "train"), jax.random.key(3)
    made = []
    simulate = stored.simulate_reference
    monkeypatch.setattr(stored, "simulate_reference", lambda *a, **k: (made.append(1), simulate(*a, **k))[1])

    def get() -> list[np.ndarray]:
        store = stored_reference(problem, 2, 4, key=key, identity="tiny", cache=tmp_path)
        return [np.asarray(leaf) for leaf in jax.tree.leaves(store)]

    first = get()
    assert len(made) == 1
    assert all(np.array_equal(a, b) for a, b in zip(first, get(), strict=True))
    assert len(made) == 1
    (path,) = (tmp_path / "references").iterdir()
    with np.load(path) as file:
        arrays = dict(file)
    without = {name: array for name, array in arrays.items() if name != "sha256"}
    other = arrays["reference"].copy()
    other.flat[7] += 1
    spoiled = {
        "zeros": {**arrays, "reference": np.zeros_like(arrays["reference"])},
        "not a number": {**arrays, "reference": np.full_like(arrays["reference"], np.nan)},
        "one number": {**arrays, "reference": other},
        "another beginning": {**arrays, "state": arrays["state"][::-1]},
        "fewer": {**arrays, "reference": arrays["reference"][:, :-1]},
        "other type": {**arrays, "reference": arrays["reference"].astype(np.float16)},
        "zeros of an earlier version": {**without, "reference": np.zeros_like(arrays["reference"])},
    }  # fmt: skip
    for number, (name, content) in enumerate(spoiled.items(), 2):
        np.savez(path, **content)
        assert all(np.array_equal(a, b) for a, b in zip(first, get(), strict=True)), name
        assert len(made) == number, name
    np.savez(path, **without)  # as earlier versions wrote them: taken
    assert all(np.array_equal(a, b) for a, b in zip(first, get(), strict=True))
    assert len(made) == len(spoiled) + 1


def test_a_training_on_kept_reference_is_the_same(tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSURA_CACHE", str(tmp_path / "cache"))
    keeps = replace(SMALL, reference=replace(SMALL.reference, keep=True))
    for name in ("first", "second"):
        train(keeps, tmp_path / name)
        same_result(whole, tmp_path / name)
    assert len(list((tmp_path / "cache" / "references").iterdir())) == keeps.reference.blocks


def test_the_command_says_in_one_line_that_a_folder_is_in_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunFolder(tmp_path / "run").locked(), pytest.raises(SystemExit) as left:
        main(["train", "advection", "--preset", "quick", "--run", str(tmp_path / "run"), "--overwrite"])
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: the run ")
    assert error.count("\n") == 1
