"""The closures that can be asked for by name."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import PRNGKeyArray

from closura.closures.adaptive import StencilClosure, StencilPolicy
from closura.closures.aligned import AlignedClosure
from closura.closures.closure import Closure
from closura.closures.compact import compact
from closura.closures.ircnn import ircnn
from closura.closures.policy import Policy
from closura.closures.weights import WeightsClosure
from closura.closures.weights_policy import WeightsPolicy, weighing_agents
from closura.decision import Decision

AnyPolicy = Policy | StencilPolicy | WeightsPolicy
AnyClosure = Closure | StencilClosure | AlignedClosure | WeightsClosure | AnyPolicy

CLOSURES: dict[str, Callable[..., AnyClosure]] = {"ircnn": ircnn, "compact": compact, "weights": weighing_agents}
AT_INTERFACES: tuple[str, ...] = ("weights",)
"""Closures for problems whose agents stand at interfaces; the others are for agents in cells."""

_NOT_OPTIONS = ("decision", "stochastic", "key")


def closure_options(name: str) -> dict[str, Any]:
    """The options of a closure and their default values.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if name not in CLOSURES:
        raise ValueError(f"unknown closure {name!r}; valid: {', '.join(CLOSURES)}")
    parameters = inspect.signature(CLOSURES[name]).parameters
    return {key: value.default for key, value in parameters.items() if key not in _NOT_OPTIONS}


def check_place(name: str, agents: str) -> None:
    """Refuse a closure whose agents stand elsewhere than a problem's.

    Raises
    ------
    ValueError
        With the closures that fit.
    """
    if (name in AT_INTERFACES) != (agents == "interfaces"):
        place = "at interfaces" if agents == "interfaces" else "in cells"
        fit = [other for other in CLOSURES if (other in AT_INTERFACES) == (agents == "interfaces")]
        raise ValueError(
            f"closure {name!r} is not for agents {place}, where this problem's stand; choose {', '.join(fit)}"
        )


def build(
    name: str,
    decision: Decision,
    *,
    stochastic: bool,
    options: Mapping[str, Any] | None = None,
    key: PRNGKeyArray,
) -> AnyClosure:
    """Build a closure by its name.

    Parameters
    ----------
    name
        One of :data:`CLOSURES`.
    decision
        What the closure observes and how it acts.
    stochastic
        A policy (for learners that explore), or a deterministic closure.
    options
        Further arguments of the closure's function (default: none).
    key
        Random key.

    Raises
    ------
    ValueError
        If the name or an option is unknown (the message lists the valid ones), or an option is refused.
    """
    valid = closure_options(name)
    check_place(name, decision.agents)
    options = {} if options is None else dict(options)
    unknown = [option for option in options if option not in valid]
    if unknown:
        raise ValueError(f"unknown options of closure {name!r}: {', '.join(unknown)}; valid: {', '.join(valid)}")
    return CLOSURES[name](decision, stochastic=stochastic, key=key, **options)
