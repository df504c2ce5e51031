"""What an evaluation measured: several methods from the same initial states, side by side.

Plain records on the host. Index 0 of every step axis is the initial state; errors are fractions, not percent.
Shapes that belong together are checked by the records themselves, with errors that say what to do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Float64, Int

TRUTH_NAMES = ("FGS", "truth", "fine")
"""What the truth is called in evaluations that do not say which method it is, as earlier versions wrote them."""

Role = Literal["baseline", "classical", "finer", "truth", "closure"]


@dataclass(frozen=True, eq=False)
class MethodResult:
    """What one method did in all simulations.

    Parameters
    ----------
    name
        The name in tables and figures.
    error
        Relative error, ``(simulation, step + 1)``, as a fraction, of the kind that the evaluation names. An entry that
        is not finite means that the simulation had diverged.
    mass_error
        Relative error of the problem's first conserved quantity against its initial value,
        ``(simulation, step + 1)``, or None for problems that conserve nothing.
    diverged_at
        First step, ``(simulation,)``, at which the field was not finite or had left ten times its initial
        range; -1 where that never happened.
    milliseconds_per_step
        Wall time of one coarse step (NaN if not measured).
    milliseconds_per_simulation
        Wall time of all steps of one simulation, from the time of one step (NaN if not measured).
    parameters
        Number of learned parameters; None for methods that learn nothing.
    fields
        Fields of the kept simulations at the kept steps, ``(kept, frame, component, *grid)``, or None.
    actions
        What a closure answers in the state of each kept frame, ``(kept, frame, channel, *grid)``, clipped as
        the solver clips it, or None.

    Raises
    ------
    ValueError
        If the arrays disagree in shape.
    """

    name: str
    error: Float64[np.ndarray, "simulation step"]
    mass_error: Float64[np.ndarray, "_ _"] | None
    diverged_at: Int[np.ndarray, "_"]
    milliseconds_per_step: float
    milliseconds_per_simulation: float
    parameters: int | None = None
    fields: Float32[np.ndarray, "kept frame component *grid"] | None = None
    actions: Float32[np.ndarray, "kept frame channel *grid"] | None = None

    def __post_init__(self) -> None:
        if self.error.ndim != 2 or self.error.shape[0] < 1 or self.error.shape[1] < 2:
            raise ValueError(
                f"{self.name}: error must be (simulations, steps + 1) with at least one of each; "
                f"got shape {self.error.shape}"
            )
        if self.mass_error is not None and self.mass_error.shape != self.error.shape:
            raise ValueError(
                f"{self.name}: mass_error must have the shape of error, {self.error.shape}; got {self.mass_error.shape}"
            )
        if self.diverged_at.shape != self.error.shape[:1]:
            raise ValueError(f"{self.name}: diverged_at must be ({self.error.shape[0]},); got {self.diverged_at.shape}")
        for name in ("fields", "actions"):
            array = getattr(self, name)
            if array is not None and array.ndim < 4:
                raise ValueError(f"{self.name}: {name} must be (kept, frame, component, *grid); got {array.shape}")

    @property
    def learned(self) -> bool:
        """Whether this is a closure: something with learned parameters."""
        return self.parameters is not None

    @property
    def diverged(self) -> int:
        """Number of simulations that diverged, by the flag or by an error that is not finite."""
        return int(np.sum(self.lost_at >= 0))

    @property
    def lost_at(self) -> Int[np.ndarray, "_"]:
        """First step, ``(simulation,)``, with the flag or with an error that is not finite; -1 for none."""
        broken = ~np.isfinite(self.error)
        first = np.where(broken.any(axis=1), broken.argmax(axis=1), -1)
        both = np.where((first >= 0) & (self.diverged_at >= 0), np.minimum(first, self.diverged_at), -1)
        return np.where(both >= 0, both, np.maximum(first, self.diverged_at)).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Rollouts of several methods side by side on the same held-out initial states.

    Parameters
    ----------
    problem
        Name of the problem.
    methods
        Results in display order. The first is the baseline (the coarse solver without a closure, ``CGS``)
        that improvements refer to.
    steps
        Number of coarse steps of each simulation.
    simulations
        Number of simulations.
    time_step
        Coarse time step, in the time unit of the problem.
    frame_steps
        Steps, ``(frame,)``, that kept fields belong to.
    truth_fields
        The truth at those steps, restricted to the coarse grid, ``(kept, frame, component, *grid)``, or None.
    description
        Statements for the reader: ``images``, ``split`` (how training and evaluation data are kept apart),
        ``velocity``, ``grid``, ``preset``, ``seed``, ``field`` (what is drawn, with its unit), ...
    threshold
        Relative error that still counts as low (0.01 for advection, 0.1 for Burgers in Closure-RL).
    configuration
        How to repeat the evaluation, including ``"command"``.
    origin
        Where y = 0 is drawn: ``"lower"``, or ``"upper"`` for fields that come from images.
    scale
        Size of the truth relative to its initial one, ``(simulation, step + 1)``, where errors are relative to
        the truth at the same time: error times scale is the error relative to the initial field. None where
        errors are absolute.
    groups
        The group of each simulation, or nothing.
    bases
        For closures that correct another solver than the baseline: the name of that method.
    finer
        Names of the methods that run on a finer grid.
    quantity
        Name of the conserved quantity whose relative error the methods' ``mass_error`` is.
    components, channels
        Names of the field's components and of the action's channels, for figures.
    truth
        Name of the method that is the truth, if it is among the methods; where it is not said, a method that learns
        nothing and has one of the names :data:`TRUTH_NAMES`.
    error_name
        What the methods' errors are: "relative MAE", "relative L2 error".

    Raises
    ------
    ValueError
        If there is no method, or shapes or names disagree.
    """

    problem: str
    methods: dict[str, MethodResult]
    steps: int
    simulations: int
    time_step: float
    frame_steps: Int[np.ndarray, "_"] = field(default_factory=lambda: np.zeros(0, np.int64))
    truth_fields: Float32[np.ndarray, "kept frame component *grid"] | None = None
    description: Mapping[str, str] = field(default_factory=dict)
    threshold: float = 0.01
    configuration: Mapping[str, Any] = field(default_factory=dict)
    origin: Literal["lower", "upper"] = "lower"
    scale: Float64[np.ndarray, "_ _"] | None = None
    groups: tuple[str, ...] = ()
    bases: Mapping[str, str] = field(default_factory=dict)
    finer: tuple[str, ...] = ()
    quantity: str = "mass"
    components: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    truth: str | None = None
    error_name: str = "relative MAE"

    def __post_init__(self) -> None:
        if not self.methods:
            raise ValueError("an evaluation needs at least one method; got none")
        expected = (self.simulations, self.steps + 1)
        for name, method in self.methods.items():
            if method.name != name:
                raise ValueError(f"the method under {name!r} calls itself {method.name!r}; use one name")
            if method.error.shape != expected:
                raise ValueError(
                    f"{name}: error must be (simulations, steps + 1) = {expected}; got {method.error.shape}"
                )
        shapes = {name: method.fields.shape for name, method in self.methods.items() if method.fields is not None}
        if self.truth_fields is not None:
            shapes["truth_fields"] = self.truth_fields.shape
        if len(set(shapes.values())) > 1:
            raise ValueError(f"kept fields must all have one shape; got {shapes}")
        for name, shape in shapes.items():
            if shape[1] != len(self.frame_steps):
                raise ValueError(f"{name}: {shape[1]} frames but {len(self.frame_steps)} frame_steps")
        if self.scale is not None and self.scale.shape != expected:
            raise ValueError(f"scale must be (simulations, steps + 1) = {expected}; got {self.scale.shape}")
        if len(self.groups) not in (0, self.simulations):
            raise ValueError(f"groups need one name per simulation, {self.simulations}; got {len(self.groups)}")
        if self.truth is None:
            named = (n for n, m in self.methods.items() if n in TRUTH_NAMES and not m.learned)
            object.__setattr__(self, "truth", next(named, None))
        elif self.truth not in self.methods or self.methods[self.truth].learned or self.truth == self.baseline:
            raise ValueError(
                f"the truth must be a method that learns nothing, and not the first; got {self.truth!r} of "
                f"{', '.join(self.methods)}"
            )
        unknown = {*self.bases, *self.bases.values(), *self.finer} - set(self.methods)
        if unknown:
            raise ValueError(f"bases and finer name {sorted(unknown)}; the methods are {', '.join(self.methods)}")
        if not self.threshold > 0:
            raise ValueError(f"threshold must be a positive fraction; got {self.threshold}")

    @property
    def baseline(self) -> str:
        """Name of the first method: the coarse solver without a closure."""
        return next(iter(self.methods))

    @property
    def judged(self) -> tuple[str, ...]:
        """Names of the methods that have an error: all but the truth."""
        return tuple(name for name in self.methods if name != self.truth)

    @property
    def roles(self) -> dict[str, Role]:
        """What each method is, in display order."""
        return {name: self._role(name) for name in self.methods}

    def _role(self, name: str) -> Role:
        if name == self.truth:
            return "truth"
        if self.methods[name].learned:
            return "closure"
        if name in self.finer:
            return "finer"
        return "baseline" if name == self.baseline else "classical"

    @property
    def error_key(self) -> str:
        """:attr:`error_name` as a key of tables: ``relative_mae``."""
        return self.error_name.lower().replace(" ", "_")

    @property
    def closures(self) -> tuple[str, ...]:
        """Names of the methods with learned parameters."""
        return tuple(name for name in self.judged if self.methods[name].learned)

    @property
    def rivals(self) -> tuple[str, ...]:
        """Names of the methods on the same grid that learn nothing, the baseline excluded."""
        apart = (self.baseline, *self.finer)
        return tuple(name for name in self.judged if not self.methods[name].learned and name not in apart)

    def method(self, name: str) -> MethodResult:
        """One method by name; a KeyError lists the valid ones."""
        if name not in self.methods:
            raise KeyError(f"unknown method {name!r}; valid: {', '.join(self.methods)}")
        return self.methods[name]

    def base(self, name: str) -> str:
        """The method that ``name`` is a correction of: by default the baseline."""
        return self.bases.get(name, self.baseline)

    def moment(self, step: int) -> str:
        """A step with its physical time, for people."""
        return f"step {step}, t = {step * self.time_step:.3g}"

    def initial_error(self, name: str) -> Float64[np.ndarray, "simulation step"] | None:
        """Error of a method relative to the initial field, where errors are relative to the field at the same time."""
        if self.scale is None:
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            return self.methods[name].error * self.scale
