"""Programs that do what they should not: each costs its own simulation, is told, and leaves nothing behind."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from closura.host.holders import Holders
from closura.host.pool import Pool, Program
from closura.host.process import PRINTED, Worker, WorkerFailed
from closura.host.protocol import Layout

LAYOUT = Layout((1, 8))
# Without NumPy, so that it starts fast; "k" is an answer, "s" a request to step.
WRONG = """
    import ctypes, mmap, os, signal, struct, sys, time
    wrong = sys.argv[1]
    file = open(os.environ["CLOSURA_MEMORY"], "r+b")
    memory = mmap.mmap(file.fileno(), 0)
    requests, replies = int(os.environ["CLOSURA_REQUESTS"]), int(os.environ["CLOSURA_REPLIES"])
    state = struct.unpack("16q", memory[:128])[9]
    os.write(replies, b"k")
    if wrong == "early":
        time.sleep(0.1)
        os.write(replies, b"k")
    if wrong == "deaf":
        os.close(requests)
        time.sleep(60)
    while request := os.read(requests, 1):
        if request == b"r" and wrong == "exits":
            print("no such case")
            sys.exit(4)
        if request == b"s":
            if wrong == "prints":
                print(3_000_000 * "x")
            if wrong == "children":
                child = os.fork()
                if child == 0:
                    time.sleep(60)
                memory[state:state + 8] = struct.pack("d", child)
                os._exit(3)
            if wrong == "closes":
                os.close(replies)
                time.sleep(60)
            if wrong == "beyond":
                memory[state:state + 8] = struct.pack("d", 1)
                at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
                ctypes.memset(at + len(memory), 1, 1 << 26)
            if wrong == "shortens":
                os.ftruncate(file.fileno(), 0)
            if wrong == "header":
                memory[:128] = 128 * b"\\xff"
            if wrong == "hangs":
                print(os.getpid(), file=open(sys.argv[2], "w"), flush=True)
                time.sleep(600)
            if wrong == "stops":
                os.kill(os.getpid(), signal.SIGSTOP)
            if wrong in ("kk", "?"):
                os.write(replies, wrong.encode())
                continue
            memory[state:state + 8] = struct.pack("d", 7)
        os.write(replies, b"k")
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wrong") / "wrong.py"
    path.write_text(textwrap.dedent(WRONG))
    return path


def worker(program: Path, wrong: str, limit: float = 10.0) -> Worker:
    return Worker((sys.executable, "-S", str(program), wrong), LAYOUT, limit=limit)


def stepped(found: Worker) -> float:
    found.reset(np.zeros(LAYOUT.state), np.zeros(0))
    return float(found.step(0.1)[0, 0])


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        ("early", "crashed", "answered b'k' before it was asked for a reset"),
        ("deaf", "crashed", "closed its pipe in its reset"),
        ("exits", "crashed", r"ended in its reset \(exit status 4\): no such case"),
        ("children", "crashed", r"ended in its step \(exit status 3\)"),
        ("closes", "crashed", "closed its pipe in its step"),
        ("beyond", "crashed", r"ended in its step \(SIG(SEGV|BUS)\)"),
        ("shortens", "crashed", "PermissionError"),
        ("kk", "crashed", "must answer a step with b'k' or b'f'; got b'kk'"),
        ("?", "crashed", r"must answer a step with b'k' or b'f'; got b'\?'"),
        ("stops", "timed out", r"no answer to step within 1(\.\d+)? s"),
    ],
)
def test_what_a_program_does_wrong_is_told(program: Path, wrong: str, kind: str, said: str) -> None:
    begun, found = time.monotonic(), worker(program, wrong, 1.0 if wrong == "stops" else 30.0)
    if wrong == "early":
        time.sleep(0.5)
    with pytest.raises(WorkerFailed, match=said) as failed:
        stepped(found)
    assert failed.value.kind == kind
    assert time.monotonic() - begun < 20  # not the limit of a step: an end is noticed
    child = int(found.memory.state[0, 0]) if wrong == "children" else found.process_id
    found.close()
    time.sleep(0.05)  # an orphan has yet to be reaped
    assert not os.path.exists(f"/proc/{child}") or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]


@pytest.mark.parametrize("harmless", ["prints", "header"])
def test_what_does_no_harm(program: Path, harmless: str) -> None:
    found = worker(program, harmless)
    assert [stepped(found), stepped(found)] == [7, 7]
    assert os.fstat(found._output.fileno()).st_size <= PRINTED
    found.close()


def children_of_this_process() -> set[str]:
    """Process numbers of children, of ended ones that nobody has waited for too."""
    lists = Path("/proc/self/task").glob("*/children")
    return {number for children in lists for number in children.read_text().split()}


def test_restarts_leave_no_file_and_no_process() -> None:
    gc.collect()  # what earlier tests have left
    files, shared, children = set(os.listdir("/proc/self/fd")), set(os.listdir("/dev/shm")), children_of_this_process()
    pool = Pool(Program(("true",)), LAYOUT, 2)
    for _ in range(10):
        assert np.isnan(pool.step(np.zeros((5, *LAYOUT.state)), np.zeros((5, 0)), np.ones(5))).all()
    pool.close()
    assert pool.counts.failures == {"crashed": 100}
    assert (pool.counts.repeated, pool.counts.lost, pool.counts.steps) == (50, 50, 50)
    gc.collect()
    assert set(os.listdir("/proc/self/fd")) <= files
    assert set(os.listdir("/dev/shm")) <= shared
    assert children_of_this_process() <= children


def test_a_copy_of_the_process_leaves_workers_alone(program: Path) -> None:
    """A fork copies pools; their processes belong to the first, and go on when the copy ends."""
    script = f"""
        import os, sys
        import numpy as np
        from closura.host.pool import POOLS, Program, pool_of
        from closura.host.protocol import Layout
        pool = pool_of(Program(({sys.executable!r}, "-S", {str(program)!r}, "")), Layout((1, 8)))
        step = lambda pool: pool.step(np.zeros((3, 1, 8)), np.zeros((3, 0)), np.ones(3))[:, 0, 0].tolist()
        assert step(pool) == [7, 7, 7]
        child = os.fork()
        if child == 0:
            assert not POOLS
            pool.close()
            sys.exit(5)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
        assert step(pool) == [7, 7, 7] and not pool.counts.failures
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("within", ["pool.step(zero, zero[:, 0, :0], zero[:, 0, 0])", "hash_for_a_minute()"])
def test_interrupted_commands_leave_no_process(program: Path, tmp_path: Path, within: str) -> None:
    """In Python, and in compiled code, which a signal does not reach."""
    script = f"""
        import hashlib, threading
        import numpy as np
        from closura.host.pool import Program, pool_of
        from closura.host.protocol import Layout
        from closura.interruption import Interrupted, leaving_promptly, stopped_at_once
        hash_for_a_minute = lambda: hashlib.pbkdf2_hmac("sha512", b"", b"", 100_000_000)
        pool = pool_of(Program(({sys.executable!r}, "-S", {str(program)!r}, "hangs", "hanging")), Layout((1, 8)))
        zero = np.zeros((1, 1, 8))
        try:
            with leaving_promptly(lambda said: None), stopped_at_once("stopped"):
                threading.Thread(target=pool.step, args=(zero, zero[:, 0, :0], zero[:, 0, 0])).start()
                {within}
        except Interrupted:
            raise SystemExit(130)
    """
    command = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path)
    file = tmp_path / "hanging"
    while not (file.exists() and file.read_text()) and command.poll() is None:
        time.sleep(0.05)
    command.send_signal(signal.SIGINT)
    assert command.wait(20) == 130
    time.sleep(0.05)
    number = file.read_text().strip()
    assert not os.path.exists(f"/proc/{number}") or "Z" in Path(f"/proc/{number}/stat").read_text().split()[2]


# Solvers with a memory ------------------------------------------------------------------------------------------------


class Held:
    """A worker that nobody asks."""

    def reset(self, state: np.ndarray, parameters: np.ndarray) -> None: ...
    def step(self, dt: float, action: np.ndarray | None) -> np.ndarray:
        return np.zeros(1)

    def kill(self) -> None: ...
    def close(self) -> None: ...


def play(holders: Holders, states: list[float], following: list[float]) -> tuple[list[bool], list[Held | None]]:
    """A batch: who goes on, and in which worker; new ones are made where there are none."""
    homes = holders.homes(np.asarray(states, float)[:, None])
    begun = [home.worker for home in homes]
    for home, state in zip(homes, states, strict=True):
        home.worker = home.worker or (Held() if np.isfinite(state) else None)
    holders.remember(np.asarray(following, float)[:, None], homes)
    return [home.continues for home in homes], begun  # type: ignore[return-value]


def test_validation_takes_no_process_of_a_training() -> None:
    holders = Holders(8)
    assert play(holders, [1, 2, 3], [11, 12, 13]) == ([False] * 3, [None] * 3)
    assert play(holders, [50, 51], [60, 61]) == ([False] * 2, [None] * 2)  # another batch begins
    continues, workers = play(holders, [12, 13, 4], [22, 23, 14])  # one episode of the first has ended
    assert continues == [True, True, False]
    assert len(set(map(id, workers))) == 3  # what begins takes over its process
    assert None not in workers
    assert play(holders, [60, 61], [70, 71])[0] == [True, True]
    assert play(holders, [14, 22, 23], [24, 32, 33])[0] == [True, True, True]
    assert holders.forgotten == 0


def test_simulations_that_give_up_their_process_are_counted() -> None:
    holders = Holders(3)
    play(holders, [1, 2], [11, 12])
    assert play(holders, [3, 4], [13, 14])[1][0] is None  # a third process, and that of the one that waits for longest
    assert play(holders, [11, 12], [21, 22])[0] == [False, True]
    assert holders.forgotten == 1
    with pytest.raises(ValueError, match=r"one process for each simulation, 3 at most.*got a batch of 4"):
        holders.homes(np.zeros((4, 1)))


def test_lost_simulations_free_their_process() -> None:
    holders = Holders(2)
    play(holders, [1, 2], [11, np.nan])
    continues, workers = play(holders, [11, np.nan], [21, np.nan])
    assert (continues, workers[1]) == ([True, False], None)
    continues, workers = play(holders, [21, 5], [31, 15])
    assert continues == [True, False]
    assert workers[1] is not None
    assert holders.forgotten == 0
