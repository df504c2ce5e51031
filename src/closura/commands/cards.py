"""Cards of closures: the evaluations in them, repeated by the commands that they name."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax

from closura.cards.card import CardError, facts_of, fitting_card, sha256
from closura.cards.facts import in_its_precision
from closura.cards.measured import differences, measured
from closura.cards.probe import TOLERANCE, probe_difference, probed
from closura.closures._checks import count_parameters
from closura.commands.closures import trained_settings
from closura.commands.console import console
from closura.commands.evaluation import run_evaluate
from closura.core import Results
from closura.core.definition import definition_of
from closura.io.weights import WeightsError, load_weights, read_header

Level = Literal["quick", "full"]
KEPT_OUT = ("--out", "--json", "--save", "--start", "--closure", "--overwrite", "--plugin", "--config", "--workers")
"""Options that an evaluation in a card may not have: it writes nothing, and is of that closure."""


def evaluated(weights: Path, name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Evaluate a closure on the problem of its training, and keep what a card keeps.

    Raises
    ------
    ValueError
        If the weights do not say how they were trained, or the arguments are refused.
    """
    refused = [word for word in arguments if word.partition("=")[0].replace("_", "-") in KEPT_OUT]
    if refused:
        raise ValueError(f"evaluations of cards write nothing and have one closure: leave out {', '.join(refused)}")
    place = _place(weights)
    wide = bool(jax.config.read("jax_enable_x64"))
    jax.config.update("jax_enable_x64", False)  # as the command finds it; a precision that it asks for stays otherwise
    quiet, console.quiet = console.quiet, True
    try:
        results = run_evaluate([place, "--closure", f"{name}={weights}", *arguments, "--no-timing"])
    finally:
        console.quiet = quiet
        jax.config.update("jax_enable_x64", wide)
    if not isinstance(results, Results):
        raise ValueError(f"closura evaluate {place} gives no results that a card could hold")
    return measured(results, name)


def made(
    weights: Path, called: str, *, arguments: Mapping[Level, Sequence[Sequence[str]]], simulations: int
) -> dict[str, Any]:
    """A card with all its evaluations; ``called`` is what the closure is called on the command line."""
    card = facts_of(weights, simulations=simulations)
    for level, runs in arguments.items():
        card["evaluations"][level] = [
            {
                "command": shlex.join(["closura", "evaluate", _place(weights), "--closure", called, *words]),
                "arguments": list(words),
                **evaluated(weights, card["name"], words),
            }
            for words in runs
        ]
    return card


def mismatches(weights: Path, level: Level) -> Iterator[tuple[bool, str]]:
    """Check weights against the card beside them.

    Yields
    ------
    Whether it agrees, and what was found, in a line; nothing more is evaluated where weights are not those of the card.

    Raises
    ------
    FileNotFoundError
        If there is no card.
    """
    try:
        card = fitting_card(weights)
        if card is None:
            raise FileNotFoundError(f"there is no card beside {weights}: make one with closura models card {weights}")
        header = read_header(weights)
        with in_its_precision(header):
            closure = load_weights(weights)
            count, difference = count_parameters(closure), probe_difference(probed(closure), card["probe"])
    except (CardError, WeightsError) as error:
        yield False, str(error)
        return
    except (KeyError, TypeError, ValueError) as error:
        yield False, f"the card of {weights} is damaged: {error!r}: make it anew with closura models card {weights}"
        return
    yield True, f"sha256 {sha256(weights)[:12]}..."
    right = count == card["parameters"]
    yield right, f"{count:,} parameters" + ("" if right else f", the card says {card['parameters']:,}")
    right = difference <= TOLERANCE
    yield right, f"answers differ by {difference:.1e} of the largest" + ("" if right else f", more than {TOLERANCE:g}")
    for run in card["evaluations"].get(level, ()):
        yield from _repeated(weights, run)


def _place(weights: Path) -> str:
    """Problem of a training, as ``closura evaluate`` takes it."""
    training = trained_settings(weights)
    if training is None:
        raise ValueError(f"{weights} does not say on which problem it was trained, so that nothing can be evaluated")
    return definition_of(training.problem).place


def _repeated(weights: Path, run: Mapping[str, Any]) -> Iterator[tuple[bool, str]]:
    found = evaluated(weights, run["closure"], run["arguments"])
    compared = list(differences(found, run))
    for what, beyond, both in compared:
        if not beyond <= 1:
            yield False, f"{what}: {both}, {beyond:.3g} times what is allowed ({run['command']})"
    if all(beyond <= 1 for _, beyond, _ in compared):
        largest = max(beyond for _, beyond, _ in compared)
        yield (
            True,
            f"{len(compared)} numbers of {run['command']} within {largest:.2g} of what is allowed",
        )
