"""Time convolutional closures on this machine: closura's convolution, XLA's own, and PyTorch if importable.

    python benchmarks/convolution.py --repeats 9 --json convolution.json

Each case is a network on a periodic grid with a batch by ``jax.vmap``. "scan" is the mean of some steps of a
time loop in which the network corrects its own input, as a rollout does. "gradient" is forward and backward,
with respect to the weights, and in a scan through the input as well. Variants are measured in turns; the
table gives the median in milliseconds per application of the network to the whole batch. XLA's own
convolutions need minutes for the gradients in a scan on CPU: leave them out with ``--without xla``.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from closura.closures import build
from closura.closures.convolution import plain_convolutions
from closura.core import ClosureSpec

PLAIN = {"output": "action", "wide_layers": 3}
GATED = {**PLAIN, "channels": 16, "activation": "glu"}
CASES: dict[str, dict[str, Any]] = {
    "ircnn-64-batch4": {"name": "ircnn", "options": {}, "size": 64, "batch": 4},
    "ircnn-64-batch10": {"name": "ircnn", "options": {}, "size": 64, "batch": 10},
    "ircnn-30-batch10": {"name": "ircnn", "options": {}, "size": 30, "batch": 10},
    "compact-64-batch4": {"name": "compact", "options": {}, "size": 64, "batch": 4},
    "compact-64-batch16": {"name": "compact", "options": {}, "size": 64, "batch": 16},
    "relu32-64-batch4": {"name": "compact", "options": {**PLAIN, "channels": 32}, "size": 64, "batch": 4},
    "glu16-64-batch1": {"name": "compact", "options": GATED, "size": 64, "batch": 1},
    "glu16-64-batch16": {"name": "compact", "options": GATED, "size": 64, "batch": 16},
    "glu16-30-batch16": {"name": "compact", "options": GATED, "size": 30, "batch": 16},
}
MODES = ("forward", "forward scan", "gradient", "gradient scan")
STEPS = 4


def jax_functions(case: dict[str, Any], *, plain: bool) -> dict[str, Callable[[], Any]]:
    """One compiled call per mode."""
    spec = ClosureSpec(("field", "u", "v"), ("forcing",), ("periodic", "periodic"))
    network = build(case["name"], spec, explores=True, options=case["options"], key=jax.random.key(0))
    arrays, static = eqx.partition(network, eqx.is_array)
    shape = (case["batch"], 3, case["size"], case["size"])
    x = jax.random.normal(jax.random.key(1), shape, jnp.float32)

    def apply(arrays: Any, x: jax.Array) -> jax.Array:
        return jax.vmap(eqx.combine(arrays, static))(x)

    def rollout(arrays: Any, x: jax.Array) -> jax.Array:
        def step(x: jax.Array, _: None) -> tuple[jax.Array, None]:
            return x - jnp.float32(0.1) * apply(arrays, x), None

        return jax.lax.scan(step, x, None, length=STEPS)[0]

    functions = {
        "forward": apply,
        "forward scan": rollout,
        "gradient": jax.grad(lambda arrays, x: jnp.mean(apply(arrays, x) ** 2)),
        "gradient scan": jax.grad(lambda arrays, x: jnp.mean(rollout(arrays, x) ** 2)),
    }
    compiled = {}
    with plain_convolutions() if plain else nullcontext():
        for mode, function in functions.items():
            compiled[mode] = jax.jit(function).lower(arrays, x).compile()
    return {
        mode: (lambda function=function: jax.block_until_ready(function(arrays, x)))
        for mode, function in compiled.items()
    }


def torch_functions(case: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """The same network in PyTorch (no scan: its loops are Python's); none for heads that it does not know."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    spec = ClosureSpec(("field", "u", "v"), ("forcing",), ("periodic", "periodic"))
    network = build(case["name"], spec, explores=True, options=case["options"], key=jax.random.key(0))
    if not hasattr(network, "actor"):
        return {}
    convolutions = [
        torch.nn.Conv2d(
            layer.kernel.shape[-2],
            layer.kernel.shape[-1],
            3,
            padding=layer.dilation,
            dilation=layer.dilation,
            padding_mode="circular",
        )
        for layer in (*network.backbone.layers, network.actor)
    ]
    modules = torch.nn.ModuleList(convolutions)
    gated = network.backbone.activation == "glu"
    x = torch.randn(case["batch"], 3, case["size"], case["size"])

    def apply() -> Any:
        y = x
        for convolution in convolutions[:-1]:
            y = convolution(y)
            y = torch.nn.functional.glu(y, dim=1) if gated else torch.relu(y)
        return convolutions[-1](y)[:, :1]

    def forward() -> None:
        with torch.no_grad():
            apply()

    def gradient() -> None:
        modules.zero_grad()
        (apply() ** 2).mean().backward()

    return {"forward": forward, "gradient": gradient}


def measure(functions: dict[Any, Callable[[], Any]], repeats: int) -> dict[Any, float]:
    """Median time in milliseconds; the functions take turns, so that disturbances hit all alike."""
    times: dict[Any, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Measure all cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--without", nargs="*", choices=("xla", "torch"), default=[])
    parser.add_argument("--json", type=Path, help="write the table to this file as well")
    arguments = parser.parse_args()

    try:
        import torch

        with_torch = "torch" not in arguments.without and bool(torch.__version__)
    except ImportError:
        with_torch = False
    variants = ["closura"] + [name for name in ("xla", "torch") if name not in arguments.without]
    if not with_torch and "torch" in variants:
        variants.remove("torch")
    table: dict[str, dict[str, dict[str, float]]] = {}
    print(f"{len(os.sched_getaffinity(0))} cores, JAX {jax.__version__} on {jax.default_backend()}, milliseconds")
    print(f"{'case':24}{'mode':16}" + "".join(f"{variant:>10}" for variant in variants))
    for case in arguments.cases:
        functions = {("closura", mode): f for mode, f in jax_functions(CASES[case], plain=False).items()}
        if "xla" in variants:
            functions |= {("xla", mode): f for mode, f in jax_functions(CASES[case], plain=True).items()}
        if with_torch:
            functions |= {("torch", mode): f for mode, f in torch_functions(CASES[case]).items()}
        medians = measure(functions, arguments.repeats)
        table[case] = {}
        for mode in MODES:
            steps = STEPS if "scan" in mode else 1
            row = {v: medians[v, mode] / steps for v in variants if (v, mode) in medians}
            table[case][mode] = row
            cells = "".join(f"{row[v]:10.2f}" if v in row else f"{'-':>10}" for v in variants)
            print(f"{case:24}{mode:16}{cells}", flush=True)
    if arguments.json:
        record = {"cores": len(os.sched_getaffinity(0)), "jax": jax.__version__, "milliseconds": table}
        arguments.json.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
