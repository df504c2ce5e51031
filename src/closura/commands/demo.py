"""``closura demo`` and ``closura demo kolmogorov``: from nothing to closures that are evaluated and drawn.

Every step is a command that is printed before it runs: the demo is a script of what anybody would type. What is
finished is not done again, and what was interrupted goes on, so that the demo may be stopped and started at will.

``steps.json`` in the demo's folder says which command made what, and whether it came to its end. A step is done if the
same command has ended and its result is whole. What another command made is made again where that is cheap and all of
it comes from other results (evaluations, the filtered data, the ensemble), and refused where it is not (simulations,
fits).
"""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from closura.commands.console import console
from closura.commands.options import parse
from closura.commands.results import Outputs
from closura.entries import ENTRIES
from closura.io.files import write_atomically
from closura.parts import NotAllWritten, Parts
from closura.runs import RunFolder
from closura.settings import Count, Settings
from closura.trajectories import open_flow

RECORD = "steps.json"
"""File in the demo's folder: by result, the command that makes it and "begun", "finished", or "replace"."""


@dataclass(frozen=True)
class DemoOptions(Settings):
    """Options of the demo.

    Parameters
    ----------
    out
        Folder for the run, the table, the figures and the report.
    updates
        Updates of the training.
    simulations
        Held-out simulations.
    overwrite
        Replace the run of an earlier demo; otherwise an interrupted one goes on.
    """

    out: Path = Path("demo")
    updates: Count = 600
    simulations: Count = 50
    overwrite: bool = False


@dataclass(frozen=True)
class FlowDemoOptions(Settings):
    """Options of the demo.

    Parameters
    ----------
    out
        Folder for data, runs, tables, figures and reports.
    scale
        "quick" takes some five minutes on two cores and gives figures that mean something; "tiny" shows in two or three
        minutes that everything runs.
    closures
        Closures to fit.
    overwrite
        Begin anew.
    """

    out: Path = Path("demo-kolmogorov")
    scale: Literal["quick", "tiny"] = "quick"
    closures: tuple[Literal["gp", "conv", "vae", "flow", "diffusion"], ...] = ("gp", "conv")
    overwrite: bool = False


@dataclass(frozen=True)
class Step:
    """A command, as the words after ``closura``, and how to know that there is nothing left to do."""

    why: str
    words: tuple[str, ...]
    result: Path
    kind: Literal["simulation", "fit", "derived", "evaluation"]

    @property
    def line(self) -> str:
        """The command line."""
        return shlex.join(["closura", *self.words])

    @property
    def whole(self) -> bool:
        """Whether the result is whole: a data set that opens, a run that has finished, a report that exists."""
        if self.kind in ("simulation", "derived"):
            try:
                return open_flow(self.result) is not None
            except (FileNotFoundError, ValueError):
                return False
        if self.kind == "fit":
            return RunFolder(self.result).read_status().get("state") == "finished"
        return self.result.is_file()


# The default training, shortened.
TRAINING = """
--learning.horizons 4 --learning.fractions 1 --learning.batch 8
--reference.slots 64 --reference.steps 50 --reference.blocks 8 --reference.renew-every 100
--validation.simulations 16 --validation.steps 50 --validation.every 100
"""

_SIZES = {
    "quick": {
        "data": "--grid 64 --trajectories 8 --duration 120",
        "closure": "",
        "model": "",
        "rollout": "--steps 400 --members 8",
        "evaluate closures": "--members 40 --frames 50",
        "evaluate model": "--steps 400 --members 10 --starts 2",
    },
    "tiny": {
        "data": "--grid 32 --trajectories 4 --duration 24 --transient 60 --dt 0.02",
        "closure": "--settings.descent.updates 30 --validation.every 30",
        "model": "--settings.descent.updates 60 --validation.every 60 --validation.time 4 --settings.climate-steps 40",
        "rollout": "--steps 40 --members 3",
        "evaluate closures": "--members 20 --frames 10",
        "evaluate model": "--steps 40 --members 4 --starts 1 --slice 20",
    },
}


def _step(why: str, kind: Any, result: Path, *words: Any) -> Step:
    """A step; text is split into words, paths are words of their own."""
    found = [part for word in words for part in (word.split() if isinstance(word, str) else [str(word)])]
    return Step(why, tuple(found), result, kind)


def steps(options: DemoOptions) -> list[Step]:
    """A closure of advection, learned from synthetic images."""
    run, out = options.out / "run", options.out
    return [
        _step(
            "Advection on a 64 x 64 grid, reference on 256 x 256. A compact network learns, by gradients through the "
            "coarse solver, what the coarse grid gets wrong.",
            "fit", run, f"train advection --learning.updates {options.updates}", TRAINING, "--run", run,
        ),
        _step(
            "Evaluate it on held-out simulations, beside classical methods.", "evaluation", out / "report.html",
            "evaluate advection --closure", Path(f"compact={run}"), f"--simulations {options.simulations} --out", out,
        ),
    ]  # fmt: skip


def flow_steps(options: FlowDemoOptions) -> list[Step]:
    """Scale separation of a chaotic flow, from data to a closed ensemble."""
    out, sizes = options.out, _SIZES[options.scale]
    data, filtered, model, ensemble = (out / name for name in ("flow.zarr", "filtered.zarr", "rom", "ensemble.zarr"))
    count = sizes["data"].split()
    last = int(count[count.index("--trajectories") + 1]) - 1
    split = f"--preset quick --split.held-out {last} --split.validation {last - 1}"
    closures = [out / name for name in options.closures]
    best = out / ("conv" if "conv" in options.closures else options.closures[0])
    return [
        _step(
            "Simulate Kolmogorov flow at Reynolds number 34: some trajectories, of which the last is held out.",
            "simulation", data,
            "data generate kolmogorov --reynolds 34 --interval 0.12", sizes["data"], "--out", data,
        ),
        _step(
            "Look at what a low-pass filter takes away, by wavenumber. Fits filter by themselves.",
            "derived", filtered,
            "data filter", data, "--filter spectral --energy 0.9 --rule published --out", filtered,
            "--figure", out / "spectra.png",
        ),
        *(
            _step(
                f"Learn to give back what is missing: closure {run.name}.", "fit", run,
                f"train kolmogorov-closure --closure {run.name} --data", data, split,
                sizes["closure"] if run.name != "gp" else "", "--run", run,
            )
            for run in closures
        ),
        _step(
            "Evaluate the closures on the held-out trajectory.", "evaluation", out / "closures" / "report.html",
            "evaluate kolmogorov-closure --closure", *closures, "--data", data, sizes["evaluate closures"],
            "--json", out / "closures.json", "--out", out / "closures",
        ),
        _step(
            "Learn the dynamics of the large scales: a stochastic reduced-order model.", "fit", model,
            "train kolmogorov-rom --data", data, split, sizes["model"], "--run", model,
        ),
        _step(
            "Evaluate it: forecasts, long runs, before and after the closure.",
            "evaluation", out / "models" / "report.html",
            "evaluate kolmogorov-rom --rom", model, "--data", data, "--closure", best, sizes["evaluate model"],
            "--json", out / "rom.json", "--out", out / "models",
        ),
        _step(
            "Write a closed ensemble: full-resolution trajectories that were never simulated.", "derived", ensemble,
            "rollout", model, "--start", data, f"--trajectory {last} --closure", best, sizes["rollout"],
            "--out", ensemble,
        ),
    ]  # fmt: skip


def run_demo(arguments: Sequence[str]) -> None:
    """Run all steps of a demo that are not done."""
    if arguments and arguments[0] == "kolmogorov":
        flow = parse(
            FlowDemoOptions,
            arguments[1:],
            prog="closura demo kolmogorov",
            description="Scale separation of a chaotic flow, from data to a closed ensemble.",
        )
        if not flow.closures or len(set(flow.closures)) < len(flow.closures):
            raise ValueError("name at least one closure, and each once: --closures gp conv")
        _run(flow, flow_steps)
        return
    options = parse(
        DemoOptions,
        arguments,
        prog="closura demo",
        description="Learn a closure of advection from synthetic images in a few minutes, evaluate it, draw it.",
    )
    _run(options, steps)


def run_command(words: Sequence[str]) -> object:
    """Run one of the package's commands."""
    module, _, function = ENTRIES["closura.commands"][words[0]].partition(":")
    found: object = getattr(import_module(module), function)(words[1:])
    return found


def _run(options: Any, make: Callable[[Any], list[Step]]) -> None:
    Outputs(folders={"--out": options.out})
    begun, found = perf_counter(), make(options)
    inside = [step.line for step in make(replace(options, out=Path()))]
    record, parts = _Record(options.out, dict(zip(found, inside, strict=True)), overwrite=options.overwrite), Parts()
    plans = [record.plan(step) for step in found]
    if options.overwrite:
        record.write("replace", *found)
    for step, plan in zip(found, plans, strict=True):
        console.print(f"\n{step.why}", style="bold", soft_wrap=True)
        console.print(f"  {shlex.join(['closura', *step.words, *(plan or ())])}", soft_wrap=True)
        if plan is None:
            console.print("  (done before)")
            continue
        record.begin(step)
        try:
            run_command([*step.words, *plan])
        except NotAllWritten as error:
            parts.failures |= error.failures
        else:
            record.write("finished", step)
    pages = " and ".join(str(step.result) for step in found if step.kind == "evaluation")
    console.print(f"\n{(perf_counter() - begun) / 60:.1f} minutes. Open {pages}", soft_wrap=True)
    parts.close()


class _Record:
    """Which command made what in the demo's folder; written after every step, so that a kill loses none.

    Commands are kept as they would be typed inside of the folder (``lines``), so that it may be moved.
    """

    def __init__(self, out: Path, lines: dict[Step, str], *, overwrite: bool) -> None:
        self.out, self.lines, self.overwrite, self.path = out, lines, overwrite, out / RECORD
        self.entries: dict[str, dict[str, str]] = {}
        if overwrite or not self.path.exists():
            return
        try:
            for name, entry in json.loads(self.path.read_text()).items():
                self.entries[name] = {"command": _as_now(str(entry["command"])), "state": str(entry["state"])}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{self.path} is damaged: take another --out, or begin anew with --overwrite") from error

    def plan(self, step: Step) -> list[str] | None:
        """What to add to the words of a step; None if it is done. ValueError if something else is in the way."""
        there = step.result.exists()
        again = ["--overwrite"] if there else []
        if self.overwrite:
            return [] if step.kind == "evaluation" else again
        entry = self.entries.get(self._name(step))
        state = None if entry is None else entry["state"]
        if entry is not None and entry["command"] != self.lines[step]:
            state = "other"
        if state == "finished" and step.whole:
            return None
        if step.kind == "evaluation":
            return []
        if there and (state is None or (state == "other" and step.kind != "derived")):
            made = "by something else" if entry is None else f"by another command, {entry['command']}"
            raise ValueError(f"{step.result} was made {made}: take another --out, or begin anew with --overwrite")
        if state == "replace" or step.kind == "derived":
            return again
        if step.kind == "fit":
            return ["--resume"] if RunFolder(step.result).holds_run else []
        # A simulation that was interrupted goes on by itself; killed just after its end, there is nothing left to do.
        return None if step.whole else []

    def begin(self, step: Step) -> None:
        """Note whose work an unfinished result is; an interrupted --overwrite goes on without the word."""
        if self.entries.get(self._name(step)) != {"command": self.lines[step], "state": "replace"}:
            self.write("begun", step)

    def write(self, state: str, *found: Step) -> None:
        """Note how steps stand."""
        for step in found:
            self.entries[self._name(step)] = {"command": self.lines[step], "state": state}
        write_atomically(self.path, json.dumps(self.entries, indent=1) + "\n")

    def _name(self, step: Step) -> str:
        return str(step.result.relative_to(self.out))


def _as_now(command: str) -> str:
    """A recorded command as it is written today: earlier versions doubled a word of the first one."""
    return command.replace("data generate kolmogorov kolmogorov ", "data generate kolmogorov ", 1)
