"""The losses as users call them: PyTorch's values, gradients by differences, weights, bad input."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from helpers import DTYPES, F32, F64
from test_gradients import SHAPES, agree, differences

import nnlite as nn
from nnlite import functional as F

# Logits, class indices with an ignored row, weights of the classes, probabilities.
X = np.array([[(7 * i + 3 * k) % 11 / 4 - 1.25 for k in range(4)] for i in range(5)])
CLASSES = np.array([0, 3, -100, 1, 2])
WEIGHT = np.array([0.5, 1, 2, 0.25])
SHARES = np.array([[(3 * i + 5 * k) % 7 + 1.0 for k in range(4)] for i in range(5)])
SHARES /= SHARES.sum(axis=1, keepdims=True)

# target, reduction, weighted, smoothing: loss, its gradient by X[0, 0] and by X[4, 2]. From
# torch.nn.functional.cross_entropy and nll_loss, PyTorch 2.13, float64.
PYTORCH = [
    ("classes", "mean", False, 0.0, 2.5182793346490606, -0.23536850153720862, -0.23213826294206097),
    ("classes", "mean", False, 0.1, 2.432341834649061, -0.21661850153720863, -0.21338826294206098),
    ("classes", "mean", True, 0.0, 2.633646724909996, -0.12552986748651127, -0.4952282942763967),
    ("classes", "mean", True, 0.1, 2.555443319217236, -0.11484706422491434, -0.4572526244762965),
    ("classes", "sum", False, 0.0, 10.073117338596242, -0.9414740061488345, -0.9285530517682439),
    ("classes", "sum", False, 0.1, 9.729367338596244, -0.8664740061488345, -0.8535530517682439),
    ("classes", "sum", True, 0.0, 9.876175218412486, -0.47073700307441724, -1.8571061035364878),
    ("classes", "sum", True, 0.1, 9.582912447064636, -0.43067649084342874, -1.7146973417861118),
    ("shares", "mean", False, 0.0, 1.6621313331827843, -0.003679416614382273, -0.00676324193259614),
    (
        "shares",
        "mean",
        False,
        0.1,
        1.6619759567609609,
        -0.007140955075920733,
        -0.009657978774701405,
    ),
    ("shares", "mean", True, 0.0, 1.7191168414676425, 0.005813690888730514, -0.03251633063205378),
    ("shares", "mean", True, 0.1, 1.7074155544113048, 0.00382968418456682, -0.037925067289502984),
    ("shares", "sum", False, 0.0, 8.310656665913921, -0.018397083071911367, -0.0338162096629807),
    ("shares", "sum", False, 0.1, 8.309879783804805, -0.035704775379603655, -0.04828989387350703),
    ("shares", "sum", True, 0.0, 8.595584207338213, 0.029068454443652574, -0.1625816531602689),
    ("shares", "sum", True, 0.1, 8.537077772056524, 0.01914842092283409, -0.18962533644751492),
    ("nll", "mean", False, 0.0, 0.75, -0.25, -0.25),
    ("nll", "mean", True, 0.0, 0.9, -0.13333333333333333, -0.5333333333333333),
    ("nll", "sum", False, 0.0, 3.0, -1.0, -1.0),
    ("nll", "sum", True, 0.0, 3.375, -0.5, -2.0),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", PYTORCH, ids=lambda case: " ".join(map(str, case[:4])))
def test_values_of_pytorch(case, dtype):
    target, reduction, weighted, smoothing, value, first, second = case
    weight = WEIGHT if weighted else None
    x = X.astype(dtype)
    t = SHARES.astype(dtype) if target == "shares" else CLASSES
    if target == "nll":
        loss, at_once = nn.NLLLoss(reduction, weight), F.nll_loss
    else:
        loss, at_once = nn.SoftmaxCE(reduction, weight, smoothing), F.softmax_ce
    close = {"rel": 1e-14 if dtype == F64 else 2e-6, "abs": 1e-15 if dtype == F64 else 2e-7}
    assert loss(x, t) == pytest.approx(value, **close)
    gradient = loss.backward()
    assert gradient[0, 0] == pytest.approx(first, **close)
    assert gradient[4, 2] == pytest.approx(second, **close)
    how = {"reduction": reduction, "weight": None if weight is None else weight.astype(dtype)}
    how |= {} if target == "nll" else {"label_smoothing": smoothing}
    assert at_once(x, t, **how) == loss.evaluate(x, t) == loss(x, t)
    rows = 5 if target == "shares" else 3.75 if weighted else 4
    assert loss.total_weight == rows


@pytest.mark.parametrize("kind", ["classes", "probabilities"])
def test_pytorch_itself(kind, rng):
    """Random cases; a loss with sample weights is the weighted sum of PyTorch's rows."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    cross_entropy = torch.nn.functional.cross_entropy
    for N, K in ((1, 2), (7, 3), (40, 11)):
        for smoothing in (0.0, 0.25, 1.0):
            x, weight, by_row = rng.normal(size=(N, K)), rng.random(K) + 0.1, rng.random(N)
            target = rng.integers(0, K, N) if kind == "classes" else rng.random((N, K))
            if kind == "classes" and N > 1:
                target[::3] = -5
            how = {"label_smoothing": smoothing}
            if kind == "classes":
                how["ignore_index"] = -5
            for w in (None, weight):
                tensor = torch.tensor(x, requires_grad=True)
                tw = None if w is None else torch.tensor(w)
                expected = cross_entropy(tensor, torch.tensor(target), tw, **how)
                expected.backward()
                loss = nn.SoftmaxCE(weight=w, label_smoothing=smoothing, ignore_index=-5)
                assert loss(x, target) == pytest.approx(expected.item(), rel=1e-12)
                np.testing.assert_allclose(loss.backward(), tensor.grad.numpy(), atol=1e-14)
                rows = cross_entropy(
                    tensor, torch.tensor(target), tw, reduction="none", **how
                ).detach()
                loss = nn.SoftmaxCE("sum", w, smoothing, -5)
                value = loss(x, target, by_row)
                assert value == pytest.approx((rows.numpy() * by_row).sum(), rel=1e-12)


def weighted(rng, N, K, **how):
    """(x, class weights, sample weights)."""
    return rng.normal(size=(N, K)), rng.random(K) + 0.2, rng.random(N) + 0.2


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients(shape, reduction, rng):
    N, K = shape
    x, weight, by_row = weighted(rng, N, K)
    classes, shares = rng.integers(0, K, N), rng.random((N, K))
    some = np.where(np.arange(N) % 4 == 3, -1, classes)
    by_row[1::5] = 0
    for loss, target in (
        (nn.SoftmaxCE(reduction, weight), classes),
        (nn.SoftmaxCE(reduction, weight, 0.2), classes),
        (nn.SoftmaxCE(reduction, None, 0.2), shares),
        (nn.SoftmaxCE(reduction, weight, 0.2), shares),
        (nn.SoftmaxCE(reduction, weight, 0.1, ignore_index=-1), some),
        (nn.NLLLoss(reduction, weight, ignore_index=-1), some),
        (nn.MSELoss(reduction), shares),
    ):
        for s in (None, by_row):
            loss(x, target, s)
            expected = differences(lambda: loss.evaluate(x, target, s), x)  # noqa: B023
            agree(loss.backward(), expected, repr(loss))


def test_mse_with_weights():
    x, t = np.array([[1.0, 2], [3, 5], [9, 9]]), np.array([[0.0, 0], [1, 1], [0, 0]])
    by_row, loss = np.array([2.0, 1, 0]), nn.MSELoss()
    assert loss(x, t, by_row) == (2 * (1 + 4) + (4 + 16)) / (2 * 3) and loss.total_weight == 3
    expected = np.array([[4.0, 8], [4, 8], [0, 0]]) / (2 * 3)
    np.testing.assert_array_equal(loss.backward(), expected)
    assert F.mse_loss(x, t, "sum", by_row) == 30
    column, goal = np.array([1.0, 2, 3]), np.zeros(3)
    assert F.mse_loss(column, goal, sample_weight=np.array([1.0, 0, 1])) == (1 + 9) / 2
    number = np.array(3.0)
    assert nn.MSELoss()(number, np.array(1.0), np.array([2.0])) == 4


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_an_epoch_is_the_mean_of_its_batches_by_weight(reduction, rng):
    x, weight, by_row = weighted(rng, 50, 4)
    target = rng.integers(0, 4, 50)
    target[10:20] = -100  # the second batch holds nothing else
    loss = nn.SoftmaxCE(reduction, weight)
    whole, total = loss(x, target, by_row), 0.0
    weight_of_all, summed = loss.total_weight, 0.0
    for i in range(0, 50, 10):
        batch = slice(i, i + 10)
        value = loss.evaluate(x[batch], target[batch], by_row[batch])
        if loss.total_weight:
            summed += value * (loss.total_weight if reduction == "mean" else 1)
        total += loss.total_weight
    assert total == pytest.approx(weight_of_all, rel=1e-14)
    assert summed / (total if reduction == "mean" else 1) == pytest.approx(whole, rel=1e-13)


def test_a_batch_of_which_nothing_counts():
    loss = nn.SoftmaxCE(ignore_index=1)
    x = np.ones((3, 2), F32)
    assert math.isnan(loss(x, np.array([1, 1, 1]))) and loss.total_weight == 0
    assert (loss.backward() == 0).all()


def test_a_loss_of_ones_own_has_a_total_weight():
    class Absolute(nn.Loss):
        def _run(self, output, target, sample_weight=None):
            d = output - target
            w = 1 if sample_weight is None else sample_weight[:, None]
            return float(np.abs(w * d).sum()), np.sign(d)

        def _grad(self, saved):
            return saved

    loss = Absolute("sum")
    assert loss(np.full((4, 2), 3.0), np.ones((4, 2))) == 16 and loss.total_weight == 4
    assert loss(np.full((2, 1), 3.0), np.ones((2, 1)), np.array([1, 0.5])) == 3
    assert loss.total_weight == 1.5


def test_settings():
    loss = nn.SoftmaxCE("sum", [1, 2], 0.1, 7)
    assert repr(loss) == (
        "SoftmaxCE(reduction='sum', weight=[1.0, 2.0], ignore_index=7, label_smoothing=0.1)"
    )
    assert repr(nn.NLLLoss()) == "NLLLoss(reduction='mean')"
    assert loss.weight.dtype == F64 and loss.label_smoothing == 0.1 and loss.ignore_index == 7
    x, target = np.ones((2, 2), F32), np.array([0, 1])
    copy = pickle.loads(pickle.dumps(loss))
    assert copy(x, target) == loss(x, target)
    given = np.array([1.0, 2.0])
    loss = nn.SoftmaxCE(weight=given)
    given[0] = 5  # a copy was taken
    assert loss.weight[0] == 1


NAN, INF = math.nan, math.inf
BAD_WEIGHT = np.array([1, NAN, 1, 1], F32)
x32, ONES = X.astype(F32), np.ones(5, F32)
REFUSED = {
    "weight, negative": (lambda: nn.SoftmaxCE(weight=[1, -1]), ValueError,
                         "SoftmaxCE: weight: class 1 has -1.0, expected a finite number >= 0"),
    "weight, infinite": (lambda: nn.NLLLoss(weight=[INF]), ValueError, "NLLLoss: weight: class 0"),
    "weight, text": (lambda: nn.SoftmaxCE(weight="ab"), TypeError, "one number for each class"),
    "weight, matrix": (lambda: nn.SoftmaxCE(weight=[[1, 2]]), ValueError, "weight: expected shape"),
    "weight, none": (lambda: nn.SoftmaxCE(weight=[]), ValueError, r"\(classes,\).*got \(0,\)"),
    "weight, first": (lambda: nn.SoftmaxCE(np.ones(3)), ValueError, "reduction: expected 'mean'"),
    "weight, count": (lambda: nn.SoftmaxCE(weight=[1, 2])(x32, CLASSES), ValueError,
                      r"SoftmaxCE: weight: expected shape \(4,\), one weight for each class"),
    "weight, too large": (lambda: nn.SoftmaxCE(weight=[1e300] * 4)(x32, CLASSES), ValueError,
                          "weight: class 0 has inf"),
    "smoothing": (lambda: nn.SoftmaxCE(label_smoothing=1.1), ValueError, "label_smoothing: .*1.1"),
    "smoothing, NaN": (lambda: F.softmax_ce(x32, CLASSES, label_smoothing=NAN), ValueError,
                       "label_smoothing: .*got nan"),
    "smoothing, text": (lambda: nn.SoftmaxCE(label_smoothing="0"), TypeError, "a number, got str"),
    "ignore": (lambda: nn.SoftmaxCE(ignore_index=1.0), TypeError, "ignore_index: expected an int"),
    "ignore, large": (lambda: nn.NLLLoss(ignore_index=2**63), ValueError, "64-bit integer"),
    "ignored no more": (lambda: nn.SoftmaxCE(ignore_index=-1)(x32, CLASSES), IndexError,
                        "row 2 holds -100, expected a class in 0..3"),
    "sample weight, count": (lambda: nn.SoftmaxCE()(x32, CLASSES, ONES[:4]), ValueError,
                             r"sample_weight: expected shape \(5,\), one weight for each row"),
    "sample weight, dtype": (lambda: nn.MSELoss()(x32, x32, np.ones(5)), TypeError,
                             "sample_weight: expected float32, got float64; convert"),
    "sample weight, list": (lambda: nn.NLLLoss()(x32, CLASSES, [1] * 5), TypeError, "got list"),
    "sample weight, column": (lambda: nn.MSELoss()(x32, x32, np.ones((5, 1), F32)), ValueError,
                              r"got \(5, 1\)"),
    "sample weight, NaN": (lambda: nn.SoftmaxCE()(x32[:4], CLASSES[:4], BAD_WEIGHT), ValueError,
                           "sample_weight: row 1 has nan, expected a finite number >= 0; to leave"),
    "functional weight": (lambda: F.softmax_ce(x32, CLASSES, weight=BAD_WEIGHT), ValueError,
                          "softmax_ce: weight: class 1 has nan"),
    "mse, sample weight": (lambda: F.mse_loss(x32, x32, sample_weight=-ONES), ValueError,
                           "mse_loss: sample_weight: row 0 has -1.0"),
    "count, target": (lambda: F.count_correct(x32, CLASSES[:3]), ValueError, "target: expected"),
    "count, output": (lambda: F.count_correct(CLASSES, CLASSES), TypeError, "output: expected flo"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    function, error, message = REFUSED[case]
    with pytest.raises(error, match=message) as caught:
        function()
    assert type(caught.value) is error


def test_a_refused_forward_leaves_no_gradient():
    loss = nn.SoftmaxCE()
    loss(x32, CLASSES)
    with pytest.raises(ValueError, match="sample_weight"):
        loss(x32, CLASSES, -ONES)
    with pytest.raises(RuntimeError, match="no forward"):
        loss.backward()


def test_count_correct():
    x = np.array([[1, 2, 2], [3, 3, 0], [0, 0, 1], [np.nan, 1, 0], [0, 0, 9]], F32)
    assert F.count_correct(x, np.array([1, 1, 2, 0, -100])) == 2
    assert F.count_correct(x[:0], np.zeros(0, np.int64)) == 0
