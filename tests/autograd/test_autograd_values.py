"""What a Tensor takes and gives: dtypes of lists, integers, masks, texts, names of others."""

from __future__ import annotations

import numpy as np
import pytest

import nnlite as nn
from nnlite import autograd as ag

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


# Integers hold no fractions.


def _changed(x, how, value):
    if how == "+=":
        x += value
    elif how == "-=":
        x -= value
    elif how == "*=":
        x *= value
    elif how == "/=":
        x /= value
    elif how == "**=":
        x **= value
    elif how == "data":
        x.data = value
    else:
        x[how] = value


INTEGERS = [np.int8, np.uint8, np.int32, np.int64, bool]


@pytest.mark.parametrize("how", ["+=", "*=", "/=", "data", 0, slice(None), [True, False, True]])
@pytest.mark.parametrize("value", [0.5, np.float32(2), np.array([1.0, 2.0, 3.0]), [1.0, 2.0, 3.0],
                                   nn.tensor([0.5, 1.5, 2.5])])  # fmt: skip
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_refuse_fractions(how, value, dtype):
    x = nn.tensor([1, 2, 3], dtype=dtype)
    shared, before = x.detach(), x.tolist()
    if how == "data":
        value = np.broadcast_to(value, 3)
    elif np.ndim(value) and how in (0, [True, False, True]):
        value = value[0]
    with pytest.raises(TypeError, match=r"float.*cannot hold|cannot hold float"):
        _changed(x, how, value)
    assert x.tolist() == shared.tolist() == before and x.dtype == dtype


def test_integers_take_integers_in_place():
    x = nn.tensor([1, 2, 3])
    shared = x.detach()
    for how, value in (("+=", 2), ("*=", [1, 2, 3]), ("-=", np.int8(1)), ("**=", 2)):
        _changed(x, how, value)
    assert shared.tolist() == [4, 49, 196]
    _changed(x, "data", [7, 8, 9])
    _changed(x, 1, True)
    assert shared.tolist() == [7, 1, 9] and x.dtype == np.int64
    with pytest.raises(TypeError, match=r"in-place div: the result is float64.* int64 cannot hold"):
        x /= 1
    small = nn.tensor([250], dtype=np.uint8)
    with pytest.raises(
        TypeError, match=r"in-place add: the result is int64.* of uint8 cannot hold"
    ):
        small += np.array([1])  # as NumPy: a signed result
    small += 1
    assert small.tolist() == [251]


def test_floats_take_everything_real():
    x = nn.tensor([1.0, 2.0])
    shared = x.detach()
    x += np.array([0.5, 0.25])  # float64, as NumPy
    x *= [2, 4]  # in place, not a new tensor
    x.data = x.data + np.array([1, 1])
    x[0] = True
    assert shared.tolist() == [1.0, 10.0] and x.dtype == F32
    with pytest.raises(TypeError, match="data: a tensor of float32 cannot hold <U1"):
        x.data = ["1", "2"]
    with pytest.raises(TypeError, match="data: a tensor of float32 cannot hold complex128"):
        x.data = [1j, 2]
    assert shared.tolist() == [1.0, 10.0]


# The dtype of lists.


@pytest.mark.parametrize("values, dtype", [
    ([1.5, np.float64(1.5)], F64), ([np.float64(1.5), 1.5], F64), ([1, np.float64(1.5)], F64),
    ([[1.5, 2.5], [1.5, np.float64(2.5)]], F64), ([[1.5], np.array([1.5])], F64),
    ([np.array([1.5]), [1.5]], F64), ([1.5, np.float32(1.5)], F32), ([np.float32(1.5), 1.5], F32),
    ([1.5, np.int64(2)], F32), ([np.int64(2), 1.5], F32), ([np.float32(1.5), np.float64(1)], F64),
    ([np.float64(1), np.float32(1.5)], F64), ([1.5, True], F32), ((1.5, (2.5,)[0]), F32),
    ([np.int8(1), 2], np.int64), ([], F32), ([[], []], F32), (1.5, F32), (np.float64(1.5), F64),
])  # fmt: skip
def test_lists_have_one_dtype_whatever_their_order(values, dtype):
    got = nn.tensor(values)
    assert got.dtype == dtype
    assert got.tolist() == np.array(values).tolist()
    if got.dtype.kind == "f":
        assert nn.tensor(values, requires_grad=True).dtype == dtype


def test_lists_have_the_dtype_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    numbers = (1, 2.5, True, np.int64(3), np.float32(1.5), np.float64(0.5))
    for a in numbers:
        for b in numbers:
            expected = str(torch.tensor([a, b]).dtype).removeprefix("torch.")
            assert str(nn.tensor([a, b]).dtype) == expected, (a, b)


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i4", "<f4"])
def test_foreign_byte_order_is_turned_by_the_copy(dtype):
    x = nn.tensor(np.array([1, 2, 3], dtype))
    assert x.dtype.isnative and x.tolist() == [1, 2, 3]
    assert nn.tensor([1, 2, 3], dtype=dtype).dtype.isnative
    if x.dtype.kind == "f":
        x.requires_grad = True
        (x.exp() * 0 + x).sum().backward()
        assert x.grad.tolist() == [1, 1, 1]


# Masks.

MASKED = np.ma.masked_array([1.0, 2.0], [False, True])


@pytest.mark.parametrize("call", [
    lambda x: nn.tensor(MASKED), lambda x: nn.Tensor(MASKED), lambda x: nn.tensor([MASKED, MASKED]),
    lambda x: nn.tensor([[1.0, 2.0], MASKED], dtype=np.float32), lambda x: x + MASKED,
    lambda x: x @ MASKED, lambda x: _changed(x, "+=", MASKED),
    lambda x: _changed(x, "data", MASKED),
    lambda x: _changed(x, slice(None), MASKED), lambda x: ag.where(x > 0, MASKED, x),
    lambda x: ag.concatenate([x, MASKED]), lambda x: ag.maximum(x, [MASKED[0], MASKED[1]]),
    lambda x: ag.exp(MASKED), lambda x: ag.sum(MASKED), lambda x: nn.functional.exp(MASKED),
    lambda x: nn.Parameter(MASKED), lambda x: x[np.ma.masked_array([0, 1], [0, 1])],
    lambda x: _changed(nn.Parameter(np.ones(2)), "data", MASKED), lambda x: x == MASKED,
    lambda x: nn.metrics.MSE().update(MASKED, np.ones(2)),
    lambda x: nn.data.train_test_split(np.ones((2, 3)), MASKED),
])  # fmt: skip
def test_masks_are_not_lost(call):
    x = nn.tensor([1.0, 2.0])
    with pytest.raises(TypeError, match=r"got an array with masked elements; .*\.filled\(value\)"):
        call(x)
    assert x.tolist() == [1.0, 2.0]


def test_arrays_of_which_nothing_is_masked_are_arrays():
    whole = np.ma.masked_array([1.0, 2.0], [False, False])
    assert nn.tensor(whole).tolist() == (nn.tensor([0.0, 0.0]) + whole).tolist() == [1.0, 2.0]


def test_fit_refuses_masked_targets():
    model = nn.Sequential(nn.Linear(2, 2))
    trainer = nn.Trainer(model, nn.SoftmaxCE(), nn.optim.SGD(model.parameters(), 0.1))
    x, y = np.ones((4, 2)), np.array([0, 1, 0, 1])
    with pytest.raises(TypeError, match=r"fit: y: .* masked elements"):
        trainer.fit(x, np.ma.masked_equal(y, 1), epochs=1)
    with pytest.raises(TypeError, match=r"fit: sample_weight: .* masked elements"):
        trainer.fit(x, y, epochs=1, sample_weight=np.ma.masked_less(y + 1.0, 2))


# Texts and names.


@pytest.mark.parametrize("values", [1.5, [1.5], [[1.5]]])
def test_one_element_in_a_format(values):
    x = nn.tensor(values, requires_grad=True)
    assert f"{x:.2f}|{x * 2:6.1f}|{x:g}" == "1.50|   3.0|1.5"
    assert f"{nn.tensor(3):04d} {x}" == f"0003 {x!r}"


def test_other_formats_are_refused():
    with pytest.raises(
        TypeError, match=r"format: expected one element for '.2f', got shape \(2,\)"
    ):
        f"{nn.tensor([1.0, 2.0]):.2f}"
    with pytest.raises(ValueError, match="Unknown format code"):
        f"{nn.tensor(1.0):d}"


X = nn.tensor([[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize("call, text", [
    (lambda x: np.sum(x), r"sum: .*np.sum\(x\) .*x\.sum\(\) or nn\.autograd\.sum\(x\)"),
    (lambda x: np.sum(x, axis=0), r"call x\.sum\(\)"), (lambda x: np.mean(x), r"call x\.mean\(\)"),
    (lambda x: np.max(x), r"call x\.max\(\)"), (lambda x: np.min(x, 1), r"call x\.min\(\)"),
    (lambda x: np.prod(x), r"call x\.prod\(\)"), (lambda x: np.std(x), r"call x\.std\(\)"),
    (lambda x: np.var(x), r"call x\.var\(\)"),
    (lambda x: x.sum(dim=1), "sum: dim: no such argument; its name here is axis"),
    (lambda x: x.mean(0, keepdim=True), "mean: keepdim: .* keepdims"),
    (lambda x: x.std(unbiased=False), "std: unbiased: .* ddof"),
    (lambda x: x.var(correction=1), "var: correction: .* ddof"),
    (lambda x: x.norm(p=1), "norm: p: .* ord"), (lambda x: x.clip(min=0), "clip: min: .* low"),
    (lambda x: x.softmax(dim=1), "softmax: dim: .* axis"),
    (lambda x: ag.log_softmax(x, dim=1), "log_softmax: dim: .* axis"),
    (lambda x: ag.concatenate([x, x], dim=1), "concatenate: dim: .* axis"),
    (lambda x: ag.stack([x, x], dim=1), "stack: dim: .* axis"),
    (lambda x: x.argmax(dim=1), "argmax: dim: .* axis"),
    (lambda x: x.max(dim=1), "max: dim: .* axis"),
    (lambda x: x.squeeze(dim=1), "squeeze: dim: .* axis"),
    (lambda x: x.cumsum(dim=1), "dim: .* axis"),
    (lambda x: x.flatten(start_dim=1), "flatten: start_dim: .* start"),
    (lambda x: x.flip(dims=(1,)), "flip: dims: .* axis"),
    (lambda x: x.sum(axes=1), "sum: axes: no such argument$"),
    (lambda x: x.size(), r"size: a number, .* size\(\) is x\.shape"),
    (lambda x: x.size(0), r"size: a number, .* size\(\) is x\.shape"),
    (lambda x: nn.tensor(nn.Parameter(np.ones(2))), r"tensor: data: got a Parameter.*\.data$"),
])  # fmt: skip
def test_arguments_of_other_names(call, text):
    with pytest.raises(TypeError, match=text):
        call(X)


@pytest.mark.parametrize("name, cure", [
    ("view", "reshape"), ("permute", "transpose"), ("numel", "size"), ("float", "astype"),
    ("masked_fill", "where"), ("ravel", "reshape"), ("add_", r"\+="), ("copy", "clone"),
])  # fmt: skip
def test_attributes_of_other_names(name, cure):
    assert not hasattr(X, name) and not hasattr(nn.Tensor, name)
    with pytest.raises(AttributeError, match=f"a Tensor has no attribute {name}; use .*{cure}"):
        getattr(X, name)
    with pytest.raises(AttributeError, match="'Tensor' object has no attribute 'colour'"):
        X.colour  # noqa: B018


def test_the_size_is_a_number():
    assert X.size == 4 and isinstance(X.size, int) and repr(X.size) == "4"
    for got, expected in (
        (X / X.size, np.asarray(X) / 4), (X.size * X, np.asarray(X) * 4),
        (X**X.size, [[1, 16], [81, 256]]),
        (ag.where(X > 2, X, X.size), [[4, 4], [3, 4]]), (ag.maximum(X, X.size), [[4, 4], [4, 4]]),
    ):  # fmt: skip
        assert got.dtype == F32
        np.testing.assert_array_equal(got, expected)
    program = nn.jit_program(lambda x: (x * x).sum() / x.size)
    x = nn.tensor([[1.0, 3.0]], requires_grad=True)
    assert [program(x).item() for _ in range(2)] == [5.0, 5.0]
