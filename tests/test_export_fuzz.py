"""Random calls of exported closures under sanitizers: values or status codes, whatever they are given."""

import os
import subprocess
from pathlib import Path

import pytest
from exported import COMPILER, INTERFACES, drawn, spec_of, written

from closura.export.package import export
from closura.io.closures import SHIPPED

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler")
PROGRAM = Path(__file__).parent / "fuzz" / "closure_fuzz.c"
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover")


def fuzzed(folder, name, calls, *, flags=SANITIZERS, seed=1, largest=36):
    """How many calls gave each status; fails if one gave neither values nor a status."""
    run = [COMPILER, "-std=c99", *flags, "-Wall", "-Wextra", "-Werror", "-pedantic", "-include", f"{name}.h"]
    run += [f"-DCLOSURE={name}", f"-DUPPER={name.upper()}", "-o", "fuzz", PROGRAM, f"{name}.c", "-lm"]
    built = subprocess.run(run, cwd=folder, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    settings = {"OMP_NUM_THREADS": "3", "ASAN_OPTIONS": "allocator_may_return_null=1"}
    done = subprocess.run(
        [folder / "fuzz", str(calls), str(seed), str(largest)],
        env=os.environ | settings,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return [int(word) for word in done.stdout.rpartition(":")[2].split()]


SMALL = {"channels": 5, "layers": 2}
KINDS = {
    "action-1d": (1, "periodic", "compact", {**SMALL, "output": "action", "wide_layers": 2, "activation": "glu"}),
    "stencil-2d": (2, "periodic", "compact", SMALL),
    "speed-2d": (2, "outflow", "compact", {**SMALL, "by_speed": True, "activation": "gelu", "explores": True}),
    "flow": (2, "periodic", "compact", {**SMALL, "view": "flow", "radius": 3}),
    "flow-policy": (2, "periodic", "compact", {**SMALL, "view": "flow", "look": 0, "explores": True}),
    "action-3d": (3, "periodic", "compact", {**SMALL, "output": "action", "wide_layers": 2, "activation": "silu"}),
    "published": (2, "periodic", "ircnn", {}),
    "pointwise": (2, "outflow", "pointwise", {"hidden": (6, 4), "explores": True}),
    "guided": (0, "outflow", "weights", {"hidden": (8,), "even": True}),
    "weights": (0, "outflow", "weights", {"hidden": (8,), "form": "published"}),
}


def made(kind):
    axes, boundary, name, options = KINDS[kind]
    return drawn(name, spec_of(axes, boundary) if axes else INTERFACES, **options)


def test_a_few_hundred_random_calls(tmp_path):
    """A policy with noise, halos and a guard, with threads: the kind that uses most of the code."""
    closure = made("speed-2d")
    written(closure, tmp_path, known=[[-1.0, 1.0]] * 3)
    counts = fuzzed(tmp_path, "c", 500, flags=(*SANITIZERS, "-fopenmp"))
    answered, null, grid, memory, not_finite, no_range = counts
    assert (memory, no_range) == (0, 0)
    assert min(answered, null, grid, not_finite) > 0


@pytest.mark.slow
@pytest.mark.parametrize("openmp", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_random_calls_of_each_kind(kind, openmp, tmp_path):
    closure = made(kind)
    known = None if closure.spec.where == "interfaces" else [[-1.0, 1.0]] * len(closure.spec.observation)
    written(closure, tmp_path, known=known)
    flags = (*SANITIZERS, *(("-fopenmp",) if openmp else ()))
    assert fuzzed(tmp_path, "c", 10_000, flags=flags, largest=8 if kind == "published" else 36)[0] > 5_000


@pytest.mark.slow
@pytest.mark.parametrize("openmp", [False, True])
@pytest.mark.parametrize("name", SHIPPED)
def test_ten_thousand_random_calls_of_closures_of_the_package(name, openmp, tmp_path):
    card = export(name, tmp_path, simulations=0)
    assert fuzzed(tmp_path, card["name"], 10_000, flags=(*SANITIZERS, *(("-fopenmp",) if openmp else ())))[0] > 5_000
