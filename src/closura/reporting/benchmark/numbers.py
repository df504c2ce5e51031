"""Numbers of benchmarks, for people and for files."""

import math

import numpy as np

from closura.reporting.formatting import bounded


def short(value: float | int) -> float | int | None:
    """Four significant digits; None for what is not finite."""
    if isinstance(value, (int, np.integer)):
        return int(value)
    return float(f"{value:.4g}") if math.isfinite(value) else None


def number(value: float, digits: int = 3) -> str:
    """Significant digits without exponents for usual sizes; a dash for what is not finite."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return bounded(value, f".{min(max(places, 0), 8)}f" if abs(value) >= 1e-5 else f".{digits - 1}e")
