"""``closura evaluate kolmogorov`` and ``turbulence``: coarse models of a flow from held-out initial conditions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from closura.commands.closures import check_closures, command_tables, default_settings, load_closures, trainings_of
from closura.commands.console import console
from closura.commands.evaluation import evaluation_key
from closura.commands.options import Group, Repeated, parse_groups, use_precision
from closura.commands.results import deliver, numbers_and_folder, provenance
from closura.core import Results
from closura.problems import (
    KolmogorovConfiguration,
    Problem,
    build_problem,
    reference_identity,
    simulate_reference,
)
from closura.problems.kolmogorov.baselines import coarse_solver, coarse_steps_of
from closura.problems.kolmogorov.evaluation import evaluate_flow
from closura.problems.kolmogorov.smagorinsky import tune
from closura.runs.configuration import to_plain
from closura.settings import Count, NotNegative, Positive, Seed, Settings

INTRODUCTION = (
    "A coarse simulation, alone, with models of what the grid does not hold and with learned closures, beside the same "
    "flow by a spectral solver on a finer grid, whose waves that the coarse grid holds are the reference."
)


@dataclass(frozen=True)
class TurbulenceOptions(Settings):
    """What to run and where the results go.

    Parameters
    ----------
    closure
        A run folder or a file of weights; may be given several times. NAME=PATH gives it another name in the table.
    simulations
        Number of held-out initial conditions.
    time
        How long correlations with the reference are followed.
    long
        End of all simulations; spectra, energy and dissipation are averaged from a quarter of it on.
    lyapunov
        Leading Lyapunov exponent of the flow, per unit of time (default: measured); 0 leaves Lyapunov times out.
    tune_smagorinsky
        Choose the Smagorinsky constant on flow of the training split first.
    seed
        Seed of the initial conditions.
    out
        Folder for table.json, table.csv, results.nc, figures and report.html.
    json
        File for the table's numbers alone.
    timing
        Measure wall times.
    keep
        Keep the reference on disk, in the cache folder, and take it from there if it is the same: for fine grids.
    """

    closure: Repeated[tuple[str, ...]] = ()
    simulations: Count = 16
    time: Positive = 100.0
    long: Positive = 200.0
    lyapunov: NotNegative | None = None
    tune_smagorinsky: bool = False
    seed: Seed = 0
    out: Path | None = None
    json: Path | None = None
    timing: bool = True
    keep: bool = False


def run_evaluate_flow(arguments: Sequence[str]) -> Results:
    """Parse the command's arguments, evaluate, print the tables and write what was asked for."""
    options, configuration = parse_evaluate_flow(arguments)
    outputs = numbers_and_folder(options)
    use_precision(configuration)
    check_closures(options.closure, configuration)
    if options.tune_smagorinsky:
        with console.status("tuning the Smagorinsky constant on training flow"):
            constant = tuned_constant(configuration)
        console.print(f"Smagorinsky constant, tuned on training flow: {constant:g}")
        configuration = replace(configuration, smagorinsky=constant)
    problem = build_problem(configuration, "test")
    closures, own = load_closures(options.closure, configuration, problem, arguments)
    settings = provenance("evaluate", arguments, problem=to_plain(configuration), seed=options.seed)
    with console.status("simulating") as status:
        results = evaluate_flow(
            problem,
            closures,
            simulations=options.simulations,
            time=options.time,
            long=options.long,
            key=evaluation_key(options.seed),
            own=own,
            lyapunov=options.lyapunov,
            frames=51,
            timing=options.timing,
            provenance=settings,
            identity=reference_identity(configuration, "test") if options.keep else None,
            report=lambda what: status.update(f"simulating {what}"),
        )
    cells = configuration.cells
    return deliver(
        outputs,
        results,
        title=f"Kolmogorov flow at Reynolds number {configuration.reynolds:g} on {cells} x {cells} points",
        runs=trainings_of(options.closure),
        notes=(INTRODUCTION,),
        configuration=command_tables(options, configuration, arguments, problem=arguments[0]),
    )


def tuned_constant(configuration: KolmogorovConfiguration, *, simulations: int = 16, time: float = 40.0) -> float:
    """The Smagorinsky constant with the longest correlation time on flow of the training split."""
    c = configuration
    problem: Problem = build_problem(c, "train")
    # The key of nothing else: another training flow than the one that closures see, of the same chains.
    store = simulate_reference(problem, simulations, max(1, round(time / c.time_step)), key=evaluation_key(1 << 20))
    flow = coarse_solver(c)
    return tune(flow, store.reference, c.reynolds, c.time_step, coarse_steps_of(c, flow))[0]


def parse_evaluate_flow(arguments: Sequence[str]) -> tuple[TurbulenceOptions, KolmogorovConfiguration]:
    """The options, and the flow: that of the first closure's training unless options say otherwise."""
    default = default_settings(arguments[0], arguments)
    options, problem = parse_groups(
        arguments[1:],
        Group(TurbulenceOptions),
        Group(default),
        prog=f"closura evaluate {arguments[0]}",
        description="Coarse models of a turbulent flow from the same held-out initial conditions.",
    )
    return options, problem
