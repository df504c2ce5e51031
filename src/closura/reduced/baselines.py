"""What any closure must beat: nothing, the last field that was known, and the climate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from closura.reduced.filters import Filter
from closura.reduced.reconstruction import (
    Frames,
    Members,
    Reconstruction,
    check_pairs,
    check_question,
    register,
)
from closura.settings import Count, Settings


class NoClosure(Reconstruction):
    """The filtered field itself: every member is it, and nothing is uncertain."""

    shape: tuple[int, ...]

    def sample(self, filtered: Frames, members: int, *, key: PRNGKeyArray) -> Members:
        check_question(filtered, self.shape, members)
        return np.repeat(np.asarray(filtered)[None], members, axis=0)

    def mean_and_std(self, filtered: Frames) -> tuple[Frames, Frames]:
        check_question(filtered, self.shape)
        return filtered, np.zeros_like(np.asarray(filtered))

    def state(self) -> dict[str, np.ndarray]:
        return {}

    def facts(self) -> dict[str, Any]:
        return {"shape": list(self.shape)}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> "NoClosure":
        return cls(tuple(facts["shape"]))


@dataclass(frozen=True)
class NoClosureRecipe:
    """No closure: nothing is fitted."""

    def fit(
        self,
        filtered: Frames,
        full: Frames,
        *,
        key: PRNGKeyArray,
        forcing: int = 4,
        filtering: Filter | None = None,
    ) -> NoClosure:
        """Remember the shape of the frames."""
        check_pairs(filtered, full)
        return NoClosure(tuple(full.shape[1:]))


class Persistence(Reconstruction):
    """One full frame, held for all times: the last that was known before the segment in question.

    A fit keeps the last training frame, which is right for the segment that follows it. For a segment elsewhere, make
    one of its own first full frame: ``Persistence(frame)``.
    """

    frame: Float[Array | np.ndarray, "component x y"]

    def sample(self, filtered: Frames, members: int, *, key: PRNGKeyArray) -> Members:
        check_question(filtered, self.frame.shape, members)
        return np.broadcast_to(self._held(filtered), (members, *filtered.shape)).copy()

    def mean_and_std(self, filtered: Frames) -> tuple[Frames, Frames]:
        check_question(filtered, self.frame.shape)
        held = np.broadcast_to(self._held(filtered), filtered.shape).copy()
        return held, np.zeros_like(held)

    def _held(self, filtered: Frames) -> np.ndarray:
        return np.asarray(self.frame).astype(filtered.dtype)

    def state(self) -> dict[str, np.ndarray]:
        return {"frame": np.asarray(self.frame)}

    def facts(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> "Persistence":
        return cls(arrays["frame"])


@dataclass(frozen=True)
class PersistenceRecipe:
    """Persistence: the last training frame."""

    def fit(
        self,
        filtered: Frames,
        full: Frames,
        *,
        key: PRNGKeyArray,
        forcing: int = 4,
        filtering: Filter | None = None,
    ) -> Persistence:
        """Keep the last full frame."""
        check_pairs(filtered, full)
        return Persistence(np.asarray(full[-1]))


class Climatology(Reconstruction):
    """Mean and standard deviation of training frames at every point, whatever the filtered field says.

    Members are training frames drawn at random, each time and member anew.
    """

    mean: Float[np.ndarray, "component x y"]
    std: Float[np.ndarray, "component x y"]
    frames: Float[np.ndarray, "frame component x y"]

    def sample(self, filtered: Frames, members: int, *, key: PRNGKeyArray) -> Members:
        check_question(filtered, self.mean.shape, members)
        chosen = np.asarray(jax.random.randint(key, (members, filtered.shape[0]), 0, len(self.frames), np.int32))
        return self.frames[chosen].astype(filtered.dtype)

    def mean_and_std(self, filtered: Frames) -> tuple[Frames, Frames]:
        check_question(filtered, self.mean.shape)
        mean, std = (np.broadcast_to(a.astype(filtered.dtype), filtered.shape).copy() for a in (self.mean, self.std))
        return mean, std

    def state(self) -> dict[str, np.ndarray]:
        return {"mean": self.mean, "std": self.std, "frames": self.frames}

    def facts(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> "Climatology":
        return cls(arrays["mean"], arrays["std"], arrays["frames"])


@dataclass(frozen=True)
class ClimatologyRecipe(Settings):
    """Climatology.

    Parameters
    ----------
    frames
        Training frames to keep for the ensemble, drawn at random when there are more. Mean and standard deviation are
        those of all.
    """

    frames: Count = 500

    def fit(
        self,
        filtered: Frames,
        full: Frames,
        *,
        key: PRNGKeyArray,
        forcing: int = 4,
        filtering: Filter | None = None,
    ) -> Climatology:
        """Mean and standard deviation of the full frames, and some of them."""
        check_pairs(filtered, full)
        frames: np.ndarray = np.asarray(full)
        mean = frames.mean(axis=0, dtype=np.float64).astype(frames.dtype)
        std = frames.std(axis=0, dtype=np.float64).astype(frames.dtype)
        if len(frames) > self.frames:
            frames = frames[np.sort(np.asarray(jax.random.permutation(key, len(frames)))[: self.frames])]
        return Climatology(mean, std, frames.copy())


register("none", NoClosureRecipe, NoClosure)
register("persistence", PersistenceRecipe, Persistence)
register("climatology", ClimatologyRecipe, Climatology)
