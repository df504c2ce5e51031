"""Learned numerical schemes: the ablation of the default agent, and the shipped agents against classical schemes.

    python benchmarks/schemes.py ablation [--only "NAME;NAME"] [--updates 1000]
    python benchmarks/schemes.py bars

``ablation`` trains one agent for each change of the default settings of ``burgers-1d`` (and of ``euler-1d``), the same
number of updates and the same seed, and evaluates all of them on initial conditions that none has seen: the geometric
mean over six of the L2 error at N = 128 relative to WENO5-JS (RK4, C = 0.1, T = 0.2, 8 random shifts by less than a
cell), the largest of the six ratios, and the error on smooth flow (sine, T = 0.05, N = 256) by that of WENO5-JS. For
``euler-1d``: density L1 relative to WENO5-JS on Sod, Lax, sod2 (N = 128) and Shu-Osher (N = 200).

``bars`` runs the agents that come with the package: errors, smooth order, grids, and density errors.

Results go to ``benchmarks/results/schemes/``.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "schemes"
SIX = ("smooth-sine", "rarefaction", "accelshock", "other-sine", "gaussian", "tophat")
TUBES = {"sod": 128, "lax": 128, "sod2": 128, "shu-osher": 200}

BASE: dict[str, dict[str, dict[str, Any]]] = {
    "burgers-1d": {"weights": {"gate": (2.0, 10.0), "largest": 4.0}, "problem": {"overshoot": 1.0}},
    "euler-1d": {},
}
"""What the rows of the ablation differ from. The default of ``burgers-1d`` was chosen after it, by validation error."""

ABLATIONS: dict[str, dict[str, dict[str, Any]]] = {
    "base": {},
    "untrained": {"learning": {"updates": 1, "learning_rate": 1e-12}},
    "no weight on overshoots": {"problem": {"overshoot": 0.0}},
    "gate from 1.1 to 2, bound 8, overshoot 2 (the default)": {
        "weights": {"gate": (1.1, 2.0), "largest": 8.0},
        "problem": {"overshoot": 2.0},
    },
    "target: one step of WENO5-JS": {
        "problem": {"target": "one-step"},
        "learning": {"loss": "reward", "proceed": 0.0},
        "reference": {"slots": 0},
    },
    "reward without reference": {"problem": {"reward": "free"}, "learning": {"loss": "reward"}},
    "three published initial conditions": {
        "problem": {"initial": ("smooth-sine", "rarefaction", "accelshock"), "courant": (0.1, 0.1)},
        "reference": {"slots": 3, "blocks": 1, "renew_every": 0},
    },
    "one Courant number, 0.4": {"problem": {"courant": (0.4, 0.4)}},
    "no sizes of stencils": {"problem": {"observe_sizes": False}},
    "published form (no symmetry, no gate)": {
        "weights": {"form": "published", "largest": 0.0},
        "problem": {"observe_sizes": False},
    },
    "gate always open": {"weights": {"gate": (1.0001, 1.001)}},
    "gate of TENO (5 to 25)": {"weights": {"gate": (5.0, 25.0)}},
    "strong cut-off (power 2, softening 1e-3)": {"weights": {"power": 2.0, "softening": 1e-3}},
    "no cut-off (power 0)": {"weights": {"power": 0.0}},
    "even in the sign": {"weights": {"even": True}},
    "local Lax-Friedrichs": {"problem": {"splitting": "local"}},
    "wider stencil (r = 4)": {"problem": {"scheme": "weno7-js"}},
    "hidden 64-64": {"weights": {"hidden": (64, 64)}},
    "hidden 16-16": {"weights": {"hidden": (16, 16)}},
    "windows of 8 steps": {"learning": {"horizons": (8,), "fractions": (1.0,)}},
    "mean error as loss": {"learning": {"loss": "mae"}},
    "root of the error as loss": {"learning": {"loss": "root"}},
    "gradient limited by batch": {"learning": {"clip": "batch"}},
    "every window begins on the reference": {"learning": {"proceed": 0.0}},
    "euler: base": {},
    "euler: untrained": {"learning": {"updates": 1, "learning_rate": 1e-12}},
    "euler: no positivity": {"problem": {"positivity": False}},
    "euler: not even in the sign": {"weights": {"even": False}},
    "euler: characteristic": {"problem": {"projection": "characteristic"}},
    "euler: strong cut-off (power 2, softening 1e-3)": {"weights": {"power": 2.0, "softening": 1e-3}},
    "euler: no sizes of stencils": {"problem": {"observe_sizes": False}},
}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("ablation", "bars"))
    parser.add_argument("--only", default="", help="names of ablations, with semicolons")
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs") / "ablation")
    given = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    if given.what == "bars":
        (RESULTS / "bars.json").write_text(json.dumps(_bars(), indent=1) + "\n")
        return
    names = given.only.split(";") if given.only else list(ABLATIONS)
    for name in names:
        folder = given.runs / "".join(c if c.isalnum() else "-" for c in name)
        row = {"name": name, "updates": given.updates, "seed": given.seed, **_ablation(name, folder, given)}
        print(json.dumps(row), flush=True)
        path = RESULTS / "ablation.json"
        rows = json.loads(path.read_text()) if path.exists() else []
        rows = [r for r in rows if r["name"] != name] + [row]
        path.write_text(json.dumps(rows, indent=1) + "\n")


def _ablation(name: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Train in this process, evaluate in another one."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from closura.runs import TrainingDiverged, train
    from closura.runs.configuration import train_preset

    problem = "euler-1d" if name.startswith("euler") else "burgers-1d"
    c = train_preset("default", problem=problem)
    c = replace(c, learning=replace(c.learning, updates=given.updates), seed=given.seed)
    c = _changed(_changed(c, BASE[problem]), ABLATIONS[name])
    if "reference" in ABLATIONS[name]:
        c = replace(c, validation=replace(c.validation, simulations=3))
    try:
        result = train(c, folder, overwrite=True)
    except TrainingDiverged as error:
        return {"failed": str(error)}
    extra = ["--splitting", c.problem.splitting, "--projection", c.problem.projection]
    baseline = c.problem.scheme
    scores = _score_tubes(folder, baseline, extra) if problem == "euler-1d" else _score_six(folder, baseline, extra)
    return {"validation": result.validation_error, "seconds": round(result.seconds), **scores}


def _changed(configuration: Any, changes: dict[str, dict[str, Any]]) -> Any:
    """All parts at once: settings are checked together."""
    return replace(
        configuration, **{part: replace(getattr(configuration, part), **new) for part, new in changes.items()}
    )


def _score_six(closure: Path | str, baseline: str, extra: list[str]) -> dict[str, Any]:
    """Ratios to WENO5-JS with global splitting, whatever the agent's own stencil and splitting are."""
    methods = "weno5-js" if baseline == "weno5-js" else f"weno5-js,{baseline}"
    base = _errors("burgers-1d", "weno5-js", None, SIX, (128,), ["--shifts", "8"])
    ours = _errors("burgers-1d", methods, closure, SIX, (128,), ["--shifts", "8", *extra])
    ratios = {n: ours["agent"][n]["128"]["l2"] / base["weno5-js"][n]["128"]["l2"] for n in SIX}
    means = {n: ours["agent"][n]["128"]["l1"] / base["weno5-js"][n]["128"]["l1"] for n in SIX}
    smooth = _errors("burgers-1d", "weno5-js", closure, ("smooth-sine",), (64, 128, 256), ["--time", "0.05", *extra])
    return {
        "l2": _geometric(ratios.values()),
        "l1": _geometric(means.values()),
        "largest": max(ratios.values()),
        "ratios": ratios,
        "smooth": {
            n: smooth["agent"]["smooth-sine"][n]["l2"] / smooth["weno5-js"]["smooth-sine"][n]["l2"]
            for n in ("64", "128", "256")
        },
    }


def _score_tubes(closure: Path | str, baseline: str, extra: list[str]) -> dict[str, Any]:
    """Density errors relative to WENO5-JS by component."""
    ratios = {}
    for name, cells in TUBES.items():
        base = _errors("euler-1d", "weno5-js", None, (name,), (cells,), [])
        ours = _errors("euler-1d", baseline, closure, (name,), (cells,), extra)
        found = ours["agent"][name][str(cells)]
        ratios[name] = math.inf if found["diverged"] else found["l1"] / base["weno5-js"][name][str(cells)]["l1"]
    return {"l1": _geometric(ratios.values()), "ratios": ratios}


def _bars() -> dict[str, Any]:
    """The agents of the package, as the documentation reports them."""
    methods = "weno3-js,weno5-js,weno5-z,teno5"
    grids = (64, 128, 256, 512)
    burgers = _errors("burgers-1d", methods, "burgers-1d", SIX, grids, ["--shifts", "16"])
    smooth = _errors("burgers-1d", methods, "burgers-1d", ("smooth-sine",), grids, ["--time", "0.05"])
    tubes = {name: _errors("euler-1d", methods, "euler-1d", (name,), (n,), []) for name, n in TUBES.items()}
    return {"six": burgers, "smooth": smooth, "tubes": tubes}


def _errors(
    problem: str,
    methods: str,
    closure: Path | str | None,
    initial: tuple[str, ...],
    cells: tuple[int, ...],
    extra: list[str],
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "errors.json"
        command = [
            *(sys.executable, "-m", "closura", "evaluate", problem, "--initial", ",".join(initial)),
            *("--cells", ",".join(map(str, cells)), "--methods", methods, "--json", str(path), "--no-timing", *extra),
        ]
        if closure is not None:
            command += ["--closure", f"agent={closure}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ)
        found: dict[str, Any] = json.loads(path.read_text())["methods"]
    return found


def _geometric(values: Any) -> float:
    values = list(values)
    return math.exp(sum(math.log(v) for v in values) / len(values)) if all(map(math.isfinite, values)) else math.inf


if __name__ == "__main__":
    main()
