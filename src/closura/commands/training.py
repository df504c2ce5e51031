"""``closura train``: learn a closure and leave a run folder behind."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from closura.closures import CLOSURES
from closura.commands.console import console, say_verdict, training_bar
from closura.commands.options import argument, parse, pre_parse, use_precision
from closura.commands.problems import is_place, named_problem
from closura.core import Registry
from closura.learners import LEARNERS
from closura.problems import PROBLEMS, family
from closura.runs import RunFolder, TrainConfiguration, TruthConfiguration, ValidationConfiguration, train
from closura.runs.configuration import Preset
from closura.runs.presets import PRESETS, train_preset
from closura.runs.tracking import Tracker
from closura.settings import Count, Natural, NotNegative, Seed, Settings


@dataclass(frozen=True)
class RunOptions:
    """Where the run lives.

    Parameters
    ----------
    preset
        Settings that belong together: "paper" is what produced the published weights, "default" learns best
        per unit of time, "quick" takes minutes. Other options change single settings.
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


FITTED = ("kolmogorov-closure", "kolmogorov-rom")
"""What is fitted to data sets of flows, not trained in a simulation."""


def run_train(arguments: Sequence[str]) -> Any:
    """Parse the command's arguments and train."""
    if arguments and arguments[0] in FITTED:
        from closura.commands.fitting import KINDS  # it needs what fits to data need

        return KINDS[arguments[0]](arguments[1:])
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
        f"judge it on held-out data: closura evaluate {shlex.quote(arguments[0])} --closure {shlex.quote(str(folder))}",
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
    known = pre_parse(arguments, ("--preset", "--learner", "--closure", "--run"), flags=("--resume",))
    if arguments and is_place(arguments[0]):
        named_problem(arguments, "train")
    folder = known["--run"]
    if known["--resume"] and folder and RunFolder(folder).holds_run:
        default = RunFolder(folder).read_configuration()
        _check_resumed(arguments, known, default, folder)
    else:
        preset: Any = known["--preset"] if known["--preset"] in PRESETS else "default"
        learner, closure = _known(LEARNERS, known["--learner"]), _known(CLOSURES, known["--closure"])
        found = named_problem(arguments, "train", others=FITTED)
        name = "advection" if found is None else found.name
        default = train_preset(preset, problem=name, learner=learner, closure=closure)
    kind = _arguments(default)
    group = CLOSURES.find(default.closure).group
    network = {group: default.network} if fields(default.network) else {}
    parsed = parse(
        kind,
        arguments,
        prog="closura train",
        description="Learn a closure.",
        default=kind(
            name=default.name, options=RunOptions(), problem=default.problem, closure=default.closure,
            learner=default.learner, learning=default.learning, truth=default.truth, validation=default.validation,
            rest=_Rest.of(default), **network,
        ),
    )  # fmt: skip
    configuration = TrainConfiguration(
        name=default.name, problem=parsed.problem, closure=parsed.closure, network=getattr(parsed, group, None),
        learner=parsed.learner, learning=parsed.learning, truth=parsed.truth, validation=parsed.validation,
        initial_std=parsed.rest.initial_std, keep_every=parsed.rest.keep_every, log_every=parsed.rest.log_every,
        transitions=parsed.rest.transitions, seed=parsed.rest.seed,
    )  # fmt: skip
    return parsed.options, configuration


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
                f"train {stored.name} --run {shlex.quote(str(folder))} --resume"
            )


_Name = tyro.conf.Positional[str]


@dataclass(frozen=True)
class _Rest(Settings):
    """Further settings.

    Parameters
    ----------
    seed
        Seed of everything random.
    initial_std
        Spread of a policy before training, in units of the action; 0 is the closure's own choice.
    keep_every
        Updates between checkpoints that are kept for good, beside the best and the last; 0 keeps none.
    log_every
        Updates that are averaged into one row of metrics.
    transitions
        Stop after so many transitions even if updates are left; 0 sets no limit.
    """

    seed: Seed = 0
    initial_std: NotNegative = 0.01
    keep_every: Natural = 0
    log_every: Count = 10
    transitions: Natural = 0

    @staticmethod
    def of(c: TrainConfiguration) -> "_Rest":
        return _Rest(c.seed, c.initial_std, c.keep_every, c.log_every, c.transitions)


def _arguments(default: TrainConfiguration) -> Any:
    """The arguments of ``closura train`` for one problem, one learner and one closure."""
    flat = tyro.conf.arg(name="")
    learners: Any = Literal[tuple(dict.fromkeys((*LEARNERS.names(), default.learner)))]
    closures: Any = Literal[tuple(dict.fromkeys((*CLOSURES.names(), default.closure)))]
    network = [(CLOSURES.find(default.closure).group, type(default.network))] if fields(default.network) else []
    return make_dataclass(
        "TrainArguments",
        [
            ("name", Annotated[_Name, argument("the problem")]),
            ("options", Annotated[RunOptions, flat]),
            ("learner", Annotated[learners, argument("how the closure learns")]),
            ("closure", Annotated[closures, argument("the network")]),
            ("problem", Annotated[type(default.problem), flat]),
            ("rest", Annotated[_Rest, flat]),
            *network,
            ("learning", type(default.learning)),
            ("truth", TruthConfiguration),
            ("validation", ValidationConfiguration),
        ],
        frozen=True,
    )
