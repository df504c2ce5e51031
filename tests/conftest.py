"""Shapes and types are checked at run time in all tests; each option gives its reason."""

import os

# Both precisions are tested in one process; code under test names its dtypes, so float32 stays float32.
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")

from jaxtyping import install_import_hook

install_import_hook("closura", "beartype.beartype")

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """The folder of reference arrays of Closure-RL, or a skip with the reason."""
    root = os.environ.get("CLOSURA_GOLDEN")
    if not root:
        pytest.skip("CLOSURA_GOLDEN is not set: no reference arrays to compare with")
    folder = Path(root) / "closure-rl"
    if not folder.is_dir():
        pytest.skip(f"no reference arrays in {folder}")
    return folder


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real images, or a skip with the reason."""
    root = os.environ.get("CLOSURA_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("CLOSURA_DATA is not set or no folder: no real images to read")
    return Path(root)
