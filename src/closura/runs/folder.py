"""A run: one folder that holds everything needed to repeat, resume, judge and ship a training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from closura.runs.checkpoints import write_json
from closura.runs.configuration import differences, from_plain, to_plain

FITS = ("kolmogorov-closure", "kolmogorov-rom")
"""Kinds of runs that are fitted to data, not trained in the loop; see ``closura.runs.fitting``."""


class RunError(RuntimeError):
    """A run folder that cannot be used as asked."""


class RunFolder:
    """Paths and rules of a run folder.

    ``decode`` makes settings of what ``configuration.json`` holds (default: those of a training in the loop).

    ``configuration.json`` (resolved settings), ``environment.json``, ``status.json``, ``metrics.jsonl``,
    ``weights.safetensors`` (the best by validation), ``final.safetensors`` (the last),
    ``checkpoints/last.checkpoint`` (to resume) and ``checkpoints/update-*.safetensors`` (kept along the way).
    """

    def __init__(self, path: str | Path, *, decode: Callable[[dict[str, Any]], Any] = from_plain) -> None:
        self.path = Path(path)
        self._decode = decode
        self.configuration = self.path / "configuration.json"
        self.environment = self.path / "environment.json"
        self.status = self.path / "status.json"
        self.metrics = self.path / "metrics.jsonl"
        self.weights = self.path / "weights.safetensors"
        self.final = self.path / "final.safetensors"
        self.checkpoints = self.path / "checkpoints"
        self.last = self.checkpoints / "last.checkpoint"

    def kept(self, update: int) -> Path:
        """Where the weights of an update are kept for good."""
        return self.checkpoints / f"update-{update:07d}.safetensors"

    @property
    def holds_run(self) -> bool:
        """Whether there is a run in the folder."""
        return self.configuration.exists()

    def read_configuration(self) -> Any:
        """The settings of the run in the folder.

        Raises
        ------
        RunError
            If there is none, or its file is damaged.
        """
        try:
            plain = json.loads(self.configuration.read_text())
            name = plain.get("name", "") if isinstance(plain, dict) else ""
            if name in FITS and self._decode is from_plain:
                raise RunError(f"{self.path} is a run of {name}; judge it with: closura evaluate {name} --help")
            return self._decode(plain)
        except FileNotFoundError as error:
            raise RunError(f"there is no run in {self.path}: {self.configuration.name} is missing") from error
        except ValueError as error:
            raise RunError(f"{self.configuration} is damaged: {error}") from error

    def read_environment(self) -> dict[str, Any]:
        """What the run was made with, or an empty dictionary."""
        try:
            return json.loads(self.environment.read_text())
        except (FileNotFoundError, ValueError):
            return {}

    def check(self, configuration: Any, *, resume: bool, overwrite: bool) -> None:
        """Refuse what would lose something, before anything is changed.

        Raises
        ------
        RunError
            If the folder holds a run and neither flag is set, holds something else, or is to be resumed with
            other settings.
        """
        if resume:
            stored = to_plain(self.read_configuration())
            changed = differences(stored, json.loads(json.dumps(to_plain(configuration))))
            if changed:
                raise RunError(
                    f"{self.path} was started with other settings; resume without these options, or start a new run: "
                    f"{'; '.join(changed)}"
                )
            return
        if self.holds_run and not overwrite:
            raise RunError(
                f"{self.path} already holds a run: continue it with --resume, replace it with --overwrite, or "
                "choose another folder with --run"
            )
        if self.path.exists() and not self.holds_run and any(self.path.iterdir()):
            raise RunError(f"{self.path} is not empty and holds no run: choose another folder with --run")

    def create(self, configuration: Any) -> None:
        """Start a new run in the folder; what an earlier run left in its files is removed."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        climatology = self.path / "climatology.safetensors"
        for path in (self.metrics, self.weights, self.final, self.status, self.environment, self.last, climatology):
            path.unlink(missing_ok=True)
        for path in self.checkpoints.glob("update-*.safetensors"):
            path.unlink()
        write_json(self.configuration, to_plain(configuration))

    def write_status(self, state: str, **facts: Any) -> None:
        """Say how the run stands: "running", "finished", "interrupted" or "diverged"."""
        write_json(self.status, {"state": state, **facts})

    def read_status(self) -> dict[str, Any]:
        """What :meth:`write_status` wrote last, or an empty dictionary."""
        try:
            return json.loads(self.status.read_text())
        except (FileNotFoundError, ValueError):
            return {}
