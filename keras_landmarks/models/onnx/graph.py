"""An ONNX graph under construction."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# HardSwish needs opset 14. The IR version is an old one, so that older runtimes read the file.
_OPSET, _IR_VERSION = 17, 8
INPUT, OUTPUT = "image", "landmarks"


class OnnxGraph:
    """Nodes and constants, added one by one. Values are represented by their names."""

    def __init__(self, float16_kinds: Sequence[str] = ()):
        """Starts a graph; kernels of the nodes of `float16_kinds` are stored in float16."""
        self._nodes, self._constants, self._float16_kinds = [], [], float16_kinds

    def add(self, kind: str, inputs: list[str], name: str, **attributes) -> str:
        """Adds a node and returns the name of its only output."""
        output = f"{name}.out"
        self._nodes.append(helper.make_node(kind, inputs, [output], name, **attributes))
        return output

    def constant(self, array: np.ndarray, name: str, dtype=np.float32) -> str:
        """Adds a constant and returns its name."""
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array, dtype), name))
        return name

    def kernel(self, array: np.ndarray, name: str, kind: str) -> str:
        """Adds the kernel of a node and returns its name; `kind` is the node's."""
        if kind not in self._float16_kinds:
            return self.constant(array, name)
        stored = self.constant(array, f"{name}.half", np.float16)
        return self.add("Cast", [stored], name, to=TensorProto.FLOAT)

    def normalise(self, x: str, scale: np.ndarray, offset: np.ndarray, name: str) -> str:
        """Adds scale * x + offset, with one number or one for each channel."""
        scale, offset = (np.reshape(value, (-1, 1, 1)) for value in (scale, offset))
        scaled = self.add("Mul", [x, self.constant(scale, f"{name}.scale")], f"{name}.scaled")
        return self.add("Add", [scaled, self.constant(offset, f"{name}.offset")], name)

    def reshape(self, x: str, shape: Sequence[int], name: str) -> str:
        """Adds a change of shape; the first axis, the batch, is kept."""
        return self.add("Reshape", [x, self.constant([0, *shape], f"{name}.shape", np.int64)], name)

    def finish(self, last: str, image: Sequence[int], landmarks: Sequence[int]) -> onnx.ModelProto:
        """Returns the model.

        Args:
            last: the value that becomes the output.
            image: the shape of the input without its first axis.
            landmarks: the shape of the output without its first axis.
        """
        self._nodes.append(helper.make_node("Identity", [last], [OUTPUT]))
        values = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
            for name, shape in ((INPUT, image), (OUTPUT, landmarks))
        ]
        graph = helper.make_graph(self._nodes, OUTPUT, values[:1], values[1:], self._constants)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="keras_landmarks",
        )
