"""ONNX graphs built node by node: names, constants, and the few operators that closures are made of."""

from collections.abc import Sequence
from typing import Any

import numpy as np

OPSET = 17
"""Of 2022: what runtimes of the last years read."""
IR_VERSION = 8
"""Of the file, as old as the operators."""


class Graph:
    """Nodes and constants; methods return the names of the arrays that they compute.

    Raises
    ------
    ImportError
        If the package ``onnx`` is missing.
    """

    def __init__(self) -> None:
        import onnx

        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.count = 0

    def constant(self, value: Any, dtype: Any = None) -> str:
        """An array inside the file; equal ones are kept once."""
        array: np.ndarray = np.asarray(value, dtype)
        key = f"{array.dtype}{array.shape}{hash(array.tobytes())}"
        if key not in self.constants:
            self.constants[key] = self.onnx.numpy_helper.from_array(array, f"constant_{len(self.constants)}")
        return str(self.constants[key].name)

    def integers(self, *values: int) -> str:
        """A constant list of integers."""
        return self.constant(values, np.int64)

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """One operator with one output."""
        self.count += 1
        name = f"{operator.lower()}_{self.count}"
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def cast(self, x: str, dtype: Any) -> str:
        """Of another type."""
        return self.node("Cast", x, to=self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def concatenated(self, parts: Sequence[str], axis: int) -> str:
        """Joined along an axis."""
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=axis)

    def halves(self, x: str, axis: int) -> tuple[str, str]:
        """The two halves along an axis."""
        self.count += 1
        names = f"first_{self.count}", f"second_{self.count}"
        self.nodes.append(self.onnx.helper.make_node("Split", [x], list(names), axis=axis))
        return names

    def part(self, x: str, start: int, end: int, axis: int = 1) -> str:
        """Some channels."""
        return self.node("Slice", x, self.integers(start), self.integers(end), self.integers(axis))

    def channels(self, x: str, indices: Sequence[int]) -> str:
        """Some channels, in the given order."""
        return self.node("Gather", x, self.integers(*indices), axis=1)

    def summed(self, x: str, axis: int = 1, *, keep: bool = True) -> str:
        """Sum along an axis."""
        return self.node("ReduceSum", x, self.integers(axis), keepdims=int(keep))

    def padded(self, x: str, widths: Sequence[int], boundaries: Sequence[str]) -> str:
        """Ghost cells along the axes of the grid, of any width: cells are looked up by number, wrapped or clipped."""
        for axis, (width, boundary) in enumerate(zip(widths, boundaries, strict=True), start=2):
            if not width:
                continue
            size = self.node("Gather", self.node("Shape", x), self.constant(axis, np.int64), axis=0)
            first, one = self.constant(-width, np.int64), self.constant(1, np.int64)
            places = self.node("Range", first, self.node("Add", size, self.constant(width, np.int64)), one)
            if boundary == "periodic":
                places = self.node("Mod", places, size)
            else:
                places = self.node("Max", places, self.constant(0, np.int64))
                places = self.node("Min", places, self.node("Sub", size, one))
            x = self.node("Gather", x, places, axis=axis)
        return x

    def model(
        self,
        name: str,
        inputs: dict[str, tuple[Any, Sequence[Any]]],
        outputs: dict[str, tuple[str, Any, Sequence[Any]]],
        about: dict[str, str],
    ) -> bytes:
        """The file: inputs by name with type and shape, outputs with the array that they are as well; checked."""
        helper = self.onnx.helper

        def value(name: str, dtype: Any, shape: Sequence[Any]) -> Any:
            return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape))

        nodes = [*self.nodes, *(helper.make_node("Identity", [x], [key]) for key, (x, _, _) in outputs.items())]
        graph = helper.make_graph(
            nodes, name, [value(key, *each) for key, each in inputs.items()],
            [value(key, dtype, shape) for key, (_, dtype, shape) in outputs.items()], list(self.constants.values()),
        )  # fmt: skip
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="closura"
        )
        helper.set_model_props(model, about)
        self.onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())
