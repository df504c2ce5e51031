"""Named methods of an evaluation: classical schemes, and closures that weigh stencils of their own size."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from closura.core.method import Method, Role, StepRule
from closura.io.closures import load_closure, shipped
from closura.io.tensor_files import read_npz
from closura.io.weights import WeightsError, read_header
from closura.problems.laws.law import ConservationLaw
from closura.problems.laws.weighted_fluxes import WeightedFluxes, sees_sizes

SHIPPED = ("burgers-1d", "euler-1d")
"""Closures that come with the package and weigh stencils."""
SMALLEST_R, LARGEST_R = 2, 5


def classical(name: str, law: ConservationLaw, *, step: StepRule, **how: Any) -> Method:
    """A scheme by its name, alone; ``how`` are settings of :class:`WeightedFluxes`.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the valid ones.
    """
    return Method(WeightedFluxes(law=law, scheme=name, **how), Role.BASELINE, step)


def learned(
    path: str | Path,
    law: ConservationLaw,
    *,
    step: StepRule,
    positivity: bool = False,
    r: int | None = None,
    **how: Any,
) -> Method:
    """A closure from a run folder or a file, or one of :data:`SHIPPED`, on the stencil it was trained for.

    Fluxes are limited with ``positivity``, and always for closures that were trained so. ``r`` is the size that it must
    have, if one is asked for; ``how`` are settings of :class:`WeightedFluxes`.
    """
    path = shipped(path)
    size, sizes, limited = stencils_of(path)
    if r is not None and size != r:
        raise WeightsError(
            f"{path} weighs {size} sub-stencils (r = {size}), but r = {r} was asked for: leave out --r, or give "
            f"weights that were trained with r = {r}"
        )
    # The name of the classical scheme decides nothing but the stencil: the closure answers for all weights.
    scheme = f"weno{2 * size - 1}-js"
    solver = WeightedFluxes(law=law, scheme=scheme, sizes=sizes, positivity=positivity or limited, **how)
    return Method(solver, Role.CLOSURE, step, load_closure(path, solver.spec()))


def solver_of(method: Method) -> WeightedFluxes:
    """The solver of a method, which is one of a conservation law."""
    assert isinstance(method.solver, WeightedFluxes)
    return method.solver


def stencils_of(path: Path) -> tuple[int, bool, bool]:
    """``r`` of a closure, whether it sees sizes of stencils, and whether its fluxes were limited; read, not built."""
    if not path.exists():
        raise FileNotFoundError(
            f"there is no closure at {path}: expected a run folder, a file of weights (.safetensors, .npz), or one of "
            f"{', '.join(SHIPPED)}"
        )
    file = path / "weights.safetensors" if path.is_dir() else path
    if path.is_dir() and not file.exists():
        raise WeightsError(
            f"{path} holds no weights.safetensors: is it a run folder, and has its training been validated once?"
        )
    sizes = limited = False
    if file.suffix == ".npz":
        try:
            shapes = {key: array.shape for key, array in read_npz(file).items()}
        except (ValueError, OSError) as error:
            raise WeightsError(str(error)) from error
        biases = sorted(key for key in shapes if key.startswith("b"))
        answers, agents = (shapes[biases[-1]][0] if biases and shapes[biases[-1]] else 0), "interfaces"
    else:
        header = read_header(file)
        spec: Mapping[str, Any] = header["decision"]
        answers, agents, sizes = len(spec["action"]), spec.get("agents", "cells"), sees_sizes(spec["observation"])
        configuration = header["metadata"].get("configuration") or {}
        limited = bool(configuration.get("problem", {}).get("positivity", False))
    r = answers // 2
    if agents != "interfaces" or answers % 2 or not SMALLEST_R <= r <= LARGEST_R:
        raise WeightsError(
            f"{path} is no closure that weighs stencils at interfaces (its answer has {answers} channels): give one "
            f"that was trained on {', '.join(SHIPPED)} or their like"
        )
    return r, sizes, limited


def check_names(names: list[str]) -> None:
    """Refuse a name that is given twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"two methods are called {twice[0]}: name each scheme once, and give a closure another name with "
            "--closure NAME=PATH"
        )


def comparison_of(name: str, methods: Mapping[str, Method]) -> str:
    """The method by whose errors those of another are divided.

    That is WENO-JS of the same size, else weno5-js, else the first method.
    """
    for candidate in (f"weno{2 * solver_of(methods[name]).r - 1}-js", "weno5-js"):
        if candidate in methods:
            return candidate
    return next(iter(methods))
