"""``closura models``: closures that come with the package and published ones, their cards, and whether they hold."""

import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from closura.cards.card import card_path, facts_of, fitting_card, read_card, weights_of, write_card
from closura.cards.facts import made_for
from closura.cards.measured import gain, in_words
from closura.commands.cards import Level, made, mismatches
from closura.commands.console import console, errors, say_error
from closura.commands.options import HELP, Positional, Repeated, parse
from closura.commands.results import Outputs
from closura.io.closures import AGENTS, SHIPPED, WITH_MEMORY
from closura.io.files import write_atomically
from closura.io.published import PUBLISHED, fetch_published
from closura.plain import to_json
from closura.reporting.table import Table, print_table
from closura.settings import Count, Settings

NAMES = (*SHIPPED, *WITH_MEMORY)
"""Of the closures that come with closura."""
MODELS = """\
usage: closura models ACTION ...

  closura models list                   closures that come with closura, with their gain, and published ones
  closura models show NAME|PATH         the card: what it is for, what it sees, held-out numbers
  closura models get NAME               weights and card into a folder; published weights into the cache
  closura models verify NAME|PATH|all   weights against their card: hash, answers, a small evaluation; --full: all of it
  closura models card RUN|FILE          write a card beside weights of your own

PATH is a run folder or a .safetensors file. Each action explains its options with --help.
"""


@dataclass(frozen=True)
class _List:
    """What to list.

    Parameters
    ----------
    json
        Print JSON: an object of names and facts.
    """

    json: bool = False


@dataclass(frozen=True)
class _Show:
    """What to show.

    Parameters
    ----------
    closure
        The name of a closure that comes with closura, a run folder, or a .safetensors file.
    json
        Print the card as it is.
    """

    closure: Positional[str]
    json: bool = False


@dataclass(frozen=True)
class _Get:
    """What to get.

    Parameters
    ----------
    name
        A closure that comes with closura, or published weights, which are downloaded into the cache.
    out
        Folder for weights and card (default: the name; published weights are only copied where it is given).
    """

    name: Positional[str]
    out: Path | None = None


@dataclass(frozen=True)
class _Verify:
    """What to verify.

    Parameters
    ----------
    closure
        The name of a closure that comes with closura, "all" of them, a run folder, or a .safetensors file.
    full
        Repeat the whole table of the card, which may take long, instead of a small evaluation.
    """

    closure: Positional[str]
    full: bool = False


@dataclass(frozen=True)
class _Card(Settings):
    """What to write a card for.

    Parameters
    ----------
    closure
        A run folder, a .safetensors file, or the name of a closure that comes with closura.
    full
        Arguments of closura evaluate for a held-out table, in quotes (--full="--simulations 100"); may be given several
        times (default: those of the card that is there).
    quick
        The same for a small evaluation, which closura models verify repeats.
    simulations
        Training simulations from which the range of the observation is taken.
    """

    closure: Positional[str]
    full: Repeated[tuple[str, ...]] = ()
    quick: Repeated[tuple[str, ...]] = ()
    simulations: Count = 4


def run_models(arguments: Sequence[str]) -> Any:
    """Find the action and run it."""
    if not arguments or arguments[0] in HELP:
        console.print(MODELS, end="", soft_wrap=True)
        return None
    if arguments[0] not in ACTIONS:
        raise ValueError(
            f"unknown action {arguments[0]!r}: closura models ACTION, with ACTION one of {', '.join(ACTIONS)}"
        )
    return ACTIONS[arguments[0]](arguments[1:])


def shipped_cards() -> dict[str, dict[str, Any]]:
    """Cards of the closures that come with closura, by name; what is not installed is left out."""
    files = {name: AGENTS / f"{name}.safetensors" for name in NAMES}
    return {name: read_card(file) or facts_of(file) for name, file in files.items() if file.exists()}


def _list(arguments: Sequence[str]) -> None:
    options = parse(_List, arguments, prog="closura models list", description="Closures with their gain.")
    cards = shipped_cards()
    if options.json:
        facts = {n: {k: c[k] for k in ("problem", "parameters")} | {"gain": gain(c)} for n, c in cards.items()}
        console.print(to_json(facts | {name: {"published": True} for name in PUBLISHED}, indent=1), soft_wrap=True)
        return
    rows = [(n, card["problem"], f"{card['parameters']:,}", gain(card)) for n, card in cards.items()]
    rows += [(name, "–", "–", "published weights, downloaded by closura models get") for name in PUBLISHED]
    titles = ("name", "problem", "parameters", "held-out error (best classical method on the same grid)")
    name, problem, count = (max(len(row[i]) for row in (titles, *rows)) for i in range(3))
    for row in (titles, *rows):
        console.print(f"{row[0]:<{name}}  {row[1]:<{problem}}  {row[2]:>{count}}  {row[3]}".rstrip(), soft_wrap=True)


def _show(arguments: Sequence[str]) -> dict[str, Any]:
    options = parse(_Show, arguments, prog="closura models show", description="The card of a closure.")
    weights = _found(options.closure)
    card = fitting_card(weights)
    has_card, card = card is not None, card or facts_of(weights)
    if options.json:
        console.print(to_json(card, indent=1), soft_wrap=True)
        return card
    for line in _lines(card):
        console.print(line, soft_wrap=True)
    if has_card and not card["evaluations"].get("full"):
        console.print("no held-out table yet, only a small evaluation, which proves little:", soft_wrap=True)
    for run in card["evaluations"].get("full") or card["evaluations"].get("quick", ()):
        for table in run["tables"]:
            print_table(_table(run, table), console)
        console.print(f"repeat it: {run['command']}\n", soft_wrap=True)
    if not has_card:
        made_by = f"closura models card {shlex.quote(options.closure)}"
        console.print(f"no card yet; range and held-out numbers: {made_by}", soft_wrap=True)
    return card


def _get(arguments: Sequence[str]) -> None:
    options = parse(_Get, arguments, prog="closura models get", description="Weights, with their card.")
    if options.name in PUBLISHED:
        files = [fetch_published(options.name)]
        if options.out is None:
            console.print(f"{options.name}: {files[0]}", soft_wrap=True)
            return
        files.append(files[0].with_name(f"{options.name}.LICENSE.txt"))
    elif options.name in NAMES:
        weights = AGENTS / f"{options.name}.safetensors"
        fitting_card(weights_of(weights))
        files = [weights, card_path(weights)]
    else:
        raise ValueError(f"unknown {options.name!r}; valid: {', '.join((*NAMES, *PUBLISHED))}")
    out = options.out or Path(options.name)
    Outputs(folders={"--out": out})
    out.mkdir(parents=True, exist_ok=True)
    for file in files:
        write_atomically(out / file.name, file.read_bytes())
    console.print(f"{options.name}: {', '.join(str(out / file.name) for file in files)}", soft_wrap=True)


def _verify(arguments: Sequence[str]) -> None:
    options = parse(_Verify, arguments, prog="closura models verify", description="Weights against their card.")
    level: Level = "full" if options.full else "quick"
    if options.closure in PUBLISHED:
        console.print(f"{options.closure}: {fetch_published(options.closure)} holds what was published", soft_wrap=True)
        return
    names = SHIPPED if options.closure == "all" else (options.closure,)
    wrong = 0
    for name in names:
        weights = _found(name)
        with errors.status(f"verifying {name}"):  # evaluations have a line of their own on the other stream
            for right, found in mismatches(weights, level):
                wrong += not right
                if right:
                    console.print(f"{name}: {found}", soft_wrap=True)
                else:
                    say_error(f"{name}: {found}")
    if wrong:
        sys.exit(1)


def _card(arguments: Sequence[str]) -> None:
    options = parse(_Card, arguments, prog="closura models card", description="Write a card beside weights.")
    weights = _found(options.closure)
    there = read_card(weights)
    known = {} if there is None else there["evaluations"]
    asked: dict[Level, Sequence[Sequence[str]]] = {}
    levels: tuple[tuple[Level, tuple[str, ...]], ...] = (("quick", options.quick), ("full", options.full))
    for level, texts in levels:
        asked[level] = [shlex.split(text) for text in texts] or [run["arguments"] for run in known.get(level, ())]
    with errors.status("evaluating"):
        card = made(weights, options.closure, arguments=asked, simulations=options.simulations)
    console.print(
        f"{write_card(weights, card)}: {gain(card) or 'no held-out table: --full gives it one'}", soft_wrap=True
    )


def _found(closure: str) -> Path:
    """The weights that a name or a path stands for; other names are refused with the valid ones."""
    if closure in PUBLISHED:
        raise ValueError(f"{closure} is published without a card: closura models get {closure} downloads it")
    try:
        return weights_of(closure)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}, or one of {', '.join(NAMES)}") from error


def _lines(card: dict[str, Any]) -> list[str]:
    bounds = card["range"] or [None] * len(card["observation"])
    seen = [
        f"{name}" + (f" [{unit}]" if unit else "") + (f" in {low_high[0]:.4g} to {low_high[1]:.4g}" if low_high else "")
        for name, unit, low_high in zip(card["observation"], card["units"], bounds, strict=True)
    ]
    corrects = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in card["corrects"].items())
    training = [f"{card['learner']}", f"{card['updates']} updates", f"seed {card['seed']}"] if card["learner"] else []
    radius = card["receptive_radius"]
    sees = "" if radius is None else f", sees {radius} cells around its own"
    facts = {
        "problem": f"{card['problem']}: {card['about']}", "correction": corrects, "made for": made_for(card),
        "closure": f"{card['closure']}, {card['parameters']:,} parameters{sees}",
        "observes": "; ".join(seen), "answers": "; ".join(card["actions"]), "apply": card["how_to_apply"],
        "learner": ", ".join(training), "licence": card["licence"],
        "cite": "; ".join(_title(each) for each in card["citation"]), "sha256": card["sha256"],
    }  # fmt: skip
    return [card["name"], *(f"  {name:<10} {text}" for name, text in facts.items() if text)]


def _title(bibtex: str) -> str:
    """Title and year of an entry."""
    found = {key: re.search(rf"\b{key}\s*=\s*\{{(.*?)\}},?\s*\n", bibtex, re.DOTALL) for key in ("title", "year")}
    return ", ".join(" ".join(each[1].split()).strip("{}") for each in found.values() if each) or bibtex


def _table(run: dict[str, Any], table: dict[str, Any]) -> Table:
    rows = table["rows"]
    names = list(rows[-1]["methods"])
    cells = [(n, [rows[-1]["methods"][n]["role"], *(in_words(r["methods"][n], table, spread=True) for r in rows)])
             for n in names]  # fmt: skip
    n = rows[-1]["methods"][run["closure"]]["n"]
    of = {"mean": "mean ± standard deviation", "median": "median", "geometric": "geometric mean"}[table["of"]]
    note = f"{of} over {n} {run['sample']}s; best classical method on the same grid: {table['best']}"
    headings = ["method", "role", *(row["at"] for row in rows)]
    return Table(table["title"], headings, cells, note, left=("role",))


ACTIONS: dict[str, Callable[[Sequence[str]], Any]] = {
    "list": _list, "show": _show, "get": _get, "verify": _verify, "card": _card,
}  # fmt: skip
