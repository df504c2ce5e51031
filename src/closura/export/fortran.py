"""Closures that see one cell or interface at a time, as a module of Fortran 2008 with nothing behind it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from closura.closures.program import Program
from closura.export.tables import guided_tables, uncorrected, weights_constants

PER_LINE = 6
DOUBLES = ("LARGEST", "CLOSED", "OPENED", "SOFTENING", "POWER", "TINY")


def pointwise(program: Program) -> bool:
    """Whether a closure needs its own cell only, so that it can be written in pure Fortran."""
    one = all(len(each.offsets) == 1 and not each.offsets.any() for each in program.passes)
    sources = {each.source for each in program.passes}
    return one and program.stencil is None and sources <= {"observation", "features"}


def values(program: Program) -> dict[str, Any]:
    """What the template ``closure_pure.f90`` needs, beside the names and words of all templates.

    Raises
    ------
    ValueError
        If the closure is not :func:`pointwise`.
    """
    if not pointwise(program):
        raise ValueError("pure Fortran is for closures that see their own cell or interface only; take --to fortran")
    spec = program.spec
    layers = [layer for each in program.passes for layer in each.layers]
    single = all(layer.weight.dtype == np.float32 for layer in layers)
    guided = program.weights is not None and program.weights.form == "guided"
    found: dict[str, Any] = {
        "kind": "real32" if single else "real64",
        "place": "interface" if spec.where == "interfaces" else "cell",
        "uncorrected": vector(uncorrected(spec)),
        "factor": double(program.factor),
        "bounded": math.isfinite(spec.bound),
        "bound": double(spec.bound),
        "guided": guided,
        "weighs": False,
        "layers": [
            {
                "inputs": layer.weight.shape[0], "outputs": layer.bias.size, "width": layer.width,
                "activation": layer.activation, "bias": data(layer.bias),
                "columns": [data(row) for row in layer.weight],
            }
            for layer in layers
        ],
    }  # fmt: skip
    if program.weights is not None:
        constants = weights_constants(program)
        found |= {
            "weighs": True, "subs": constants["SUBS"], "sizes": constants["SIZES"], "even": constants["EVEN"],
            "limited": constants["LARGEST"] > 0, **{key.lower(): double(constants[key]) for key in DOUBLES},
        }  # fmt: skip
    if guided:
        arrays = guided_tables(program)
        # Fortran's order of memory: of forms(i, j, k) i runs fastest, and the forms are symmetric in i and j.
        found |= {"tau": vector(arrays["TAU"]), "forms": vector(arrays["FORMS"].ravel())}
        found["optimal"] = vector(uncorrected(spec)[: found["subs"]])
    return found


def double(value: float) -> str:
    """A number of kind real64."""
    return f"{float(value)!r}_real64" if math.isfinite(value) else "huge(1.0_real64)"


def vector(numbers: Sequence[float] | np.ndarray) -> str:
    """An array constructor of kind real64, on lines of their own where it is long."""
    words = [double(each) for each in np.asarray(numbers, float)]
    if len(words) <= PER_LINE // 2:
        return f"[{', '.join(words)}]"
    return "[ &\n" + ", &\n".join(_lines(words, PER_LINE // 2)) + "]"


def data(numbers: np.ndarray) -> str:
    """The values of a ``data`` statement, in the kind of the weights: at most 255 lines for 750 numbers."""
    words = [f"{float(v):.9g}" if numbers.dtype == np.float32 else repr(float(v)) for v in numbers]
    per_line = PER_LINE if numbers.dtype == np.float32 else PER_LINE // 2
    words = [f"{word if set(word) & set('.en') else word + '.0'}_wp" for word in words]
    return ", &\n".join(_lines(words, per_line))


def _lines(words: Sequence[str], per_line: int) -> list[str]:
    return ["    " + ", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
