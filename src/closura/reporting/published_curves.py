"""Published curves that ours are laid beside, where results repeat a publication."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from closura.core import Registry, Results
from closura.metrics.statistics import quantile_per_step
from closura.reporting.formatting import percent, short
from closura.reporting.table import Table, table

STEPS = (1, 10, 25, 50, 100, 200, 300, 400)


class LowErrorSteps(NamedTuple):
    """Distribution of the number of steps below the threshold."""

    median: int
    smallest: int
    largest: int


@dataclass(frozen=True)
class PublishedCurves:
    """What one published figure shows, by method; errors and reductions in percent at ``STEPS``.

    Parameters
    ----------
    name
        Its name in the registry.
    source
        Which figure.
    centre
        "mean" or "median": what ``error`` is over simulations.
    error
        Relative mean absolute error.
    std
        Its standard deviation over simulations, where it is drawn.
    reduction
        Mean over simulations of ``(CGS - x) / CGS``, positive is better.
    low_error_steps
        Steps below the threshold, "never above" counted as 0.
    threshold
        That threshold, as a fraction.
    repeated_by
        Whether results repeat the published simulations.
    """

    name: str
    source: str
    centre: str
    error: dict[str, tuple[float, ...]]
    std: dict[str, tuple[float, ...]]
    reduction: dict[str, tuple[float, ...]]
    low_error_steps: dict[str, LowErrorSteps]
    threshold: float
    repeated_by: Callable[[Results], bool]


PUBLICATIONS: Registry[PublishedCurves] = Registry("publication", PublishedCurves)


def published_curves(results: Results) -> PublishedCurves | None:
    """The published figure that results repeat, or None."""
    return next((found for found in PUBLICATIONS.all().values() if found.repeated_by(results)), None)


@table("published-figures", needs=("time",), order=40)
def beside_published(results: Results) -> list[Table]:
    """Published numbers beside ours, where results repeat a published figure."""
    found = published_curves(results)
    if found is None:
        return []
    shown = [(index, step) for index, step in enumerate(STEPS) if step <= results.steps]
    rows = []
    for name, error in found.error.items():
        rows.append((f"{name}, published", [f"{error[index]:g}" for index, _ in shown]))
    for name in results.compared:
        values = results.errors(name)
        if found.centre == "median":
            rows.append((name, [percent(float(quantile_per_step(values)[step])) for _, step in shown]))
        else:
            rows.append((name, [short(100 * float(values[:, step].mean())) for _, step in shown]))
    return [
        Table(
            "Beside the published figures",
            [f"{found.centre} {results.error.title} (%)", *(f"step {step}" for _, step in shown)],
            rows,
            f"{found.source}, read from its vector graphics. Other simulations of the same families: means differ by "
            "chance.",
        )
    ]
