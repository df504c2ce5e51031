"""Settings of the advection problem, and the problem that they describe."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import jax.numpy as jnp
import numpy as np

from closura.core import ClosureSpec
from closura.core.citations import CLOSURE_RL
from closura.core.definition import Split, problem
from closura.core.solver import Solver
from closura.grids import Grid
from closura.initial.datasets import DATASETS, load_images
from closura.initial.images import ImageSampler
from closura.initial.synthetic import Collages, SyntheticImages
from closura.initial.velocities import VelocitySampler, make_velocity
from closura.numerics import check_time_step, courant_limit, courant_number
from closura.problems.actions import ActionForm, action_channels
from closura.problems.advection import AdvectionCases, AdvectionSolver, MixedVelocity, PassiveScalar
from closura.problems.characteristics import Characteristics, Mean
from closura.problems.flux_form import FaceVelocity, FluxFormSolver
from closura.problems.measures import SquaredErrorReduction, mean_absolute_error
from closura.problems.problem import EpisodeRules, Problem, Quantity, SimulatedBegin, field_type, total
from closura.problems.reference import SolverReference
from closura.settings import Count, NotNegative, Positive, Settings

BASELINES = {
    "ACGS": ("upwind2", "rk4"),
    "upwind3": ("upwind3", "rk4"),
    "upwind5": ("upwind5", "rk4"),
    "spectral": ("spectral", "rk4"),
}
"""Classical schemes on the same coarse grid with the same time step: ACGS is the paper's."""

BASES = {"upwind1": ("upwind1", "forward-euler"), "upwind3": BASELINES["upwind3"], "upwind5": BASELINES["upwind5"]}
"""Solvers that a closure may correct; the first is the paper's, called CGS."""

REFERENCES = {
    "fine": "on {0} x {0}",
    "exact": "exact, along characteristics",
    "mean": "the mean of that on {0} x {0} and the exact one",
}

ACTION_BOUND = 1.0
"""The published environment clips actions to [-1, 1]; the paper does not mention it."""

TYPICAL_ACTION = 0.01
"""Size of a useful action: the published policy's actions have a deviation of about 0.003 to 0.02."""


@dataclass(frozen=True)
class AdvectionPhysics(Settings):
    """What decides the advected fields and their reference (Closure-RL, table 2, with the values its code really uses).

    Parameters
    ----------
    cells
        Coarse points per side.
    ratio
        Fine points per coarse point and side, and fine steps per coarse step.
    courant
        Coarse time step over coarse spacing (the paper's table says 0.9, its code and numbers 0.25).
    images
        Family of initial fields.
    velocity
        Family of velocities: "train", "vortex", or "mixed", of which one half are published train velocities and the
        other half periodic ones, to learn on.
    published_velocity
        Velocities as the published code samples them: odd wave numbers, which jump at the seam, and grid
        points that include both ends. Otherwise smooth periodic ones.
    published_boundary
        The published two-cell difference at the last row and column.
    reference
        "fine": the published fine solver, central differences on ``ratio`` times more points, with a dispersion of its
        own; "exact": the solution along characteristics (:mod:`closura.problems.characteristics`); "mean": the mean of
        both, for a closure that is to be near to either.
    form
        "advective": differences of psi times the velocity, as published, which do not conserve the total of psi;
        "flux": finite volumes that conserve it to round-off, with means over cells as coarse fields.
    precision
        Of fields: "float32" or "float64" (networks always work in float32).
    """

    cells: Count = 64
    ratio: Count = 4
    courant: Positive = 0.25
    images: Literal["synthetic", "mnist", "fashion-mnist", "collages"] = "synthetic"
    velocity: Literal["train", "vortex", "mixed"] = "train"
    published_velocity: bool = False
    published_boundary: bool = False
    reference: Literal["fine", "exact", "mean"] = "fine"
    form: Literal["advective", "flux"] = "advective"
    precision: Literal["float32", "float64"] = "float32"


@dataclass(frozen=True)
class AdvectionCorrection(Settings):
    """What a closure of advection corrects, what it does, and how long its episodes are.

    Parameters
    ----------
    base
        The coarse scheme that the closure corrects: upwind1 with forward Euler (CGS, as published), upwind3 or upwind5
        with RK4.
    action
        How a closure's answer enters: "forcing" as published, free to create and destroy; "mean-free" and "flux"
        can do neither.
    mass_weight
        Weight of the global mass term of the reward (appendix E).
    minimum_steps
        Shortest episode of learning.
    maximum_steps
        Longest episode of learning.
    error_threshold
        Relative error that ends an episode once it has its shortest length.
    """

    base: Literal["upwind1", "upwind3", "upwind5"] = "upwind1"
    action: ActionForm = "forcing"
    mass_weight: NotNegative = 0.0
    minimum_steps: Count = 4
    maximum_steps: Count = 100
    error_threshold: NotNegative = 0.015


@dataclass(frozen=True)
class AdvectionConfiguration(AdvectionCorrection, AdvectionPhysics):
    """Settings of the advection problem (Closure-RL, table 2, with the values its code really uses)."""


def image_source(
    name: str, split: Split, shape: tuple[int, int], *, data_dir: str | Path | None, dtype: type
) -> tuple[ImageSampler | SyntheticImages | Collages, str]:
    """The sampler of a family of initial fields and where its images come from."""
    if name == "collages":
        return Collages(shape, dtype=dtype), f"generated collages, {split} set by its own random keys"
    if name == "synthetic":
        return SyntheticImages(shape, dtype=dtype), f"generated, {split} set by its own random keys"
    found = load_images(name, split, data_dir=data_dir)
    return ImageSampler(jnp.asarray(found.images), shape, rotate=DATASETS[name].rotate, dtype=dtype), found.description


@problem(
    "advection",
    physics=AdvectionPhysics,
    correction=AdvectionCorrection,
    settings=AdvectionConfiguration,
    presets="advection.toml",
    varied=("images", "velocity", "ratio"),
    label=lambda settings: settings.images,
    sources=(CLOSURE_RL,),
    about="a passive scalar in a two-dimensional flow (Closure-RL)",
    units={"psi": "1"} | dict.fromkeys(("u", "v", "u at faces", "v at faces"), "length/time"),
)
def advection(
    configuration: AdvectionConfiguration, split: Split = "train", *, data_dir: str | Path | None = None
) -> Problem:
    """Build the advection problem.

    ``split`` decides which images are drawn; velocities and synthetic images have no fixed sets: use different keys.
    ``data_dir`` holds ``mnist/`` and ``fashion-mnist/``, for families of real images.

    Raises
    ------
    ValueError
        If settings do not fit together, or the time step is unstable for the coarse or the fine solver.
    FileNotFoundError
        If image files are missing.
    """
    c, in_flux_form = configuration, configuration.form == "flux"
    if c.cells < 8:
        raise ValueError(f"need at least 8 coarse points per side; got {c.cells}")
    if in_flux_form and (c.published_velocity or c.published_boundary or c.velocity == "mixed"):
        raise ValueError(
            "the flux form conserves on a periodic grid, but the published velocities jump at its seam and the "
            "published boundary is no flux: leave out published_velocity, published_boundary and velocity mixed, or "
            "form"
        )
    if in_flux_form and c.reference != "fine":
        raise ValueError(
            "the exact reference has values at points, the flux form means over cells: leave out reference or form"
        )
    dtype = field_type(c.precision)
    coarse = Grid((c.cells, c.cells))
    fine = coarse.refine(c.ratio)
    shape = (fine.shape[0], fine.shape[1])
    time_step = c.courant * coarse.spacing[0]

    # In the seam of a periodic velocity a straight line is off by less than 1e-3 of it, over one fine spacing.
    seam = c.velocity == "mixed" or (c.published_velocity and c.velocity == "train")

    def solver(grid: Grid, scheme: str, integrator: str) -> PassiveScalar:
        if in_flux_form:
            return FluxFormSolver(grid, scheme, integrator, action=c.action)
        return AdvectionSolver(grid, scheme, integrator, action=c.action, seam=seam)

    def based_on(name: str) -> PassiveScalar:
        found = solver(coarse, *BASES[name])
        if isinstance(found, AdvectionSolver) and name == "upwind1":
            return replace(found, published_boundary=c.published_boundary)
        return found

    base = based_on(c.base)
    simulated = solver(fine, "central2", "rk4")
    # Both components of all velocity families stay within one.
    fastest = np.ones((2, *coarse.shape))
    check_time_step(fastest, coarse, time_step, base.scheme, base.integrator)
    check_time_step(np.ones((2, *fine.shape)), fine, time_step / c.ratio, simulated.scheme, simulated.integrator)

    image, source = image_source(c.images, split, shape, data_dir=data_dir, dtype=dtype)
    sampler: VelocitySampler | MixedVelocity
    if c.velocity == "mixed":
        sampler = MixedVelocity(tuple(make_velocity("train", shape, published=p, dtype=dtype) for p in (True, False)))
    else:
        sampler = make_velocity(c.velocity, shape, published=c.published_velocity, dtype=dtype)
    velocity = FaceVelocity(sampler) if in_flux_form else sampler
    # A baseline that the time step makes unstable would be none.
    number = courant_number(fastest, coarse, time_step)
    classical = {name: parts for name, parts in BASELINES.items() if not (in_flux_form and parts[0] == "spectral")}
    stable = [name for name, parts in classical.items() if number <= courant_limit(*parts)]
    unstable = [name for name in classical if name not in stable]
    exact = Characteristics(coarse, seam)
    trusted: dict[str, tuple[Solver, int]] = {
        "fine": (simulated, c.ratio), "exact": (exact, 1), "mean": (Mean((simulated, exact), (c.ratio, 1)), 1),
    }  # fmt: skip
    reference = SolverReference(trusted[c.reference][0], base, trusted[c.reference][1])
    others: dict[str, Solver] = {name: solver(coarse, *classical[name]) for name in stable if name != c.base}
    if c.base != "upwind1":
        others = {"CGS": based_on("upwind1"), **others}
    # Velocities at faces are another observation: networks made for one form are refused by the other.
    seen = ("psi", "u at faces", "v at faces") if in_flux_form else ("psi", "u", "v")
    channels, acts_on = action_channels(c.action, ("psi",), (0,), coarse.boundary)
    quantities = (Quantity("mass", total(0)),)
    kind = "published" if c.published_velocity else "periodic"
    kind = "published and periodic" if c.velocity == "mixed" else kind
    in_words = REFERENCES[c.reference].format(fine.shape[0])
    return Problem(
        name="advection",
        begin=SimulatedBegin(
            AdvectionCases(image, velocity), base, reference, burn_in=1, time_step=time_step, quantities=quantities
        ),
        coarse=base,
        reference=reference,
        baselines=others,
        reward=SquaredErrorReduction(quantities, (c.mass_weight,)),
        error=mean_absolute_error,
        spec=ClosureSpec(seen, channels, coarse.boundary, acts_on, ACTION_BOUND, TYPICAL_ACTION, velocity=(1, 2)),
        episode=EpisodeRules(c.minimum_steps, c.maximum_steps, c.error_threshold),
        time_step=time_step,
        grid=coarse,
        components=("psi",),
        quantities=quantities,
        names=("CGS" if c.base == "upwind1" else c.base, "FGS" if c.reference == "fine" else "reference"),
        origin="upper",  # initial fields are images
        description=(
            ("images", c.images),
            ("split", f"{split}: {source}"),
            ("velocity", f"{c.velocity} ({kind} family)"),
            ("grid", f"{c.cells} x {c.cells}, reference {in_words}"),
            ("time step", f"{c.courant:g} dx = {time_step:.6g}"),
            ("field", "psi (dimensionless, 0 to 1)"),
            *((("corrected solver", f"{c.base}, {base.integrator}"),) if c.base != "upwind1" else ()),
            *((("form", "flux form, means over cells"),) if in_flux_form else ()),
            *((("action", c.action),) if c.action != "forcing" else ()),
            *((("left out", f"{', '.join(unstable)}: unstable at this time step"),) if unstable else ()),
        ),
    )
