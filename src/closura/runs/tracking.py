"""Where metrics go: always a plain ``metrics.jsonl``; Weights & Biases and TensorBoard where asked for."""

import importlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from closura.io.files import write_atomically
from closura.plain import to_json

Tracker = Literal["wandb", "tensorboard"]


class MissingExtraError(ImportError):
    """An optional dependency is not installed."""


@runtime_checkable
class Sink(Protocol):
    """Something that takes rows of metrics."""

    def log(self, row: Mapping[str, int | float]) -> None:
        """Take one row; ``row["update"]`` counts updates."""

    def close(self) -> None:
        """Finish."""


class MetricsFile:
    """``metrics.jsonl``: one JSON object per line, on disk as soon as it is logged; infinite numbers are null.

    Opening it for a resumed training drops the rows after the checkpoint, which will come again, and lines that are
    no rows.
    """

    def __init__(self, path: Path, *, keep_until: int = 0) -> None:
        rows = [row for row in read_metrics(path) if row["update"] <= keep_until] if path.exists() else []
        write_atomically(path, "".join(to_json(row) + "\n" for row in rows))
        self._file = open(path, "a")  # noqa: SIM115 - closed by close()

    def log(self, row: Mapping[str, int | float]) -> None:
        self._file.write(to_json(row) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, int | float]]:
    """All rows of a ``metrics.jsonl``; lines that are none, as one cut short by a kill or damaged, are left out.

    A null is an infinite number.
    """
    rows = []
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get("update"), int):
            row = {name: math.inf if value is None else value for name, value in row.items()}
            if all(isinstance(value, int | float) for value in row.values()):
                rows.append(row)
    return rows


class _WandB:
    def __init__(self, folder: Path, configuration: Mapping[str, Any]) -> None:
        wandb = _optional("wandb")
        self._run = wandb.init(project="closura", name=folder.name, dir=str(folder), config=dict(configuration))

    def log(self, row: Mapping[str, int | float]) -> None:
        self._run.log(dict(row), step=int(row["update"]))

    def close(self) -> None:
        self._run.finish()


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        self._writer = _optional("tensorboardX").SummaryWriter(str(folder / "tensorboard"))

    def log(self, row: Mapping[str, int | float]) -> None:
        for name, value in row.items():
            if name != "update":
                self._writer.add_scalar(name, value, int(row["update"]))

    def close(self) -> None:
        self._writer.close()


def open_trackers(trackers: Iterable[Tracker], folder: Path, configuration: Mapping[str, Any]) -> list[Sink]:
    """Start the trackers that were asked for."""
    makers: dict[str, Any] = {
        "wandb": lambda: _WandB(folder, configuration),
        "tensorboard": lambda: _TensorBoard(folder),
    }
    return [makers[name]() for name in trackers]


def check_trackers(trackers: Iterable[Tracker]) -> None:
    """Refuse trackers whose packages are missing, before anything has been started."""
    for name in trackers:
        _optional({"wandb": "wandb", "tensorboard": "tensorboardX"}[name])


def _optional(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(
            f"this tracker needs the package {package!r}: pip install 'closura[tracking]'"
        ) from error
