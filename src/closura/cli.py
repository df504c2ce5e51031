"""The command line: finds the command, and turns the errors that users can mend into one clear line."""

import difflib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from closura.entries import ENTRIES
from closura.io.streams import lasting_streams

USAGE = f"""\
closura: learn what a coarse simulation grid cannot resolve

  closura demo                          learn, evaluate and draw a closure in a few minutes
  closura demo kolmogorov               a chaotic flow: data, closures, a reduced-order model, in minutes
  closura train PROBLEM                 learn a closure; --preset, --learner, --closure, --resume
  closura evaluate PROBLEM              methods side by side on held-out simulations
  closura benchmark PROBLEM             error against cost: all classical methods, grids and steps, and closures
  closura rollout RUN                   ensembles of a reduced-order model as a data set, closed or not
  closura interpret RUN                 a closure's action beside the optimal one, and as an equation
  closura report RUN [RUN ...]          what runs have learned, in one HTML file
  closura new problem NAME              a problem of your own to begin with: NumPy, JAX, C or Fortran
  closura check PROBLEM                 what may be wrong with a problem, and whether a closure can pay
  closura list KIND                     what there is by name: problems, closures, learners, samplers, ... (--help)
  closura data fetch NAME               download images (mnist, fashion-mnist), checksum-verified
  closura data generate kolmogorov      simulate flows into a zarr store; a killed run goes on
  closura data convert SOURCE           flows of other layouts into such a store
  closura data filter FILE.zarr         the large scales of a data set
  closura data show FILE.zarr           what a data set holds, with statistics
  closura models list                   closures that come with closura; models show NAME, models verify NAME
  closura models get NAME               weights with their card; published ones (closure-rl-advection)
  closura --version

Problems (closura list problems says what they are): {", ".join(ENTRIES["closura.problems"])}
Fitted to data sets of flows: {", ".join(ENTRIES["closura.fits"])}

PROBLEM may also be a Python file (FILE.py, FILE.py:NAME). --plugin FILE.py, with any command, adds the metrics,
figures, tables, baselines, closures and learners that a file defines. --config FILE.toml takes options from a file,
such as the configuration.toml of a run; those on the command line win. --workers N runs solvers outside JAX in N
processes (default: one for each processor), --workers dask://HOST:PORT on a cluster.

Each command explains its options with --help. With CLOSURA_TRACEBACK=1 in the environment errors come with their
traceback.

Exit status: 0, or 1 (a training diverged), 2 (input that cannot be used), 3 (a training ended worse than no closure, or
no validation of it was finite), 4 (some results, such as one figure, could not be written; all others are), 130
(interrupted).
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``closura``; leaves with the status that the usage names, or 1 where nothing can be printed."""
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
    known = _places("closura.commands")
    if arguments[0] not in known:
        _refuse(_unknown("command", arguments[0], known))
    try:
        rest, plugins = _without_files(arguments)
        rest, workers = _without(rest, "--workers")
    except (ValueError, OSError) as error:
        _refuse(str(error))
    if arguments[0] in ("train", "evaluate") and not {"-h", "--help"} & set(rest):
        _check_problem(arguments[0], rest[0] if rest and not rest[0].startswith("-") else "")
    if "matplotlib" not in sys.modules:  # no figure of a command has a window, and a wrong name there is an error
        os.environ["MPLBACKEND"] = "agg"
    module, _, function = known[arguments[0]].partition(":")
    _run(getattr(import_module(module), function), rest, plugins, workers)


def _places(group: str) -> dict[str, str]:
    """Places of entries by name, those of other packages too; nothing is imported."""
    return {**ENTRIES.get(group, {}), **{point.name: point.value for point in entry_points(group=group)}}


def _refuse(message: str) -> Any:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def _check_problem(command: str, word: str) -> None:
    """Refuse what is no problem before anything is imported."""
    known = (*_places("closura.problems"), *ENTRIES["closura.fits"])
    if word in known or ".py" in word or ":" in word:
        return
    asked = f"which problem? closura {command} PROBLEM ...; valid: {', '.join(known)}"
    _refuse(_unknown("problem", word, known) if word else asked)


def _unknown(what: str, word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    guess = f", did you mean {near[0]}?" if near else ";"
    return f"unknown {what} {word!r}{guess} valid: {', '.join(known)}"


def _without_files(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The options that ``--config FILE`` holds in its place, and apart from them what ``--plugin FILE`` names."""
    if any(word.partition("=")[0] == "--config" for word in arguments[1:]):
        from closura.commands.configuration import expanded

        arguments = [arguments[0], *expanded(arguments[1:], arguments[0])]
    rest, files = _without(arguments[1:], "--plugin")
    if "" in files:
        raise ValueError("--plugin needs a Python file")
    return rest, files


def _without(arguments: Sequence[str], option: str) -> tuple[list[str], list[str]]:
    """The arguments without an option, and its values; "" where one is missing."""
    rest: list[str] = []
    values: list[str] = []
    words = iter(arguments)
    for word in words:
        if word.partition("=")[0] == option:
            values.append(word.partition("=")[2] if "=" in word else next(words, ""))
        else:
            rest.append(word)
    return rest, values


def _run(
    command: Callable[[Sequence[str]], object], arguments: Sequence[str], plugins: Sequence[str], workers: Sequence[str]
) -> None:
    from jax.errors import JaxRuntimeError

    from closura.commands.console import errors, fail
    from closura.core.mistakes import in_a_line, in_callback, place_of
    from closura.core.registry import load_plugins
    from closura.interruption import leaving_promptly
    from closura.parts import NotAllWritten, reason
    from closura.runs import CheckpointError, Interrupted, MissingExtraError, RunError, TrainingDiverged

    try:
        with leaving_promptly(lambda message: errors.print(f"error: {message}", soft_wrap=True)):
            if workers:
                from closura.host.pool import use_workers

                use_workers(workers[-1])
            load_plugins(plugins)
            result = command(arguments)
    except TrainingDiverged as error:
        fail(str(error), 1)
    except NotAllWritten as error:
        fail(str(error), 4)
    except (Interrupted, KeyboardInterrupt) as error:
        fail(str(error) or "interrupted", 130)
    except (ValueError, OSError, RunError, CheckpointError, MissingExtraError) as error:
        if os.environ.get("CLOSURA_TRACEBACK"):
            raise
        fail(reason(error) if isinstance(error, OSError) else in_a_line(error))
    except (MemoryError, JaxRuntimeError) as error:
        if isinstance(error, JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            if os.environ.get("CLOSURA_TRACEBACK") or not in_callback(error):
                raise
            fail(in_callback(error))
        said = " ".join(str(error).split()) or "no more can be had"
        fail(f"not enough memory ({said}): take a smaller grid, fewer simulations or smaller batches")
    except Exception as error:
        if os.environ.get("CLOSURA_TRACEBACK") or not place_of(error):
            raise
        fail(in_a_line(error))  # in a user's own code
    else:
        if "closura.host.pool" in sys.modules:
            for name, counts in sys.modules["closura.host.pool"].counts().items():
                if counts.steps:
                    errors.print(f"{name}: {counts.words()}", soft_wrap=True)
        if getattr(result, "verdict", ""):
            sys.exit(3)
