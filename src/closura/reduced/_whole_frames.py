"""What the published closures share: networks that give full frames on the data's own grid."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from closura.learners.descent import DescentConfiguration
from closura.reduced.filters import Filter, from_plain
from closura.reduced.learned import LearnedRecipe, LearnedReconstruction
from closura.reduced.reconstruction import Frames
from closura.reduced.working_grid import WorkingGrid, prepare


class WholeGrid(WorkingGrid):
    """The data's grid, on which any field counts as a residual: answers are left as they are."""

    def _clean(self, modes: Complex[Array, "component kx ky"]) -> Complex[Array, "component kx ky"]:
        return modes

    @staticmethod
    def from_plain(plain: Mapping[str, Any]) -> "WholeGrid":
        return WholeGrid(**{**plain, "filter": None if plain["filter"] is None else from_plain(plain["filter"])})

    def full(
        self, filtered: Float[Array, "*batch 2 x y"], residual: Float[Array, "*batch 2 x y"]
    ) -> Float[Array, "*batch 2 x y"]:
        """Full frames of residuals."""
        return filtered + self.residual_size * residual


class WholeFrames(LearnedReconstruction):
    """A network that gives full frames, in units of velocity, of filtered ones."""

    grid: WholeGrid

    @abstractmethod
    def frame(self, filtered: Float[Array, "2 x y"], *, key: PRNGKeyArray) -> Float[Array, "2 x y"]:
        """One full frame; traceable."""

    def draw(self, filtered: Float[Array, "2 x y"], *, key: PRNGKeyArray) -> Float[Array, "2 x y"]:
        return (self.frame(filtered, key=key) - filtered) / self.grid.residual_size


class WholeFramesRecipe(LearnedRecipe):
    """Settings of a closure that gives full frames: its grid is that of the data."""

    def working_grid(
        self, filtered: Frames, full: Frames, *, forcing: int, filtering: Filter | None = None
    ) -> WholeGrid:
        """The data's grid.

        Raises
        ------
        ValueError
            If another number of points is asked for.
        """
        points = full.shape[-1]
        if self.working_points not in (0, points):
            raise ValueError(f"published closures work on the data's {points} points; got {self.working_points}")
        pairs = np.asarray(filtered), np.asarray(full)
        found = prepare(*pairs, forcing=forcing, filtering=filtering, working_points=points)
        return WholeGrid.from_plain(found.plain())


def published_descent(updates: int) -> DescentConfiguration:
    """Adam at 1e-5 with batches of 16, and nothing else."""
    return DescentConfiguration(
        updates=updates,
        batch=16,
        learning_rate=1e-5,
        schedule="constant",
        warmup=0,
        weight_decay=0.0,
        clip=0.0,
        average=0.0,
    )


EPOCH = 40
"""Batches of 16 in the published 640 training frames."""
