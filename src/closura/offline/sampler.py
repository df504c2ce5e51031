"""Conditional samplers: from filtered frames to a distribution over full frames, fitted offline.

*Settings* are a frozen dataclass whose ``fit(filtered, full, *, key, forcing=4, filtering=None)`` makes a *sampler*
from pairs of training frames in order of time, one trajectory after the other. ``forcing`` is the wavenumber of the
flow's forcing, for samplers that use its symmetries (0: none), and ``filtering`` the filter, where it is known. Both
are found by one name in :data:`SAMPLERS`.
"""

from abc import abstractmethod

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from closura.arrays import check_finite_frames, check_unmasked
from closura.offline.stored import FittedKinds, FittedModule

Frames = Float[Array | np.ndarray, "time component x y"]
Members = Float[Array | np.ndarray, "member time component x y"]


class ConditionalSampler(FittedModule):
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
        """


SAMPLERS = FittedKinds("sampler", "closura reconstruction")  # what files call it, since the first version
"""Conditional samplers by name."""

sampler, save_sampler, load_sampler = SAMPLERS.register, SAMPLERS.save, SAMPLERS.load


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
