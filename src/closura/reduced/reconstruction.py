"""What a closure is that is fitted offline: from filtered frames to a distribution over full frames.

A *recipe* is a frozen dataclass of plain settings whose ``fit`` makes a *reconstruction* from pairs of frames. Both are
found by one name in :data:`RECONSTRUCTIONS`, where the rooms of other closures register theirs. A reconstruction is
stored as one safetensors file: named arrays, and plain facts in its header. Nothing is executed on loading.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from closura.arrays import check_finite_frames, check_unmasked
from closura.reduced.filters import Filter
from closura.reduced.stored import read_stored, rebuilt, write_stored

FORMAT = "closura reconstruction"

Frames = Float[Array | np.ndarray, "time component x y"]
Members = Float[Array | np.ndarray, "member time component x y"]


class Reconstruction(eqx.Module):
    """A distribution over full frames for every filtered frame.

    Frames are ``(time, component, x, y)``, NumPy or JAX, and answers have the dtype of the question. Frames may be
    given in any number; where a reconstruction uses their order in time, its docstring says so.
    """

    @abstractmethod
    def sample(self, filtered: Frames, members: int, *, key: PRNGKeyArray) -> Members:
        """Draw full fields.

        Parameters
        ----------
        filtered
            Filtered frames, ``(time, component, x, y)``.
        members
            Size of the ensemble, at least 1.
        key
            Random key.

        Returns
        -------
        Array
            ``(member, time, component, x, y)``.

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

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """All fitted arrays by name."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Everything else that :meth:`from_state` needs, as JSON knows it."""

    @classmethod
    @abstractmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> "Reconstruction":
        """Rebuild from :meth:`state` and :meth:`facts`."""


class Recipe(Protocol):
    """Settings of a closure, and how it is fitted."""

    def fit(
        self,
        filtered: Frames,
        full: Frames,
        *,
        key: PRNGKeyArray,
        forcing: int = 4,
        filtering: Filter | None = None,
    ) -> Reconstruction:
        """Fit to pairs of frames of the same times, all of them training data.

        Parameters
        ----------
        filtered, full
            Frames in order of time, one trajectory after the other.
        key
            Random key.
        forcing
            Wavenumber of the flow's forcing, for closures that use its symmetries (default 4); 0: none.
        filtering
            The filter, where it is known, for closures that use it.

        Raises
        ------
        ValueError
            If the two arrays differ in shape, or there are too few frames for the settings.
        """
        ...


@dataclass(frozen=True)
class Entry:
    """A recipe and what it makes."""

    recipe: type[Any]
    reconstruction: type[Reconstruction]


RECONSTRUCTIONS: dict[str, Entry] = {}
"""Offline closures by name; :func:`register` adds to it."""


def register(name: str, recipe: type[Any], reconstruction: type[Reconstruction]) -> None:
    """Make a closure known by a name.

    Raises
    ------
    ValueError
        If the name belongs to another closure.
    """
    entry = Entry(recipe, reconstruction)
    if RECONSTRUCTIONS.get(name, entry) != entry:
        raise ValueError(f"the name {name!r} belongs to {RECONSTRUCTIONS[name].recipe.__name__}; choose another")
    RECONSTRUCTIONS[name] = entry


def find(name: str) -> Entry:
    """The closure of that name.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the valid ones.
    """
    if name not in RECONSTRUCTIONS:
        raise ValueError(f"unknown reconstruction {name!r}; valid: {', '.join(sorted(RECONSTRUCTIONS))}")
    return RECONSTRUCTIONS[name]


def name_of(reconstruction: Reconstruction) -> str:
    """The name that a closure's class is registered by.

    Raises
    ------
    ValueError
        If it is not registered.
    """
    names = [name for name, entry in RECONSTRUCTIONS.items() if entry.reconstruction is type(reconstruction)]
    if not names:
        raise ValueError(f"{type(reconstruction).__name__} is not registered: no name to find it by on loading")
    return names[0]


def check_pairs(filtered: Frames, full: Frames, least: int = 1) -> None:
    """Refuse pairs of frames that nothing can be fitted to.

    Raises
    ------
    ValueError
        If the two arrays differ in shape, there are fewer than ``least`` frames, or numbers are masked or not finite.
    """
    if filtered.shape != full.shape:
        raise ValueError(f"filtered and full frames come in pairs; got shapes {filtered.shape} and {full.shape}")
    if filtered.shape[0] < least:
        raise ValueError(f"expected at least {least} training frames; got {filtered.shape[0]}: give more, or ask less")
    for name, frames in (("filtered frames", filtered), ("full frames", full)):
        check_unmasked(frames, name)
        check_finite_frames(frames, name)


def check_question(filtered: Frames, shape: tuple[int, ...], members: int = 1) -> None:
    """Refuse frames of another shape than was fitted, ``(component, x, y)``, or masked, and ensembles without members.

    Raises
    ------
    ValueError
        With what was expected.
    """
    check_unmasked(filtered, "filtered frames")
    if filtered.shape[1:] != tuple(shape):
        raise ValueError(f"expected frames (time, {', '.join(map(str, shape))}), as fitted; got {filtered.shape}")
    if members < 1:
        raise ValueError(f"expected at least one member; got {members}")


def save_reconstruction(
    path: str | Path, reconstruction: Reconstruction, *, metadata: Mapping[str, Any] | None = None
) -> Path:
    """Write a fitted closure to one safetensors file, replacing it atomically.

    Parameters
    ----------
    path
        The file, by custom ``*.safetensors``.
    reconstruction
        A closure of a class that is in :data:`RECONSTRUCTIONS`.
    metadata
        Further facts, anything that JSON knows.

    Raises
    ------
    ValueError
        If its class is not registered.
    """
    return write_stored(path, FORMAT, name_of(reconstruction), reconstruction.state(), reconstruction.facts(), metadata)


def load_reconstruction(path: str | Path) -> tuple[Reconstruction, dict[str, Any]]:
    """Read a fitted closure and its metadata.

    Raises
    ------
    ValueError
        If the file is damaged, is no reconstruction, is of a later format, or of a closure that is not registered.
    FileNotFoundError
        If there is no such file.
    """
    name, arrays, facts, metadata = read_stored(path, FORMAT)
    kind = find(name).reconstruction
    return rebuilt(path, lambda: kind.from_state(arrays, facts)), metadata
