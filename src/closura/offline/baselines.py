"""What any closure must beat: nothing, the last field that was known, and the climate."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from closura.offline.sampler import ConditionalSampler, Frames, Members, check_pairs, check_question, sampler


@sampler("none")
class NoClosure(ConditionalSampler):
    """The filtered field itself: every member is it, and nothing is uncertain."""

    shape: tuple[int, ...] = eqx.field(converter=tuple)

    def sample(self, filtered: Frames, members: int, *, key: PRNGKeyArray) -> Members:
        check_question(filtered, self.shape, members)
        return np.repeat(np.asarray(filtered)[None], members, axis=0)

    def mean_and_std(self, filtered: Frames) -> tuple[Frames, Frames]:
        check_question(filtered, self.shape)
        return filtered, np.zeros_like(np.asarray(filtered))

    def facts(self) -> dict[str, Any]:
        return {"shape": list(self.shape)}


@sampler("persistence")
class Persistence(ConditionalSampler):
    """One full frame, held for all times: the last that was known before the segment in question."""

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


@sampler("climatology")
class Climatology(ConditionalSampler):
    """Mean and standard deviation of training frames at every point, whatever the filtered field says.

    Members are training frames drawn at random, each time and member anew.
    """

    mean: Float[np.ndarray, "component x y"]
    std: Float[np.ndarray, "component x y"]
    frames: Float[np.ndarray, "frame component x y"]

    @classmethod
    def of(cls, full: Frames, most: int = 500, *, key: PRNGKeyArray) -> "Climatology":
        """Mean and standard deviation of training frames, and up to ``most`` of them, drawn at random."""
        check_pairs(full, full)
        frames: np.ndarray = np.asarray(full)
        mean = frames.mean(axis=0, dtype=np.float64).astype(frames.dtype)
        std = frames.std(axis=0, dtype=np.float64).astype(frames.dtype)
        if len(frames) > most:
            frames = frames[np.sort(np.asarray(jax.random.permutation(key, len(frames)))[:most])]
        return cls(mean, std, frames.copy())

    def sample(self, filtered: Frames, members: int, *, key: PRNGKeyArray) -> Members:
        check_question(filtered, self.mean.shape, members)
        chosen = np.asarray(jax.random.randint(key, (members, filtered.shape[0]), 0, len(self.frames), np.int32))
        return self.frames[chosen].astype(filtered.dtype)

    def mean_and_std(self, filtered: Frames) -> tuple[Frames, Frames]:
        check_question(filtered, self.mean.shape)
        mean, std = (np.broadcast_to(a.astype(filtered.dtype), filtered.shape).copy() for a in (self.mean, self.std))
        return mean, std
