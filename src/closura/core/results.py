"""Results: what a comparison of methods measured, as one labelled data set.

Data and provenance only; tables, figures and pages are made of them in :mod:`closura.reporting`.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float64, Int

from closura.core.metric import Metric
from closura.core.roles import Role
from closura.plain import plain

if TYPE_CHECKING:
    import pandas as pd

FILE = "results.nc"
FORMAT = 1
_TAKEN = {
    *("method", "case", "time", "step", "role", "corrects", "group", "diverged_at", "milliseconds_per_step"),
    *("parameters", "field", "action", "pictured", "acting", "kept", "frame", "frame_index", "scale"),
}
"""Names in the data that no metric can have."""


@dataclass(frozen=True, eq=False)
class MethodResult:
    """What one method did in all simulations; :meth:`Results.build` joins several.

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
    def build(
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
    ) -> "Results":
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

        Raises
        ------
        ValueError
            If shapes or names disagree.
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
        coords: dict[str, Any] = {
            "method": ("method", names),
            "case": ("case", np.arange(cases)),
            "role": ("method", [str(m.role) for m in methods.values()]),
            "corrects": ("method", [m.corrects for m in methods.values()]),
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
        return Results(
            xr.Dataset(
                {**data, **(variables or {})},
                coords,
                {
                    "problem": problem, "error": error, **attributes,
                    **{name: json.dumps(plain(value), ensure_ascii=False) for name, value in told.items()},
                },
            )
        )  # fmt: skip

    # Who takes part ------------------------------------------------------------------------------------------------

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
        """Whether methods stand on several grids with several time steps, with their costs per simulated time."""
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

    # What was measured ---------------------------------------------------------------------------------------------

    @property
    def metrics(self) -> dict[str, Metric]:
        """Every metric with what is known of it; its function is that of the comparison, not of these results."""
        return {str(n): _described(str(n), v.attrs) for n, v in self.data.data_vars.items() if "better" in v.attrs}

    @property
    def error(self) -> Metric:
        """The metric that counts."""
        return self.metrics[str(self.data.attrs["error"])]

    def of(self, metric: str, name: str) -> Float64[np.ndarray, "case *time"]:
        """The values of a metric for one method, ``(case,)`` or ``(case, time)``."""
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
            return "the end"
        return f"step {int(self.data['step'].values[index])}, t = {self.times[index]:.3g}"

    def relative_to_initial(self, name: str) -> Float64[np.ndarray, "case time"] | None:
        """Errors relative to the initial field, where they are relative to the field at the same time.

        For that a variable ``scale (case, time)`` holds the size of the reference relative to its initial one.
        """
        if "scale" not in self.data:
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            return self.errors(name) * np.asarray(self.data["scale"].values, np.float64)

    # Fields --------------------------------------------------------------------------------------------------------

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

    # Words ---------------------------------------------------------------------------------------------------------

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

    # In and out ----------------------------------------------------------------------------------------------------

    def to_pandas(self) -> "pd.DataFrame":
        """A tidy table: one row for each method, simulation and time, a column for each metric."""
        kept = self.data[list(self.metrics)].reset_coords()
        names = [*self.metrics, *(n for n in ("role", "corrects", "group", "step") if n in kept)]
        return kept[names].to_dataframe().reset_index()

    def select(self, methods: Collection[str]) -> "Results":
        """These results with some of the methods only, in their order here.

        Raises
        ------
        KeyError
            If there is no such method.
        ValueError
            If a closure stays without the method that it corrects, or none but the reference.
        """
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
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        data = self.data if fields else self.data.drop_dims(("pictured", "acting"), errors="ignore")
        data = data.assign_attrs(closura_format=FORMAT, checksum=_checksum(data))
        handle, scratch = tempfile.mkstemp(dir=folder, prefix=".results-", suffix=".nc")
        os.close(handle)
        try:
            data.to_netcdf(scratch, engine="h5netcdf")
            with open(scratch, "rb") as file:
                os.fsync(file.fileno())
            os.chmod(scratch, 0o644)
            os.replace(scratch, folder / FILE)
        finally:
            Path(scratch).unlink(missing_ok=True)
        return folder / FILE

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
        path = Path(folder)
        path = path / FILE if path.is_dir() else path
        if not path.exists():
            raise FileNotFoundError(f"there are no results at {path}")
        try:
            with xr.open_dataset(path, engine="h5netcdf") as file:
                data = file.load()
            found, written = data.attrs.pop("closura_format"), data.attrs.pop("checksum", None)
            if found != FORMAT:
                raise ValueError(f"format {found}; this closura reads {FORMAT}")
            if written != _checksum(data):
                raise ValueError("it is damaged or was changed: its checksum is another")
            return Results(data)
        except Exception as error:  # of damaged files the library of HDF5 says what it likes
            raise ValueError(f"{path} holds no results that closura can read: {error}") from error


def _checksum(data: xr.Dataset) -> str:
    """SHA-256 of all names, axes, values and attributes: NetCDF itself has none for them."""

    def attributes(of: Mapping[Any, Any]) -> Any:
        return sorted((str(name), plain(value)) for name, value in of.items())

    digest = hashlib.sha256(json.dumps(attributes(data.attrs)).encode())
    for name, variable in sorted(data.variables.items(), key=lambda item: str(item[0])):
        values = np.asarray(variable.values)
        head = [str(name), list(map(str, variable.dims)), values.shape, attributes(variable.attrs)]
        digest.update(json.dumps(head).encode())
        if values.dtype.kind in "OSUT":  # text has several types that mean the same
            digest.update(json.dumps(values.astype(str).tolist()).encode())
        else:
            digest.update(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


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


def _described(name: str, attributes: Mapping[str, Any]) -> Metric:
    return Metric(
        name, _unknown, str(attributes["long_name"]), str(attributes["units"]), bool(attributes["percent"]),
        attributes["better"], attributes["aggregate"], limit=float(attributes.get("limit", np.inf)),
    )  # fmt: skip


def _unknown(*_: Any) -> Any:
    raise ValueError("results do not hold the functions of their metrics")
