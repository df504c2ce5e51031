"""How methods generalise: errors from many random initial conditions on random grids.

The published protocol draws ``N = int(2^U(6, 10))`` cells for each initial condition. Here the numbers of cells are
drawn in the same way but shared by groups of initial conditions, one from each of as many equal parts of the range as
there are groups, so that 400 initial conditions need 25 compilations rather than 400.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from closura.core import Results
from closura.core.method import Method
from closura.initial.burgers import RANDOM_BURGERS, Family
from closura.initial.gas import random_tube
from closura.metrics.statistics import geometric_mean
from closura.problems.laws.evaluate import Study, compare
from closura.problems.laws.methods import comparison_of
from closura.seeds import generator_of

GROUP, FEWEST = 16, 4
"""At most so many initial conditions share a grid; at least so many grids, where there are as many of them."""
FAMILIES: dict[str, dict[str, Family]] = {
    "burgers-1d": RANDOM_BURGERS,
    "euler-1d": {"random-tube": random_tube},
}
"""Random families by problem: the published ones of Burgers' equation, and shock tubes."""


def check_families(problem: str) -> None:
    """Refuse random initial conditions of problems that have none."""
    if problem not in FAMILIES:
        raise ValueError(
            f"random initial conditions for a scatter exist for {', '.join(FAMILIES)}, not for {problem}: leave out "
            "--scatter"
        )


def random_variables(
    study: Study, methods: Mapping[str, Method], count: int, *, report: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Variables of results: errors of all methods from ``count`` random initial conditions of each family.

    Parameters are drawn from ranges (the published "continuous" ones), with the study's seed.

    Returns
    -------
    dict
        ``random_error (random_method, random)`` in the norm that counts, infinite where a simulation diverged, with
        ``random_family`` and ``random_cells`` of each initial condition, and ``random_compared_with`` of each method.
    """
    check_families(study.problem.name)
    if count < 1:
        raise ValueError(f"a scatter needs at least one initial condition; got {count}")
    families: list[str] = []
    grids: list[int] = []
    found: dict[str, list[float]] = {name: [] for name in methods}
    for number, (family, draw) in enumerate(FAMILIES[study.problem.name].items()):
        rng = generator_of(study.seed, 0x5CA7, number)
        drawn = [draw(rng) for _ in range(count)]
        groups = max(-(-count // GROUP), min(count, FEWEST))
        sizes = [int(2 ** (6 + 4 * (g + rng.uniform()) / groups)) for g in range(groups)]
        for group, cells in enumerate(sizes):
            report(f"scatter: {family}, {cells} cells ({group + 1} of {groups})")
            members = [(family, member) for member in drawn[group::groups]]
            measured = compare(study, methods, members, cells)
            for name in methods:
                found[name] += measured.of(study.problem.norm, study.named(name, cells)).tolist()
            families += [family] * len(members)
            grids += [cells] * len(members)
    return {
        "random_method": ("random_method", list(methods)),
        "random_error": (("random_method", "random"), np.asarray(list(found.values()))),
        "random_family": ("random", families),
        "random_cells": ("random", grids),
        "random_compared_with": ("random_method", [comparison_of(name, methods) for name in methods]),
    }


def random_errors(results: Results) -> dict[str, tuple[str, dict[str, tuple[np.ndarray, np.ndarray]]]]:
    """By method: what it is compared with, and by family the errors of both."""
    data = results.data
    families = data["random_family"].values
    found = {}
    for name in map(str, data["random_method"].values):
        other = str(data["random_compared_with"].sel(random_method=name).item())
        pair = [data["random_error"].sel(random_method=each).values for each in (name, other)]
        by_family = {
            str(family): (pair[0][families == family], pair[1][families == family])
            for family in dict.fromkeys(families.tolist())
        }
        found[name] = (other, by_family)
    return found


def random_summary(results: Results) -> list[dict[str, Any]]:
    """For each method and family: geometric means over simulations that neither method lost, their ratio, losses.

    ``better``: the share of simulations with a smaller error than the method that it is compared with (``rival``).
    """
    rows = []
    for name, (other, by_family) in random_errors(results).items():
        for family, (own, theirs) in by_family.items():
            both = np.isfinite(own) & np.isfinite(theirs)
            mean, compared = geometric_mean(own[both]), geometric_mean(theirs[both])
            rows.append(
                {
                    "method": name,
                    "family": family,
                    "n": len(own),
                    "mean": mean,
                    "rival": other,
                    "ratio": mean / compared if compared > 0 else math.nan,
                    "better": float(np.mean(own < theirs)),
                    "diverged": int((~np.isfinite(own)).sum()),
                }
            )
    return rows
