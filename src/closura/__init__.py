"""closura: learn what a coarse simulation grid cannot resolve.

``dir(closura)`` lists the public names; each is imported when it is first used. What they are made of stands in the
rooms: :mod:`closura.core` (cases, solvers, methods, metrics, results, registries), :mod:`closura.problems`,
:mod:`closura.closures`, :mod:`closura.learners`, :mod:`closura.simulation`, :mod:`closura.metrics`,
:mod:`closura.reporting`, :mod:`closura.io`.
"""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

__version__ = _version("closura")

_PLACES = {
    # what a problem is made of
    "Case": "core.case",
    "CaseSampler": "core.case",
    "ClosureSpec": "core.specification",
    "Grid": "grids",
    "Metric": "core.metric",
    "Problem": "problems.problem",
    "Program": "host.pool",
    "Solver": "core.solver",
    "from_exponax": "problems.exponax",
    "recorded": "trajectories.recorded",
    "transfer": "core.transfer",
    # settings
    "Count": "settings",
    "Natural": "settings",
    "NotNegative": "settings",
    "Positive": "settings",
    "Settings": "settings",
    "Share": "settings",
    # plug-ins: one decorated object each
    "baseline": "core.definition",
    "closure": "closures.registry",
    "figure": "reporting.figure",
    "learner": "learners.state",
    "metric": "core.metric",
    "problem": "core.definition",
    "statistic": "problems.statistics",
    "table": "reporting.table",
    "Table": "reporting.table",
    # comparisons
    "Method": "core.method",
    "Results": "core.results",
    "Role": "core.method",
    "StepRule": "core.method",
    "evaluate": "simulation.evaluate",
    "publish": "reporting.publish",
    "simulate": "simulation.simulate",
    # trainings and closures
    "Environment": "environment",
    "gymnasium_env": "gymnasium",
    "gymnasium_vector_env": "gymnasium",
    "Learner": "learners.state",
    "build_problem": "problems.registry",
    "Guard": "closures.guard",
    "load_closure": "io.closures",
    "next_state": "learners.state",
    "observed_range": "simulation.ranges",
    "train": "runs.training",
}

__all__ = ["__version__", *_PLACES]

if _TYPE_CHECKING:
    from closura.closures.guard import Guard as Guard
    from closura.closures.registry import closure as closure
    from closura.core.case import Case as Case
    from closura.core.case import CaseSampler as CaseSampler
    from closura.core.definition import baseline as baseline
    from closura.core.definition import problem as problem
    from closura.core.method import Method as Method
    from closura.core.method import Role as Role
    from closura.core.method import StepRule as StepRule
    from closura.core.metric import Metric as Metric
    from closura.core.metric import metric as metric
    from closura.core.results import Results as Results
    from closura.core.solver import Solver as Solver
    from closura.core.specification import ClosureSpec as ClosureSpec
    from closura.core.transfer import transfer as transfer
    from closura.environment import Environment as Environment
    from closura.grids import Grid as Grid
    from closura.gymnasium import gymnasium_env as gymnasium_env
    from closura.gymnasium import gymnasium_vector_env as gymnasium_vector_env
    from closura.host.pool import Program as Program
    from closura.io.closures import load_closure as load_closure
    from closura.learners.state import Learner as Learner
    from closura.learners.state import learner as learner
    from closura.learners.state import next_state as next_state
    from closura.problems.exponax import from_exponax as from_exponax
    from closura.problems.problem import Problem as Problem
    from closura.problems.registry import build_problem as build_problem
    from closura.problems.statistics import statistic as statistic
    from closura.reporting.figure import figure as figure
    from closura.reporting.publish import publish as publish
    from closura.reporting.table import Table as Table
    from closura.reporting.table import table as table
    from closura.runs.training import train as train
    from closura.settings import Count as Count
    from closura.settings import Natural as Natural
    from closura.settings import NotNegative as NotNegative
    from closura.settings import Positive as Positive
    from closura.settings import Settings as Settings
    from closura.settings import Share as Share
    from closura.simulation.evaluate import evaluate as evaluate
    from closura.simulation.ranges import observed_range as observed_range
    from closura.simulation.simulate import simulate as simulate
    from closura.trajectories.recorded import recorded as recorded


def __getattr__(name: str) -> _Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'closura' has no attribute {name!r}; dir(closura) lists the public names")
    found = getattr(_import_module(f"closura.{_PLACES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
