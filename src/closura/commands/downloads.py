"""``closura data fetch`` and ``closura models get``: public files, verified by checksums."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from closura.commands.console import console
from closura.commands.options import argument
from closura.fields import fetch
from closura.interop.published import fetch_published


@dataclass(frozen=True)
class _Data:
    action: Annotated[tyro.conf.Positional[Literal["fetch"]], argument("what to do")]
    name: Annotated[tyro.conf.Positional[Literal["mnist", "fashion-mnist"]], argument("the data set")]


@dataclass(frozen=True)
class _Models:
    action: Annotated[tyro.conf.Positional[Literal["get"]], argument("what to do")]
    name: Annotated[tyro.conf.Positional[Literal["closure-rl-advection"]], argument("the published weights")]


def run_data(arguments: Sequence[str]) -> None:
    """Download a data set into the cache."""
    parsed = tyro.cli(_Data, prog="closura data", args=list(arguments), description="Download images.")
    console.print(f"{parsed.name}: {fetch(parsed.name)}", soft_wrap=True)


def run_models(arguments: Sequence[str]) -> None:
    """Download published weights into the cache."""
    parsed = tyro.cli(_Models, prog="closura models", args=list(arguments), description="Download weights.")
    console.print(f"{parsed.name}: {fetch_published(parsed.name)}", soft_wrap=True)
