"""Learners by name, wherever they come from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from closura.core import Registry
from closura.learners.state import Learner
from closura.settings import NoSettings, Settings

Kind = TypeVar("Kind", bound=type[Learner])


@dataclass(frozen=True)
class LearnerKind:
    """A registered learner."""

    name: str
    make: type[Learner]
    settings: type[Settings] = NoSettings
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "__module__", self.make.__module__)  # where it is defined

    @property
    def explores(self) -> bool:
        """Whether it learns from random actions of a policy."""
        return self.make.explores

    def __call__(self, settings: Any) -> Learner:
        """A learner with these settings."""
        return self.make(settings)


LEARNERS: Registry[LearnerKind] = Registry("learner", LearnerKind)


def learner(name: str, *, settings: type[Settings] = NoSettings, sources: Sequence[str] = ()) -> Callable[[Kind], Kind]:
    """Register a class of learners; see :class:`~closura.learners.Learner` for what it has to have.

    Parameters
    ----------
    name
        Its name.
    settings
        The class of its settings, a frozen dataclass (default: none); on the command line ``--learning.NAME``.
    sources
        BibTeX of the publications behind it, which reports cite.
    """

    def register(kind: Kind) -> Kind:
        LEARNERS.add(name, LearnerKind(name, kind, settings, tuple(sources)), kind)
        return kind

    return register
