"""Closures as ONNX, written from their programs: convolutions, and what is done with their answer.

Arrays are ``(batch, channel, *grid)`` with any batch and grid. Written node by node and not through a converter of JAX
programs: convolutions stay convolutions, sizes stay free, and nothing but the package ``onnx`` is needed.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from closura.closures.aligned import SMALLEST_DIFFERENCE, turned_offsets
from closura.closures.program import GATED, Layer, Pass, Program, Stencil, offsets_of
from closura.closures.speed import SMALLEST_SPEED
from closura.export.onnx_graph import Graph
from closura.export.tables import guided_tables, uncorrected, weights_constants

ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "silu": "", "gelu": "", "none": ""}
SMALLEST_STD = 1e-6


def onnx_model(program: Program, name: str, about: Mapping[str, str]) -> bytes:
    """The file of a closure.

    Its input ``observation`` is ``(batch, channel, *grid)``, its output ``action`` likewise, clipped to the bound; that
    of a policy has an output ``std``, the spread of its actions.

    Parameters
    ----------
    program
        What the closure computes.
    name
        Of the graph.
    about
        Words about it, kept in the file.

    Raises
    ------
    ValueError
        If a pass gathers other cells than a box.
    ImportError
        If the package ``onnx`` is missing.
    """
    spec, graph = program.spec, Graph()
    interfaces = spec.where == "interfaces"
    kind = np.float64 if interfaces else np.float32
    sizes = ("agents",) if interfaces else ("x", "y", "z")[: spec.dimensions]
    writer = _Writer(graph, program)
    shape = ("batch", len(spec.observation), *sizes)
    answered = ("batch", len(spec.action), *sizes)
    action, std = writer.guided("observation") if writer.is_guided else writer.answer("observation")
    if not math.isinf(spec.bound):
        action = graph.node("Clip", action, graph.constant(-spec.bound, kind), graph.constant(spec.bound, kind))
    outputs: dict[str, Any] = {"action": (action, kind, answered)}
    if std:
        outputs["std"] = (std, np.float32, answered)
    return graph.model(name, {"observation": (kind, shape)}, outputs, dict(about))


class _Writer:
    def __init__(self, graph: Graph, program: Program) -> None:
        self.g, self.program, self.spec = graph, program, program.spec
        self.axes = program.spec.dimensions
        self.weights = program.weights
        self.is_guided = program.weights is not None and program.weights.form == "guided"

    def number(self, value: float, kind: Any = np.float32) -> str:
        return self.g.constant(value, kind)

    def answer(self, observation: str) -> tuple[str, str]:
        """Action, and spread (or nothing) of what is no guided closure."""
        g, spec, program = self.g, self.spec, self.program
        if spec.where == "interfaces":
            stencils = 2 * (len(spec.action) - 1)
            parts = [observation]
            if program.weights is not None:
                rest = [g.part(observation, stencils, len(spec.observation))] * (len(spec.observation) > stencils)
                parts = [g.part(observation, 0, stencils), *rest]
            return self.learned(parts), ""
        speed = relative = ""
        if any(each.source == "relative" for each in program.passes):
            speed = self.speed(observation)
            relative = self.relative(observation, speed)
        if program.passes[-1].source == "aligned":
            action = self.aligned(observation)
            before = ""
        else:
            last, before = self.passes(program.passes, observation, relative)
            action = last
            if program.stencil is not None:
                action = self.stencil(observation, last, speed, program.stencil)
            elif program.factor != 1.0:
                action = g.node("Mul", last, self.number(program.factor))
        std = ""
        if program.spread:
            raw, _ = self.passes(program.spread, observation, relative, before)
            std = g.node("Add", g.node("Softplus", raw), self.number(SMALLEST_STD))
        return action, std

    def passes(self, passes: tuple[Pass, ...], observation: str, relative: str, features: str = "") -> tuple[str, str]:
        """What the last one answers, and the features that it gathered from."""
        x = features
        for each in passes:
            before = x = {"observation": observation, "relative": relative}.get(each.source, x)
            for i, layer in enumerate(each.layers):
                offsets = each.offsets if i == 0 else np.zeros((1, self.axes), np.int64)
                x = self.activated(self.convolved(x, layer, offsets), layer)
        return x, before

    def convolved(self, x: str, layer: Layer, offsets: np.ndarray) -> str:
        """A layer's matrix on the cells that it gathers: a convolution of a padded field."""
        taps = offsets[:, : self.axes]
        reach = np.abs(taps).max(axis=0)
        counts = [len(set(column)) for column in taps.T]
        dilation = max([int(r) // (n // 2) for r, n in zip(reach, counts, strict=True) if n > 1], default=1)
        if not np.array_equal(offsets_of(counts, dilation), taps):
            raise ValueError("this closure gathers other cells than a box around its own: ONNX has no operator for it")
        kernel = layer.weight.reshape(*counts, -1, layer.bias.size)
        kernel = np.moveaxis(kernel, (-1, -2), (0, 1))
        x = self.g.padded(x, [int(r) for r in reach], self.spec.boundary)
        constants = self.g.constant(kernel), self.g.constant(layer.bias)
        return self.g.node("Conv", x, *constants, kernel_shape=counts, dilations=[dilation] * self.axes)

    def activated(self, x: str, layer: Layer) -> str:
        """What a layer does with its sums."""
        g, kind = self.g, layer.weight.dtype
        if layer.activation in GATED:
            values, gate = g.part(x, 0, layer.width), g.part(x, layer.width, 2 * layer.width)
            return g.node("Mul", values, g.node("Sigmoid", gate) if layer.activation == "glu" else gate)
        if layer.activation == "silu":
            return g.node("Mul", x, g.node("Sigmoid", x))
        if layer.activation == "gelu":
            cube = g.node("Mul", g.node("Mul", x, x), g.node("Mul", x, g.constant(0.044715, kind)))
            inner = g.node("Mul", g.node("Add", x, cube), g.constant(math.sqrt(2 / math.pi), kind))
            half = g.node("Mul", x, g.constant(0.5, kind))
            return g.node("Mul", half, g.node("Add", g.node("Tanh", inner), g.constant(1, kind)))
        return g.node(ACTIVATIONS[layer.activation], x) if ACTIVATIONS[layer.activation] else x

    def size_of_velocity(self, observation: str) -> str:
        return self.g.summed(self.g.node("Abs", self.g.channels(observation, self.spec.velocity)))

    def speed(self, observation: str) -> str:
        """The local speed: :mod:`closura.closures.speed`."""
        g, ones = self.g, [3] * self.axes
        padded = g.padded(self.size_of_velocity(observation), [1] * self.axes, self.spec.boundary)
        mean = g.node(
            "Conv", padded, g.constant(np.full((1, 1, *ones), 3.0**-self.axes, np.float32)), kernel_shape=ones
        )
        return g.node("Add", mean, self.number(SMALLEST_SPEED))

    def relative(self, observation: str, speed: str) -> str:
        """Velocities in units of the local speed, a diffusivity's logarithm, the speed's logarithm last."""
        g, parts = self.g, []
        for i in range(len(self.spec.observation)):
            one = g.part(observation, i, i + 1)
            if i in self.spec.velocity:
                one = g.node("Div", one, speed)
            parts.append(g.node("Log", one) if i == self.spec.diffusivity else one)
        return g.concatenated([*parts, g.node("Log", speed)], 1)

    def differences(self, field: str, offsets: np.ndarray) -> str:
        """Of the cells at all offsets to the cell itself: a convolution with ones and minus ones."""
        reach = np.abs(offsets).max(axis=0)
        shape = [int(2 * r + 1) for r in reach]
        kernel = np.zeros((len(offsets), 1, *shape), np.float32)
        for tap, offset in enumerate(offsets):
            kernel[(tap, 0, *(offset + reach))] += 1
            kernel[(tap, 0, *reach)] -= 1
        padded = self.g.padded(field, [int(r) for r in reach], self.spec.boundary)
        return self.g.node("Conv", padded, self.g.constant(kernel), kernel_shape=shape)

    def stencil(self, observation: str, weights: str, speed: str, stencil: Stencil) -> str:
        """``f sum_k w_k (q_k - q_0)`` for each channel of the action."""
        g, spec = self.g, self.spec
        taps = len(stencil.offsets)
        if stencil.by_speed:
            assert stencil.constant is not None
            constant = g.constant(stencil.constant.astype(np.float32).reshape(1, -1, *(1,) * self.axes))
            if spec.diffusivity is not None:
                diffusivity = g.part(observation, spec.diffusivity, spec.diffusivity + 1)
                constant = g.node("Mul", constant, diffusivity)
            weights = g.node("Add", g.node("Mul", weights, speed), constant)
        sums = []
        for a, on in enumerate(spec.acts_on):
            around = self.differences(g.part(observation, on, on + 1), stencil.offsets)
            own = g.part(weights, a * taps, (a + 1) * taps) if len(spec.acts_on) > 1 else weights
            sums.append(g.summed(g.node("Mul", own, around)))
        return g.node("Mul", g.concatenated(sums, 1), self.number(stencil.factor))

    def aligned(self, observation: str) -> str:
        """Weights of a neighbourhood that is turned along the velocity: :mod:`closura.closures.aligned`."""
        g, spec, program = self.g, self.spec, self.program
        (one,), stencil = program.passes, program.stencil
        assert stencil is not None
        first, second = (g.part(observation, i, i + 1) for i in spec.velocity)
        one_size, two_size = g.node("Abs", first), g.node("Abs", second)
        fast, slow = g.node("Max", one_size, two_size), g.node("Min", one_size, two_size)
        seen = [g.node("Div", slow, g.node("Add", fast, self.number(SMALLEST_SPEED))), fast]
        zero, turn = self.number(0.0), ""
        bits = (
            (4, g.node("Less", one_size, two_size)), (2, g.node("Less", first, zero)), (1, g.node("Less", second, zero))
        )  # fmt: skip
        for value, bit in bits:
            term = g.node("Mul", g.cast(bit, np.int64), g.constant(value, np.int64))
            turn = g.node("Add", turn, term) if turn else term
        radius = int(np.abs(one.offsets).max())
        box = offsets_of((2 * radius + 1,) * 2)
        number = {tuple(offset): tap for tap, offset in enumerate(box.tolist())}
        table = np.array([[number[tuple(o)] for o in offsets] for offsets in turned_offsets(radius).tolist()], np.int64)
        # (8, tap) looked up by (batch, 1, x, y), the taps brought to the place of the channels.
        taps = g.node("Gather", g.constant(table), g.node("Squeeze", turn, g.integers(1)), axis=0)
        taps = g.node("Transpose", taps, perm=[0, 3, 1, 2])
        look, used, sums = (2 * program.look + 1) ** 2 - 1, len(stencil.offsets), []
        for on in spec.acts_on:
            around = g.node("GatherElements", self.differences(g.part(observation, on, on + 1), box), taps, axis=1)
            features = g.concatenated(seen, 1)
            if look:
                near = g.part(around, 0, look)
                largest = g.node("ReduceMax", g.node("Abs", near), axes=[1], keepdims=1)
                near = g.node("Div", near, g.node("Add", largest, self.number(SMALLEST_DIFFERENCE)))
                features = g.concatenated([features, near], 1)
            for layer in one.layers:
                features = self.activated(self.convolved(features, layer, np.zeros((1, 2), np.int64)), layer)
            sums.append(g.summed(g.node("Mul", features, g.part(around, 0, used))))
        size = g.node("Add", g.node("Add", fast, slow), self.number(SMALLEST_SPEED))
        scale = g.node("Mul", size, self.number(stencil.factor))
        return g.node("Mul", g.concatenated(sums, 1), scale)

    def guided(self, observation: str) -> tuple[str, str]:
        """Logits of both sides by the network of one, after a classical scheme: :mod:`closura.closures.weights`."""
        g, wide, c, tables = self.g, np.float64, weights_constants(self.program), guided_tables(self.program)
        subs, points = c["SUBS"], 2 * c["SUBS"] - 1
        sides = [g.part(observation, i * points, (i + 1) * points) for i in (0, 1)]
        own, other = g.node("Concat", *sides, axis=2), g.node("Concat", *sides[::-1], axis=2)
        steps = g.node("Sub", g.part(own, 1, points), g.part(own, 0, points - 1))
        forms = []
        for k in range(subs):
            some = g.part(steps, k, k + subs - 1)
            forms.append(g.summed(g.node("Mul", some, g.node("MatMul", g.constant(tables["FORMS"][k]), some))))
        beta = g.node("Max", g.concatenated(forms, 1), self.number(0.0, wide))
        tau = g.node("Abs", g.node("MatMul", g.constant(tables["TAU"][None]), beta))
        contrast = ""
        for extreme in ("ReduceMin", "ReduceMax"):
            bottom = g.node("Add", g.node(extreme, beta, axes=[1], keepdims=1), self.number(c["TINY"], wide))
            log = g.node("Log", g.node("Add", g.node("Div", tau, bottom), self.number(1.0, wide)))
            contrast = g.node("Sub", contrast, log) if contrast else log
        seen = [own, other]
        if c["SIZES"]:
            both = [g.part(observation, 2 * points + i, 2 * points + i + 1) for i in (0, 1)]
            size = g.node("Concat", *both, axis=2)
            rest = g.node("Sub", self.number(1.0, wide), size)
            square, square_of_rest = g.node("Mul", size, size), g.node("Mul", rest, rest)
            share = g.node("Div", square, g.node("Add", square, square_of_rest))
            swapped = g.node("Concat", *g.halves(contrast, axis=2)[::-1], axis=2)
            rest = g.node("Sub", self.number(1.0, wide), share)
            contrast = g.node("Add", g.node("Mul", share, contrast), g.node("Mul", rest, swapped))
            seen.append(size)
        low = math.log(c["CLOSED"])
        gate = g.node("Sub", contrast, self.number(low, wide))
        gate = g.node("Div", gate, self.number(math.log(c["OPENED"]) - low, wide))
        gate = g.node("Clip", gate, self.number(0.0, wide), self.number(1.0, wide))
        cubic = g.node("Sub", self.number(3.0, wide), g.node("Mul", gate, self.number(2.0, wide)))
        gate = g.node("Mul", g.node("Mul", gate, gate), cubic)
        mean = g.node("ReduceMean", beta, axes=[1], keepdims=1)
        ratio = g.node("Div", beta, g.node("Add", mean, self.number(c["TINY"], wide)))
        rough = g.node("Log", g.node("Add", ratio, self.number(c["SOFTENING"], wide)))
        rough = g.node("Mul", rough, self.number(c["POWER"], wide))
        learned = self.learned([g.concatenated([own, other], 1), *seen[2:], rough])
        optimal = g.constant(uncorrected(self.spec)[:subs].reshape(1, -1, 1))
        logits = g.node("Add", optimal, g.node("Mul", gate, g.node("Sub", learned, rough)))
        return g.node("Concat", *g.halves(logits, axis=2), axis=1), ""

    def learned(self, parts: list[str]) -> str:
        """The network's answer, averaged over the sign of the stencils (the first part), limited."""
        g, wide, learned = self.g, np.float64, self.network(parts)
        if self.weights is not None and self.weights.even:
            turned = self.network([g.node("Neg", parts[0]), *parts[1:]])
            learned = g.node("Mul", g.node("Add", learned, turned), self.number(0.5, wide))
        if self.weights is not None and self.weights.largest:
            limit = self.number(self.weights.largest, wide)
            learned = g.node("Mul", g.node("Tanh", g.node("Div", learned, limit)), limit)
        return learned

    def network(self, inputs: list[str]) -> str:
        """The perceptron, in the precision of its weights."""
        layers = self.program.passes[0].layers
        g, layers = self.g, self.program.passes[0].layers
        x = g.cast(g.concatenated(inputs, 1), layers[0].weight.dtype)
        for layer in layers:
            product = g.node("MatMul", g.constant(np.ascontiguousarray(layer.weight.T)), x)
            x = self.activated(g.node("Add", product, g.constant(layer.bias[:, None])), layer)
        return g.cast(x, np.float64)
