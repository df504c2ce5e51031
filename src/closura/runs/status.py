"""How a run ends, written beside its results whatever happens."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from closura.interruption import Interrupted
from closura.runs.folder import RunFolder
from closura.runs.tracking import Sink


class TrainingDiverged(RuntimeError):
    """Losses or weights were no longer finite; the last good checkpoint is kept."""


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
    """For the updates with which a process begins, which compile for long: a signal ends them at once.

    Raises
    ------
    Interrupted
        After SIGINT or SIGTERM.
    """
    message = "stopped before the first updates were made; continue with --resume"
    return run.stopped_at_once(message, lambda: run.write_status("interrupted", message=message))
