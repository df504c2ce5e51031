"""Numbers of evaluations of conservation laws, for tests."""

import numpy as np

from closura.core import Results


def named(found: Results, method: str, cells: int | None = None) -> str:
    """What a method is called on a grid."""
    return f"{method}, {cells} cells" if found.grids else method


def value(found: Results, metric: str, method: str, initial: str, cells: int | None = None) -> float:
    """The mean of a metric over the shifted copies of an initial condition."""
    member = np.asarray(found.groups) == initial
    return float(found.of(metric, named(found, method, cells))[member].mean())
