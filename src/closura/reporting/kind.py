"""What figures, tables and numbers share: they are made of all results that have what they need."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from closura.core import Results
from closura.metrics.pareto import COST


@dataclass(frozen=True)
class Kind:
    """What is made of results.

    Parameters
    ----------
    name
        Its name.
    make
        Makes it of results.
    needs
        Variables of the results without which there is nothing to make.
    when
        Whether it makes sense for results that have them.
    problems
        Only for these problems (default: all).
    order
        They stand in this order.
    """

    name: str
    make: Callable[..., Any]
    needs: Collection[str] = ()
    when: Callable[[Results], bool] = lambda results: True
    problems: Collection[str] = ()
    order: int = 50

    def suits(self, results: Results) -> bool:
        """Whether the results have what it needs; those of a sweep suit only what needs their costs."""
        if (results.is_sweep and COST not in self.needs) or (self.problems and results.problem not in self.problems):
            return False
        return all(need in results.data for need in self.needs) and self.when(results)
