"""Compare the results of today's code with those of another commit, on this machine.

``python tests/records/record.py compare --against COMMIT [GROUP ...]`` runs tiny trainings, fits, evaluations,
benchmarks and reports of every kind with both codes and lists every number that differs by more than
:data:`TOLERANCES` allow. All goes through the command line, so that it outlives changes of the code behind; what a
commit did not have yet shows as another exit code. Floating-point results depend on the processor and on JAX's version:
nothing is kept for later.

All groups take hours on two processors: name those that a change may touch.
"""

import argparse
import contextlib
import io
import json
import math
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import zarr

ROOT = Path(__file__).resolve().parents[2]
PRINTED = re.compile(r"[-+−]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")
"""Numbers in cells of tables."""

VOLATILE = re.compile(
    # Measured times, and what follows from them: costs, ranks by cost, which methods no other one beats at their cost.
    r"seconds|milliseconds|ms_per_step|cost|timing|timed|front|no_place_on|faster|\bms\b|\btime to"
    # Where, when, and by which version something was made; all settings, which commits add to.
    r"|environment|command|created|version|machine|host|settings|configuration|source|^paths?$|^out$|^data$"
)
"""Names of JSON entries and columns of tables that are no results."""

TOLERANCES: list[tuple[str, float, float, str]] = [
    (r"/(weights|final|frames)", 0.0, 0.0, "trainings repeat to the bit, and grow whatever differs"),
    (r"^(advection|burgers|kolmogorov|turbulence)/", 1e-5, 1e-6, "float32 fields; improvements subtract their errors"),
    (r"", 1e-6, 1e-14, "closures in float32, in batches of other sizes; what is conserved is so to rounding"),
]
"""Of entries whose name matches, the first that does: relative, absolute, and why."""

# Options have their earlier names, which all commits take.
NETWORK = "--compact.channels 4 --compact.layers 2 --compact.radius 1"
AGENTS = "--weights.hidden 8 8"
WINDOWS = "--learning.horizons 2 --learning.fractions 1 --learning.batch 2"
TRIAL = "--learning.environments 2 --learning.steps 4 --learning.minibatch 4"
LEARNING = {"bptts": WINDOWS, "ppo": TRIAL, "a2c": TRIAL}
TWENTY = "--learning.updates 20 --log-every 10 --validation.every 10 --validation.simulations 2 --validation.steps 4"
STORE = "--truth.slots 4 --truth.blocks 2 --truth.steps 8"
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
    store = f"{STORE} --truth.renew-every 10"
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
        store = "--truth.slots 2 --truth.blocks 2 --truth.steps 8" if learner == "bptts" else "--truth.slots 0"
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
        steps.append(train(problem, learner, f"{words} --truth.renew-every 0"))
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
    descent = "--recipe.descent.updates 20 --recipe.descent.batch 4 --recipe.descent.warmup 5"
    steps: list[Step] = [("generate", f"data generate kolmogorov --reynolds 20 {sizes} --out flow.zarr")]
    judge = "--judge.frames 4 --judge.members 2 --judge.every 10 --log-every 10"
    for closure in ("gp", "conv", "vae", "diffusion", "flow"):
        how = "--recipe.points 200" if closure == "gp" else descent
        steps.append(train("kolmogorov-closure", closure, f"--closure {closure} {data} {how} {judge}"))
    judge = "--judge.starts 2 --judge.members 2 --judge.time 1 --judge.every 10 --log-every 10"
    models = ("latent", "vae")
    steps += [train("kolmogorov-rom", f"rom-{m}", f"--model {m} {data} {descent} {judge}") for m in models]
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
        if entry["exit"] not in (0, 3):  # 3: done, with a warning
            print(f"{name}, {step}: exit {entry['exit']}\n{said.getvalue()[-1500:]}", file=sys.stderr)
        if step == "interpret":
            file = Path("interpreted/interpretation.json")
        if step == "report" and Path("report.html").exists():
            entry["tables"] = tables_of(Path("report.html").read_text())
        if file.exists():
            entry["numbers"] = json.loads(file.read_text())
        print(f"{name}, {step}", file=sys.stderr, flush=True)
        found[step] = entry
    return found


def tables_of(page: str) -> list[list[dict[str, Any]]]:
    """Rows of all tables of a page by their first cell; others by the names of columns, where there are any."""
    found = []
    for table in re.findall(r"<table.*?</table>", page, re.DOTALL):
        rows = [
            [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
            for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)
        ]
        columns = rows.pop(0)[1:] if "<thead" in table else []
        found.append(
            [
                {name: dict(zip(columns, cells, strict=False)) if columns else cells}
                for name, *cells in filter(None, rows)
            ]
        )
    return found


def arrays_of(folder: Path) -> dict[str, np.ndarray]:
    """Weights of all runs in a folder and the velocities of a data set, by name; headers do not count."""
    found: dict[str, np.ndarray] = {}
    for name in ("weights", "final"):
        for file in sorted(folder.glob(f"runs/*/{name}.safetensors")):
            arrays = safetensors.numpy.load(file.read_bytes())
            found |= {f"train {file.parent.name}/{name}/{key}": array for key, array in arrays.items()}
    if (folder / "flow.zarr").exists():
        group: Any = zarr.open_group(folder / "flow.zarr", mode="r", use_consolidated=False)
        found["generate/frames"] = group["velocity"][...]
    return found


def make(group: str, source: Path, folder: Path) -> dict[str, Any]:
    """The results of a group with the package in ``source``, made in a process of its own in an empty folder."""
    folder.mkdir()
    with tempfile.TemporaryDirectory() as cache:
        settings = {"PYTHONPATH": str(source), "JAX_PLATFORMS": "cpu", "CLOSURA_CACHE": cache, "MPLBACKEND": "Agg"}
        command = [sys.executable, str(Path(__file__).resolve()), "group", group]
        said = subprocess.check_output(command, cwd=folder, env=os.environ | settings)
    found: dict[str, Any] = json.loads(said)
    return found | arrays_of(folder)


def differences(old: Any, new: Any, where: str) -> list[str]:
    """Where two records differ by more than the tolerances, a line each."""
    if isinstance(old, dict) and isinstance(new, dict):
        old, new = ({k: v for k, v in each.items() if not VOLATILE.search(k)} for each in (old, new))
        lines = [f"{where}/{key}: gone" for key in old if key not in new]
        lines += [f"{where}/{key}: new" for key in new if key not in old]
        return lines + [line for key in old if key in new for line in differences(old[key], new[key], f"{where}/{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            line for i, pair in enumerate(zip(old, new, strict=True)) for line in differences(*pair, f"{where}[{i}]")
        ]
    if isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            return [f"{where}: {old.dtype}{list(old.shape)} -> {new.dtype}{list(new.shape)}"]
        size, apart = float(np.max(np.abs(old), initial=0)), float(np.max(np.abs(old - new), initial=0))
        return (
            [] if equal(size, size + apart, where) else [f"{where}: up to {apart:.2g} apart, values up to {size:.2g}"]
        )
    same = equal(old, new, where)
    if isinstance(old, str) and isinstance(new, str):
        pairs = [*zip(PRINTED.findall(old), PRINTED.findall(new), strict=False)]
        same = same or (PRINTED.sub("#", old) == PRINTED.sub("#", new) and all(alike(*p, where) for p in pairs))
    return [] if same else [f"{where}: {old} -> {new}"]


def equal(old: Any, new: Any, where: str) -> bool:
    """Whether two values are the same to the tolerance of their place."""
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (old, new))
    relative, absolute = next(found[1:3] for found in TOLERANCES if re.search(found[0], where))
    return bool(old == new or (numbers and math.isclose(old, new, rel_tol=relative, abs_tol=absolute)))


def alike(old: str, new: str, where: str) -> bool:
    """The same of printed numbers; fractions may differ by one in their last digit: they were rounded."""
    old, new = (text.replace(",", "").replace("−", "-") for text in (old, new))
    digits, _, exponent = old.partition("e")
    last = 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2])) if "." in digits else 0.0
    return equal(float(old), float(new), where) or abs(float(old) - float(new)) < 1.5 * last


def compare(against: str, groups: list[str]) -> bool:
    """Print what differs between the code of a commit and today's; whether anything does."""
    differ = False
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        archive = subprocess.check_output(["git", "archive", against, "src"], cwd=ROOT)
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        for group in groups:
            old = make(group, folder / "src", folder / f"{group} before")
            new = make(group, ROOT / "src", folder / f"{group} today")
            lines = differences(old, new, group)
            differ = differ or bool(lines)
            print("\n".join(lines) or f"{group}: no difference", flush=True)
    return differ


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("compare", "group"), help="group: the results of one with the package at hand")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"default: all of {', '.join(GROUPS)}")
    parser.add_argument("--against", metavar="COMMIT", default="HEAD", help="default: %(default)s, without what is new")
    options = parser.parse_intermixed_args()
    groups = options.groups or list(GROUPS)
    if unknown := set(groups) - GROUPS.keys():
        parser.error(f"unknown groups {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    if options.what == "group":
        print(json.dumps(run_group(groups[0])))
        return
    sys.exit(compare(options.against, groups))


if __name__ == "__main__":
    main()
