"""Functions of nnlite.autograd on Parameters and lists: as on their Tensors and arrays."""

from __future__ import annotations

import numpy as np
import pytest

import nnlite as nn
from nnlite import autograd as ag

VALUES = np.array([[1.0, 2.5], [-3.0, 4.0]])

FUNCTIONS = {
    "sum": lambda p: ag.sum(p, 1), "mean": lambda p: ag.mean(p, 0), "max": lambda p: ag.max(p, 1),
    "min": lambda p: ag.min(p, 0), "prod": lambda p: ag.prod(p, 0), "var": lambda p: ag.var(p, 1),
    "std": lambda p: ag.std(p, 0), "norm": lambda p: ag.norm(p, 3, 0),
    "norm 1": lambda p: ag.norm(p, 1),
    "logsumexp": lambda p: ag.logsumexp(p, 1), "flatten": ag.flatten, "squeeze": ag.squeeze,
    "unsqueeze": lambda p: ag.unsqueeze(p, 0), "flip": ag.flip, "cumsum": ag.cumsum,
    "cumsum 0": lambda p: ag.cumsum(p, 0), "transpose": ag.transpose,
    "transpose 1 0": lambda p: ag.transpose(p, (1, 0)), "swapaxes": lambda p: ag.swapaxes(p, 0, 1),
    "moveaxis": lambda p: ag.moveaxis(p, 0, 1), "repeat": lambda p: ag.repeat(p, 2, 1),
    "tile": lambda p: ag.tile(p, 2), "split": lambda p: ag.split(p, 2)[1], "reshape": lambda p:
    ag.reshape(p, 4), "concatenate": lambda p: ag.concatenate([p, p], 1), "stack": lambda p:
    ag.stack([p, p], 1), "expand": lambda p: ag.expand(p, (2, 2, 2)), "tril": ag.tril,
    "triu": lambda p: ag.triu(p, 1), "diag": ag.diag, "diagonal": ag.diagonal, "trace": ag.trace,
    "inv": ag.inv, "det": ag.det, "solve": lambda p: ag.solve(p, np.ones(2)), "solve for": lambda p:
    ag.solve(np.eye(2) * 2, p), "svd": lambda p: ag.svd(p)[1], "clip": lambda p: ag.clip(p, 2),
    "where": lambda p: ag.where(VALUES > 2, p, 0.0), "matmul": lambda p: ag.matmul(p, p),
    "dot": lambda p: ag.dot(p, p), "outer": lambda p: ag.outer(p, p), "einsum": lambda p:
    ag.einsum("ij,jk->ki", p, p), "softmax": ag.softmax, "softmax 0": lambda p: ag.softmax(p, 0),
    "log_softmax": lambda p: ag.log_softmax(p, 0), "exp": ag.exp, "power": lambda p: ag.power(p, 2),
    "maximum": lambda p: ag.maximum(p, 2.0), "relu": ag.relu, "softplus": ag.softplus,
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parameters_are_taken_as_their_tensors(name):
    parameter, tensor = nn.Parameter(VALUES), nn.tensor(VALUES, requires_grad=True)
    got, expected = FUNCTIONS[name](parameter), FUNCTIONS[name](tensor)
    assert type(got) is nn.Tensor and got.tolist() == expected.tolist()
    weight = np.cos(np.arange(expected.size)).reshape(expected.shape)
    (got * weight).sum().backward()
    (expected * weight).sum().backward()
    assert parameter.grad.tolist() == tensor.grad.tolist()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arrays_and_lists_are_taken_as_values(name):
    expected = np.asarray(FUNCTIONS[name](nn.tensor(VALUES)))
    for values in (VALUES, VALUES.tolist()):
        got = FUNCTIONS[name](values)
        assert isinstance(got, (np.ndarray, np.generic))
        np.testing.assert_allclose(got, expected, rtol=1e-15)


def test_the_dimensions_of_a_parameter():
    for shape in ((), (3,), (2, 1, 2)):
        parameter = nn.Parameter(np.ones(shape))
        assert parameter.ndim == np.ndim(parameter) == len(shape)
