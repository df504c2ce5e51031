"""Results: what a comparison of methods measured, as one labelled data set.

Data and provenance only; tables, figures and pages are made of them in :mod:`closura.reporting`.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float64, Int

from closura.core.method import Role
from closura.core.method_results import MethodResult, joined
from closura.core.metric import Metric
from closura.core.results_file import read_data, write_data

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Results:
    """Methods x simulations x times, with roles, costs, failures and provenance.

    Parameters
    ----------
    data
        Dimensions ``method``, ``case``, ``time`` (with a coordinate ``step``), and others where metrics have them.
        Every metric is a variable with ``long_name``, ``units``, ``percent``, ``better`` and ``aggregate``; beside them
        ``diverged_at (method, case)``, ``milliseconds_per_step (method)``, ``parameters (method)`` (-1: learns nothing)
        and, where fields were kept, ``field`` and ``action``. Coordinates ``role`` and ``corrects`` along ``method``,
        ``group`` along ``case``. Select methods by ``sel({"method": name})``: xarray takes the keyword ``method`` for
        something else. Attributes: ``problem``, ``error`` (the metric that counts), and JSON in
        ``description`` and ``provenance``. Where methods run on several grids, coordinates ``family`` and ``points``
        along ``method`` say which method on which grid. An attribute ``samples`` says what a group of simulations is
        ("initial condition") where statistics are over the means of groups rather than over simulations.

    Raises
    ------
    ValueError
        If these are missing or disagree.
    """

    data: xr.Dataset

    def __post_init__(self) -> None:
        d = self.data
        for name in ("method", "case"):
            if name not in d.sizes or not d.sizes[name]:
                raise ValueError(f"results need at least one {name}; got dimensions {dict(d.sizes)}")
        missing = [name for name in ("problem", "error", "description", "provenance") if name not in d.attrs]
        missing += [name for name in ("role", "corrects") if name not in d.coords]
        if missing:
            raise ValueError(f"results lack {', '.join(missing)}")
        if len(set(self.methods)) < len(self.methods):
            raise ValueError(f"two methods have one name: {', '.join(self.methods)}")
        if d.attrs["error"] not in d:
            raise ValueError(f"results have no metric {d.attrs['error']!r}, the one that counts")
        if not self.compared:
            raise ValueError(f"results need a method beside the reference; got {', '.join(self.methods)}")
        for role in (Role.UNCORRECTED, Role.REFERENCE):
            several = self.named(role)
            if len(several) > 1 and "points" not in d.coords:
                raise ValueError(f"one method can be the {role}; got {', '.join(several)}")
        unknown = {name for name in map(str, d["corrects"].values) if name} - set(self.methods)
        if unknown:
            raise ValueError(f"closures correct {sorted(unknown)}; the methods are {', '.join(self.methods)}")

    @staticmethod
    def build(problem: str, methods: Mapping[str, MethodResult], metrics: Iterable[Metric], **facts: Any) -> "Results":
        """Join what the methods did; all arguments are those of :func:`closura.core.method_results.joined`."""
        return Results(joined(problem, methods, metrics, **facts))

    @property
    def problem(self) -> str:
        """Name of the problem."""
        return str(self.data.attrs["problem"])

    @property
    def methods(self) -> tuple[str, ...]:
        """All names, in the order of tables."""
        return tuple(map(str, self.data["method"].values))

    @property
    def roles(self) -> dict[str, Role]:
        """What each method is."""
        return {name: Role(str(role)) for name, role in zip(self.methods, self.data["role"].values, strict=True)}

    def named(self, *roles: Role) -> tuple[str, ...]:
        """Names of the methods with one of the roles."""
        return tuple(name for name, role in self.roles.items() if role in roles)

    @property
    def is_sweep(self) -> bool:
        """Whether methods stand on several grids and time steps, with their costs per simulated time."""
        return "milliseconds_per_time" in self.data

    @property
    def uncorrected(self) -> str:
        """The coarse solver without a closure; where there is none, the first method that has an error."""
        return (self.named(Role.UNCORRECTED) or self.compared)[0]

    @property
    def reference(self) -> str | None:
        """What errors are measured against, where it is among the methods."""
        return next(iter(self.named(Role.REFERENCE)), None)

    @property
    def closures(self) -> tuple[str, ...]:
        """Methods with a learned closure."""
        return self.named(Role.CLOSURE)

    @property
    def baselines(self) -> tuple[str, ...]:
        """Classical methods on the same grid, the uncorrected solver apart."""
        return self.named(Role.BASELINE)

    @property
    def fine_baselines(self) -> tuple[str, ...]:
        """Classical methods on finer grids."""
        return self.named(Role.FINE_BASELINE)

    @property
    def compared(self) -> tuple[str, ...]:
        """Methods that have an error: all but the reference."""
        return tuple(name for name, role in self.roles.items() if role.has_error)

    @property
    def grids(self) -> tuple[int, ...]:
        """Numbers of points along the first axis, where the methods run on several grids; else none."""
        found = tuple(dict.fromkeys(self.data["points"].values.tolist())) if "points" in self.data.coords else ()
        return found if len(found) > 1 else ()

    def family(self, name: str) -> str:
        """What a method is called on any grid."""
        return str(self.data["family"].sel({"method": name}).item()) if "family" in self.data.coords else name

    def on_grid_of(self, name: str) -> tuple[str, ...]:
        """The methods on the same grid as one, itself included; all where there are no ``points``."""
        if "points" not in self.data.coords:
            return self.methods
        points = dict(zip(self.methods, self.data["points"].values.tolist(), strict=True))
        return tuple(other for other in self.methods if points[other] == points[name])

    def uncorrected_for(self, name: str) -> str:
        """The coarse solver without a closure on the grid of a method; as :attr:`uncorrected` on a single grid."""
        same = [other for other in self.on_grid_of(name) if self.roles[other].has_error]
        return next((other for other in same if self.roles[other] is Role.UNCORRECTED), (same or [name])[0])

    def corrects(self, name: str) -> str:
        """The method whose solver a closure corrects: by default the uncorrected one on its grid."""
        return str(self.data["corrects"].sel({"method": name}).item()) or self.uncorrected_for(name)

    def check(self, name: str) -> str:
        """The name of a method; a KeyError with the valid ones for others."""
        if name not in self.methods:
            raise KeyError(f"unknown method {name!r}; valid: {', '.join(self.methods)}")
        return name

    @property
    def metrics(self) -> dict[str, Metric]:
        """Every metric with what is known of it; its function is that of the comparison, not of these results."""
        return {
            str(n): Metric.from_attributes(str(n), v.attrs)
            for n, v in self.data.data_vars.items()
            if "better" in v.attrs
        }

    @property
    def unmeasured(self) -> dict[str, str]:
        """Metrics of plug-ins that failed, with the reasons."""
        found: dict[str, str] = json.loads(self.attribute("unmeasured", "{}"))
        return {f"metric {name}": why for name, why in found.items()}

    @property
    def error(self) -> Metric:
        """The metric that counts."""
        return self.metrics[str(self.data.attrs["error"])]

    def of(self, metric: str, name: str) -> Float64[np.ndarray, "*shape"]:
        """Values of one method: of a metric, ``(case,)`` or ``(case, time)``, or of any variable along ``method``."""
        return np.asarray(self.data[metric].sel({"method": self.check(name)}).values, np.float64)

    def counting(self, metric: str) -> "Results":
        """These results with another metric as the one that counts."""
        return Results(self.data.assign_attrs(error=metric))

    def has(self, metric: str, name: str | None = None) -> bool:
        """Whether a metric was measured, of one method or of any."""
        if metric not in self.data:
            return False
        values = self.data[metric] if name is None else self.data[metric].sel({"method": name})
        return bool(np.any(~np.isnan(values.values)))

    def errors(self, name: str) -> Float64[np.ndarray, "case time"]:
        """The metric that counts, with a time axis (of length one where it has none)."""
        found = self.of(str(self.data.attrs["error"]), name)
        return found if found.ndim == 2 else found[:, None]

    @property
    def sample(self) -> str:
        """What statistics are over: "simulation", or what a group is where its simulations are averaged first."""
        return str(self.data.attrs.get("samples", "simulation"))

    def samples(self, values: Float64[np.ndarray, "case *time"]) -> Float64[np.ndarray, "sample *time"]:
        """The values that statistics are over: as they are, or the mean over each group in order of appearance.

        NaN stands for what does not exist: it enters no mean.
        """
        if "samples" not in self.data.attrs:
            return values
        own = [values[np.asarray(self.groups) == group] for group in dict.fromkeys(self.groups)]
        with np.errstate(invalid="ignore"):
            return np.stack(
                [np.sum(each, axis=0, where=~np.isnan(each)) / (~np.isnan(each)).sum(axis=0) for each in own]
            )

    def last(self, name: str, metric: str | None = None) -> Float64[np.ndarray, " sample"]:
        """Values at the last time of a metric (default: the one that counts), ready for statistics."""
        found = self.errors(name) if metric is None else self.of(metric, name)
        last = found[:, -1] if found.ndim == 2 else found
        return self.samples(np.where(np.isnan(last), np.inf, last) if metric is None else last)

    def diverged_at(self, name: str) -> Int[np.ndarray, " case"]:
        """Index of the first time at which each simulation had diverged, -1 for none."""
        return np.asarray(self.data["diverged_at"].sel({"method": self.check(name)}).values, np.int64)

    def diverged(self, name: str) -> int:
        """Number of simulations that diverged."""
        return int(np.sum(self.diverged_at(name) >= 0))

    def milliseconds(self, name: str) -> float:
        """Wall time of one step; NaN where it was not measured."""
        return float(self.data["milliseconds_per_step"].sel({"method": name}).item())

    def parameters(self, name: str) -> int | None:
        """Number of learned parameters; None for methods that learn nothing."""
        count = int(self.data["parameters"].sel({"method": name}).item())
        return None if count < 0 else count

    @property
    def simulations(self) -> int:
        """Number of simulations."""
        return int(self.data.sizes["case"])

    @property
    def groups(self) -> tuple[str, ...]:
        """The group of each simulation; nothing where they do not fall into groups."""
        return tuple(map(str, self.data["group"].values)) if "group" in self.data.coords else ()

    @property
    def times(self) -> Float64[np.ndarray, " time"]:
        """The times of metrics; one, NaN, where none has a time axis."""
        return np.asarray(self.data["time"].values, np.float64) if "time" in self.data.coords else np.full(1, np.nan)

    @property
    def steps(self) -> int:
        """Number of steps of each simulation, or of times after the first."""
        return len(self.times) - 1

    @property
    def time_step(self) -> float:
        """Time between two steps."""
        return float(self.data.attrs.get("time_step", np.nan))

    def moment(self, index: int) -> str:
        """A time of the series with its step, for people."""
        if np.isnan(self.times[index]):
            return str(self.attribute("end", "the end"))
        return f"step {int(self.data['step'].values[index])}, t = {self.times[index]:.3g}"

    def relative_to_initial(self, name: str) -> Float64[np.ndarray, "case time"] | None:
        """Errors relative to the initial field, where they are relative to the field at the same time.

        For that a variable ``scale (case, time)`` holds the size of the reference relative to its initial one.
        """
        if "scale" not in self.data:
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            return self.errors(name) * np.asarray(self.data["scale"].values, np.float64)

    @property
    def frames(self) -> Int[np.ndarray, " frame"]:
        """Indices of the times that kept fields belong to."""
        kept = self.data["frame_index"].values if "frame_index" in self.data else np.zeros(0)
        return np.asarray(kept, np.int64)

    def fields(self, name: str) -> np.ndarray | None:
        """Kept fields of a method, ``(kept, frame, component, *grid)``."""
        return self._kept("field", "pictured", name)

    def actions(self, name: str) -> np.ndarray | None:
        """What a closure answers in its kept fields, ``(kept, frame, channel, *grid)``."""
        return self._kept("action", "acting", name)

    def _kept(self, variable: str, along: str, name: str) -> np.ndarray | None:
        if variable not in self.data or name not in self.data[along].values:
            return None
        return np.asarray(self.data[variable].sel({along: name}).values)

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the field's components."""
        return self._names("component_name")

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the action's channels."""
        return self._names("channel_name")

    def _names(self, variable: str) -> tuple[str, ...]:
        return tuple(map(str, self.data[variable].values)) if variable in self.data else ()

    @property
    def description(self) -> dict[str, str]:
        """Statements for the reader."""
        found: dict[str, str] = json.loads(self.data.attrs["description"])
        return found

    @property
    def provenance(self) -> dict[str, Any]:
        """How to repeat it: the command, settings, versions."""
        found: dict[str, Any] = json.loads(self.data.attrs["provenance"])
        return found

    def attribute(self, name: str, default: Any = None) -> Any:
        """A further attribute."""
        return self.data.attrs.get(name, default)

    @property
    def failures(self) -> list[dict[str, Any]]:
        """Every simulation that diverged: ``method``, ``case`` (``group`` where there is one) and ``index`` of time.

        With variables ``failed_step``, ``failed_cell`` and ``failure`` also ``step``, ``cell`` and ``what``.
        """
        groups = self.groups
        return [
            {
                "method": name, "case": int(case), **({"group": groups[case]} if groups else {}),
                "index": int(at[case]), **self._cause(name, int(case)),
            }
            for name in self.methods
            for at in [self.diverged_at(name)]
            for case in np.flatnonzero(at >= 0)
        ]  # fmt: skip

    def _cause(self, name: str, case: int) -> dict[str, Any]:
        if "failed_step" not in self.data:
            return {}
        known = self.data[["failed_step", "failed_cell", "failure"]].sel({"method": name, "case": case})
        step, cell = int(known["failed_step"]), [int(i) for i in known["failed_cell"].values if i >= 0]
        return {"step": step if step >= 0 else None, "cell": cell, "what": str(known["failure"].item())}

    def to_pandas(self) -> "pd.DataFrame":
        """A tidy table: one row for each method, simulation and time, a column for each metric."""
        kept = self.data[list(self.metrics)].reset_coords()
        names = [*self.metrics, *(n for n in ("role", "corrects", "group", "step") if n in kept)]
        return kept[names].to_dataframe().reset_index()

    def select(self, methods: Collection[str]) -> "Results":
        """These results with some of the methods only, in their order here."""
        chosen = [name for name in self.methods if name in {self.check(name) for name in methods}]
        data = self.data.sel({"method": chosen})
        for along in ("pictured", "acting"):
            if along in data.dims:
                dropped = set(self.methods) - set(chosen)
                data = data.sel({along: [str(n) for n in data[along].values if str(n) not in dropped]})
        return Results(data)

    def assign(self, variables: Mapping[str, Any]) -> "Results":
        """These results with further variables, as :class:`xarray.Dataset` takes them."""
        return Results(self.data.assign(variables))

    def save(self, folder: str | Path, *, fields: bool = False) -> Path:
        """Write ``results.nc`` (NetCDF 4), by default without fields; returns its path."""
        data = self.data if fields else self.data.drop_dims(("pictured", "acting"), errors="ignore")
        return write_data(data, folder)

    @staticmethod
    def open(folder: str | Path) -> "Results":
        """Read what :meth:`save` wrote, from its folder or the file itself.

        Raises
        ------
        FileNotFoundError
            If there is nothing.
        ValueError
            If it is no such file, one of a later version, or not what was written.
        """
        return read_data(folder, Results)
