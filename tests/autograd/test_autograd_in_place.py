"""Changes in place: noticed where a gradient needs the old value, right where none does."""

from __future__ import annotations

import numpy as np
import pytest

import nnlite as nn

F64 = np.float64


def leaf(values, dtype=F64):
    return nn.tensor(values, requires_grad=True, dtype=dtype)


@pytest.mark.parametrize("change", [
    lambda x: x.__iadd__(1), lambda x: x.__imul__(2), lambda x: x.__setitem__(0, 5.0),
    lambda x: setattr(x, "data", [1.0, 2.0]), lambda x: x.data.__setitem__(0, 5.0),
    lambda x: x[1:].__isub__(1), lambda x: x.detach().reshape(2, 1).__iadd__(3),
])  # fmt: skip
@pytest.mark.parametrize(("use", "name"), [
    (lambda x, w: x * w, "mul"), (lambda x, w: w / x, "div"),
    (lambda x, w: (x * 1.0).log() * w, None),
])  # fmt: skip
def test_change_of_a_needed_value_is_noticed(change, use, name):
    x, w = nn.tensor([3.0, 4.0], dtype=F64), leaf([1.0, 2.0])
    y = use(x, w).sum()
    change(x)
    if name is None:  # the product kept a value of its own
        y.backward()
        np.testing.assert_array_equal(w.grad, nn.functional.log(np.array([3.0, 4.0])))
        return
    with pytest.raises(RuntimeError, match=f"a value that {name} needs was changed in place"):
        y.backward()
    assert w.grad is None


def test_change_of_an_output_that_is_needed_is_noticed():
    x = leaf([1.0, 2.0])
    y = x.exp()
    y += 1
    with pytest.raises(RuntimeError, match="a value that exp needs was changed"):
        y.sum().backward()


def test_change_of_a_value_that_nobody_needs_is_right():
    x, w = leaf([1.0, 2.0]), leaf([5.0, 7.0])
    y = x + 1
    y += w
    y *= x
    y[0] = w[1] * 3
    y.sum().backward()
    np.testing.assert_array_equal(y.detach(), [21, 20])
    np.testing.assert_array_equal(x.grad, [0, 12])
    np.testing.assert_array_equal(w.grad, [0, 5])


def test_changes_that_backward_cannot_know_are_refused():
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match=r"a leaf .* cannot be changed in place"):
        x += 1
    with pytest.raises(RuntimeError, match=r"a leaf .* cannot be changed in place"):
        x[0] = 1.0
    y = x * 1
    view = y[:1]
    with pytest.raises(RuntimeError, match="shares memory with others"):
        y *= 2
    np.testing.assert_array_equal(view.detach(), [1])
    with nn.no_grad():
        x += 1
        x[0] = 7.0
    np.testing.assert_array_equal(x.detach(), [7, 3])


def test_optimiser_step_between_forward_and_backward_is_noticed():
    model = nn.Linear(2, 2)
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1)
    loss = model(leaf(np.ones((1, 2)), np.float32)).sum()
    optimizer.step()
    with pytest.raises(RuntimeError, match="a value that linear needs was changed in place"):
        loss.backward()
    assert not model.weight.grad.any()
