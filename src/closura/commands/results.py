"""What commands that judge do with their results."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from closura.commands.console import console


def write_results(
    json: Path | None, out: Path | None, write_json: Callable[[Path], object], publish: Callable[[Path], Any]
) -> None:
    """Write the numbers to ``--json``, and tables, figures and the report to ``--out``, where they are given.

    ``publish`` returns what it wrote, of which ``report`` is the page to open.
    """
    if json:
        write_json(json)
    if out:
        with console.status("drawing figures, writing the report"):
            published = publish(out)
        console.print(f"report: {published.report}", soft_wrap=True)
