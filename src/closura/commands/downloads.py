"""``closura data`` finds what to do with data; ``closura data fetch`` and ``closura models get``: public files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from closura.commands.console import console
from closura.commands.options import HELP, Positional, argument, parse
from closura.commands.problems import ACTIONS
from closura.initial.datasets import fetch
from closura.io.published import fetch_published

DATA = """\
usage: closura data ACTION ...

  closura data fetch NAME               download images (mnist, fashion-mnist), checksum-verified
  closura data generate kolmogorov      simulate flows into a zarr store; a killed run goes on
  closura data convert SOURCE           flows of other layouts (kolsol, published, the-well) into such a store
  closura data filter FILE.zarr         the large scales of a data set
  closura data show FILE.zarr           what a data set holds, with statistics

Each action explains its options with --help.
"""


@dataclass(frozen=True)
class _Data:
    name: Annotated[Positional[Literal["mnist", "fashion-mnist"]], argument("the data set")]


@dataclass(frozen=True)
class _Models:
    action: Annotated[Positional[Literal["get"]], argument("what to do")]
    name: Annotated[Positional[Literal["closure-rl-advection"]], argument("the published weights")]


def run_data(arguments: Sequence[str]) -> None:
    """Find the action and run it.

    Raises
    ------
    ValueError
        If there is no such action.
    """
    if not arguments or arguments[0] in HELP:
        console.print(DATA, end="", soft_wrap=True)
        return
    ACTIONS.find(arguments[0])(arguments[1:])


def run_fetch(arguments: Sequence[str]) -> None:
    """Download a data set into the cache."""
    parsed = parse(_Data, arguments, prog="closura data fetch", description="Download images.")
    console.print(f"{parsed.name}: {fetch(parsed.name)}", soft_wrap=True)


def run_models(arguments: Sequence[str]) -> None:
    """Download published weights into the cache."""
    parsed = parse(_Models, arguments, prog="closura models", description="Download weights.")
    console.print(f"{parsed.name}: {fetch_published(parsed.name)}", soft_wrap=True)
