"""``closura list``: what there is by name, with a line about each."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from closura.cards.measured import gain
from closura.closures import CLOSURES
from closura.commands.closures import own_problem
from closura.commands.console import console, errors
from closura.commands.models import shipped_cards
from closura.commands.options import HELP, Positional, parse, use_precision
from closura.core.definition import BASELINES, PROBLEMS, ProblemDefinition
from closura.core.metric import METRICS
from closura.core.registry import source_of
from closura.io.published import PUBLISHED
from closura.learners import LEARNERS
from closura.offline.rom import MODELS
from closura.offline.sampler import SAMPLERS
from closura.plain import to_json
from closura.problems import Problem
from closura.problems.statistics import STATISTICS
from closura.reporting.figure import FIGURES
from closura.reporting.table import TABLES
from closura.simulation.evaluate import own_metrics


@dataclass(frozen=True)
class ListOptions:
    """What to list.

    Parameters
    ----------
    kind
        The registry.
    json
        Print JSON: an object of names and lines.
    """

    kind: Positional[Literal["problems", "closures", "learners", "samplers", "reduced-models", "metrics", "models",
                             "figures", "tables", "baselines", "statistics"]]  # fmt: skip
    json: bool = False


def run_list(arguments: Sequence[str]) -> dict[str, str]:
    """Print names and lines."""
    if not any(not word.startswith("-") for word in arguments) and not HELP & set(arguments):
        raise ValueError(f"which list? closura list KIND, with KIND one of {', '.join(LISTS)}")
    options = parse(ListOptions, arguments, prog="closura list", description="What there is, by name.")
    found = LISTS[options.kind]()
    if options.json:
        console.print(to_json(found, indent=1), soft_wrap=True)
        return found
    width = max(map(len, found), default=0)
    for name, line in found.items():
        console.print(f"{name:<{width}}  {line}", soft_wrap=True)
    if not found:
        console.print(f"no {options.kind} are registered: --plugin FILE.py adds those of a file", soft_wrap=True)
    return found


def _models() -> dict[str, str]:
    """Weights that come with the package, and published ones."""
    found = {
        name: f"comes with closura, for {card['problem']}" + (f": {gain(card)}" if gain(card) else "")
        for name, card in shipped_cards().items()
    }
    return found | dict.fromkeys(PUBLISHED, "published weights: closura models get")


def _metrics() -> dict[str, str]:
    """Those of problems, with their titles and which they are, and those that files and packages add to all."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, kind in PROBLEMS.all().items():
        own = kind.metrics() if kind.metrics else {m.name: m.title for p in _usual(kind) for m in own_metrics(p)}
        for metric, title in own.items():
            found.setdefault(metric, {}).setdefault(title, []).append(name)
    lines = {
        metric: "; ".join(f"{title} ({', '.join(problems)})" for title, problems in titles.items())
        for metric, titles in found.items()
    }
    return lines | {name: metric.title for name, metric in METRICS.all().items()}


def _baselines() -> dict[str, str]:
    """Methods of problems with which they are, those that files and packages add too."""
    found: dict[str, list[str]] = {}
    for name, kind in PROBLEMS.all().items():
        for method in kind.methods() if kind.methods else (m for p in _usual(kind) for m in _methods(p)):
            found.setdefault(method, []).append(name)
    for each in BASELINES.all().values():
        found.setdefault(each.name, []).append(f"{each.problem}, added")
    return {method: f"a method of {', '.join(problems)}" for method, problems in found.items()}


def _methods(problem: Problem) -> list[str]:
    return [*problem.baselines, *problem.finer]


def _usual(kind: ProblemDefinition) -> list[Problem]:
    """The problem of the usual settings; none of a file that asks for what is not there, such as recordings."""
    settings = kind.settings()
    use_precision(settings)
    try:
        return [own_problem(settings)]
    except (ValueError, OSError) as error:
        if source_of(kind) is None:
            raise
        errors.print(f"note: {kind.name} is left out: {error}", soft_wrap=True)
        return []


def _summary(entry: Any) -> str:
    """The first line of what an entry was made of says of it."""
    return next(iter((inspect.getdoc(entry) or "").splitlines()), "")


LISTS: dict[str, Callable[[], dict[str, str]]] = {
    "problems": lambda: {name: kind.about for name, kind in PROBLEMS.all().items()},
    "closures": lambda: {name: _summary(kind.make) for name, kind in CLOSURES.all().items()},
    "learners": lambda: {name: _summary(kind.make) for name, kind in LEARNERS.all().items()},
    "samplers": lambda: {name: _summary(kind.module) for name, kind in SAMPLERS.all().items()},
    "reduced-models": lambda: {name: _summary(kind.module) for name, kind in MODELS.all().items()},
    "metrics": _metrics,
    "models": _models,
    "figures": lambda: {name: kind.caption.split("\n")[0] for name, kind in FIGURES.all().items()},
    "tables": lambda: {name: _summary(kind.make) for name, kind in TABLES.all().items()},
    "baselines": _baselines,
    "statistics": lambda: {name: kind.about for name, kind in STATISTICS.all().items()},
}
