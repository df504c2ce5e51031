"""Closures with random weights, exported, compiled and called through ctypes."""

import ctypes
import math
import re
import shutil
import subprocess

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from closura.closures import build
from closura.core import ClosureSpec
from closura.export.c import TOLERANCE, sources

COMPILER = shutil.which("cc") or shutil.which("gcc")
POINTER = ctypes.POINTER(ctypes.c_double)
KINDS = {"periodic": 0, "outflow": 1, "halo": 2}


INTERFACES = ClosureSpec(
    (*(f"plus {i}" for i in range(5)), *(f"minus {i}" for i in range(5)), "plus size", "minus size"),
    (*(f"plus weight {i}" for i in range(3)), *(f"minus weight {i}" for i in range(3))),
    ("outflow",), acts_on=(2, 2, 2, 7, 7, 7), bound=math.inf, where="interfaces",
)  # fmt: skip


COMPACT = (  # boundary, axes, options of the closure, whether it explores
    ("periodic", 1, {"output": "action", "activation": "glu", "wide_layers": 2}, False),
    ("outflow", 1, {"by_speed": True}, True),
    ("periodic", 2, {"activation": "gelu", "wide_layers": 2}, True),
    ("periodic", 2, {"view": "flow", "radius": 3}, False),
    ("periodic", 2, {"view": "flow", "look": 0}, True),
    ("outflow", 2, {"output": "action", "activation": "silu", "wide_layers": 3}, True),
    ("periodic", 2, {"by_speed": True, "activation": "bilinear"}, False),
)


def spec_of(axes, boundary="periodic"):
    return ClosureSpec(
        ("q", "u", "v", "w")[: axes + 1], ("f", "g"), (boundary,) * axes, acts_on=(0, 1), bound=5.0, scale=0.3,
        unit=0.5, velocity=tuple(range(1, axes + 1)),
    )  # fmt: skip


def drawn(name, spec, *, explores=False, seed=0, **options):
    """A closure with random weights: an untrained one answers zero."""
    closure = build(name, spec, options=options, explores=explores, key=jax.random.key(seed))
    leaves, tree = jax.tree.flatten(eqx.filter(closure, eqx.is_inexact_array))
    rng = np.random.default_rng(seed)
    leaves = [jnp.asarray(0.3 * rng.normal(size=leaf.shape), leaf.dtype) for leaf in leaves]
    return eqx.combine(jax.tree.unflatten(tree, leaves), closure)


def pointwise(spec, *, activation="relu", hidden=(7, 6), **options):
    """A closure that sees no neighbours, with random weights."""
    return drawn("pointwise", spec, hidden=hidden, activation=activation, **options)


def written(closure, folder, *, name="c", known=None):
    """Write its C sources."""
    spec = closure.spec
    card = {
        "title": "t", "about": "a", "made_for": "m", "observation": spec.observation, "actions": spec.action,
        "how_to_apply": "h", "grid": [8] * spec.dimensions, "range": known,
    }  # fmt: skip
    for file, text in sources(closure.program(), name, card=card).items():
        (folder / file).write_text(text)


def compiled(closure, folder, *, name="c", flags=("-O1",), known=None):
    written(closure, folder, name=name, known=known)
    run = [COMPILER, "-std=c99", *flags, "-Wall", "-Wextra", "-Werror", "-pedantic", "-shared", "-fPIC"]
    done = subprocess.run([*run, "-o", f"{name}.so", f"{name}.c", "-lm"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / f"{name}.so")), int(
        re.search(r"_HALO (\d+)", (folder / f"{name}.h").read_text())[1]
    )


def grid_of(n, low, high, stride=None):
    class Grid(ctypes.Structure):
        _fields_ = (
            ("n", ctypes.c_size_t * len(n)), ("low", ctypes.c_int * len(n)), ("high", ctypes.c_int * len(n)),
            ("stride", ctypes.c_ssize_t * len(n)), ("out_stride", ctypes.c_ssize_t * len(n)),
        )  # fmt: skip

    grid = Grid()
    grid.n[:], grid.low[:], grid.high[:] = n, low, high
    if stride is not None:
        grid.stride[:] = stride
    return grid


def pointers(arrays, skip=()):
    return (POINTER * len(arrays))(*(each[skip].ctypes.data_as(POINTER) for each in arrays))


def run(library, seen, boundary, *, ghosts=0, noise=None, guard=0, name="c", actions=2):
    """Status, action, cells outside of the range; ``seen`` may have ghost cells along all axes."""
    axes = seen.ndim - 1
    n = [size - 2 * ghosts for size in seen.shape[1:]]
    kinds = [KINDS[boundary]] * axes
    grid = grid_of(n, kinds, kinds, [stride // 8 for stride in seen.strides[1:]])
    handle, action = ctypes.c_void_p(), np.zeros((actions, *n))
    assert getattr(library, f"{name}_init")(ctypes.byref(handle), ctypes.byref(grid)) == 0
    assert getattr(library, f"{name}_guard")(handle, guard) == 0
    there = pointers(seen, (slice(ghosts, None),) * axes)
    if noise is None:
        status = getattr(library, f"{name}_apply")(handle, there, pointers(action))
    else:
        status = getattr(library, f"{name}_apply_noise")(handle, there, pointers(noise), pointers(action))
    outside = getattr(library, f"{name}_outside")(handle)
    getattr(library, f"{name}_free")(handle)
    return status, action, outside


def near(found, wanted):
    wanted = np.clip(np.asarray(wanted), -5, 5)
    return np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()
