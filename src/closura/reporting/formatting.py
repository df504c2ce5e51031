"""Numbers as people read them: percent, three significant digits, no exponent where that stays readable."""

import math
from typing import Any

WIDEST = 12
"""Characters of a number in a column."""


def percent(fraction: float) -> str:
    """A fraction as percent with three significant digits, without the sign."""
    return short(100 * fraction)


def quantity(value: float | None, percent: bool, floor: float = 0.0) -> str:
    """A number, or a fraction as percent without the sign; None stands for infinity; below the floor "< floor"."""
    if value is not None and abs(value) < floor:
        return f"< {100 * floor if percent else floor:.0e}"
    return "∞" if value is None else short(100 * value if percent else value)


def with_spread(values: dict[str, Any], percent: bool, floor: float = 0.0) -> str:
    """Mean ± standard deviation; ∞ with the mean of the finite ones where some are not finite.

    Where both are below the floor "< floor".
    """
    if max((abs(each) for each in (values["mean"], values["std"]) if each is not None), default=math.inf) < floor:
        return quantity(0.0, percent, floor)
    if values["mean"] is not None and math.isfinite(values["mean"]):
        return f"{quantity(values['mean'], percent)} ± {quantity(values['std'], percent)}"
    finite = values["mean_of_finite"]
    return "∞" if finite is None or math.isnan(finite) else f"∞ ({quantity(finite, percent)})"


def short(value: float | None) -> str:
    """Three significant digits, without an exponent where that stays readable; a dash for None and NaN."""
    if value is None or not math.isfinite(value):
        return bounded(value, "")
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e5 or size < 1e-4:
        return f"{value:.1e}"
    decimals = max(0, 2 - math.floor(math.log10(size)))
    return f"{value:,.{decimals}f}"


def bounded(value: float | int | None, form: str) -> str:
    """A number in a form, with an exponent where it would be longer than columns are; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    text = format(value, form)
    return text if len(text) <= WIDEST else format(value, f"{'+' if form.startswith('+') else ''}.2e")


def duration(seconds: float | None) -> str:
    """A wall time with its unit; a dash for what does not exist."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 1e-3:
        return f"{1e6 * seconds:.3g} µs"
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def count(number: int, what: str, several: str | None = None) -> str:
    """A number of things."""
    return f"{number} {what if number == 1 else several or what + 's'}"


def standing(low: float, high: float, *, even: float = 0.0, better: str = "lower") -> str:
    """What an interval of a difference of errors (or of a ratio, with ``even`` 1) says of the first of both.

    "lower error", "higher error" ("worse", "better" where higher values are better), "level" where the interval holds
    what is even, "" where there is no interval.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    if low <= even <= high:
        return "level"
    if better == "higher":
        return "worse" if high < even else "better"
    return "lower error" if high < even else "higher error"


def times(own: float, other: float, name: str) -> str:
    """A cost beside another: "39 times as much as X", "1.5 times less than X", "as much as X"."""
    large = short(max(own, other) / min(own, other))
    if large == "1.00":
        return f"as much as {name}"
    return f"{large} times {'as much as' if own > other else 'less than'} {name}"


def cost_beside(own: float, other: float, name: str) -> str:
    """What a method costs beside another, for the end of a sentence; nothing where a cost is not known."""
    if not (math.isfinite(own) and math.isfinite(other) and own > 0 and other > 0):
        return ""
    return f"; it costs {times(own, other, name)}"
