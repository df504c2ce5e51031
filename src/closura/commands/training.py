"""``closura train``: learn a closure and leave a run folder behind."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from closura.closures import CLOSURES
from closura.commands.console import console, say_verdict, training_bar
from closura.commands.options import HELP, Group, given, only_options, parse_groups, use_precision
from closura.commands.problems import FITS, is_place, named_problem, options_of
from closura.core import Registry
from closura.core.definition import ProblemDefinition
from closura.core.registry import source_of
from closura.learners import LEARNERS
from closura.problems import PROBLEMS, family
from closura.runs import RunFolder, TrainConfiguration, train
from closura.runs.configuration import PRESETS, Preset, train_preset
from closura.runs.tracking import Tracker
from closura.runs.training import suited_learner


@dataclass(frozen=True)
class RunOptions:
    """Where the run lives.

    Parameters
    ----------
    preset
        Settings that belong together: "default" learns best per unit of time, "quick" takes minutes (a tenth of the
        learner's updates where the problem has no such preset), others produced published weights. Other options
        change single settings.
    run
        The run's folder (default: runs/PROBLEM-LEARNER-CLOSURE-DATA-seedS).
    resume
        Go on from the folder's last checkpoint, with the folder's settings.
    overwrite
        Replace a run that is already in the folder.
    data_dir
        Folder whose subfolders mnist/ and fashion-mnist/ hold IDX image files (default: CLOSURA_DATA, then the
        download cache).
    trackers
        Send metrics to "wandb" or "tensorboard" too (needs closura[tracking]).
    """

    preset: Preset = "default"
    run: Path | None = None
    resume: bool = False
    overwrite: bool = False
    data_dir: Path | None = None
    trackers: tuple[Tracker, ...] = ()


def run_train(arguments: Sequence[str]) -> Any:
    """Parse the command's arguments and train."""
    if arguments and arguments[0] in FITS:
        return FITS.find(arguments[0])(arguments[1:])
    options, configuration = parse_train(arguments)
    folder = options.run or default_folder(configuration)
    use_precision(configuration.problem)
    console.print(f"run folder: {folder}", soft_wrap=True)
    with training_bar() as report:
        result = train(
            configuration,
            folder,
            data_dir=options.data_dir,
            resume=options.resume,
            overwrite=options.overwrite,
            trackers=options.trackers,
            report=report,
        )
    console.print(
        f"validation {result.validation} at step {configuration.validation.steps} "
        f"(without a closure {result.uncorrected}), {result.updates} updates, "
        f"{result.transitions:.0f} transitions, {result.seconds:.0f} s\n"
        f"evaluate it on held-out data: closura evaluate {shlex.quote(arguments[0])} --closure "
        f"{shlex.quote(str(folder))}",
        soft_wrap=True,
        highlight=False,
    )
    say_verdict(result.verdict, f"{result.validation} against {result.uncorrected} without a closure")
    return result


def default_folder(configuration: TrainConfiguration) -> Path:
    """The folder of a run that was given none."""
    c = configuration
    learner, closure = LEARNERS.find(c.learner).name, CLOSURES.find(c.closure).name
    return Path("runs") / f"{c.name}-{learner}-{closure}-{family(c.name).label(c.problem)}-seed{c.seed}"


def parse_train(arguments: Sequence[str]) -> tuple[RunOptions, TrainConfiguration]:
    """Resolve preset and options into a configuration.

    The problem, the preset, the learner and the closure decide which further options there are and their
    defaults, so they are read first; with ``--resume`` the defaults are the run's own settings.
    """
    known = given(arguments, "--preset", "--learner", "--closure", "--run", "--resume")
    if arguments and is_place(arguments[0]):
        named_problem(arguments, "train")
    folder = known["--run"]
    if known["--resume"] is not None and folder and RunFolder(folder).holds_run:
        default = RunFolder(folder).read_configuration()
        _check_resumed(arguments, known, default, folder)
    else:
        preset: Any = known["--preset"] if known["--preset"] in PRESETS else "default"
        learner, closure = _known(LEARNERS, known["--learner"]), _known(CLOSURES, known["--closure"])
        found = named_problem(arguments, "train", others=FITS)
        if found is not None and learner is None and not HELP & set(arguments) and source_of(found) is not None:
            learner = _suited(found, preset, arguments[1:])
        default = train_preset(preset, problem="" if found is None else found.name, learner=learner, closure=closure)
    place = family(default.name).where
    typed = arguments[0] if arguments and is_place(arguments[0]) else default.name
    choices = {
        "learner": list(dict.fromkeys([*LEARNERS.names(), default.learner])),
        "closure": list(dict.fromkeys([*(n for n in CLOSURES if CLOSURES.find(n).where == place), default.closure])),
    }
    network = Group(default.network, CLOSURES.find(default.closure).group)
    options, chosen, problem, network, learning, reference, validation = parse_groups(
        arguments if not arguments or arguments[0].startswith("-") else arguments[1:],
        options_of(RunOptions, family(default.name)),
        Group(default, only=OWN, choices=choices),
        Group(default.problem),
        network,
        Group(default.learning, "learning"),
        Group(default.reference, "reference"),
        Group(default.validation, "validation"),
        prog=f"closura train {shlex.quote(typed)}",
        description="Learn a closure.",
    )
    return options, replace(
        chosen,
        problem=problem,
        network=network,
        learning=learning,
        reference=reference,
        validation=validation,
        files=(),
    )


def _suited(problem: ProblemDefinition, preset: Preset, arguments: Sequence[str]) -> str | None:
    """The learner that a problem from a file takes where nothing names one; it is built as the arguments say."""
    if problem.preset(preset).get("learner"):
        return None
    usual = problem.settings()
    own = only_options(arguments, [f.name for f in fields(usual)])
    learner = suited_learner(parse_groups(own, Group(usual), prog="closura train", description="")[0])
    if learner:
        console.print(f"learner {learner}: the solver runs outside JAX and has no gradient", soft_wrap=True)
    return learner or None


OWN = ("learner", "closure", "seed", "initial_std", "keep_every", "log_every", "transitions")
"""Settings of a training that belong to none of its parts."""


def _known(registry: Registry[Any], text: str | None) -> str | None:
    """A name that a registry knows, or the place of an entry; None for others, which parsing refuses."""
    if text is None or (text not in registry and not {".", ":"} & set(text)):
        return None
    registry.find(text)
    return text


def _check_resumed(arguments: Sequence[str], known: dict[str, Any], stored: TrainConfiguration, folder: str) -> None:
    """Refuse names that a run cannot go on with, before their options are asked of the wrong classes."""
    first = arguments[0] if arguments else None
    if first and is_place(first):
        first = family(first).name
    asked = {"problem": first, "learner": known["--learner"]}
    for what, valid, has in (("problem", PROBLEMS, stored.name), ("learner", LEARNERS, stored.learner)):
        if asked[what] in valid and asked[what] != has:
            raise ValueError(
                f"{folder} is a run with {what} {has}; it cannot be resumed with {asked[what]}. Resume it as: closura "
                f"train {shlex.quote(family(stored.name).place)} --run {shlex.quote(str(folder))} --resume"
            )
