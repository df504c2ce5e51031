"""Files, locks, seeds and streams: what every command stands on."""

import io
import json
import os
import socket
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import jax
import numpy as np
import pytest

from closura.io.files import check_file, check_folder, replaced_folder, write_atomically
from closura.io.locks import FolderInUse, lock_of, locked
from closura.io.streams import LastingStream, lasting_streams
from closura.seeds import check_seed, key_of


def run(code: str, *arguments: str, **keywords) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        **keywords,
    )


class TestWriting:
    def test_links_stay_links(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder/real.json").write_text("old")
        (tmp_path / "one").symlink_to("folder/real.json")
        (tmp_path / "two").symlink_to("one")
        (tmp_path / "linked").symlink_to("folder", target_is_directory=True)
        write_atomically(tmp_path / "two", "new")
        assert (tmp_path / "one").is_symlink()
        assert (tmp_path / "two").is_symlink()
        assert (tmp_path / "folder/real.json").read_text() == "new"
        write_atomically(tmp_path / "linked/other.json", b"beside")
        assert (tmp_path / "folder/other.json").read_text() == "beside"
        assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["other.json", "real.json"]

    def test_a_link_to_nothing_makes_the_file_that_it_names(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("later.json")
        write_atomically(tmp_path / "link", "new")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "later.json").read_text() == "new"

    def test_permissions_stay(self, tmp_path: Path) -> None:
        path = tmp_path / "private.json"
        path.write_text("old")
        path.chmod(0o600)
        write_atomically(path, "new")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    @pytest.mark.parametrize("kind", ["folder", "device", "socket", "circle", "below a file", "link to a device"])
    def test_what_is_no_file_is_refused_and_left_alone(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "target"
        server = None
        if kind == "folder":
            path.mkdir()
        elif kind == "device":
            path = Path("/dev/null")
        elif kind == "link to a device":
            path.symlink_to("/dev/null")
        elif kind == "socket":
            server = socket.socket(socket.AF_UNIX)
            os.chdir(tmp_path)  # names of sockets are short
            server.bind("target")
        elif kind == "circle":
            path.symlink_to("target")
        else:
            path.write_text("a file")
            path = path / "below.json"
        before = os.lstat(path).st_mode if kind != "below a file" else None
        for refuse in (check_file, lambda path: write_atomically(path, "new")):
            with pytest.raises(OSError, match=r"folder|device|link"):
                refuse(path)
        assert before is None or os.lstat(path).st_mode == before
        if server:
            server.close()

    def test_a_pipe_is_written_to_and_stays(self, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        check_file(pipe)
        with pytest.raises(OSError, match="nobody reads"):
            write_atomically(pipe, "new")
        got: list[str] = []
        reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
        reader.start()
        content = "new" * 100_000  # more than a pipe holds
        while True:
            try:
                write_atomically(pipe, content)
                break
            except OSError:  # the reader is not there yet
                continue
        reader.join()
        assert got == [content]
        assert stat.S_ISFIFO(pipe.stat().st_mode)

    def test_outputs_are_checked_before_work(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        check_file(tmp_path / "new/deep/numbers.json")
        check_folder(tmp_path / "new/deep")
        check_file(None)
        check_folder(None)
        assert not (tmp_path / "new").exists()
        for refuse in (check_folder, lambda path: check_file(path / "numbers.json")):
            with pytest.raises(NotADirectoryError, match="no folder"):
                refuse(tmp_path / "file")
        with pytest.raises(OSError, match="cannot be written"):
            check_file("/proc/closura/numbers.json")  # where even root makes no files

    def test_a_replaced_folder_keeps_a_link_to_it(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        with replaced_folder(tmp_path / "link") as folder:
            folder.mkdir()
            (folder / "new").touch()
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real/new").exists()


class TestLocks:
    def test_a_second_writer_is_refused_and_told_who_writes(self, tmp_path: Path) -> None:
        folder = tmp_path / "run"
        with locked(folder), pytest.raises(FolderInUse, match=rf"in use: process {os.getpid()} on .*started 0 sec"):
            locked(folder).__enter__()
        with locked(folder):  # let go
            pass
        assert not list(tmp_path.iterdir())

    def test_links_lead_to_one_lock(self, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "link").symlink_to("run")
        with locked(tmp_path / "run"), pytest.raises(FolderInUse):
            locked(tmp_path / "link").__enter__()

    def test_folders_that_only_the_lock_needed_go_with_it(self, tmp_path: Path) -> None:
        with locked(tmp_path / "new/deep/run"):
            assert (tmp_path / "new/deep").is_dir()
        assert not list(tmp_path.iterdir())
        with locked(tmp_path / "new/run"):
            (tmp_path / "new/run").mkdir()
        assert (tmp_path / "new/run").is_dir()
        with locked(tmp_path / "empty/run"):
            pass
        (tmp_path / "kept").mkdir()
        with locked(tmp_path / "kept/run"):
            pass
        assert (tmp_path / "kept").is_dir()

    def test_a_lock_that_was_broken_is_not_taken_from_its_next_holder(self, tmp_path: Path) -> None:
        path = lock_of(tmp_path / "run")
        with locked(tmp_path / "run"):
            path.unlink()
            path.write_text("another's")
        assert path.read_text() == "another's"

    def test_other_processes_are_refused(self, tmp_path: Path) -> None:
        code = "import sys; from closura.io.locks import locked\nwith locked(sys.argv[1], 'data set'): print('got it')"
        with locked(tmp_path / "run"):
            refused = run(code, str(tmp_path / "run"))
        assert "FolderInUse: the data set" in refused.stderr
        assert refused.returncode == 1
        assert run(code, str(tmp_path / "run")).stdout == "got it\n"

    def test_a_lock_of_a_killed_process_is_taken_over(self, tmp_path: Path) -> None:
        code = """
        import os, signal, sys
        from closura.io.locks import locked
        held = locked(sys.argv[1]); held.__enter__()
        os.kill(os.getpid(), signal.SIGKILL)
        """
        assert run(code, str(tmp_path / "run")).returncode == -9
        assert lock_of(tmp_path / "run").exists()
        with locked(tmp_path / "run"):
            assert json.loads(lock_of(tmp_path / "run").read_text())["process"] == os.getpid()

    def test_a_lock_of_another_host_is_named_with_the_way_to_break_it(self, tmp_path: Path) -> None:
        path = lock_of(tmp_path / "my run")
        path.write_text(json.dumps({"host": "node17.elsewhere", "process": 4711, "since": 0.0}))
        with pytest.raises(FolderInUse, match=r"process 4711 on node17.elsewhere.* break its lock: rm '.*my run.lock'"):
            locked(tmp_path / "my run").__enter__()
        path.unlink()
        with locked(tmp_path / "my run"):
            pass

    def test_where_the_system_has_no_locks_the_file_decides(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr("closura.io.locks.fcntl", None)
        path = lock_of(tmp_path / "run")
        host = socket.gethostname()
        path.write_text(json.dumps({"host": host, "process": os.getppid(), "since": 0.0}))
        with pytest.raises(FolderInUse, match="break its lock"):
            locked(tmp_path / "run").__enter__()
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        path.write_text(json.dumps({"host": host, "process": gone.pid, "since": 0.0}))
        with locked(tmp_path / "run"):
            pass

    @pytest.mark.parametrize("content", ["", "{", "[1]", "\0" * 100])
    def test_a_lock_that_a_kill_cut_short_holds_nothing(self, tmp_path: Path, content: str) -> None:
        lock_of(tmp_path / "run").write_text(content)
        with locked(tmp_path / "run"):
            pass


class TestSeeds:
    SEEDS = (0, 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**40, 2**62, 2**63 - 1)

    def test_each_is_its_own(self) -> None:
        keys = {tuple(np.asarray(jax.random.key_data(key_of(seed))).tolist()) for seed in self.SEEDS}
        assert len(keys) == len(self.SEEDS)

    def test_small_ones_are_those_of_jax_with_and_without_64_bits(self) -> None:
        for seed in self.SEEDS:
            for wide in (True, False):
                with jax.enable_x64(wide):
                    own = key_of(seed)
                    if seed < 2**32:
                        assert (jax.random.key_data(own) == jax.random.key_data(jax.random.key(seed))).all()
                    assert own.dtype == jax.random.key(0).dtype

    @pytest.mark.parametrize("seed", [-1, 2**63, 2**70, 1.0, "1", None, True, float("nan")])
    def test_others_are_refused(self, seed: object) -> None:
        with pytest.raises(ValueError, match="seed must be a whole number from 0 to"):
            check_seed(seed)


class TestStreams:
    TEXT = "64² ± 0.5 – “Δ” ≥ é 中"

    @pytest.mark.parametrize(
        ("encoding", "shown"),
        [("ascii", "64 2".replace(" ", "") + ' +/- 0.5 - "?" >= e ?'), ("utf-8", TEXT)],
    )
    def test_what_an_encoding_lacks_is_written_plainly(self, encoding: str, shown: str) -> None:
        raw = io.BytesIO()
        stream = LastingStream(io.TextIOWrapper(raw, encoding=encoding))
        assert stream.write(self.TEXT) == len(self.TEXT)
        stream.flush()
        assert raw.getvalue().decode(encoding) == shown

    @pytest.mark.parametrize("name", ["stdout", "stderr"])
    @pytest.mark.parametrize("full", [False, True])
    def test_no_work_is_lost_to_a_closed_pipe_or_a_full_disk(self, tmp_path: Path, name: str, full: bool) -> None:
        code = """
        import sys
        from closura.io.streams import lasting_streams
        with lasting_streams():
            for _ in range(10_000): print("line", file=sys.stderr if sys.argv[1] == "stderr" else sys.stdout)
            open(sys.argv[2], "w").write("done")
        """
        if full:
            to = os.open("/dev/full", os.O_WRONLY)
        else:
            reader, to = os.pipe()
            os.close(reader)
        ends = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, name: to}
        arguments = [sys.executable, "-c", textwrap.dedent(code), name, str(tmp_path / "done")]
        ended = subprocess.run(arguments, timeout=60, **ends)
        os.close(to)
        assert (tmp_path / "done").exists()
        # Whoever left the pipe wants no more; a table that a full disk cut short is an error, said where it can be.
        said = full and name == "stdout"
        assert ended.returncode == (1 if said else 0), ended
        assert (ended.stderr or b"").startswith(b"error: not all could be printed: " if said else b"")
        assert said or not (ended.stderr or ended.stdout)

    def test_the_streams_come_back(self) -> None:
        before = sys.stdout, sys.stderr
        with lasting_streams():
            assert sys.stdout is not before[0]
        assert (sys.stdout, sys.stderr) == before


def test_a_file_that_is_printed_to_is_not_replaced(tmp_path: Path) -> None:
    """``--json x > x``: what is printed after the results would go to a file that has no name any more."""
    code = "import sys; from closura.io.files import check_file; check_file(sys.argv[1])"
    out = tmp_path / "x"
    for name in (str(out), "/dev/stdout"):
        with open(out, "w") as file:
            done = subprocess.run([sys.executable, "-c", code, name], stdout=file, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1
        assert "is the file that all is printed to" in done.stderr


def test_nothing_is_left_where_threads_still_write_after_an_error(tmp_path: Path) -> None:
    """As zarr's do on a full disk: each makes the folder of its chunk anew."""

    def late(folder: Path) -> None:
        (folder / "chunk").mkdir(parents=True)

    with pytest.raises(OSError, match="full"), replaced_folder(tmp_path / "s.zarr") as folder:  # noqa: PT012
        folder.mkdir()
        threading.Timer(0.05, late, [folder]).start()
        raise OSError("full")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder in which no files can be made, even by root")
def test_a_lock_that_cannot_be_made_is_told() -> None:
    """It was waited for without an end."""
    with pytest.raises(FileNotFoundError), locked("/proc/run"):
        pass
