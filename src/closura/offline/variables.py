"""Scores of ensembles, statistics of flows and pictures of samples as labelled variables of results, and back.

Variables of fields have an axis ``space``: "filtered" for fields that hold the large scales alone, "full" for those
that hold all. Arrays of different lengths are padded by NaN.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from closura.core import Results
from closura.metrics.ensembles import FlowSummary, Scores, compare_flows

SPACES = ("filtered", "full")
REFERENCE = "truth"
"""The name of the reference."""

_NUMBERS = ("members", "frames", "relative_l1", "relative_l2", "crps", "crps_plain", "skill", "spread", "spread_skill")
_LISTS = {
    "component_l1": "scored_component", "component_l2": "scored_component", "coverage": "level", "width": "level",
    "histogram": "rank",
}  # fmt: skip
"""Numbers and lists of :class:`Scores`, and the axis of each list."""


class Kept(NamedTuple):
    """What is kept of one method in one space: statistics, and arrays by name of what figures show."""

    flow: FlowSummary | None
    arrays: Mapping[str, np.ndarray]


def padded(values: Mapping[tuple[str, ...], Any], *along: Sequence[str]) -> np.ndarray:
    """One array of those by names along its first axes, ``values[method, other]``; NaN where there is none."""
    shape = np.max([np.shape(value) for value in values.values()], axis=0).astype(int)
    dtype = np.result_type(*(np.asarray(value).dtype for value in values.values()), np.float32)
    found = np.full((*map(len, along), *shape), np.nan, dtype)
    for names, value in values.items():
        place: Any = [axis.index(name) for axis, name in zip(along, names, strict=True)]
        found[(*place, *(slice(n) for n in np.shape(value)))] = value
    return found


def score_variables(scores: Mapping[str, Scores | None], methods: Sequence[str]) -> dict[str, Any]:
    """Scores over everything, ``total_NAME (method, ...)``; NaN for methods without."""
    known = {(name,): each for name, each in scores.items() if each is not None}
    if not known:
        return {}
    found: dict[str, Any] = {"level": ("level", list(next(iter(known.values())).levels))}
    for name in (*_NUMBERS, *_LISTS):
        values = padded({at: getattr(each, name) for at, each in known.items()}, methods)
        found[f"total_{name}"] = (("method", _LISTS[name]) if name in _LISTS else "method", values)
    return found


def scores_of(results: Results, name: str) -> Scores | None:
    """The scores that :func:`score_variables` kept of a method."""
    if "total_members" not in results.data or np.isnan(results.of("total_members", name)):
        return None
    values: dict[str, Any] = {each: results.of(f"total_{each}", name) for each in (*_NUMBERS, *_LISTS)}
    members = int(values["members"])
    values |= {each: float(values[each]) for each in _NUMBERS}
    values |= {each: tuple(values[each].tolist()) for each in _LISTS if each != "histogram"}
    values |= {"members": members, "frames": int(values["frames"])}
    values["histogram"] = values["histogram"][: members + 1].astype(np.int64)
    return Scores(levels=tuple(results.data["level"].values.tolist()), **values)


def field_variables(
    kept: Mapping[tuple[str, str], Kept], methods: Sequence[str], times: Sequence[float] | np.ndarray
) -> dict[str, Any]:
    """Statistics ``flow_NAME (method, space, ...)`` beside those of the reference in the same space, spectra, and
    pictures.

    ``kept`` is by method and space, of the reference in both; ``times`` are those at which one point and the energy
    along x are kept.
    """
    references = {space: kept[REFERENCE, space].flow for space in SPACES}
    energies = references["full"].energies if references["full"] is not None else None
    assert energies is not None
    numbers: dict[str, dict[tuple[str, ...], Any]] = {}
    for (name, space), each in kept.items():
        reference = references[space]
        found = {} if each.flow is None or reference is None else _numbers(each.flow, reference)
        for key, value in {**found, **each.arrays}.items():
            numbers.setdefault(key, {})[name, space] = value
    variables: dict[str, Any] = {
        key: (("method", "space", *_AXES.get(key, ())), padded(values, methods, SPACES))
        for key, values in numbers.items()
    }
    edges = energies.edges
    return {
        **variables,
        "space": ("space", list(SPACES)),
        "flow_resolving_shell": ("space", [t.resolving_shell if t is not None else 0 for t in references.values()]),
        "energy": ("energy", 0.5 * (edges[1:] + edges[:-1])),
        "moment": ("moment", np.asarray(times, np.float64)),
    }


_AXES = {
    "flow_spectrum": ("shell",), "flow_energy_density": ("energy",), "at_point": ("member", "moment"),
    "along_x": ("moment", "x"), **dict.fromkeys(("example", "example_mean", "example_std"), ("velocity", "x", "y")),
}  # fmt: skip


def _numbers(flow: FlowSummary, reference: FlowSummary) -> dict[str, Any]:
    compared = compare_flows(flow, reference)
    return {
        "flow_energy": float(flow.energy.mean()),
        "flow_energy_error": compared["energy"],
        "flow_dissipation": float(flow.dissipation.mean()),
        "flow_dissipation_error": compared["dissipation"],
        "flow_stress_error": compared["stress_all"],
        **{f"flow_stress_error_{key}": compared[f"stress_{key}"] for key in ("uu", "uv", "vv")},
        "flow_relative_divergence": flow.divergence,
        "flow_energy_distance": compared["energy_distance"],
        "flow_log_spectrum_error": compared["spectrum"],
        "flow_spectrum": flow.spectrum,
        "flow_energy_density": flow.energies.density()[1].astype(np.float32),
    }


def flow_numbers(results: Results, name: str, space: str) -> dict[str, Any] | None:
    """Statistics of a method beside those of the reference, for JSON; None where there are none."""
    own = _selected(results, name, space)
    if np.isnan(own("energy")):
        return None
    scalars = ("energy", "energy_error", "dissipation", "dissipation_error", "stress_error")
    further = ("relative_divergence", "energy_distance", "log_spectrum_error")
    shells, ratio = spectrum_ratio(results, name, space)
    return {
        **{key: float(own(key)) for key in scalars},
        "stress_errors": {key: float(own(f"stress_error_{key}")) for key in ("uu", "uv", "vv")},
        **{key: float(own(key)) for key in further},
        "spectrum_ratio": {
            "shells": shells, "ratio": ratio,
            "largest_deviation": float(np.abs(ratio - 1).max()) if ratio.size else float("nan"),
        },
        "spectrum": own("spectrum"),
    }  # fmt: skip


def spectrum_ratio(results: Results, name: str, space: str) -> tuple[np.ndarray, np.ndarray]:
    """Shells that hold 99.99 % of the true energy (k = 0 left out), and the ratio to the reference's spectrum there."""
    own, reference = _selected(results, name, space)("spectrum"), _selected(results, REFERENCE, space)("spectrum")
    shells = np.arange(1, max(resolving_shell(results, space), 1) + 1)
    shells = shells[reference[shells] > 0]
    return shells, own[shells] / reference[shells]


def resolving_shell(results: Results, space: str) -> int:
    """The shell up to which 99.99 % of the true energy lie."""
    return int(results.data["flow_resolving_shell"].sel(space=space))


def _selected(results: Results, name: str, space: str) -> Any:
    own = results.data.sel({"method": name, "space": space})
    return lambda key: np.asarray(own[f"flow_{key}"].values, np.float64)


def array_of(results: Results, variable: str, name: str, space: str) -> np.ndarray:
    """An array of a method in a space; NaN where it has none."""
    return np.asarray(results.data[variable].sel({"method": name, "space": space}).values, np.float64)


def kept_array(results: Results, variable: str, name: str, space: str) -> np.ndarray | None:
    """An array of a method in a space; None where it has none."""
    if variable not in results.data:
        return None
    found = array_of(results, variable, name, space)
    return None if np.isnan(found).all() else found


def shown_methods(results: Results, variable: str) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """Methods that are compared, with what they are called in a space, the space, and their array; then NaN ones not.

    Where methods have filtered fields, their full ones are what a closure made of them.
    """
    for name in results.compared:
        both = [(space, found) for space in SPACES if (found := kept_array(results, variable, name, space)) is not None]
        for space, found in both:
            closed = space == "full" and "distance_pooled" in results.data
            yield name, f"{name}, closed" if closed else name, space, found
