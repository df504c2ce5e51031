"""What each method did in all simulations, and all of them joined into the data of results."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Int

from closura.core.method import Role
from closura.core.metric import Metric
from closura.plain import plain

_TAKEN = {
    *("method", "case", "time", "step", "role", "corrects", "group", "diverged_at", "milliseconds_per_step"),
    *("parameters", "field", "action", "pictured", "acting", "kept", "frame", "frame_index", "scale"),
}
"""Names in the data that no metric can have."""


@dataclass(frozen=True, eq=False)
class MethodResult:
    """What one method did in all simulations; :func:`joined` joins several.

    Parameters
    ----------
    role
        Its part in the comparison.
    values
        By metric, ``(case,)`` or ``(case, time)``. What is not finite counts as infinitely bad.
    diverged_at
        Index of the first time, ``(case,)``, at which a simulation had diverged; -1 where none had. By default the
        first error that is not finite. Beyond the times of the series where it was simulated for longer.
    milliseconds_per_step
        Wall time of one step (NaN if not measured).
    parameters
        Number of learned parameters; None for methods that learn nothing.
    corrects
        For closures, the name of the method whose solver they correct (default: the uncorrected one).
    fields
        Fields of the kept simulations at the kept times, ``(kept, frame, component, *grid)``.
    actions
        What a closure answers in them, ``(kept, frame, channel, *grid)``, clipped as the solver clips it.
    facts
        Further words or numbers about the method, each a coordinate along ``method``; "" or NaN for methods without.
    """

    role: Role
    values: Mapping[str, np.ndarray]
    diverged_at: Int[np.ndarray, " case"] | None = None
    milliseconds_per_step: float = float("nan")
    parameters: int | None = None
    corrects: str = ""
    fields: np.ndarray | None = None
    actions: np.ndarray | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def joined(
    problem: str,
    methods: Mapping[str, MethodResult],
    metrics: Iterable[Metric],
    *,
    error: str,
    times: Sequence[float] | np.ndarray = (),
    steps: Sequence[int] | np.ndarray | None = None,
    groups: Sequence[str] = (),
    frames: Sequence[int] | np.ndarray = (),
    components: Sequence[str] = (),
    channels: Sequence[str] = (),
    variables: Mapping[str, Any] | None = None,
    description: Mapping[str, str] | None = None,
    provenance: Mapping[str, Any] | None = None,
    **attributes: Any,
) -> xr.Dataset:
    """Join what the methods did.

    Parameters
    ----------
    problem
        Its name.
    methods
        By name, in the order of tables.
    metrics
        Those that were measured; a method that lacks one has NaN there.
    error
        The name of the one that counts.
    times, steps
        Of metrics with a time axis; steps are numbered from 0 by default.
    groups
        The group of each simulation, if they fall into groups.
    frames
        Indices of the times that kept fields belong to.
    components, channels
        Names of the field's components and of the action's channels.
    variables
        Further variables, as :class:`xarray.Dataset` takes them.
    description
        Statements for the reader: where data come from, what is drawn, how training and test are kept apart.
    provenance
        How to repeat it: the command, settings, versions.
    attributes
        Further attributes: ``threshold``, ``origin``, ``time_step``, ...
    """
    if not methods:
        raise ValueError("results need at least one method; got none")
    names, metrics = list(methods), list(metrics)
    _check_names(methods, metrics, error)
    cases = np.shape(next(iter(methods.values())).values[error])[:1]
    if not cases:
        raise ValueError(f"{names[0]}: {error} must be (case, time) or (case,); got a single number")
    cases = cases[0]
    data: dict[str, Any] = {}
    for each in metrics:
        dims: tuple[str, ...] = ()
        rows: list[np.ndarray | None] = []
        for name, method in methods.items():
            array = method.values.get(each.name)
            if array is None:
                rows.append(None)
                continue
            array = np.asarray(array, np.float64)
            own = ("case", "time")[: array.ndim]
            expected = (cases, len(times))[: array.ndim]
            if array.ndim not in (1, 2) or array.shape != expected or (dims and own != dims):
                raise ValueError(
                    f"{name}: {each.name} must be (case, time) = ({cases}, {len(times)}) or (case,); got shape "
                    f"{array.shape}"
                )
            dims = own
            rows.append(array)
        known = [row for row in rows if row is not None]
        if known:
            filled = [np.full_like(known[0], np.nan) if row is None else row for row in rows]
            data[each.name] = (("method", *dims), np.stack(filled), each.attributes)
    lost = [_lost_at(method, error) for method in methods.values()]
    data["diverged_at"] = (("method", "case"), np.stack(lost))
    data["milliseconds_per_step"] = (("method",), np.asarray([m.milliseconds_per_step for m in methods.values()]))
    counts = [-1 if m.parameters is None else m.parameters for m in methods.values()]
    data["parameters"] = (("method",), np.asarray(counts, np.int64))
    for variable, attribute, axis, along in (
        ("field", "fields", "component", "pictured"), ("action", "actions", "channel", "acting"),
    ):  # fmt: skip
        kept = {name: getattr(m, attribute) for name, m in methods.items() if getattr(m, attribute) is not None}
        if kept:
            data |= _pictures(variable, kept, axis, along, len(frames))
    uncorrected = [name for name, m in methods.items() if m.role is Role.UNCORRECTED]
    base = uncorrected[0] if len(uncorrected) == 1 else ""
    coords: dict[str, Any] = {
        "method": ("method", names),
        "case": ("case", np.arange(cases)),
        "role": ("method", [str(m.role) for m in methods.values()]),
        "corrects": ("method", [m.corrects or (base if m.role.learned else "") for m in methods.values()]),
    }
    for fact in dict.fromkeys(fact for m in methods.values() for fact in m.facts):
        if fact in coords or fact in data or fact in _TAKEN:
            raise ValueError(f"a fact about methods cannot be called {fact}: results have a variable of this name")
        known = [m.facts[fact] for m in methods.values() if fact in m.facts]
        nothing = "" if all(isinstance(value, str) for value in known) else np.nan
        coords[fact] = ("method", [m.facts.get(fact, nothing) for m in methods.values()])
    if steps is not None and len(steps) != len(times):
        raise ValueError(f"steps need one number per time, {len(times)}; got {len(steps)}")
    if len(times):
        coords["time"] = ("time", np.asarray(times, np.float64))
        coords["step"] = ("time", np.arange(len(times)) if steps is None else np.asarray(steps))
    if len(groups):
        if len(groups) != cases:
            raise ValueError(f"groups need one name per simulation, {cases}; got {len(groups)}")
        coords["group"] = ("case", list(groups))
    if len(frames):
        data["frame_index"] = (("frame",), np.asarray(frames, np.int64))
    for name, values in (("component", components), ("channel", channels)):
        if len(values):
            data[f"{name}_name"] = ((f"{name}_number",), list(values))
    told = {"description": dict(description or {}), "provenance": dict(provenance or {})}
    attributes = {name: value for name, value in attributes.items() if value is not None}
    return xr.Dataset(
        {**data, **(variables or {})},
        coords,
        {
            "problem": problem, "error": error, **attributes,
            **{name: json.dumps(plain(value), ensure_ascii=False) for name, value in told.items()},
        },
    )  # fmt: skip


def _check_names(methods: Mapping[str, MethodResult], metrics: Sequence[Metric], error: str) -> None:
    """Hold what methods measured to the metrics that are said."""
    known = [metric.name for metric in metrics]
    if len(set(known)) < len(known):
        raise ValueError(f"two metrics have one name: {', '.join(known)}")
    taken = sorted(_TAKEN & set(known))
    if taken:
        raise ValueError(f"metrics cannot be called {', '.join(taken)}: results have variables of these names")
    if error not in known:
        raise ValueError(f"the metric that counts, {error!r}, is not among the metrics: {', '.join(known)}")
    for name, method in methods.items():
        unknown = sorted(set(method.values) - set(known))
        if unknown:
            raise ValueError(f"{name} has values of {', '.join(unknown)}; the metrics are {', '.join(known)}")
        if error not in method.values:
            raise ValueError(f"{name} has no values of {error}, the metric that counts")


def _lost_at(method: MethodResult, error: str) -> np.ndarray:
    """The first time with the flag or an error that is not finite."""
    errors = np.asarray(method.values[error], np.float64)
    errors = errors[:, None] if errors.ndim == 1 else errors
    broken = ~np.isfinite(errors)
    first = np.where(broken.any(axis=1), broken.argmax(axis=1), -1)
    if method.diverged_at is None:
        return first.astype(np.int64)
    flagged = np.asarray(method.diverged_at)
    if flagged.shape != first.shape:
        raise ValueError(f"diverged_at must be ({len(first)},); got {flagged.shape}")
    both = (first >= 0) & (flagged >= 0)
    return np.where(both, np.minimum(first, flagged), np.maximum(first, flagged)).astype(np.int64)


def _pictures(variable: str, kept: Mapping[str, np.ndarray], axis: str, along: str, frames: int) -> dict[str, Any]:
    """Kept fields of several methods, which all have one shape."""
    shapes = {name: np.shape(array) for name, array in kept.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"kept {variable}s must all have one shape; got {shapes}")
    shape = next(iter(shapes.values()))
    if len(shape) < 4 or shape[1] != frames:
        raise ValueError(f"kept {variable}s must be (kept, {frames} frames, {axis}, *grid); got {shape}")
    grid = ("x", "y", "z")[: len(shape) - 3]
    stacked = np.stack([np.asarray(array, np.float32) for array in kept.values()])
    return {
        variable: ((along, "kept", "frame", axis, *grid), stacked),
        along: ((along,), list(kept)),
    }
