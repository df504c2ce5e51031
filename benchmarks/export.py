"""Exported C against onnxruntime and jitted JAX on one core: milliseconds per call of the closures of the package.

    taskset -c 2 python benchmarks/export.py --json benchmarks/results/export.json

Each closure is exported, compiled (-O3 -march=native, no OpenMP) and loaded; all three are called in turns on the same
observation in float32 (closures at interfaces: float64), one thread each. Closures in cells run on 64^2 and 128^2
cells, those at interfaces on as many interfaces. "pointwise" is a compact closure without convolutions, with random
weights, "published" the network of Closure-RL. Before it is timed each answer is compared with JAX. The table has
medians of wall time with quartiles; ratios are those of processor time, which other work on the machine distorts least.
"""

import argparse
import ctypes
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
from timing import Case, markdown, measure, number

from closura.cards.facts import needs_double
from closura.closures import build
from closura.core import ClosureSpec
from closura.export.compiled import c_library, grid_of
from closura.export.package import export
from closura.export.verify import observation_for
from closura.io.closures import SHIPPED, shipped
from closura.io.weights import load_weights, read_header, save_weights
from closura.runs.environment import describe_environment

OTHERS = {
    "pointwise": ("compact", {"output": "action", "wide_layers": 0}),
    "published": ("ircnn", {}),
}
FLAGS = ("-march=native",)


def spec() -> ClosureSpec:
    return ClosureSpec(
        ("psi", "u", "v"), ("forcing",), ("periodic", "periodic"), acts_on=(0,), bound=1.0, scale=0.01, velocity=(1, 2)
    )


def file_of(name: str, folder: Path) -> Path:
    """Weights of a closure of the package, or random ones of the others."""
    if name in SHIPPED:
        return shipped(name)
    kind, options = OTHERS[name]
    closure = build(kind, spec(), options=options, key=jax.random.key(0))
    rng = np.random.default_rng(0)
    closure = jax.tree.map(lambda x: jnp.asarray(0.1 * rng.normal(size=x.shape), x.dtype), closure)
    save_weights(folder / f"{name}.safetensors", closure, architecture={"closure": kind, "options": options})
    return folder / f"{name}.safetensors"


def c_call(code: ctypes.CDLL, name: str, closure: Any, seen: np.ndarray) -> Callable[[], np.ndarray]:
    """A call of the compiled closure on these arrays."""
    grid, handle = grid_of(seen.shape[1:], closure.spec.boundary), ctypes.c_void_p()
    assert getattr(code, f"{name}_init")(ctypes.byref(handle), ctypes.byref(grid)) == 0
    action = np.zeros((len(closure.spec.action), *seen.shape[1:]), seen.dtype)
    kind = ctypes.POINTER(ctypes.c_float if seen.dtype == np.float32 else ctypes.c_double)
    arrays = [(kind * len(x))(*(each.ctypes.data_as(kind) for each in x)) for x in (seen, action)]
    function = getattr(code, f"{name}_apply{'_float' if seen.dtype == np.float32 else ''}")

    def call() -> np.ndarray:
        assert function(handle, *arrays) == 0
        return action

    return call


def cases_of(name: str, cells: int, folder: Path) -> dict[str, Case]:
    """What is timed for one closure on one grid."""
    file = file_of(name, folder)
    jax.config.update("jax_enable_x64", needs_double(read_header(file)))
    out = folder / f"{name}-{cells}"
    card = export(file, out, to=("c", "onnx"), simulations=0, name=name)
    closure = load_weights(file)
    interfaces = closure.spec.where == "interfaces"
    shape = (cells * cells,) if interfaces else (cells, cells)
    seen = observation_for(closure, shape).astype(np.float64 if interfaces else np.float32)
    code = c_library(out, card["name"], out, flags=FLAGS)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(out / f"{card['name']}.onnx", options, providers=["CPUExecutionProvider"])
    limited, given = closure.spec.limit(closure), jnp.asarray(seen)
    compiled = jax.jit(lambda x: limited(x))
    calls: dict[str, Callable[[], Any]] = {
        "c": c_call(code, card["name"], closure, seen),
        "onnxruntime": lambda: session.run(["action"], {"observation": seen[None]})[0][0],
        "jax": lambda: compiled(given),
    }
    wanted = np.asarray(calls["jax"](), float)
    for key, call in calls.items():
        difference = np.abs(np.asarray(call(), float) - wanted).max() / np.abs(wanted).max()
        assert difference < 1e-5, f"{name} {key} differs by {difference}"

    def repeated(call: Callable[[], Any], times: int) -> Case:
        def several() -> Any:
            for _ in range(times - 1):
                jax.block_until_ready(call())
            return call()

        return Case(several, times)

    return {key: repeated(call, 8) for key, call in calls.items()}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Time all closures on all grids, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--closures", nargs="+", choices=(*SHIPPED, *OTHERS), default=[*SHIPPED, *OTHERS])
    parser.add_argument("--cells", nargs="+", type=int, default=[64, 128])
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    record: dict[str, Any] = {
        "environment": describe_environment(), "onnxruntime": onnxruntime.__version__, "load": list(os.getloadavg()),
        "flags": FLAGS, "repeats": options.repeats, "times": {},
    }  # fmt: skip
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name in options.closures:
            for cells in options.cells:
                found = measure(cases_of(name, cells, Path(place)), options.repeats)
                record["times"][f"{name} {cells}"] = {key: asdict(time) for key, time in found.items()}
                row = [f"{name}, {cells}^2"]
                row += [f"{number(t.median)} ({number(t.lower)} to {number(t.upper)})" for t in found.values()]
                c = found["c"].processor
                rows.append([*row, *(f"{c / found[key].processor:.2f}" for key in ("onnxruntime", "jax"))])
                print(", ".join(rows[-1]), flush=True)
    markdown(["closure, cells", "C, ms", "onnxruntime, ms", "JAX, ms", "C / onnxruntime", "C / JAX"], rows)
    record["load_after"] = list(os.getloadavg())
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    return record


if __name__ == "__main__":
    main()
