"""Named methods of an evaluation: classical schemes, and closures that weigh stencils of their own size."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx

from closura.closures import count_parameters
from closura.core.solver import Closure
from closura.io.closures import load_closure
from closura.io.tensor_files import read_npz
from closura.io.weights import WeightsError, read_header
from closura.numerics.weno import get_weno
from closura.problems.laws.dynamics import WeightedFluxes, sees_sizes
from closura.problems.laws.fluxes import Projection, Splitting
from closura.problems.laws.law import ConservationLaw

AGENTS = Path(__file__).parents[2] / "agents"
"""Weights that come with the package."""
SHIPPED = ("burgers-1d", "euler-1d")
"""Those that weigh stencils."""
PACKAGED = ("advection", "burgers", "turbulence", "turbulence-volumes", *SHIPPED)
SMALLEST_R, LARGEST_R = 2, 5


class Method(NamedTuple):
    """A solver and who weighs its fluxes; ``ask`` is None where the scheme itself does."""

    name: str
    dynamics: WeightedFluxes
    ask: Closure | None

    @property
    def r(self) -> int:
        """Number of sub-stencils."""
        return self.dynamics.r

    @property
    def learned(self) -> bool:
        """Whether a closure weighs."""
        return self.ask is not None

    @property
    def parameters(self) -> int | None:
        """Number of learned parameters."""
        if self.ask is None:
            return None
        return count_parameters(self.ask) if isinstance(self.ask, eqx.Module) else 0


def classical(
    name: str, law: ConservationLaw, *, integrator: str, splitting: Splitting, projection: Projection
) -> Method:
    """A scheme by its name.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the valid ones.
    """
    get_weno(name)
    dynamics = WeightedFluxes(law=law, scheme=name, integrator=integrator, splitting=splitting, projection=projection)
    return Method(name, dynamics, None)


def learned(
    name: str,
    path: str | Path,
    law: ConservationLaw,
    *,
    integrator: str,
    splitting: Splitting,
    projection: Projection,
    r: int | None = None,
) -> Method:
    """A closure from a run folder or a file, on the stencil it was trained for.

    Parameters
    ----------
    name
        Its name in tables.
    path
        A run folder, a file of weights, or one of :data:`SHIPPED`.
    r
        The size that it must have, if one is asked for.

    Raises
    ------
    WeightsError
        If it is no closure that weighs stencils, or one of another size than asked for.
    FileNotFoundError
        If there is nothing at the path.
    """
    path = shipped(path)
    size = stencil_size(path)
    if r is not None and size != r:
        raise WeightsError(
            f"{path} weighs {size} sub-stencils (r = {size}), but r = {r} was asked for: leave out --r, or give "
            f"weights that were trained with r = {r}"
        )
    # The name of the classical scheme decides nothing but the stencil: the closure answers for all weights.
    scheme = f"weno{2 * size - 1}-js"
    sizes, positivity = _trained_with(path)
    dynamics = WeightedFluxes(
        law=law, scheme=scheme, integrator=integrator, splitting=splitting, projection=projection, sizes=sizes,
        positivity=positivity,
    )  # fmt: skip
    return Method(name, dynamics, load_closure(path, dynamics.spec()))


def _trained_with(path: Path) -> tuple[bool, bool]:
    """Whether a closure sees sizes of stencils, and whether its fluxes were limited: parts of the scheme it is."""
    file = path / "weights.safetensors" if path.is_dir() else path
    if file.suffix == ".npz":
        return False, False
    header = read_header(file)
    configuration = header["metadata"].get("configuration") or {}
    sizes = sees_sizes(header["decision"]["observation"])
    return sizes, bool(configuration.get("problem", {}).get("positivity", False))


def shipped(path: str | Path) -> Path:
    """The file behind the name of a closure that comes with the package; other paths as they are.

    Raises
    ------
    FileNotFoundError
        If this installation does not have it.
    """
    if str(path) in PACKAGED and not Path(path).exists():
        file = AGENTS / f"{path}.safetensors"
        if not file.exists():
            raise FileNotFoundError(
                f"this installation of closura comes without the trained agent {path}: update it, or train one with "
                f"`closura train {path}` and give its run folder"
            )
        return file
    return Path(path)


def stencil_size(path: Path) -> int:
    """``r`` of a closure's weights, read without building it.

    Raises
    ------
    WeightsError
        If they are not those of a closure that weighs stencils.
    FileNotFoundError
        If there is nothing at the path.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"there is no closure at {path}: expected a run folder, a file of weights (.safetensors, .npz), or one of "
            f"{', '.join(SHIPPED)}"
        )
    file = path / "weights.safetensors" if path.is_dir() else path
    if file.suffix == ".npz":
        try:
            shapes = {key: array.shape for key, array in read_npz(file).items()}
        except (ValueError, OSError) as error:
            raise WeightsError(str(error)) from error
        biases = sorted(key for key in shapes if key.startswith("b"))
        answers, agents = (shapes[biases[-1]][0] if biases and shapes[biases[-1]] else 0), "interfaces"
    else:
        if path.is_dir() and not file.exists():
            raise WeightsError(
                f"{path} holds no weights.safetensors: is it a run folder, and has its training been validated once?"
            )
        spec: Mapping[str, Any] = read_header(file)["decision"]
        answers, agents = len(spec["action"]), spec.get("agents", "cells")
    r = answers // 2
    if agents != "interfaces" or answers % 2 or not SMALLEST_R <= r <= LARGEST_R:
        raise WeightsError(
            f"{path} is no closure that weighs stencils at interfaces (its answer has {answers} channels): give one "
            f"that was trained on {', '.join(SHIPPED)} or their like"
        )
    return r


def check_names(names: list[str]) -> None:
    """Refuse a name that is given twice.

    Raises
    ------
    ValueError
        With the name.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"two methods are called {twice[0]}: name each scheme once, and give a closure another name with "
            "--closure NAME=PATH"
        )


def smallest_grid(method: Method) -> int:
    """Cells that an axis must have at least: ghost cells are made of as many at both ends."""
    return 2 * max(method.r, 3)


def comparison_of(name: str, methods: Mapping[str, Method]) -> str:
    """The method by whose errors those of another are divided.

    That is WENO-JS of the same size, else weno5-js, else the first method.
    """
    for candidate in (f"weno{2 * methods[name].r - 1}-js", "weno5-js"):
        if candidate in methods:
            return candidate
    return next(iter(methods))
