"""Results made of given errors, for tests of what is made of results."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from closura.core import MethodResult, Metric, Results, Role
from closura.core.metric import CONSERVATION


def unused(*_: Any) -> Any:
    raise AssertionError("values are given, not measured")


def metric(name: str, **facts: Any) -> Metric:
    """A metric whose values are given."""
    return Metric(name, unused, **facts)


def method(role: Role, errors: Any, *, conserved: Any = None, **facts: Any) -> MethodResult:
    """A method with errors, ``(case, time)``, and perhaps errors of what is conserved; 7 parameters if a closure."""
    values = {"error": np.asarray(errors, np.float64), **facts.pop("values", {})}
    if conserved is not None:
        values[CONSERVATION] = np.asarray(conserved, np.float64)
    usual = {"milliseconds_per_step": 0.1, "parameters": 7 if role is Role.CLOSURE else None}
    return MethodResult(role, values, **{**usual, **facts})


def results(
    methods: Mapping[str, MethodResult],
    *,
    problem: str = "p",
    time_step: float = 0.1,
    title: str = "relative MAE",
    quantity: str = "mass",
    threshold: float = 0.01,
    scale: np.ndarray | None = None,
    metrics: Sequence[Metric] = (),
    **facts: Any,
) -> Results:
    """Results of methods as evaluations give them: relative errors in percent, what is conserved."""
    steps = np.shape(next(iter(methods.values())).values["error"])[1] - 1
    own = [
        metric("error", title=title, percent=True),
        metric(CONSERVATION, title=f"relative {quantity} error", percent=True),
    ]
    return Results.build(
        problem, methods, [*own, *metrics], error="error", times=time_step * np.arange(steps + 1),
        variables={} if scale is None else {"scale": (("case", "time"), scale)}, time_step=time_step,
        threshold=threshold, quantity=quantity, **facts,
    )  # fmt: skip


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a table."""
    return list(csv.DictReader(io.StringIO(path.read_text())))
