"""ONNX Runtime: the network as Gemm and Relu nodes, inference only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnxruntime  # type: ignore[import-not-found,import-untyped]
from onnx import TensorProto, helper, numpy_helper  # type: ignore[import-not-found]

from nnlite.bench.workloads import Task

# The newest operator set is refused by released runtimes; this one is not.
OPSET = 17


def _graph(task: Task) -> bytes:
    """The serialised model; its input is x, its output is logits."""
    nodes, constants, value = [], [], "x"
    last = len(task.layers) - 1
    for k, (weight, bias) in enumerate(task.layers):
        constants += [numpy_helper.from_array(weight, f"W{k}")]
        constants += [numpy_helper.from_array(bias, f"b{k}")]
        output = "logits" if k == last else f"z{k}"
        nodes.append(helper.make_node("Gemm", [value, f"W{k}", f"b{k}"], [output]))
        if k < last:
            nodes.append(helper.make_node("Relu", [output], [f"h{k}"]))
        value = f"h{k}"
    batch, first, classes = task.workload.batch, task.workload.widths[0], task.workload.widths[-1]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, first])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, classes])
    graph = helper.make_graph(nodes, "mlp", [x], [logits], constants)
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def training(task: Task) -> Callable[[], float]:
    raise NotImplementedError("ONNX Runtime trains no networks")


def inference(task: Task) -> Callable[[], Any]:
    options = onnxruntime.SessionOptions()
    if task.threads:
        options.intra_op_num_threads = task.threads
    session = onnxruntime.InferenceSession(
        _graph(task), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(["logits"], {"x": task.x})[0]
