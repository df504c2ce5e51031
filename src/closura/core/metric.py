"""What is measured of a simulation."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float64

from closura.core.registry import Registry

Aggregate = Literal["mean", "median", "geometric"]
"""How the values of several simulations make one number: the median where a single one would rule the mean, the
geometric mean where simulations differ much in difficulty and each should count by its relative change."""


CONSERVATION = "conservation_error"
"""The name of the relative change of what the equations conserve, without its sign."""


@dataclass(frozen=True)
class Metric:
    """One kind of number, measured of every simulation.

    Parameters
    ----------
    name
        The name of its variable in :class:`~closura.core.results.Results`, and in JSON and CSV.
    of
        ``of(field, reference) -> scalar`` of two fields ``(component, *grid)`` on the grid of comparison at one time,
        traceable by JAX; with ``series`` ``of(fields, references, times) -> scalar`` of NumPy arrays with a leading
        axis of times.
    title
        What it is, for tables and axes ("relative MAE").
    unit
        Its unit; "1" for pure numbers.
    percent
        Whether it is a share, written in percent.
    better
        Which values are better; "" where neither is.
    aggregate
        How the values of several simulations make one number.
    series
        Whether it is measured of a whole simulation rather than at each time.
    run
        Whether it is ``of(run, reference, case)`` of two whole simulations as they were marched
        (:class:`closura.simulation.march.Marched`) and their case, all in NumPy: one number, or one for each time.
    limit
        The largest value that can be measured: those that reach it are lower bounds.
    floor
        Values below are round-off: tables say no more than that they are.
    """

    name: str
    of: Callable[..., Any]
    title: str = ""
    unit: str = "1"
    percent: bool = False
    better: Literal["lower", "higher", ""] = "lower"
    aggregate: Aggregate = "mean"
    series: bool = False
    limit: float = math.inf
    run: bool = False
    floor: float = 0.0

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"the name of a metric is that of a variable (letters, digits, _); got {self.name!r}")
        if not self.title:
            object.__setattr__(self, "title", self.name.replace("_", " "))

    def at_limit(self, values: Float64[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
        """Which values are lower bounds: they reach the largest one that can be measured."""
        return np.asarray(values >= self.limit * (1 - 1e-9))

    @property
    def facts(self) -> dict[str, str | bool]:
        """What readers of its numbers need; with ``percent`` tables write it in percent, and files as a fraction."""
        return {key: getattr(self, key) for key in ("title", "unit", "percent", "better", "aggregate")}

    @property
    def attributes(self) -> dict[str, str | int | float]:
        """What is written beside its values."""
        return {
            "long_name": self.title, "units": self.unit, "percent": int(self.percent), "better": self.better,
            "aggregate": self.aggregate, "limit": self.limit, "floor": self.floor,
        }  # fmt: skip

    @staticmethod
    def from_attributes(name: str, found: Mapping[str, Any]) -> "Metric":
        """A metric of results, from what is written beside its values; its function is not there."""
        return Metric(
            name, _not_kept, str(found["long_name"]), str(found["units"]), bool(found["percent"]), found["better"],
            found["aggregate"], limit=float(found.get("limit", math.inf)), floor=float(found.get("floor", 0)),
        )  # fmt: skip


def _not_kept(*_: Any) -> Any:
    raise ValueError("results do not hold the functions of their metrics")


METRICS: Registry[Metric] = Registry("metric", Metric)


def metric(
    name: str,
    *,
    title: str = "",
    unit: str = "1",
    percent: bool = False,
    better: Literal["lower", "higher", ""] = "lower",
    aggregate: Aggregate = "mean",
    series: bool = False,
) -> Callable[[Callable[..., Any]], Metric]:
    """Make a registered metric of a function; see :class:`Metric`.

    .. code-block:: python

        @closura.metric("peak_error", title="error of the largest value")
        def peak_error(field, reference):
            return abs(field.max() - reference.max())
    """

    def register(of: Callable[..., Any]) -> Metric:
        return METRICS.add(name, Metric(name, of, title, unit, percent, better, aggregate, series))

    return register
