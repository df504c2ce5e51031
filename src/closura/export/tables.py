"""The constant tables of an export: a closure's program as arrays of C."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from closura.closures.aligned import SMALLEST_DIFFERENCE, turned_offsets
from closura.closures.program import Layer, Pass, Program
from closura.closures.speed import SMALLEST_SPEED
from closura.core import ClosureSpec
from closura.numerics.weno import in_differences, optimal_weights, smoothness_forms, tau_weights

ROWS = 4
"""Outputs of a layer that are computed together."""
ACTIVATIONS = {"none": 0, "relu": 1, "gelu": 2, "silu": 3, "tanh": 4, "glu": 5, "bilinear": 6}


@dataclass(frozen=True)
class CArray:
    """A constant array as text of C."""

    name: str
    type: str
    shape: str
    text: str


def number(value: float) -> str:
    """A number that C reads back as it is."""
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    return repr(float(value))


def array(name: str, kind: str, values: np.ndarray) -> CArray:
    """An array of numbers, nested braces for its axes."""
    single = kind == "real"

    def text(part: np.ndarray) -> str:
        if part.ndim > 1:
            return ",\n".join(f"{{{text(each)}}}" for each in part)
        shown = [f"{float(v):.9g}" if single and part.dtype == np.float32 else repr(v.item()) for v in part]
        shown = [s if kind == "int" or any(c in s for c in ".en") else s + ".0" for s in shown]
        if single and part.dtype == np.float32:
            shown = [s + "f" for s in shown]
        lines = [", ".join(shown[i : i + 10]) for i in range(0, len(shown), 10)]
        return ",\n".join(lines)

    shape = "".join(f"[{size}]" for size in values.shape)
    return CArray(name, kind, shape, text(values) + "\n")


def tables(program: Program) -> dict[str, Any]:
    """What the templates need to know of a program.

    Raises
    ------
    ValueError
        If the weights are neither float32 nor float64 throughout.
    """
    spec, axes = program.spec, program.spec.dimensions
    *before, last = program.passes
    passes: list[tuple[Pass, int]] = []
    channels = [len(spec.observation)]
    relative = any(p.source == "relative" for p in (*program.passes, *program.spread))
    if relative:
        channels.append(len(spec.observation) + 2)
    source = {"observation": 0, "relative": 1, "aligned": 0}
    place: list[tuple[int, int]] = []

    def into_new(each: Pass, width: int) -> int:
        place.append((source.get(each.source, len(channels) - 1), len(channels)))
        passes.append((each, len(channels)))
        channels.append(width)
        return len(channels) - 1

    for each in before:
        into_new(each, each.layers[-1].width)
    features, spread = len(channels) - 1, -1
    for i, each in enumerate(program.spread):
        final = i == len(program.spread) - 1
        spread = into_new(each, len(spec.action) if final else each.layers[-1].width)
        if i == 0 and each.source == "features":
            place[-1] = (features, spread)
    place.append((source.get(last.source, features), -1))
    passes.append((last, -1))

    arrays: list[CArray] = []
    layers: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    widest = 1
    kind = np.float64 if any(la.weight.dtype == np.float64 for p, _ in passes for la in p.layers) else np.float32
    for n, ((each, _), (from_, into)) in enumerate(zip(passes, place, strict=True)):
        first = len(layers)
        for layer in each.layers:
            tag = f"{n}_{len(layers) - first}"
            weight, bias = _tiled(layer, kind)
            arrays += [array(f"WEIGHT_{tag}", "real", weight), array(f"BIAS_{tag}", "real", bias)]
            layers.append(
                {
                    "inputs": layer.weight.shape[0],
                    "outputs": layer.bias.size,
                    "activation": ACTIVATIONS[layer.activation],
                    "weight": f"WEIGHT_{tag}",
                    "bias": f"BIAS_{tag}",
                }
            )
            widest = max(widest, layer.weight.shape[0], bias.size)
        offsets = _offsets(each.offsets, axes)
        arrays.append(array(f"OFFSETS_{n}", "int", offsets))
        rows.append(
            {
                "source": from_,
                "into": into,
                "taps": len(offsets),
                "first": first,
                "count": len(each.layers),
                "aligned": int(each.source == "aligned"),
                "offset": f"OFFSETS_{n}",
                "inputs": each.layers[0].weight.shape[0],
                "place": sum(row["inputs"] for row in rows),
                "reach": np.abs(offsets).max(axis=0),
            }
        )
    answer_reach = np.zeros(3, int)
    aligned = last.source == "aligned"
    if program.stencil is not None:
        box = _offsets(program.stencil.offsets, axes)
        answer_reach = np.abs(box).max(axis=0)
        if aligned:
            box = _offsets(turned_offsets(_radius(last)).reshape(-1, 2), axes)
        arrays.append(array("STENCIL", "int", box))
        if program.stencil.constant is not None:
            arrays.append(array("CONSTANT", "real", program.stencil.constant.astype(kind)))
    arrays += [
        array("PASS_REACH", "int", np.stack([row["reach"] for row in rows])),
        array("ANSWER_REACH", "int", answer_reach),
    ]
    defines: dict[str, Any] = {}
    if program.stencil is not None:
        defines["STENCIL_TAPS"] = len(program.stencil.offsets)
    if aligned:
        defines |= {"ALIGNED_TAPS": len(last.offsets), "LOOK_TAPS": (2 * program.look + 1) ** 2 - 1}
    if spec.where == "interfaces":
        arrays.append(array("OPTIMAL", "double", uncorrected(spec)[: len(spec.action) // 2]))
    guided = program.weights is not None and program.weights.form == "guided"
    if program.weights is not None:
        defines |= weights_constants(program)
        defines["POINTS"] = 2 * defines["SUBS"] - 1
    if guided:
        arrays += [array(key, "double", values) for key, values in guided_tables(program).items()]
    return {
        "axes": axes,
        "real": "double" if kind is np.float64 else "float",
        "arrays": arrays,
        "layers": layers,
        "passes": rows,
        "fields": [{"channels": c} for c in channels],
        "spread_field": spread,
        "widest": -(-widest // ROWS) * ROWS,
        "rows": ROWS,
        "places": sum(row["inputs"] for row in rows),
        "shifts": (8 if aligned else 1) * len(last.offsets if aligned else program.stencil.offsets)
        if program.stencil is not None
        else 0,
        "acts_on": spec.acts_on,
        "bound": "INFINITY" if math.isinf(spec.bound) else number(spec.bound),
        "by_speed": relative,
        "aligned": aligned,
        "guided": guided,
        "weighs": program.weights is not None,
        "interfaces": spec.where == "interfaces",
        "stencil": program.stencil is not None,
        "factor": number(program.factor if program.stencil is None else program.stencil.factor),
        "velocity": spec.velocity,
        "diffusivity": spec.diffusivity,
        "smallest_speed": number(SMALLEST_SPEED),
        "smallest_difference": number(SMALLEST_DIFFERENCE),
        "defines": defines,
        "halo": halo_of(rows, answer_reach, relative),
        "noise": int(spread >= 0),
    }


def halo_of(rows: Sequence[dict[str, Any]], answer_reach: np.ndarray, relative: bool) -> int:
    """Ghost cells that a closure needs where every end of the grid has a halo."""
    need = {0: answer_reach.astype(int)}
    for row in reversed(rows):
        beyond = need.get(row["into"], np.zeros(3, int)) if row["into"] >= 0 else np.zeros(3, int)
        need[row["source"]] = np.maximum(need.get(row["source"], np.zeros(3, int)), beyond + row["reach"])
    if relative:
        need[0] = np.maximum(need[0], need[1] + 1)
    return int(need[0].max())


def _radius(each: Pass) -> int:
    return int(np.abs(each.offsets).max())


def _tiled(layer: Layer, kind: type) -> tuple[np.ndarray, np.ndarray]:
    """Weights ``(outputs / ROWS, input, ROWS)`` in one row, and the bias, both filled up with zeros."""
    tiles = -(-layer.bias.size // ROWS)
    weight: np.ndarray = np.zeros((layer.weight.shape[0], tiles * ROWS), kind)
    weight[:, : layer.bias.size] = layer.weight
    bias: np.ndarray = np.zeros(tiles * ROWS, kind)
    bias[: layer.bias.size] = layer.bias
    return weight.reshape(-1, tiles, ROWS).transpose(1, 0, 2).reshape(-1), bias


def _offsets(offsets: np.ndarray, axes: int) -> np.ndarray:
    """Three numbers for each cell: missing axes come first."""
    offsets = np.asarray(offsets, int)[:, :axes]
    return np.concatenate([np.zeros((len(offsets), 3 - offsets.shape[1]), int), offsets], axis=1)


def uncorrected(spec: ClosureSpec) -> np.ndarray:
    """The answer that corrects nothing; at interfaces the logits of the linear scheme of highest order."""
    if spec.where == "cells":
        return np.zeros(len(spec.action))
    return np.tile(np.log(optimal_weights(len(spec.action) // 2)), 2)


def guided_tables(program: Program) -> dict[str, np.ndarray]:
    """Arrays of the guided form of closures that weigh stencils: forms of smoothness, weights of tau."""
    subs = len(program.spec.action) // 2
    return {
        "FORMS": np.stack([np.array(in_differences(form)) for form in smoothness_forms(subs)]),
        "TAU": np.asarray(tau_weights(subs), float),
    }


def weights_constants(program: Program) -> dict[str, Any]:
    """Numbers of closures that weigh stencils."""
    s, subs = program.weights, len(program.spec.action) // 2
    return {
        "SUBS": subs,
        "SIZES": int(len(program.spec.observation) > 2 * (2 * subs - 1)),
        "EVEN": int(s.even),
        "LARGEST": float(s.largest),
        "CLOSED": float(s.gate[0]),
        "OPENED": float(s.gate[1]),
        "SOFTENING": float(s.softening),
        "POWER": float(s.power),
        "TINY": float(np.finfo(np.float64).tiny) ** 0.5,
    }
