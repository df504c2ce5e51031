"""Closures by name, wherever they come from, and how they are built."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar, get_args

import equinox as eqx
import jax
from jaxtyping import Array, PRNGKeyArray

from closura.closures.actor_critic import ActorCritic
from closura.closures.memory_policy import MemoryPolicy
from closura.core import ClosureSpec, Registry
from closura.core.memory import remembers
from closura.core.mistakes import in_words
from closura.core.specification import Place
from closura.settings import NoSettings, Settings, check_kind

Make = TypeVar("Make", bound=Callable[..., Any])
AnyClosure = Callable[[Array], Array]


@dataclass(frozen=True)
class ClosureKind:
    """A registered closure."""

    name: str
    make: Callable[..., Any]
    where: Place = "cells"
    settings: type[Settings] = NoSettings
    zero_start: bool = False
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "__module__", self.make.__module__)  # where it is defined

    @property
    def group(self) -> str:
        """The name of its group of options."""
        return self.name.replace("-", "_")


CLOSURES: Registry[ClosureKind] = Registry("closure", ClosureKind)


def closure(
    name: str,
    *,
    where: Place = "cells",
    settings: type[Settings] = NoSettings,
    zero_start: bool = False,
    sources: Sequence[str] = (),
) -> Callable[[Make], Make]:
    """Register a closure: a class of modules, or a function that builds one.

    It is called as ``make(spec, key=key, **settings)`` and gives a module with ``__call__(observation) -> action``,
    both without a batch axis: ``(channel, *grid)``. What is static in it has to be hashable. A method ``describe()``
    may say what it is; :class:`~closura.closures.ActorCritic` says which methods let a policy share its features.

    .. code-block:: python

        @dataclass(frozen=True)
        class LinearSettings(closura.Settings):
            radius: int = 1

        @closura.closure("linear", where="cells", settings=LinearSettings)
        class Linear(eqx.Module):
            weights: Array

            def __init__(self, spec, *, key, radius):
                ...

            def __call__(self, observation):
                ...

    The name is also that of its group of options on the command line (``--linear.radius``); see :class:`ClosureKind`
    for the rest.

    Raises
    ------
    ValueError
        If it acts nowhere, has no class of settings, or cannot be called so.
    """
    if where not in get_args(Place):
        raise ValueError(f"closure {name!r}: where must be one of {', '.join(get_args(Place))}; got {where!r}")
    check_kind(settings, f"closure {name!r}")

    def register(make: Make) -> Make:
        try:
            inspect.signature(make).bind(None, key=None, **dict.fromkeys(f.name for f in fields(settings)))
        except TypeError as error:
            wanted = ", ".join(["spec, *, key", *(f.name for f in fields(settings))])
            raise ValueError(f"closure {name!r} must be made as {make.__name__}({wanted}): {error}") from error
        CLOSURES.add(name, ClosureKind(name, make, where, settings, zero_start, tuple(sources)), make)
        return make

    return register


def check_place(name: str, where: str) -> None:
    """Refuse a closure that acts elsewhere than a problem asks."""
    if CLOSURES.find(name).where != where:
        fit = [other for other, kind in CLOSURES.all().items() if kind.where == where]
        place = "at interfaces" if where == "interfaces" else "in cells"
        raise ValueError(f"closure {name!r} does not act {place}, as this problem asks; choose {', '.join(fit)}")


def build(
    name: str,
    spec: ClosureSpec,
    *,
    explores: bool = False,
    options: Mapping[str, Any] | None = None,
    initial_std: float | None = None,
    key: PRNGKeyArray,
) -> Any:
    """Build a closure by its name.

    Parameters
    ----------
    name
        A name, a file or an object in a module, as :meth:`closura.core.Registry.find` takes it.
    spec
        What the closure observes and answers.
    explores
        A policy around it, for learners that explore.
    options
        Settings of the closure that are not the default ones.
    initial_std
        Spread of a policy before training, in units of the action (default: the closure's own).
    key
        Random key.

    Raises
    ------
    ValueError
        If the name or an option is unknown (the message lists the valid ones), or a value is refused.
    """
    kind = CLOSURES.find(name)
    check_place(name, spec.where)
    valid = [f.name for f in fields(kind.settings)]
    unknown = [option for option in options or {} if option not in valid]
    if unknown:
        raise ValueError(f"unknown options of closure {name!r}: {', '.join(unknown)}; valid: {', '.join(valid)}")
    if initial_std is not None and not explores:
        raise ValueError("initial_std is the spread of a policy: a deterministic closure has none")
    settings = kind.settings(**(options or {}))
    made = kind.make(spec, key=key, **{name: getattr(settings, name) for name in valid})
    if not jax.tree.leaves(eqx.filter(made, eqx.is_inexact_array)):
        raise ValueError(
            f"closure {name!r} has no trainable arrays; got {in_words(made)}: subclass equinox.Module, and "
            "keep weights as JAX arrays of floating point in its fields"
        )
    if not explores:
        return made
    policy: Any = MemoryPolicy if remembers(made) else ActorCritic
    return policy(spec, made, initial_std=initial_std, key=jax.random.split(key)[1])
