"""How a run ends, written beside its results whatever happens."""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from closura.interruption import Interrupted
from closura.runs.folder import RunFolder
from closura.runs.tracking import Sink


class TrainingDiverged(RuntimeError):
    """Losses or weights were no longer finite, or no simulation was; the last good checkpoint is kept."""


ROUND_OFF = 1e-6
"""Relative differences of errors that say nothing."""


def verdict(error: float | None, uncorrected: float | None = None) -> str:
    """What is wrong with the result of a run, in words; nothing where it is good."""
    if error is None or not math.isfinite(error):
        return "no validation was finite: the weights are those of the last update, and nothing speaks for them"
    if uncorrected is not None and error > uncorrected + ROUND_OFF * abs(uncorrected):
        return "worse than no closure"
    return ""


def write_finished(run: RunFolder, found: str, **facts: Any) -> None:
    """Say that a run has finished, and the verdict on it where something is wrong."""
    run.write_status("finished", **facts, **({"verdict": found} if found else {}))


def check_finite(row: dict[str, Any], module: Any, run: RunFolder, when: str, advice: str) -> None:
    """Refuse to go on with metrics or weights that are not finite."""
    bad = [name for name, value in row.items() if not math.isfinite(value)]
    weights = jax.tree.leaves(eqx.filter(module, eqx.is_inexact_array))
    if not all(bool(jnp.all(jnp.isfinite(w))) for w in weights):
        bad.append("weights")
    if bad:
        raise TrainingDiverged(f"{', '.join(bad)} not finite {when}; the last good checkpoint is {run.last}. {advice}")


def lower_rate(option: str, rate: float | None, further: str = "") -> str:
    """What helps after a divergence, and works as it is written: resumed, the same settings would end the same way.

    ``rate`` is the step size, where there is one; ``further`` is what else helps.
    """
    changes = [f"a lower --{option} (it was {rate:g})"] if rate is not None else []
    changes += [further] if further else []
    return (
        f"Begin again: repeat the command with --overwrite and {', '.join(changes) or 'other --learning settings'}; "
        "with --resume it would end the same way"
    )


@contextmanager
def told(run: RunFolder, sinks: Sequence[Sink]) -> Iterator[None]:
    """Say in ``status.json`` how the work within ends unless it succeeds, and close the sinks in any case.

    Errors go on to the caller: "diverged", "interrupted" or "failed" is written with their message.
    """
    try:
        yield
    except TrainingDiverged as error:
        run.write_status("diverged", message=str(error))
        raise
    except (Interrupted, KeyboardInterrupt) as error:
        run.write_status("interrupted", message=str(error))
        raise
    except BaseException as error:
        run.write_status("failed", message=f"{type(error).__name__}: {error}")
        raise
    finally:
        for sink in sinks:
            sink.close()


def first_updates(run: RunFolder) -> AbstractContextManager[None]:
    """For the updates with which a process begins, which compile for long: a signal ends them at once."""
    message = "stopped before the first updates were made; continue with --resume"
    return run.stopped_at_once(message, lambda: run.write_status("interrupted", message=message))
