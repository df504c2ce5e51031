"""``closura demo kolmogorov``: data, filter, closures, reduced-order model, judgement, in one go.

Every step is a command that is printed before it runs: the demo is a script of what anybody would type. What is
finished is not done again, and what was interrupted goes on, so that the demo may be stopped and started at will.
"""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import tyro

from closura.commands.console import console
from closura.commands.data import run_generate
from closura.commands.filtering import run_filter
from closura.commands.fitting import run_train_closure, run_train_model
from closura.commands.flows import run_evaluate_closure, run_evaluate_model, run_rollout
from closura.runs import RunFolder
from closura.trajectories import open_flow

Scale = Literal["quick", "tiny"]


@dataclass(frozen=True)
class FlowDemoOptions:
    """Options of the demo.

    Parameters
    ----------
    out
        Folder for data, runs, tables, figures and reports.
    scale
        "quick" takes some ten minutes on two cores and gives figures that mean something; "tiny" shows in two or three
        minutes that everything runs.
    closures
        Closures to fit.
    overwrite
        Begin anew.
    """

    out: Path = Path("demo-kolmogorov")
    scale: Scale = "quick"
    closures: tuple[Literal["gp", "conv", "vae", "flow", "diffusion"], ...] = ("gp", "conv")
    overwrite: bool = False


@dataclass(frozen=True)
class _Step:
    """A command, and how to know that there is nothing left to do."""

    why: str
    command: str
    function: Callable[[Sequence[str]], Any]
    arguments: tuple[str, ...]
    result: Path

    @property
    def done(self) -> bool:
        """Whether the result is whole: a data set that opens, a run that has finished, a file that exists."""
        if self.result.suffix == ".zarr":
            try:
                return open_flow(self.result) is not None
            except (FileNotFoundError, ValueError):
                return False
        if self.command.startswith("closura train"):
            return RunFolder(self.result).read_status().get("state") == "finished"
        return self.result.exists()


_SIZES: dict[Scale, dict[str, tuple[str, ...]]] = {
    "quick": {
        "data": ("--grid", "64", "--trajectories", "8", "--duration", "120"),
        "closure": (),
        "model": (),
        "rollout": ("--steps", "400", "--members", "8"),
        "judge": ("--members", "40", "--frames", "50"),
        "judge model": ("--steps", "400", "--members", "10", "--starts", "2"),
    },
    "tiny": {
        "data": ("--grid", "32", "--trajectories", "4", "--duration", "24", "--transient", "60", "--dt", "0.02"),
        "closure": ("--recipe.descent.updates", "30", "--judge.every", "30"),
        "model": (
            "--recipe.descent.updates",
            "60",
            "--judge.every",
            "60",
            "--judge.time",
            "4",
            "--recipe.climate-steps",
            "40",
        ),
        "rollout": ("--steps", "40", "--members", "3"),
        "judge": ("--members", "20", "--frames", "10"),
        "judge model": ("--steps", "40", "--members", "4", "--starts", "1", "--slice", "20"),
    },
}


def steps(options: FlowDemoOptions) -> list[_Step]:
    """All commands of the demo."""
    out, sizes = options.out, _SIZES[options.scale]
    data, filtered = out / "flow.zarr", out / "filtered.zarr"
    model, rollout = out / "rom", out / "ensemble.zarr"
    last = int(sizes["data"][sizes["data"].index("--trajectories") + 1]) - 1
    split = ("--split.held-out", str(last), "--split.validation", str(last - 1))
    closures = [out / name for name in options.closures]
    best = out / ("conv" if "conv" in options.closures else options.closures[0])
    found = [
        _Step(
            "Simulate Kolmogorov flow at Reynolds number 34: some trajectories, of which the last is held out.",
            "closura data generate kolmogorov",
            run_generate,
            ("kolmogorov", "--reynolds", "34", "--interval", "0.12", *sizes["data"], "--out", str(data)),
            data,
        ),
        _Step(
            "Look at what a low-pass filter takes away, by wavenumber. Fits filter by themselves.",
            "closura data filter",
            run_filter,
            (str(data), "--filter", "spectral", "--energy", "0.9", "--rule", "published", "--out", str(filtered),
             "--figure", str(out / "spectra.png")),
            filtered,
        ),
    ]  # fmt: skip
    for name, run in zip(options.closures, closures, strict=True):
        own = sizes["closure"] if name != "gp" else ()
        found.append(
            _Step(
                f"Learn to give back what is missing: closure {name}.",
                "closura train kolmogorov-closure",
                run_train_closure,
                ("--closure", name, "--data", str(data), "--preset", "quick", *split, *own, "--run", str(run)),
                run,
            )
        )
    found += [
        _Step(
            "Judge the closures on the held-out trajectory.",
            "closura evaluate kolmogorov-closure",
            run_evaluate_closure,
            ("--closure", *map(str, closures), "--data", str(data), *sizes["judge"], "--json",
             str(out / "closures.json"), "--out", str(out / "closures")),
            out / "closures.json",
        ),
        _Step(
            "Learn the dynamics of the large scales: a stochastic reduced-order model.",
            "closura train kolmogorov-rom",
            run_train_model,
            ("--data", str(data), "--preset", "quick", *split, *sizes["model"], "--run", str(model)),
            model,
        ),
        _Step(
            "Judge it: forecasts, long runs, before and after the closure.",
            "closura evaluate kolmogorov-rom",
            run_evaluate_model,
            ("--rom", str(model), "--data", str(data), "--closure", str(best), *sizes["judge model"], "--json",
             str(out / "rom.json"), "--out", str(out / "models")),
            out / "rom.json",
        ),
        _Step(
            "Write a closed ensemble: full-resolution trajectories that were never simulated.",
            "closura rollout",
            run_rollout,
            (str(model), "--start", str(data), "--trajectory", str(last), "--closure", str(best), *sizes["rollout"],
             "--out", str(rollout)),
            rollout,
        ),
    ]  # fmt: skip
    return found


def run_demo_flow(arguments: Sequence[str]) -> None:
    """Run all steps that are not done."""
    options = tyro.cli(
        FlowDemoOptions,
        prog="closura demo kolmogorov",
        args=list(arguments),
        description="Scale separation of a chaotic flow, from data to a closed ensemble.",
    )
    if not options.closures or len(set(options.closures)) < len(options.closures):
        raise ValueError("name at least one closure, and each once: --closures gp conv")
    begun = perf_counter()
    for step in steps(options):
        console.print(f"\n{step.why}", style="bold", soft_wrap=True)
        console.print(f"  {step.command} {shlex.join(_again(step, options))}", soft_wrap=True)
        if step.done and not options.overwrite:
            console.print("  (done before)")
            continue
        step.function(_again(step, options))
    console.print(
        f"\n{(perf_counter() - begun) / 60:.1f} minutes. Open {options.out / 'closures' / 'report.html'} and "
        f"{options.out / 'models' / 'report.html'}",
        soft_wrap=True,
    )


def _again(step: _Step, options: FlowDemoOptions) -> list[str]:
    """The arguments, and how to go on with or replace what is there."""
    arguments = list(step.arguments)
    trains = step.command.startswith("closura train")
    run = Path(arguments[-1])
    if trains and RunFolder(run).holds_run and not options.overwrite:
        return [*arguments, "--resume"]
    judges = step.command.startswith("closura evaluate")
    return [*arguments, "--overwrite"] if options.overwrite and not judges else arguments
