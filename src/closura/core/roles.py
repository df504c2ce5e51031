"""What a method is in a comparison."""

from enum import StrEnum


class Role(StrEnum):
    """The part that a method has in a comparison; said when it is made, never guessed from its name.

    ``UNCORRECTED`` is the coarse solver that closures correct, without one; ``BASELINE`` a classical method on the same
    grid, ``FINE_BASELINE`` one on a finer (or, in a sweep, another) grid; ``REFERENCE`` is what errors are measured
    against; ``CLOSURE`` a solver with a learned closure; ``NAIVE`` a forecast that solves nothing, such as the initial
    state held (persistence): it is shown, and no verdict is against it.
    """

    UNCORRECTED = "uncorrected"
    BASELINE = "baseline"
    FINE_BASELINE = "fine baseline"
    REFERENCE = "reference"
    CLOSURE = "closure"
    NAIVE = "naive forecast"

    @property
    def learned(self) -> bool:
        """Whether a method of this role has learned parameters."""
        return self is Role.CLOSURE

    @property
    def has_error(self) -> bool:
        """Whether a method of this role is measured against the reference."""
        return self is not Role.REFERENCE
