"""``closura evaluate kolmogorov`` and ``turbulence``: coarse models of a flow from the same held-out starts."""

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from closura.closures import AnyClosure
from closura.commands.console import console
from closura.commands.evaluation import evaluation_key, named_closure
from closura.commands.options import argument, use_precision
from closura.commands.settings import trained_settings
from closura.evaluation.turbulence import TurbulenceEvaluation, print_tables, publish, run_study, write_json
from closura.interop import load_closure
from closura.problems import (
    OF_THE_CLOSURE,
    KolmogorovConfiguration,
    Problem,
    as_trained,
    build_problem,
    judged_on,
    simulate_truth,
)
from closura.problems.kolmogorov.setup import coarse_solver, steps_of
from closura.problems.kolmogorov.smagorinsky import tune
from closura.runs.configuration import to_plain
from closura.runs.environment import describe_environment
from closura.runs.presets import problem_preset

FLOWS = ("kolmogorov", "turbulence")


@dataclass(frozen=True)
class TurbulenceOptions:
    """What to run and where the results go.

    Parameters
    ----------
    closure
        A run folder or a file of weights; may be given several times. NAME=PATH gives it another name in the table.
    simulations
        Number of held-out starts.
    time
        How long correlations with the truth are followed.
    long
        End of all simulations; spectra, energy and dissipation are averaged from a quarter of it on.
    lyapunov
        Leading Lyapunov exponent of the flow, per unit of time (default: measured); 0 leaves Lyapunov times out.
    tune_smagorinsky
        Choose the Smagorinsky constant on flow of the training split first.
    seed
        Seed of the starts.
    out
        Folder for table.json, figures and report.html.
    json
        File for the table's numbers alone.
    timing
        Measure wall times.
    keep
        Keep the truth on disk, in the cache folder, and take it from there if it is the same: for fine truth.
    """

    closure: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    simulations: int = 16
    time: float = 100.0
    long: float = 200.0
    lyapunov: float | None = None
    tune_smagorinsky: bool = False
    seed: int = 0
    out: Path | None = None
    json: Path | None = None
    timing: bool = True
    keep: bool = False


def run_evaluate_flow(arguments: Sequence[str]) -> TurbulenceEvaluation:
    """Parse the command's arguments, evaluate, print the tables and write what was asked for.

    Raises
    ------
    ValueError
        If anything that was asked for cannot be done; one line with a remedy.
    """
    options, configuration = parse_evaluate_flow(arguments)
    if options.simulations < 1 or not 0 < options.time < math.inf or not 0 < options.long < math.inf:
        raise ValueError(
            "need at least one simulation and positive times; got "
            f"{options.simulations}, {options.time} and {options.long}"
        )
    if options.lyapunov is not None and not 0 <= options.lyapunov < math.inf:
        raise ValueError(f"the Lyapunov exponent must not be negative; got {options.lyapunov}")
    use_precision(configuration.precision)
    closures, own_settings = _closures(options, configuration, arguments)
    if options.tune_smagorinsky:
        with console.status("tuning the Smagorinsky constant on training flow"):
            constant = tuned_constant(configuration)
        console.print(f"Smagorinsky constant, tuned on training flow: {constant:g}")
        configuration = replace(configuration, smagorinsky=constant)
    problem = build_problem(configuration, "test")
    own = {name: build_problem(settings, "test") for name, settings in own_settings.items()}
    loaded: dict[str, AnyClosure] = {
        name: load_closure(path, own.get(name, problem).decision) for name, path in closures.items()
    }
    settings = {
        "command": "closura evaluate " + shlex.join(arguments),
        "problem": to_plain(configuration),
        "seed": options.seed,
        "environment": describe_environment(),
    }
    with console.status("simulating") as status:
        evaluation = run_study(
            problem,
            loaded,
            simulations=options.simulations,
            time=options.time,
            long=options.long,
            key=evaluation_key(options.seed),
            dynamics={name: each.dynamics for name, each in own.items()},
            lyapunov=options.lyapunov,
            timing=options.timing,
            settings=settings,
            identity=json.dumps(["test", arguments[0], to_plain(replace(configuration, finer=(), spectral=()))])
            if options.keep
            else None,
            report=lambda what: status.update(f"simulating {what}"),
        )
    print_tables(evaluation, console)
    if options.json:
        write_json(evaluation, options.json)
    if options.out:
        with console.status("drawing figures, writing the report"):
            published = publish(evaluation, options.out)
        console.print(f"report: {published.report}", soft_wrap=True)
    return evaluation


def tuned_constant(configuration: KolmogorovConfiguration, *, simulations: int = 16, time: float = 40.0) -> float:
    """The Smagorinsky constant with the longest correlation time on flow of the training split."""
    c = configuration
    problem: Problem = build_problem(c, "train")
    # The key of nothing else: another training flow than the one that closures see, of the same chains.
    store = simulate_truth(problem, simulations, max(1, round(time / c.time_step)), key=evaluation_key(1 << 20))
    flow = coarse_solver(c)
    return tune(flow, store.truth, c.reynolds, c.time_step, steps_of(c, flow))[0]


def _closures(
    options: TurbulenceOptions, configuration: KolmogorovConfiguration, arguments: Sequence[str]
) -> tuple[dict[str, Path], dict[str, KolmogorovConfiguration]]:
    """Paths of closures by name, and the settings of those whose own differ from the evaluation's."""
    given = [name for name in OF_THE_CLOSURE if any(_is_option(a, name) for a in arguments)]
    paths: dict[str, Path] = {}
    own: dict[str, KolmogorovConfiguration] = {}
    for text in options.closure:
        name, path = named_closure(text)
        if name in paths:
            raise ValueError(f"two closures are called {name}: give one another name with --closure NAME=PATH")
        if not path.exists():
            raise FileNotFoundError(f"there is no closure at {path}: expected a run folder or a file of weights")
        paths[name] = path
        trained = trained_settings(path)
        if trained is None:
            continue
        if trained.name not in FLOWS:
            raise ValueError(f"{path} was trained on {trained.name}: closura evaluate {trained.name} judges it")
        settings = as_trained(configuration, trained.problem, keep=given)
        if settings != configuration:
            own[name] = settings
    return paths, own


def _is_option(argument: str, name: str) -> bool:
    return argument.split("=", 1)[0].removeprefix("--no-").lstrip("-").replace("-", "_") == name


def parse_evaluate_flow(arguments: Sequence[str]) -> tuple[TurbulenceOptions, KolmogorovConfiguration]:
    """The options, and the flow: that of the first closure's training unless options say otherwise."""
    flow = arguments[0] if arguments and arguments[0] in FLOWS else "kolmogorov"
    default: Any = problem_preset(flow, "default")
    closures = [arguments[i + 1] for i, a in enumerate(arguments[:-1]) if a == "--closure"]
    closures += [a.removeprefix("--closure=") for a in arguments if a.startswith("--closure=")]
    for text in closures[:1]:
        training = trained_settings(named_closure(text)[1])
        if training is not None and training.name == flow:
            default = judged_on(training.problem)
    flat = tyro.conf.arg(name="")
    name = Annotated[tyro.conf.Positional[Literal["kolmogorov", "turbulence"]], argument("the problem")]
    kind: Any = make_dataclass(
        "EvaluateFlowArguments",
        [
            ("name", name),
            ("options", Annotated[TurbulenceOptions, flat]),
            ("problem", Annotated[type(default), flat]),
        ],
        frozen=True,
    )
    parsed = tyro.cli(
        kind,
        prog="closura evaluate",
        args=list(arguments),
        description="Coarse models of a turbulent flow from the same held-out starts.",
        default=kind(name=flow, options=TurbulenceOptions(), problem=default),
    )
    return parsed.options, parsed.problem
