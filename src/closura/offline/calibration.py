"""Intervals that hold: the distance of members from their mean, scaled so that validation data lie where they should.

A network knows its training data better than others, so that its spread is too small for what it has not seen (or too
large, when its weights were averaged). One factor, found on validation frames, mends the size of the spread; it cannot
mend its shape.
"""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import PRNGKeyArray

from closura.offline.sampler import SAMPLERS, ConditionalSampler, Frames, Members, check_question, sampler

FACTORS = (0.25, 4.0)
"""Bounds of the factor."""

LEAST = 8
"""Members whose mean is taken for the mean of all."""

NEGLIGIBLE = 0.03
"""A factor that near one changes nothing that a hundred validation frames could tell: members are left as they are,
which spares single members (of long runs, say) the ensemble that their mean would need."""


@sampler("calibrated")
class Calibrated(ConditionalSampler):
    """A closure whose members stand ``factor`` times as far from the mean of their ensemble.

    Fewer members than :data:`LEAST` are taken from an ensemble of that size, so that they have a mean to stand apart
    from.
    """

    inner: ConditionalSampler
    factor: float = eqx.field(static=True)

    def sample(self, filtered: Frames, members: int, *, key: PRNGKeyArray) -> Members:
        check_question(filtered, filtered.shape[1:], members)
        if abs(self.factor - 1) < NEGLIGIBLE:
            return self.inner.sample(filtered, members, key=key)
        drawn = np.asarray(self.inner.sample(filtered, max(members, LEAST), key=key))
        mean = drawn.mean(axis=0, dtype=np.float64).astype(drawn.dtype)
        return mean + np.asarray(self.factor, drawn.dtype) * (drawn[:members] - mean)

    def mean_and_std(self, filtered: Frames) -> tuple[Frames, Frames]:
        mean, std = self.inner.mean_and_std(filtered)
        return mean, np.asarray(self.factor, np.asarray(std).dtype) * std

    def state(self) -> dict[str, np.ndarray]:
        return self.inner.state()

    def facts(self) -> dict[str, Any]:
        return {"inner": SAMPLERS.of(self.inner).name, "factor": self.factor, "facts": self.inner.facts()}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> "Calibrated":
        inner = SAMPLERS.find(facts["inner"]).module.from_state(arrays, facts["facts"])
        return cls(inner, float(facts["factor"]))


def calibrate(
    closure: ConditionalSampler,
    filtered: Frames,
    full: Frames,
    *,
    members: int = 20,
    level: float = 0.9,
    key: PRNGKeyArray,
) -> ConditionalSampler:
    """The closure with the factor whose central intervals hold ``level`` of the values of validation frames.

    A closure without spread is returned as it is.
    """
    drawn = np.asarray(closure.sample(filtered, members, key=key), np.float64)
    full = np.asarray(full, np.float64)
    mean = drawn.mean(axis=0)
    apart = np.sort(drawn - mean, axis=0)
    if not np.any(apart):
        return closure
    # Order statistics i and M + 1 - i bound an interval of probability 1 - 2 i / (M + 1), between them linearly.
    place = (1 - level) / 2 * (members + 1) - 1
    if place < 0:
        raise ValueError(f"{members} members say nothing about intervals of {level:.0%}; take more")
    low, share = int(place), place - int(place)
    lower = (1 - share) * apart[low] + share * apart[low + 1]
    upper = (1 - share) * apart[-1 - low] + share * apart[-2 - low]
    error = full - mean
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = np.where(error < 0, error / np.minimum(lower, 0), error / np.maximum(upper, 0))
    needed = np.where(np.isnan(needed), 0.0, needed)
    factor = float(np.quantile(needed, level))
    return Calibrated(closure, float(np.clip(factor, *FACTORS)))
