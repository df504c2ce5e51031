"""``closura demo kolmogorov``: data, filter, closures, reduced-order model, evaluation, in one go.

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
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from closura.commands.console import console
from closura.commands.data import run_generate
from closura.commands.filtering import run_filter
from closura.commands.fitting import run_train_closure, run_train_model
from closura.commands.flow_closures import run_evaluate_closure
from closura.commands.flow_models import run_evaluate_model
from closura.commands.flow_rollouts import run_rollout
from closura.commands.options import parse
from closura.commands.results import Outputs
from closura.io.files import write_atomically
from closura.parts import NotAllWritten, Parts
from closura.runs import RunFolder
from closura.trajectories import open_flow

Scale = Literal["quick", "tiny"]

Kind = Literal["simulation", "fit", "derived", "evaluation"]

RECORD = "steps.json"
"""File in the demo's folder: by result, the command that makes it and "begun", "finished", or "replace"."""


@dataclass(frozen=True)
class FlowDemoOptions:
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
    kind: Kind

    @property
    def line(self) -> str:
        """The command line."""
        return f"{self.command} {shlex.join(self.arguments)}"

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


_SIZES: dict[Scale, dict[str, tuple[str, ...]]] = {
    "quick": {
        "data": ("--grid", "64", "--trajectories", "8", "--duration", "120"),
        "closure": (),
        "model": (),
        "rollout": ("--steps", "400", "--members", "8"),
        "evaluate closures": ("--members", "40", "--frames", "50"),
        "evaluate model": ("--steps", "400", "--members", "10", "--starts", "2"),
    },
    "tiny": {
        "data": ("--grid", "32", "--trajectories", "4", "--duration", "24", "--transient", "60", "--dt", "0.02"),
        "closure": ("--settings.descent.updates", "30", "--validation.every", "30"),
        "model": (
            "--settings.descent.updates",
            "60",
            "--validation.every",
            "60",
            "--validation.time",
            "4",
            "--settings.climate-steps",
            "40",
        ),
        "rollout": ("--steps", "40", "--members", "3"),
        "evaluate closures": ("--members", "20", "--frames", "10"),
        "evaluate model": ("--steps", "40", "--members", "4", "--starts", "1", "--slice", "20"),
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
            "closura data generate",
            run_generate,
            ("kolmogorov", "--reynolds", "34", "--interval", "0.12", *sizes["data"], "--out", str(data)),
            data,
            "simulation",
        ),
        _Step(
            "Look at what a low-pass filter takes away, by wavenumber. Fits filter by themselves.",
            "closura data filter",
            run_filter,
            (str(data), "--filter", "spectral", "--energy", "0.9", "--rule", "published", "--out", str(filtered),
             "--figure", str(out / "spectra.png")),
            filtered,
            "derived",
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
                "fit",
            )
        )
    found += [
        _Step(
            "Judge the closures on the held-out trajectory.",
            "closura evaluate kolmogorov-closure",
            run_evaluate_closure,
            ("--closure", *map(str, closures), "--data", str(data), *sizes["evaluate closures"], "--json",
             str(out / "closures.json"), "--out", str(out / "closures")),
            out / "closures" / "report.html",
            "evaluation",
        ),
        _Step(
            "Learn the dynamics of the large scales: a stochastic reduced-order model.",
            "closura train kolmogorov-rom",
            run_train_model,
            ("--data", str(data), "--preset", "quick", *split, *sizes["model"], "--run", str(model)),
            model,
            "fit",
        ),
        _Step(
            "Judge it: forecasts, long runs, before and after the closure.",
            "closura evaluate kolmogorov-rom",
            run_evaluate_model,
            ("--rom", str(model), "--data", str(data), "--closure", str(best), *sizes["evaluate model"], "--json",
             str(out / "rom.json"), "--out", str(out / "models")),
            out / "models" / "report.html",
            "evaluation",
        ),
        _Step(
            "Write a closed ensemble: full-resolution trajectories that were never simulated.",
            "closura rollout",
            run_rollout,
            (str(model), "--start", str(data), "--trajectory", str(last), "--closure", str(best), *sizes["rollout"],
             "--out", str(rollout)),
            rollout,
            "derived",
        ),
    ]  # fmt: skip
    return found


def run_demo_flow(arguments: Sequence[str]) -> None:
    """Run all steps that are not done.

    Raises
    ------
    ValueError
        If the folder holds simulations or fits of another demo; nothing has run then.
    """
    options = parse(
        FlowDemoOptions,
        arguments,
        prog="closura demo kolmogorov",
        description="Scale separation of a chaotic flow, from data to a closed ensemble.",
    )
    if not options.closures or len(set(options.closures)) < len(options.closures):
        raise ValueError("name at least one closure, and each once: --closures gp conv")
    Outputs(folders={"--out": options.out})
    begun = perf_counter()
    record = _Record(options)
    found = steps(options)
    plans = [record.plan(step) for step in found]
    if options.overwrite:
        record.replace(found)
    parts = Parts()
    for step, plan in zip(found, plans, strict=True):
        console.print(f"\n{step.why}", style="bold", soft_wrap=True)
        console.print(f"  {shlex.join([*shlex.split(step.line), *(plan or ())])}", soft_wrap=True)
        if plan is None:
            console.print("  (done before)")
            continue
        record.begin(step)
        try:
            step.function([*step.arguments, *plan])
        except NotAllWritten as error:
            parts.failures |= error.failures
        else:
            record.write(step, "finished")
    console.print(
        f"\n{(perf_counter() - begun) / 60:.1f} minutes. Open {options.out / 'closures' / 'report.html'} and "
        f"{options.out / 'models' / 'report.html'}",
        soft_wrap=True,
    )
    parts.close()


class _Record:
    """Which command made what in the demo's folder; written after every step, so that a kill loses none.

    Commands are kept as they would be typed inside of the folder, so that it may be moved.
    """

    def __init__(self, options: FlowDemoOptions) -> None:
        self.out, self.overwrite = options.out, options.overwrite
        self.lines = {str(step.result): step.line for step in steps(replace(options, out=Path()))}
        self.path = options.out / RECORD
        self.entries: dict[str, dict[str, str]] = {}
        if self.overwrite:
            return
        try:
            entries = json.loads(self.path.read_text())
            self.entries = {
                name: {"command": _as_now(str(entry["command"])), "state": str(entry["state"])}
                for name, entry in entries.items()
            }
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{self.path} is damaged: take another --out, or begin anew with --overwrite") from error

    def plan(self, step: _Step) -> list[str] | None:
        """What to add to the arguments of a step; None if it is done.

        Raises
        ------
        ValueError
            If the result of something else is in the way.
        """
        there = step.result.exists()
        again = ["--overwrite"] if there else []
        if self.overwrite:
            return [] if step.kind == "evaluation" else again
        name = self._name(step)
        entry = self.entries.get(name)
        state = None if entry is None else entry["state"]
        if entry is not None and entry["command"] != self.lines[name]:
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

    def replace(self, found: Sequence[_Step]) -> None:
        """Note that whatever is there may go: an interrupted --overwrite goes on without the word."""
        self.entries = {self._name(step): self._entry(step, "replace") for step in found}
        self._save()

    def begin(self, step: _Step) -> None:
        """Note whose work an unfinished result is."""
        if self.entries.get(self._name(step)) != self._entry(step, "replace"):
            self.write(step, "begun")

    def write(self, step: _Step, state: str) -> None:
        """Note how a step stands."""
        self.entries[self._name(step)] = self._entry(step, state)
        self._save()

    def _name(self, step: _Step) -> str:
        return str(step.result.relative_to(self.out))

    def _entry(self, step: _Step, state: str) -> dict[str, str]:
        return {"command": self.lines[self._name(step)], "state": state}

    def _save(self) -> None:
        write_atomically(self.path, json.dumps(self.entries, indent=1) + "\n")


def _as_now(command: str) -> str:
    """A recorded command as it is written today: earlier versions doubled a word of the first one."""
    return command.replace("data generate kolmogorov kolmogorov ", "data generate kolmogorov ", 1)
