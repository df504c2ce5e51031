"""How methods generalise: errors from many random initial conditions on random grids.

The published protocol draws ``N = int(2^U(6, 10))`` cells for each initial condition. Here the numbers of cells are
drawn in the same way but shared by groups of initial conditions, one from each of as many equal parts of the range as
there are groups, so that 400 initial conditions need 25 compilations rather than 400.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from closura.evaluation.laws.measure import geometric_mean
from closura.evaluation.laws.methods import Method, rival_of
from closura.evaluation.laws.simulate import simulate
from closura.evaluation.laws.study import Study, judge, truth_of
from closura.fields.initial import InitialCondition
from closura.fields.random_burgers import RANDOM_BURGERS
from closura.fields.random_gas import random_tube
from closura.seeds import generator_of

GROUP, FEWEST = 16, 4
"""At most so many initial conditions share a grid; at least so many grids, where there are as many of them."""
Family = Callable[[np.random.Generator], InitialCondition]
FAMILIES: dict[str, dict[str, Family]] = {
    "burgers-1d": {name: RANDOM_BURGERS[name] for name in ("random", "accelshock-random", "smooth-rare-random")},
    "euler-1d": {"random-tube": random_tube},
}
"""Random families by problem: the published ones of Burgers' equation, and shock tubes."""


@dataclass(frozen=True, eq=False)
class Scatter:
    """Errors of random initial conditions.

    Parameters
    ----------
    family
        The family of each initial condition.
    cells
        Its grid.
    errors
        Errors of each method, infinite where it diverged.
    norm
        Which error.
    """

    family: tuple[str, ...]
    cells: Int[np.ndarray, " simulation"]
    errors: Mapping[str, Float64[np.ndarray, " simulation"]]
    norm: str

    def summary(self, methods: Mapping[str, Method]) -> list[dict[str, object]]:
        """For each method and family: geometric means, the share of simulations better than the rival, failures."""
        rows: list[dict[str, object]] = []
        labels = np.asarray(self.family)
        for name in methods:
            rival = rival_of(name, methods)
            for family in dict.fromkeys(self.family):
                chosen = labels == family
                own, other = self.errors[name][chosen], self.errors[rival][chosen]
                both = np.isfinite(own) & np.isfinite(other)
                mean, compared = geometric_mean(own[both]), geometric_mean(other[both])
                rows.append(
                    {
                        "method": name,
                        "family": family,
                        "n": int(chosen.sum()),
                        "mean": mean,
                        "rival": rival,
                        "ratio": mean / compared if compared > 0 else math.nan,
                        "better": float(np.mean(own < other)),
                        "diverged": int((~np.isfinite(own)).sum()),
                    }
                )
        return rows


def check_families(problem: str) -> None:
    """Refuse a scatter for problems without random families.

    Raises
    ------
    ValueError
        With the problems that have some.
    """
    if problem not in FAMILIES:
        raise ValueError(
            f"random initial conditions for a scatter exist for {', '.join(FAMILIES)}, not for {problem}: leave out "
            "--scatter"
        )


def run_scatter(
    study: Study, methods: Mapping[str, Method], count: int, *, report: Callable[[str], None] = lambda _: None
) -> Scatter:
    """Errors of all methods from ``count`` random initial conditions of each family.

    Parameters are drawn from ranges (the published "continuous" ones), with the study's seed.

    Raises
    ------
    ValueError
        If the problem has no random families, or the count is not positive.
    """
    check_families(study.problem.name)
    if count < 1:
        raise ValueError(f"a scatter needs at least one initial condition; got {count}")
    norm = study.problem.norm
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
            members = drawn[group::groups]
            ends = [study.end(member) for member in members]
            truths = None
            for name, method in methods.items():
                runs = simulate(method, members, cells, ends, study.steps)
                if truths is None:
                    truths = [truth_of(study, *args) for args in zip(members, runs, ends, strict=True)]
                found[name] += [
                    judge(member, one, truth).error(norm)
                    for member, one, truth in zip(members, runs, truths, strict=True)
                ]
            families += [family] * len(members)
            grids += [cells] * len(members)
    return Scatter(tuple(families), np.asarray(grids), {k: np.asarray(v) for k, v in found.items()}, norm)
