"""Shapes and types are checked at run time in all tests; each option gives its reason."""

import atexit
import os
import shutil
import sys
import tempfile

# Both precisions are tested in one process; code under test names its dtypes, so float32 stays float32.
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")

# Programs are small here and run briefly: most of the time goes into compiling them, and XLA without its optimisations
# compiles a third faster. The slow tests compute for long and keep them.
if "slow" not in " ".join(sys.argv) and "XLA_FLAGS" not in os.environ:
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"

# A program is compiled once in all worker processes and in the commands that tests start, not in each: most of the time
# of the tests goes into compiling. Nothing is kept from one run of the tests to the next.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="closura-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"  # keeping small ones costs as much as it saves
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

from jaxtyping import install_import_hook

install_import_hook("closura", "beartype.beartype")

import gc
from pathlib import Path

import jax
import pytest

from closura.closures import CLOSURES
from closura.core.definition import BASELINES, PROBLEMS
from closura.core.metric import METRICS
from closura.core.registry import FILE_MODULE, is_own
from closura.learners import LEARNERS
from closura.reporting.figure import FIGURES
from closura.reporting.table import TABLES

REGISTRIES = (PROBLEMS, CLOSURES, METRICS, FIGURES, TABLES, BASELINES, LEARNERS)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    """Intervals of benchmarks by few resamples: types are checked in each of them, which takes most of the time."""
    monkeypatch.setattr("closura.metrics.criterion.RESAMPLES", 20)


MANY_MAPPINGS = 20_000
"""Of memory. A process of Linux may have 65,530 (vm.max_map_count), every compiled program takes some, and a process
that gets no more dies without a word."""


@pytest.fixture(autouse=True, scope="module")
def _few_mappings():
    """Programs of files that are done are let go before there are too many."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MANY_MAPPINGS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(autouse=True, scope="module")
def _own_entries_alone():
    """What the files of a test module have registered is forgotten after it."""
    before = [set(registry._entries) for registry in REGISTRIES]
    yield
    for registry, known in zip(REGISTRIES, before, strict=True):
        for name in set(registry._entries) - known:
            if not is_own(registry._entries[name]):
                del registry._entries[name]
    for name in [name for name in sys.modules if name.startswith(FILE_MODULE)]:
        del sys.modules[name]  # the next module that names the file registers its entries again


def pytest_collection_finish() -> None:
    """A test module registers nothing when it is imported: all other modules would find it."""
    for registry in REGISTRIES:
        for name, entry in registry._entries.items():
            if not isinstance(entry, str) and not is_own(entry):
                raise pytest.UsageError(f"{name} of {entry.__module__} is registered by a test module; use a fixture")


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
