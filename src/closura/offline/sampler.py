"""Conditional samplers: from filtered frames to a distribution over full frames, fitted offline.

*Settings* are a frozen dataclass whose ``fit`` makes a *sampler* from pairs of frames. Both are found by one name in
:data:`SAMPLERS`. A sampler is stored as one safetensors file: named arrays, and plain facts in its header. Nothing is
executed on loading.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from closura.arrays import check_finite_frames, check_unmasked
from closura.core.registry import Registry
from closura.offline.filters import Filter
from closura.offline.stored import arrays_of, read_stored, rebuilt, write_stored

FORMAT = "closura reconstruction"
"""What files call it, since the first version."""

Frames = Float[Array | np.ndarray, "time component x y"]
Members = Float[Array | np.ndarray, "member time component x y"]


class ConditionalSampler(eqx.Module):
    """A distribution over full frames for every filtered frame.

    Frames are ``(time, component, x, y)``, NumPy or JAX, and answers have the dtype of the question. Frames may be
    given in any number; where a sampler uses their order in time, its docstring says so.
    """

    @abstractmethod
    def sample(self, filtered: Frames, members: int, *, key: PRNGKeyArray) -> Members:
        """Draw an ensemble of ``members`` full fields, ``(member, time, component, x, y)``.

        Raises
        ------
        ValueError
            If the frames do not have the shape that was fitted, or ``members`` is not positive.
        """

    @abstractmethod
    def mean_and_std(self, filtered: Frames) -> tuple[Frames, Frames]:
        """Mean and standard deviation at every point and time, both ``(time, component, x, y)``.

        They are those of :meth:`sample`'s distribution: with everything that a member may differ by.

        Raises
        ------
        ValueError
            If the frames do not have the shape that was fitted.
        """

    def state(self) -> dict[str, np.ndarray]:
        """All fitted arrays by name."""
        return arrays_of(self)

    def facts(self) -> dict[str, Any]:
        """Everything else that :meth:`from_state` needs, as JSON knows it."""
        return {}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> "ConditionalSampler":
        """Rebuild from :meth:`state` and :meth:`facts`."""
        return cls(**arrays, **facts)


class SamplerSettings(Protocol):
    """Settings of a closure, and how it is fitted."""

    def fit(
        self,
        filtered: Frames,
        full: Frames,
        *,
        key: PRNGKeyArray,
        forcing: int = 4,
        filtering: Filter | None = None,
    ) -> ConditionalSampler:
        """Fit to pairs of training frames in order of time, one trajectory after the other.

        ``forcing`` is the wavenumber of the flow's forcing, for samplers that use its symmetries (0: none), and
        ``filtering`` the filter, where it is known.
        """
        ...


@dataclass(frozen=True)
class SamplerKind:
    """A registered sampler: its name, its class, and the class of the settings that fit it (None: it is not fitted)."""

    name: str
    sampler: type[ConditionalSampler]
    settings: type[Any] | None = None


SAMPLERS: Registry[SamplerKind] = Registry("sampler", SamplerKind)
"""Conditional samplers by name."""

AnySampler = TypeVar("AnySampler", bound=type[ConditionalSampler])


def sampler(name: str, *, settings: type[Any] | None = None) -> Callable[[AnySampler], AnySampler]:
    """Register a class of conditional samplers by a name, with the class of its settings."""

    def register(kind: AnySampler) -> AnySampler:
        SAMPLERS.add(name, SamplerKind(name, kind, settings), kind)
        return kind

    return register


def kind_of(sampler: ConditionalSampler) -> SamplerKind:
    """What a sampler's class is registered as."""
    for kind in SAMPLERS.loaded().values():
        if kind.sampler is type(sampler):
            return kind
    raise ValueError(f"{type(sampler).__name__} is not registered: no name to find it by on loading")


def check_pairs(filtered: Frames, full: Frames, least: int = 1) -> None:
    """Refuse pairs of frames that nothing can be fitted to."""
    if filtered.shape != full.shape:
        raise ValueError(f"filtered and full frames come in pairs; got shapes {filtered.shape} and {full.shape}")
    if filtered.shape[0] < least:
        raise ValueError(f"expected at least {least} training frames; got {filtered.shape[0]}: give more, or ask less")
    for name, frames in (("filtered frames", filtered), ("full frames", full)):
        check_unmasked(frames, name)
        check_finite_frames(frames, name)


def check_question(filtered: Frames, shape: tuple[int, ...], members: int = 1) -> None:
    """Refuse frames of another shape than was fitted, ``(component, x, y)``, or masked; and no members."""
    check_unmasked(filtered, "filtered frames")
    if filtered.shape[1:] != tuple(shape):
        raise ValueError(f"expected frames (time, {', '.join(map(str, shape))}), as fitted; got {filtered.shape}")
    if members < 1:
        raise ValueError(f"expected at least one member; got {members}")


def save_sampler(path: str | Path, sampler: ConditionalSampler, *, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write a fitted sampler to one safetensors file, by custom ``*.safetensors``, replacing it atomically.

    ``metadata`` is anything that JSON knows, or arrays.

    Raises
    ------
    ValueError
        If its class is not registered.
    """
    return write_stored(path, FORMAT, kind_of(sampler).name, sampler.state(), sampler.facts(), metadata)


def load_sampler(path: str | Path) -> tuple[ConditionalSampler, dict[str, Any]]:
    """Read a fitted sampler and its metadata."""
    name, arrays, facts, metadata = read_stored(path, FORMAT)
    kind = SAMPLERS.find(name).sampler
    return rebuilt(path, lambda: kind.from_state(arrays, facts)), metadata
