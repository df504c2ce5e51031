"""Small pieces that several commands share."""

import argparse
import io
import os
import re
from collections.abc import Sequence
from contextlib import redirect_stderr
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


def parse(kind: Any, arguments: Sequence[str], *, prog: str, description: str, default: Any = None) -> Any:
    """What the arguments of a command say; what they should not say is told in one line.

    Parameters
    ----------
    kind
        A dataclass of options, as ``tyro.cli`` takes it.
    arguments
        The words after the command's name.
    prog
        The command, for the help.
    description
        What it does, for the help.
    default
        One of ``kind`` with the defaults, where they are not those of the class.

    Raises
    ------
    ValueError
        If an option is unknown or missing, or a value is refused; says what is valid, or how to find it.
    SystemExit
        After the help.
    """
    further = {} if default is None else {"default": default}
    words = list(arguments)
    _refuse_empty(words, prog)
    if {"-h", "--help"} & set(words):
        return tyro.cli(kind, prog=prog, args=words, description=description, **further)
    said, width = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100000"  # names and paths are not to be broken
    try:
        with redirect_stderr(said):
            return tyro.cli(kind, prog=prog, args=words, description=description, **further)
    except SystemExit as left:
        if not left.code:
            raise
        raise ValueError(_in_a_line(said.getvalue(), prog)) from None
    finally:
        if width is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = width


def _refuse_empty(words: Sequence[str], prog: str) -> None:
    """An empty word is a variable of a script that was not set; only a title may be meant to be empty."""
    for before, word in zip(["", *words], words, strict=False):
        if word and not re.fullmatch(r"--[\w.-]+=", word):
            continue
        option = word.rstrip("=") or before
        if option != "--title":
            what = option if option.startswith("-") else "an argument"
            raise ValueError(f"{what} is empty: give a value, or leave it out; all options: {prog} --help")


def _in_a_line(box: str, prog: str) -> str:
    """What ``tyro`` refuses, out of the box that it draws, as a line.

    The box has a title and sections between rules; it is drawn of spaces and hyphens where the terminal knows no more.
    """
    lines = re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()
    rows = [line[1:].rstrip("│╮╯ ") for line in (lines[1:] if "╭" in box else lines[2:])]
    sections: list[list[str]] = [[]]
    for row in rows:
        if row.strip() and set(row.strip()) <= set("─-"):
            sections.append([])
        elif row.strip():
            sections[-1].append(row)
    told = " ".join(row.strip() for row in sections[0])
    # Options are indented by four, what they are by more.
    listed = [[row.strip() for row in part if re.match(r" {5}\S", row)] for part in sections]
    every = f"all options: {prog} --help"
    if told.startswith("Missing from "):
        names = [row.split(" ")[0] for row in listed[0]]  # arguments without an option are told by what they may be
        words = [re.sub(r"^\{(.*)\}$", lambda found: " or ".join(found[1].split(",")), word) for word in names]
        return f"{', '.join(words)} must be given; {every}"
    if unknown := re.match(r"Unrecognized options: ([^,]*)", told):
        near = sorted({row.split(" ")[0] for part in listed[1:] for row in part if row.startswith("--")})
        what = "option" if unknown[1].startswith("-") else "argument"
        guess = f"did you mean {' or '.join(near)}? " if near else ""
        return f"unknown {what} {unknown[1]}; {guess}{every}"
    if choice := re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)\.", told):
        valid = ", ".join(re.findall(r"'([^']*)'", choice[3])) or choice[3]
        # An argument without an option has a name that the person never wrote.
        where = f"{choice[2]}: " if choice[2].startswith("-") else ""
        return f"{where}unknown {choice[1]!r}; valid: {valid}"
    if (value := re.match(r"Error parsing (--\S+): .*?(\['.*?\]|'[^']*'|$)", told)) and len(listed) > 1 and listed[1]:
        wanted = listed[1][0].partition(" ")[2]
        wanted = {"INT": "a whole number", "FLOAT": "a number"}.get(wanted, wanted)
        return f"{value[1]}: expected {wanted}; got {value[2].strip('[]')}"
    # Settings have lower-case names; that of the class of all options says nothing.
    return re.sub(r"^Error parsing (?=[a-z])|^Error parsing \w+: ", "", told) or f"see {prog} --help"


def use_precision(settings: Any) -> None:
    """Let arrays be 64 bits wide where settings ask for it (``precision="float64"``), before any array is made."""
    precision = settings if isinstance(settings, str) else getattr(settings, "precision", "float32")
    if precision == "float64":
        jax.config.update("jax_enable_x64", True)
