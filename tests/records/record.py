"""Records of results: what tiny trainings, fits and evaluations of every kind give, as numbers.

``python tests/records/record.py make`` writes ``records.json`` beside this file; ``compare`` makes them again and lists
every number that differs. Weights have to be the same to the bit, other numbers to ``TOLERANCE``; figures, times, paths
and versions do not count. Everything goes through the command line, so that it outlives changes of the code behind.
A change that is meant to change results makes the records anew, and says which and why.

Floating-point results depend on the processor and on JAX's version: compare where the records were made, or make them
with the older code first (``--file``).
"""

import argparse
import contextlib
import hashlib
import io
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("records.json")
TOLERANCE = 1e-9
"""Relative, of numbers that are no weights: sums of other order."""

VOLATILE = {
    *("environment", "command", "created", "closura_version", "seconds", "milliseconds_per_unit_of_time", "cost"),
    *(
        "milliseconds",
        "ms_per_step",
        "settings",
        "configuration",
        "machine",
        "timing",
        "paths",
        "source",
        "out",
        "data",
    ),
}
"""Entries of JSON files that are no results."""

NETWORK = "--compact.channels 4 --compact.layers 2 --compact.radius 1"
AGENTS = "--weights.hidden 8 8"
WINDOWS = "--learning.horizons 2 --learning.fractions 1 --learning.batch 2"
TRIAL = "--learning.environments 2 --learning.steps 4 --learning.minibatch 4"
LEARNING = {"bptts": WINDOWS, "ppo": TRIAL, "a2c": TRIAL}
TWENTY = "--learning.updates 20 --log-every 10 --validation.every 10 --validation.simulations 2 --validation.steps 4"
STORE = "--reference.slots 4 --reference.blocks 2 --reference.steps 8"
EPISODES = "--minimum-steps 3 --maximum-steps 6"
FLOW = (
    "--cells 12 --fine-cells 24 --reynolds 15 --forcing 2 --finer 16 --pool 4 --chains 2 --transient 4 --spacing 1 "
    "--settle 0.6 --spin-cells 12"
)
JSON = "--json numbers.json"

Step = tuple[str, str]
"""A name, and what is written after ``closura``."""


def transport(problem: str, physics: str) -> list[Step]:
    """Trainings and evaluations of advection or Burgers."""
    steps: list[Step] = []
    store = f"{STORE} --reference.renew-every 10"
    for learner, how in LEARNING.items():
        for closure, network in (("compact", NETWORK), ("ircnn", "")):
            words = f"--preset quick --learner {learner} --closure {closure} {how} {network} {TWENTY} {store}"
            steps.append(train(problem, f"{learner}-{closure}", f"{physics} {words} {EPISODES}"))
    quick = f"--preset quick {physics} {WINDOWS} {NETWORK} {TWENTY} {store} {EPISODES}"
    others = {"fifth": "--base upwind5"}
    if problem == "advection":
        others |= {"flux": "--action flux", "aligned": "--compact.view flow"}
    else:
        others |= {"orientations": "--orientations 2"}
    steps += [train(problem, name, f"{quick} {words}") for name, words in others.items()]
    closures = "--closure runs/bptts-compact --closure runs/ppo-ircnn --closure runs/fifth"
    grids = "--grids 6 --schemes upwind5 --closure one=runs/bptts-compact"
    return [
        *steps,
        ("evaluate", f"evaluate {problem} {physics} {closures} --simulations 3 --steps 6 --no-timing {JSON}"),
        ("benchmark", f"benchmark {problem} {physics} {grids} --simulations 2 --repetitions 1 --batch 2 {JSON}"),
        ("interpret", "interpret runs/bptts-compact --simulations 4 --step 3 --out interpreted"),
        report("runs/bptts-compact runs/a2c-compact"),
    ]


def law(problem: str) -> list[Step]:
    """Trainings and evaluations of a conservation law."""
    cells = 16 if problem.endswith("2d") else 32
    steps: list[Step] = []
    for learner, how in LEARNING.items():
        store = (
            "--reference.slots 2 --reference.blocks 2 --reference.steps 8"
            if learner == "bptts"
            else "--reference.slots 0"
        )
        words = f"--preset quick --learner {learner} --cells {cells} --steps 8 {how} {AGENTS} {TWENTY} {store}"
        steps.append(train(problem, learner, words))
    named = {"burgers-1d": "smooth_sine,shock", "euler-1d": "sod,lax"}.get(problem)
    if named is None:
        return steps
    words = f"--initial {named} --cells 32 --methods weno5-js,teno5 --time 0.05 --shifts 2"
    grids = "--grids 32 64 --schemes weno5-js --times 0.05 --closure one=runs/bptts"
    published = f"--preset paper --cells {cells} {AGENTS} --steps 6 {TWENTY} --learning.horizons 6"
    return [
        *steps,
        train(problem, "paper", published),
        ("evaluate", f"evaluate {problem} {words} --closure runs/bptts --closure runs/ppo --no-timing {JSON}"),
        ("benchmark", f"benchmark {problem} {grids} --simulations 2 --repetitions 1 {JSON}"),
        report("runs/bptts"),
    ]


def flow(problem: str) -> list[Step]:
    """Trainings and evaluations of a flow with a closure in the loop."""
    steps: list[Step] = []
    for learner, how in LEARNING.items():
        episodes = "" if learner == "bptts" else "--minimum-steps 4 --maximum-steps 4"
        words = f"--preset quick --learner {learner} {FLOW} {how} {episodes} {NETWORK} {TWENTY} {STORE}"
        steps.append(train(problem, learner, f"{words} --reference.renew-every 0"))
    quick = f"--preset quick {FLOW} {WINDOWS} {NETWORK} {TWENTY} {STORE}"
    closures = "--closure runs/bptts --closure runs/ppo"
    grids = "--scale quick --grids 12 --schemes quick --closure one=runs/bptts --times 1 2"
    return [
        *steps,
        train(problem, "staggered", f"{quick} --solver staggered"),
        train(problem, "spectrum", f"{quick} --reward spectrum --learning.loss reward"),
        ("evaluate", f"evaluate {problem} {FLOW} {closures} --simulations 2 --time 2 --long 2 --no-timing {JSON}"),
        ("benchmark", f"benchmark {problem} {FLOW} {grids} --simulations 2 --repetitions 1 --batch 2 {JSON}"),
        report("runs/bptts"),
    ]


def fits() -> list[Step]:
    """Data sets, closures and reduced-order models that are fitted to them."""
    sizes = "--grid 16 --trajectories 3 --duration 12 --interval 0.12 --transient 6 --dt 0.02"
    data = "--preset quick --data flow.zarr --filter.cutoff 3 --split.held-out 2 --split.validation 1"
    descent = "--settings.descent.updates 20 --settings.descent.batch 4 --settings.descent.warmup 5"
    steps: list[Step] = [("generate", f"data generate kolmogorov --reynolds 20 {sizes} --out flow.zarr")]
    validation = "--validation.frames 4 --validation.members 2 --validation.every 10 --log-every 10"
    for closure in ("gp", "conv", "vae", "diffusion", "flow"):
        how = "--settings.points 200" if closure == "gp" else descent
        steps.append(train("kolmogorov-closure", closure, f"--closure {closure} {data} {how} {validation}"))
    validation = "--validation.starts 2 --validation.members 2 --validation.time 1 --validation.every 10 --log-every 10"
    models = ("latent", "vae")
    steps += [train("kolmogorov-rom", f"rom-{m}", f"--model {m} {data} {descent} {validation}") for m in models]
    closures, shown = "--closure runs/gp runs/conv runs/flow --frames 4", "--data flow.zarr --members 3"
    return [
        *steps,
        ("evaluate closures", f"evaluate kolmogorov-closure {shown} {closures} {JSON}"),
        (
            "evaluate models",
            f"evaluate kolmogorov-rom {shown} --rom runs/rom-latent --starts 2 --steps 8 --slice 8 {JSON}",
        ),
    ]


def train(problem: str, name: str, words: str) -> Step:
    """A training in ``runs/NAME``."""
    return f"train {name}", f"train {problem} {words} --run runs/{name}"


def report(runs: str) -> Step:
    """A report, whose tables are recorded."""
    return "report", f"report {runs} --simulations 2 --steps 4 --out report.html --no-timing"


GROUPS: dict[str, list[Step]] = {
    "advection": transport("advection", "--cells 12 --ratio 2"),
    "burgers": transport("burgers", "--cells 12 --ratio 3 --viscosity 0.01 --largest-wave 1"),
    **{problem: law(problem) for problem in ("burgers-1d", "burgers-2d", "euler-1d", "euler-2d")},
    **{problem: flow(problem) for problem in ("kolmogorov", "turbulence")},
    "fits": fits(),
}


def run_group(name: str) -> dict[str, Any]:
    """The results of a group's steps, made in the current folder by this process."""
    from closura.cli import main

    found: dict[str, Any] = {}
    for step, words in GROUPS[name]:
        file = Path("numbers.json")
        file.unlink(missing_ok=True)
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                main(words.split())
            entry: dict[str, Any] = {"exit": 0}
        except SystemExit as end:
            entry = {"exit": end.code}
        except Exception:
            entry = {"exit": "traceback"}
            said.write(traceback.format_exc())
        if entry["exit"] != 0:
            print(f"{name}, {step}: exit {entry['exit']}\n{said.getvalue()[-1500:]}", file=sys.stderr)
        if step.startswith("train "):
            entry |= weights_of(Path("runs") / step.removeprefix("train "))
        if step == "interpret":
            file = Path("interpreted/interpretation.json")
        if step == "report" and Path("report.html").exists():
            entry["table"] = re.findall(r"<td[^>]*>([^<]*)</td>", Path("report.html").read_text())
        if file.exists():
            entry["numbers"] = results(json.loads(file.read_text()))
        if step == "generate":
            entry["frames"] = frames_of(Path("flow.zarr"))
        print(f"{name}, {step}", file=sys.stderr, flush=True)
        found[step] = entry
    return found


def weights_of(run: Path) -> dict[str, str]:
    """Hashes of the arrays of a run's weights; the header's order and contents do not count."""
    import safetensors.numpy

    found = {}
    for name in ("weights", "final"):
        file = run / f"{name}.safetensors"
        if not file.exists():
            continue
        arrays = safetensors.numpy.load(file.read_bytes())
        mark = hashlib.sha256()
        for key in sorted(arrays):
            mark.update(key.encode() + str(arrays[key].dtype).encode() + str(arrays[key].shape).encode())
            mark.update(arrays[key].tobytes())
        found[name] = mark.hexdigest()[:16]
    return found


def frames_of(store: Path) -> str:
    """Hash of the velocities of a data set."""
    import numpy as np
    import zarr

    group: Any = zarr.open_group(store, mode="r", use_consolidated=False)
    return hashlib.sha256(np.ascontiguousarray(group["velocity"][...]).tobytes()).hexdigest()[:16]


def results(content: Any) -> Any:
    """What of a JSON file is a result."""
    if isinstance(content, dict):
        return {
            key: results(value) for key, value in content.items() if key not in VOLATILE and "milliseconds" not in key
        }
    if isinstance(content, list):
        return [results(value) for value in content]
    return float(f"{content:.12g}") if isinstance(content, float) and math.isfinite(content) else content


def make(groups: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The results of groups, one after the other, each made in a process and an empty folder of its own."""
    with tempfile.TemporaryDirectory() as cache:
        kept = os.environ.get("JAX_COMPILATION_CACHE_DIR", f"{cache}/compiled")
        environment = {
            **os.environ, "JAX_PLATFORMS": "cpu", "CLOSURA_CACHE": f"{cache}/closura", "MPLBACKEND": "Agg",
            "JAX_COMPILATION_CACHE_DIR": kept, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        }  # fmt: skip
        for name in groups:
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, str(Path(__file__).resolve()), "group", name]
                ended = subprocess.run(
                    command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
                )
            yield name, json.loads(ended.stdout)


def differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Where two records differ, a line each."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines = [f"{where}/{key}: gone" for key in old if key not in new]
        lines += [f"{where}/{key}: new" for key in new if key not in old]
        return lines + [line for key in old if key in new for line in differences(old[key], new[key], f"{where}/{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            line for i, pair in enumerate(zip(old, new, strict=True)) for line in differences(*pair, f"{where}[{i}]")
        ]
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (old, new))
    if old == new or (numbers and math.isclose(old, new, rel_tol=TOLERANCE, abs_tol=1e-14)):
        return []
    return [f"{where}: {old} -> {new}"]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("make", "compare", "group"))
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"default: all of {', '.join(GROUPS)}")
    parser.add_argument("--file", type=Path, default=FILE)
    options = parser.parse_args()
    groups = options.groups or list(GROUPS)
    if options.what == "group":
        print(json.dumps(run_group(groups[0]), allow_nan=False))
        return
    old = json.loads(options.file.read_text()) if options.file.exists() else {}
    differ = False
    for name, new in make(groups):
        if options.what == "make":
            old[name] = new
            options.file.write_text(json.dumps(old, indent=0, sort_keys=True) + "\n")
            continue
        lines = differences(old.get(name, {}), new, name)
        differ = differ or bool(lines)
        print("\n".join(lines) or f"{name}: no difference", flush=True)
    sys.exit(differ)


if __name__ == "__main__":
    main()
