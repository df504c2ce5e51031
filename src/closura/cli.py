"""The command line: finds the command, and turns the errors that users can mend into one clear line."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points

from closura.entries import ENTRIES
from closura.io.streams import lasting_streams

PROBLEMS = (*ENTRIES["closura.problems"], "kolmogorov-closure", "kolmogorov-rom")

USAGE = """\
closura: learn what a coarse simulation grid cannot resolve

  closura demo                          learn, judge and draw a closure in a few minutes
  closura demo kolmogorov               a chaotic flow: data, closures, a reduced-order model, in minutes
  closura train PROBLEM                 learn a closure; --preset, --learner, --closure, --resume
  closura evaluate PROBLEM              methods side by side on held-out simulations
  closura benchmark PROBLEM             error against cost: all classical methods, grids and steps, and closures
  closura rollout RUN                   ensembles of a reduced-order model as a data set, closed or not
  closura interpret RUN                 a closure's action beside the optimal one, and as an equation
  closura report RUN [RUN ...]          what runs have learned, in one HTML file
  closura data fetch NAME               download images (mnist, fashion-mnist), checksum-verified
  closura data generate kolmogorov      simulate flows into a zarr store; a killed run goes on
  closura data convert SOURCE           flows of other layouts into such a store
  closura data filter FILE.zarr         the large scales of a data set
  closura data show FILE.zarr           what a data set holds, with statistics
  closura models get NAME               download published weights (closure-rl-advection)
  closura --version

Problems:
  advection     a passive scalar in a two-dimensional flow (Closure-RL)
  burgers       two-dimensional viscous vector Burgers (Closure-RL)
  burgers-1d    scalar inviscid Burgers in one dimension (BPTTS)
  burgers-2d    scalar inviscid Burgers in two dimensions (BPTTS)
  euler-1d      Euler equations of an ideal gas in one dimension (BPTTS)
  euler-2d      Euler equations of an ideal gas in two dimensions (BPTTS)
  kolmogorov    two-dimensional flow under a sinusoidal force, Reynolds number 34
  turbulence    the same at 1000, with finite volumes as coarse solver
  kolmogorov-closure, kolmogorov-rom    fitted to data sets of it: closures that give back the small scales, and
                reduced-order models of the large ones

PROBLEM may also be a Python file (FILE.py, FILE.py:NAME). --plugin FILE.py, with any command, adds the metrics,
figures, tables, baselines, closures and learners that a file defines.

Each command explains its options with --help.

Exit status: 0, or 1 (a training diverged), 2 (input that cannot be used), 3 (a training ended worse than no closure, or
no validation of it was finite), 4 (some results, such as one figure, could not be written; all others are), 130
(interrupted).
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``closura``.

    Leaves with status 0, 1 (a training that diverged, or a full disk under what is printed), 2 (input that cannot be
    used), 3 (a training that ended worse than no closure, or none of whose validations was finite), 4 (some results,
    such as one figure, could not be written; all others are) or 130 (interrupted).
    """
    with lasting_streams():
        try:
            _main(list(sys.argv[1:] if arguments is None else arguments))
        except KeyboardInterrupt:  # while the commands were being imported
            print("error: interrupted", file=sys.stderr)
            sys.exit(130)


def _main(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(version("closura"))
        return
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if arguments[0] == "train" and ignored and threading.current_thread() is threading.main_thread():
        # Shells start so what runs in the background; a training is to be stopped from its first second on.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    commands = _commands()
    if arguments[0] not in commands:
        print(f"error: unknown command {arguments[0]!r}; valid: {', '.join(commands)}", file=sys.stderr)
        sys.exit(2)
    rest = _without_plugins(arguments[1:])
    if (
        arguments[0] in ("train", "evaluate")
        and not {"-h", "--help"} & set(rest)
        and (not rest or not _may_be_a_problem(rest[0]))
    ):
        given = rest and not rest[0].startswith("-")
        asked = f"unknown {rest[0]!r}" if given else f"which problem? closura {arguments[0]} PROBLEM ..."
        print(f"error: {asked}; valid: {', '.join(PROBLEMS)}", file=sys.stderr)
        sys.exit(2)
    _run(commands[arguments[0]], rest)


def _without_plugins(arguments: list[str]) -> list[str]:
    """Import the files that ``--plugin FILE`` names, and leave the other arguments."""
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word != "--plugin" and not word.startswith("--plugin="):
            rest.append(word)
            continue
        file = word.partition("=")[2] if "=" in word else next(words, "")
        from closura.core.registry import load_file

        try:
            load_file(file)
        except (ValueError, OSError) as error:
            print(f"error: --plugin: {error}" if file else "error: --plugin needs a Python file", file=sys.stderr)
            sys.exit(2)
    return rest


def _may_be_a_problem(word: str) -> bool:
    """Whether a word is a problem's name, a Python file, or an object in a module; nothing is imported."""
    if word in PROBLEMS or (not word.startswith("-") and (".py" in word or ":" in word)):
        return True
    return word in entry_points(group="closura.problems").names


def _run(command: Callable[[Sequence[str]], object], arguments: Sequence[str]) -> None:
    from jax.errors import JaxRuntimeError

    from closura.commands.console import errors, fail
    from closura.interruption import leaving_promptly
    from closura.parts import NotAllWritten, reason
    from closura.runs import CheckpointError, Interrupted, MissingExtraError, RunError, TrainingDiverged

    try:
        with leaving_promptly(lambda message: errors.print(f"error: {message}", soft_wrap=True)):
            result = command(arguments)
    except TrainingDiverged as error:
        fail(str(error), 1)
    except NotAllWritten as error:
        fail(str(error), 4)
    except (Interrupted, KeyboardInterrupt) as error:
        fail(str(error) or "interrupted", 130)
    except (ValueError, OSError, RunError, CheckpointError, MissingExtraError) as error:
        fail(reason(error) if isinstance(error, OSError) else str(error))
    except (MemoryError, JaxRuntimeError) as error:
        if isinstance(error, JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        said = " ".join(str(error).split()) or "no more can be had"
        fail(f"not enough memory ({said}): take a smaller grid, fewer simulations or smaller batches")
    else:
        if getattr(result, "verdict", ""):
            sys.exit(3)


def _commands() -> dict[str, Callable[[Sequence[str]], object]]:
    if "matplotlib" not in sys.modules:  # no figure of a command has a window, and a wrong name there is an error
        os.environ["MPLBACKEND"] = "agg"
    # Imported here: `closura --help` should not wait for JAX.
    from closura.commands.benchmark import run_benchmark_command
    from closura.commands.demo import run_demo
    from closura.commands.downloads import run_data, run_models
    from closura.commands.evaluation import run_evaluate
    from closura.commands.flows import run_rollout
    from closura.commands.interpret import run_interpret
    from closura.commands.report import run_report
    from closura.commands.training import run_train

    return {
        "demo": run_demo,
        "train": run_train,
        "evaluate": run_evaluate,
        "rollout": run_rollout,
        "report": run_report,
        "interpret": run_interpret,
        "data": run_data,
        "models": run_models,
        "benchmark": run_benchmark_command,
    }
