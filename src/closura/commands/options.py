"""Small pieces that several commands share."""

import argparse
from collections.abc import Sequence
from typing import Any

import jax
import tyro


def argument(text: str) -> Any:
    """Help text of one argument."""
    return tyro.conf.arg(help=text)


def pre_parse(arguments: Sequence[str], names: Sequence[str], flags: Sequence[str] = ()) -> dict[str, Any]:
    """Values of a few options (the last one given), before the others are known; None where absent."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in names:
        parser.add_argument(name, dest=name, default=None)
    for flag in flags:
        parser.add_argument(flag, dest=flag, action="store_true")
    try:
        known, _ = parser.parse_known_args([a for a in arguments if a not in ("-h", "--help")])
    except argparse.ArgumentError:
        return dict.fromkeys([*names, *flags])
    return vars(known)


def use_precision(precision: str) -> None:
    """Let arrays be 64 bits wide where a problem asks for it; once per process, before any array is made."""
    if precision == "float64":
        jax.config.update("jax_enable_x64", True)
