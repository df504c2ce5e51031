"""``closura demo``: learn a closure from nothing, evaluate it against honest baselines, draw it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from closura.commands.console import console, training_bar
from closura.commands.evaluation import evaluation_key, training_of
from closura.commands.options import parse
from closura.commands.results import Outputs
from closura.core import Results
from closura.learners import BPTTSConfiguration
from closura.problems import build_problem
from closura.reporting.findings import verdict
from closura.reporting.publish import publish
from closura.reporting.table import print_tables
from closura.runs import ReferenceConfiguration, RunFolder, TrainConfiguration, ValidationConfiguration, train
from closura.runs.configuration import train_preset
from closura.settings import Count, Settings
from closura.simulation.evaluate import evaluate


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


def demo_configuration(updates: int) -> TrainConfiguration:
    """The default training, shortened."""
    return replace(
        train_preset("default"),
        learning=BPTTSConfiguration(updates=updates, horizons=(4,), fractions=(1.0,), batch=8),
        reference=ReferenceConfiguration(slots=64, steps=50, blocks=8, renew_every=100),
        validation=ValidationConfiguration(simulations=16, steps=50, every=100),
    )


def run_demo(arguments: Sequence[str]) -> None:
    """Train on synthetic images, evaluate on held-out ones, write the report; or the demo of another problem."""
    if arguments and arguments[0] == "kolmogorov":
        from closura.commands.demo_flow import run_demo_flow

        run_demo_flow(arguments[1:])
        return
    options = parse(
        DemoOptions,
        arguments,
        prog="closura demo",
        description="Learn a closure of advection from synthetic images in a few minutes, evaluate it, draw it.",
    )
    outputs = Outputs(folders={"--out": options.out})
    configuration = demo_configuration(options.updates)
    run = options.out / "run"
    # A finished run is resumed too: that costs nothing and evaluates it again.
    resume = RunFolder(run).holds_run and not options.overwrite
    console.print(
        "Advection on a 64 x 64 grid, reference on 256 x 256. A compact network learns, by gradients through the "
        "coarse solver, what the coarse grid gets wrong.",
        soft_wrap=True,
    )
    with training_bar() as report:
        result = train(configuration, run, resume=resume, overwrite=options.overwrite, report=report)
    problem = build_problem(configuration.problem, "test")
    with console.status("evaluating it on held-out simulations"):
        evaluation = evaluate(
            problem,
            {configuration.closure: result.closure},
            simulations=options.simulations,
            key=evaluation_key(configuration.seed),
            frames=51,
            description={"preset": "default", "seed": str(configuration.seed)},
            configuration={"command": f"closura demo --updates {options.updates} --simulations {options.simulations}"},
        )
    title, training = "A closure learned by the demo", training_of([str(run)])
    outputs.deliver(
        {"--out": lambda out: publish(evaluation, out, title=title, training=training)},
        lambda: _show(evaluation),
        page="open",
    )


def _show(evaluation: Results) -> None:
    print_tables(evaluation, console=console)
    console.print(
        f"the learned closure. {verdict(evaluation, evaluation.closures[0])}",
        soft_wrap=True,
        highlight=False,
    )
