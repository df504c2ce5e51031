"""Cards: what is known of a closure, as JSON beside its weights; both together are one thing."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from closura.cards.facts import described, in_its_precision, path_name, says_its_grid, training_of, training_problem
from closura.cards.probe import probed
from closura.io.closures import shipped
from closura.io.files import write_atomically
from closura.io.weights import load_weights, read_header
from closura.plain import to_json
from closura.simulation.ranges import observed_range

FORMAT = "closura card"
VERSION = 1
KINDS: dict[str, type | tuple[type, ...]] = {
    "name": str, "problem": str, "parameters": int, "observation": list, "action": list, "grid": list,
    "units": list, "sha256": str, "probe": dict, "evaluations": dict,
}  # fmt: skip
"""What every card has, of which kind."""
AFTER = "make it anew with: closura models card"


class CardError(ValueError):
    """A card that is missing, damaged, or not of the weights beside it."""


def weights_of(path: str | Path) -> Path:
    """The file of weights that a run folder, a file, or the name of a closure of the package stands for.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    found = shipped(path)
    if found.is_dir():
        found = found / "weights.safetensors"
    if not found.is_file():
        raise FileNotFoundError(
            f"there is no closure at {path}: expected a run folder or a .safetensors file of weights"
        )
    return found


def card_path(weights: Path) -> Path:
    """Where the card of a file of weights is."""
    return weights.with_suffix(".json")


def sha256(weights: Path) -> str:
    """The hash of a file."""
    return hashlib.sha256(weights.read_bytes()).hexdigest()


def read_card(weights: Path) -> dict[str, Any] | None:
    """The card beside a file of weights; None where there is none.

    Raises
    ------
    CardError
        If it is damaged.
    """
    path = card_path(weights)
    if not path.is_file():
        return None
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CardError(f"{path} is damaged ({error}): {AFTER} {weights}") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        return None  # another file of that name
    for name, kind in KINDS.items():
        if not isinstance(card.get(name), kind):
            got = type(card[name]).__name__ if name in card else "nothing"
            raise CardError(f"{path} is damaged: {name}: expected {kind}, got {got}: {AFTER} {weights}")
    _check_evaluations(path, card)
    return card


def fitting_card(weights: Path) -> dict[str, Any] | None:
    """:func:`read_card`; CardError where it is of other weights."""
    card = read_card(weights)
    if card is not None and card["sha256"] != (found := sha256(weights)):
        raise CardError(
            f"{weights} is not what its card was made of: expected sha256 {card['sha256'][:12]}..., got "
            f"{found[:12]}...: {AFTER} {weights}"
        )
    return card


def facts_of(weights: Path, *, simulations: int | None = None) -> dict[str, Any]:
    """A card without evaluations, of the weights alone or also of the problem of their training.

    Parameters
    ----------
    weights
        The file.
    simulations
        Training simulations from which the range of what it observes is taken; 0: no range, and the problem is built
        only if the header does not say grid and time step; None: what the header says must do.

    Raises
    ------
    WeightsError
        If the file cannot be used.
    ValueError
        If the closure diverges on its own training problem.
    """
    header = read_header(weights)
    with in_its_precision(header):
        closure, training = load_weights(weights), training_of(header)
        problem, known = None, None
        if training is not None and (simulations or (simulations == 0 and not says_its_grid(header))):
            problem = training_problem(training)
        if problem is not None and simulations and problem.spec.where == "cells":
            known = observed_range(problem, closure, simulations=simulations)
        about = described(path_name(weights), header, closure, training=training, problem=problem, known=known)
        about |= {"sha256": sha256(weights), "probe": probed(closure)}
    return {"format": FORMAT, "version": VERSION, **about, "evaluations": {}}


def write_card(weights: Path, card: Mapping[str, Any]) -> Path:
    """Write a card beside its weights, in place of what was there."""
    return write_atomically(card_path(weights), to_json(card, indent=1) + "\n")


def _check_evaluations(path: Path, card: Mapping[str, Any]) -> None:
    try:
        for level, runs in card["evaluations"].items():
            for run in runs:
                words = all(isinstance(word, str) for word in (run["command"], *run["arguments"]))
                tables = [(t["metric"], t["title"], t["of"], t["percent"], t["best"]) for t in run["tables"]]
                entries = [e for t in run["tables"] for r in t["rows"] for e in (r["at"], *r["methods"].values())]
                own = all(run["closure"] in row["methods"] for t in run["tables"] for row in t["rows"])
                values = all(
                    e["value"] is None or float(e["value"]) == e["value"] for e in entries if isinstance(e, dict)
                )
                if not (words and tables and own and values):
                    raise ValueError(f"evaluations: {level}: expected arguments and tables with the closure in them")
    except (KeyError, TypeError, AttributeError) as error:
        raise CardError(f"{path} is damaged: evaluations: {error!r}: {AFTER}") from error
    except ValueError as error:
        raise CardError(f"{path} is damaged: {error}: {AFTER}") from error
