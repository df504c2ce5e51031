"""A run: one folder that holds everything needed to repeat, resume, evaluate and ship a training."""

import json
import platform
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from closura.interruption import Interrupted, stopped_at_once
from closura.io.files import write_atomically
from closura.io.locks import lock_of, locked
from closura.plain import to_toml
from closura.runs.checkpoints import write_json
from closura.runs.configuration import differences, from_plain, to_plain, to_tables

FITS = ("kolmogorov-closure", "kolmogorov-rom")
"""Kinds of runs that are fitted to data, not trained in the loop; see ``closura.runs.fitting``."""


class RunError(RuntimeError):
    """A run folder that cannot be used as asked."""


class RunFolder:
    """Paths and rules of a run folder.

    ``decode`` makes settings of what ``configuration.json`` holds (default: those of a training in the loop).

    ``configuration.json`` (resolved settings), ``configuration.toml`` (the same, for people and ``--config``, with
    versions), ``environment.json``, ``status.json``, ``metrics.jsonl``,
    ``weights.safetensors`` (the best by validation), ``final.safetensors`` (the last),
    ``checkpoints/last.checkpoint`` (to resume) and ``checkpoints/update-*.safetensors`` (kept along the way); fits add
    ``climatology.safetensors``.
    """

    def __init__(self, path: str | Path, *, decode: Callable[[dict[str, Any]], Any] = from_plain) -> None:
        self.path = Path(path)
        self._decode = decode
        self.configuration = self.path / "configuration.json"
        self.tables = self.path / "configuration.toml"
        self.environment = self.path / "environment.json"
        self.status = self.path / "status.json"
        self.metrics = self.path / "metrics.jsonl"
        self.weights = self.path / "weights.safetensors"
        self.final = self.path / "final.safetensors"
        self.checkpoints = self.path / "checkpoints"
        self.last = self.checkpoints / "last.checkpoint"
        self.climatology = self.path / "climatology.safetensors"

    def kept(self, update: int) -> Path:
        """Where the weights of an update are kept for good."""
        return self.checkpoints / f"update-{update:07d}.safetensors"

    @property
    def holds_run(self) -> bool:
        """Whether there is a run in the folder."""
        return self.configuration.exists()

    def holds_work(self) -> bool:
        """Whether a new run would replace more than the settings of one that a kill ended before its first update."""
        if not self.holds_run:
            return False
        if self.metrics.exists() and self.metrics.stat().st_size:
            return True
        try:
            self.read_configuration()
        except RunError:  # something else, or damaged
            return True
        return bool(self._others(self.configuration, self.tables, self.environment, self.status, self.metrics))

    def _others(self, *known: Path) -> list[Path]:
        """What there is besides known files, an empty folder of checkpoints, and what a kill left half-written."""
        inside = list(self.path.iterdir()) if self.path.exists() else []
        if self.checkpoints in inside and self.checkpoints.is_dir():
            inside.remove(self.checkpoints)
            inside += self.checkpoints.iterdir()
        return [path for path in inside if path not in known and not _HALF_WRITTEN.fullmatch(path.name)]

    def locked(self) -> AbstractContextManager[None]:
        """Hold the folder's lock: for all who write to it, before they look at what it holds."""
        return locked(self.path, "run")

    @contextmanager
    def setting_up(self, configuration: Any, *, resume: bool) -> Iterator[None]:
        """For what comes before :meth:`create`, with the folder locked and checked: a signal ends it at once.

        A new run then stands in the folder as interrupted, for ``--resume`` or the same command; one that was to be
        replaced is left as it was.
        """
        replaces = not resume and self.holds_work()
        message = "stopped before the first update; " + (
            f"the run in {self.path} is as it was" if replaces else "continue with --resume"
        )

        def note() -> None:
            if replaces:
                return
            if not resume:
                self.create(configuration)
            if self.read_status().get("state", "running") == "running":
                self.write_status("interrupted", message=message)

        try:
            with self.stopped_at_once(message, note):
                yield
        except (Interrupted, KeyboardInterrupt):
            note()
            raise

    def stopped_at_once(self, message: str, note: Callable[[], None]) -> AbstractContextManager[None]:
        """As :func:`closura.interruption.stopped_at_once`; ``note`` says it in the folder, whose lock is let go."""

        def last() -> None:
            try:
                note()
            finally:
                lock_of(self.path).unlink(missing_ok=True)

        return stopped_at_once(message, last)

    def read_configuration(self) -> Any:
        """The settings of the run in the folder."""
        try:
            plain = json.loads(self.configuration.read_bytes())
            name = plain.get("name", "") if isinstance(plain, dict) else ""
            if name in FITS and self._decode is from_plain:
                raise RunError(f"{self.path} is a run of {name}; evaluate it with: closura evaluate {name} --help")
            return self._decode(plain)
        except FileNotFoundError as error:
            raise RunError(f"there is no run in {self.path}: {self.configuration.name} is missing") from error
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise RunError(f"{self.configuration} is damaged: {error}") from error

    def read_environment(self) -> dict[str, Any]:
        """What the run was made with, or an empty dictionary."""
        return _read_facts(self.environment)

    def check(self, configuration: Any, *, resume: bool, overwrite: bool) -> None:
        """Refuse what would lose something, before anything is changed.

        Raises
        ------
        RunError
            If the folder holds a run and neither flag is set, holds something else, or is to be resumed with
            other settings.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path} is no folder: choose another with --run")
        if resume:
            if not self.holds_run:
                raise RunError(
                    f"there is no run in {self.path}: {self.configuration.name} is missing; begin one with the same "
                    "command without --resume"
                )
            stored = to_plain(self.read_configuration())
            changed = differences(stored, json.loads(json.dumps(to_plain(configuration))))
            if changed:
                raise RunError(
                    f"{self.path} was started with other settings; resume without these options, or start a new run: "
                    f"{'; '.join(changed)}"
                )
            return
        if not overwrite and self.holds_work():
            raise RunError(
                f"{self.path} already holds a run: continue it with --resume, replace it with --overwrite, or "
                "choose another folder with --run"
            )
        if not self.holds_run and self._others():
            raise RunError(f"{self.path} is not empty and holds no run: choose another folder with --run")

    def check_without_checkpoint(self) -> None:
        """Refuse to start a run over that has weights, but no checkpoint to go on from."""
        if self.weights.exists():
            raise RunError(
                f"{self.last} is missing, but there are weights: going on would start over and replace them. Start "
                "over with --overwrite, or choose another folder with --run"
            )

    def create(self, configuration: Any) -> None:
        """Start a new run in the folder; what an earlier run left in its files is removed."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        # The checkpoint first: after a kill half-way nothing is left that an earlier run would go on from.
        results = (
            self.last,
            self.weights,
            self.final,
            self.climatology,
            *self.checkpoints.glob("update-*.safetensors"),
        )
        for path in (*results, self.metrics, self.status, self.environment):
            path.unlink(missing_ok=True)
        self.remove_half_written()
        self.write_configuration(configuration)

    def write_configuration(self, configuration: Any) -> None:
        """Write the settings, for :meth:`read_configuration` and as TOML that ``--config`` takes."""
        write_json(self.configuration, to_plain(configuration))
        made_with = {"python": platform.python_version()} | {
            name: version(name) for name in ("closura", "jax", "equinox")
        }
        write_atomically(self.tables, to_toml({**to_tables(configuration), "made_with": made_with}))

    def remove_half_written(self) -> None:
        """Remove what a killed process left half-written; only while the folder is locked."""
        for path in (*self.path.iterdir(), *self.checkpoints.glob(".*")):
            if _HALF_WRITTEN.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def write_status(self, state: str, **facts: Any) -> None:
        """Say how the run stands: "running", "finished", "interrupted" or "diverged"."""
        write_json(self.status, {"state": state, **facts})

    def read_status(self) -> dict[str, Any]:
        """What :meth:`write_status` wrote last, or an empty dictionary."""
        return _read_facts(self.status)


_HALF_WRITTEN = re.compile(r"\.[\w.-]+\.(json|jsonl|toml|safetensors|checkpoint)\.[0-9a-f]{8}")
"""Names that :func:`closura.io.files.write_atomically` gives for a while to files of a run."""


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}
