"""What positions and times of a data set must be like."""

import numpy as np
from jaxtyping import Float

# Coordinates may be kept in single precision.
POSITION_TOLERANCE = 1e-5
TIME_TOLERANCE = 1e-3


def check_positions(where: str, name: str, positions: Float[np.ndarray, " points"], expected: int) -> None:
    """Refuse all but the points 2 pi i / N.

    Raises
    ------
    ValueError
        Says which points there are.
    """
    n = len(positions)
    if positions.ndim != 1 or n != expected or n < 2:
        raise ValueError(f"{where}: {name} has {positions.shape} positions for {expected} points")
    steps, box = np.diff(positions.astype(np.float64)), 2 * np.pi
    step = float(np.mean(steps))
    if not np.all(np.abs(steps - step) <= POSITION_TOLERANCE * box):
        raise ValueError(
            f"{where}: the points along {name} are not uniform (distances {steps.min():g} to {steps.max():g}); "
            "interpolate to a uniform grid first"
        )
    if abs(step * (n - 1) - box) <= POSITION_TOLERANCE * box and abs(step * n - box) > POSITION_TOLERANCE * box:
        raise ValueError(
            f"{where}: the points along {name} include both ends of the box: that is not a periodic grid [0, 2 pi); "
            "drop the last point"
        )
    if abs(step * n - box) > POSITION_TOLERANCE * box:
        raise ValueError(
            f"{where}: the box along {name} has the length {step * n:g}, expected 2 pi = {box:g}; rescale lengths and "
            "times"
        )
    if abs(float(positions[0])) > POSITION_TOLERANCE * box:
        raise ValueError(f"{where}: the points along {name} begin at {float(positions[0]):g}, expected 0")


def check_times(where: str, times: Float[np.ndarray, " time"], frames: int) -> None:
    """Refuse times that are not uniform.

    Raises
    ------
    ValueError
        Names the first gap.
    """
    if times.shape != (frames,):
        raise ValueError(f"{where}: {times.shape} times for {frames} frames")
    if frames == 1:
        return
    steps = np.diff(times.astype(np.float64))
    usual = float(np.median(steps))
    # Times in single precision are as far off as their own rounding.
    rounding = 4 * float(np.finfo(times.dtype).eps) * float(np.max(np.abs(times))) if times.dtype.kind == "f" else 0.0
    bad = ~(np.abs(steps - usual) <= TIME_TOLERANCE * abs(usual) + rounding)
    if not usual > 0 or bad.any():
        first = int(np.argmax(bad)) if bad.any() else 0
        raise ValueError(
            f"{where}: times are not uniform: from frame {first} to {first + 1} the time goes from {times[first]:g} to "
            f"{times[first + 1]:g}, elsewhere by {usual:g}; cut the data there"
        )
