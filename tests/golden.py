"""Reference arrays of other programs: all files of a kind that lie in a folder below ``CLOSURA_GOLDEN``."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def golden_files(folder: str, pattern: str) -> list[Any]:
    """Parameters of a test: each matching file, or a skip with the reason where there is no such folder.

    Where the folder is there and nothing matches, the parameter is the pattern, which no test can open.
    """
    root = os.environ.get("CLOSURA_GOLDEN")
    found = Path(root or ".") / folder
    if not root or not found.is_dir():
        reason = f"CLOSURA_GOLDEN is not set, or has no folder {folder}: no reference arrays to compare with"
        return [pytest.param(found, id=pattern, marks=pytest.mark.skip(reason=reason))]
    return [pytest.param(file, id=file.stem) for file in sorted(found.glob(pattern)) or [found / pattern]]


def read(file: Path) -> dict[str, np.ndarray]:
    """All arrays of a file."""
    with np.load(file) as arrays:
        return {name: arrays[name] for name in arrays.files}


def steps_of(arrays: dict[str, np.ndarray], prefix: str) -> list[int]:
    """The numbers of steps after which arrays ``PREFIX_N`` are stored, without 0."""
    rest = [name.removeprefix(f"{prefix}_") for name in arrays if name.startswith(f"{prefix}_")]
    return sorted(int(each) for each in rest if each.isdecimal() and int(each))


def network(folder: Path, problem: str) -> Path:
    """The published network of a problem, the one that was trained longest."""
    found = sorted(folder.glob(f"weights_{problem}_ep*.npz"), key=lambda file: int(file.stem.rpartition("_ep")[2]))
    assert found, f"no weights_{problem}_ep*.npz in {folder}"
    return found[-1]
