"""Metrics against formulas by hand and scikit-learn, over any batches; names; bad input."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from helpers import DTYPES, F32, F64
from hypothesis import given
from hypothesis import strategies as st

from nnlite import metrics as M

SCORES = np.array([[1, 2, 2], [5, 5, 1], [0, 0, 3], [-1, -2, -3], [4, 6, 5]], F32)
CLASSES = np.array([1, 1, 2, 0, 0])  # a tie that is right, one that is not, right, right, wrong


@pytest.mark.parametrize("dtype", [*DTYPES, np.dtype(np.float16), np.dtype(int), np.dtype(">f4")],
                         ids=str)  # fmt: skip
def test_by_hand(dtype):
    scores = SCORES.astype(dtype)
    assert M.accuracy(CLASSES, scores) == 3 / 5
    assert M.top_k_accuracy(CLASSES, scores, 1) == 3 / 5
    assert M.top_k_accuracy(CLASSES, scores, 2) == 4 / 5
    assert M.top_k_accuracy(CLASSES, scores, 3) == M.top_k_accuracy(CLASSES, scores, 99) == 1
    weight = [1, 2, 0, 3, 4]
    assert M.accuracy(CLASSES, scores, weight) == 4 / 10
    assert M.top_k_accuracy(CLASSES, scores, 2, weight) == 6 / 10
    expected = [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    found = M.confusion_matrix(CLASSES, scores)
    assert found.dtype == np.int64 and found.tolist() == expected
    found = M.confusion_matrix(CLASSES, scores, weight)
    assert found.dtype == F64 and found.tolist() == [[3, 4, 0], [2, 1, 0], [0, 0, 0]]


def test_numbers_by_hand():
    t, x = [1.0, 2, 3, 6], [1.0, 2, 4, 8]
    assert M.mean_squared_error(t, x) == 5 / 4 and M.mean_absolute_error(t, x) == 3 / 4
    assert M.r2_score(t, x) == 1 - 5 / 14
    weight = [1, 1, 0, 2]
    assert M.mean_squared_error(t, x, weight) == 8 / 4 and M.mean_absolute_error(t, x, weight) == 1
    assert M.r2_score(t, x, weight) == pytest.approx(1 - 8 / 20.75, rel=1e-15)
    column = np.array(x).reshape(-1, 1)
    assert M.r2_score(t, column) == M.r2_score(column * 0 + np.c_[t], x) == 1 - 5 / 14
    both = np.c_[t, [1, 1, 1, 1]]
    assert M.r2_score(both, np.c_[x, [1, 1, 1, 1]]) == pytest.approx((2 - 5 / 14) / 2)
    assert M.r2_score(both, np.c_[x, [1, 1, 1, 2]]) == pytest.approx((1 - 5 / 14) / 2)


def test_predicted_classes_and_probabilities_as_targets():
    predicted = SCORES.argmax(axis=1)
    assert M.accuracy(CLASSES, predicted) == M.accuracy(np.eye(3)[CLASSES], SCORES) == 3 / 5
    assert M.accuracy(CLASSES.reshape(-1, 1), SCORES) == 3 / 5
    assert M.accuracy(CLASSES.tolist(), predicted.tolist(), [0, 0, 0, 0, 1.0]) == 0
    assert (M.confusion_matrix(CLASSES, predicted) == M.confusion_matrix(CLASSES, SCORES)).all()
    assert M.confusion_matrix([0, 4], [1, 1]).shape == (5, 5)


def test_nan_is_never_right():
    scores = np.array([[np.nan, 1], [1, np.nan], [0, 1]])
    assert M.accuracy([0, 0, 1], scores) == M.top_k_accuracy([0, 0, 1], scores, 2) == 1 / 3
    assert M.accuracy([0, 0, 1], scores, [1, 1, 2.0]) == 2 / 4
    assert M.confusion_matrix([0, 0, 1], scores).tolist() == [[0, 0], [0, 1]]
    assert M.accuracy([0, 0, 1], scores, [0, 0, 1]) == 1  # rows of weight 0 do not count
    assert math.isnan(M.mean_squared_error([1.0, 2], [1, np.nan]))
    assert M.mean_squared_error([1.0, 2], [2, np.nan], [1, 0]) == 1


def test_scikit_learn(rng):
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    scores, classes, weight = rng.normal(size=(200, 6)), rng.integers(0, 6, 200), rng.random(200)
    t, x = rng.normal(size=(2, 200, 3))
    predicted, labels = scores.argmax(axis=1), np.arange(6)
    for w in (None, weight):
        close = {"rel": 1e-13}
        how = {"sample_weight": w}
        assert M.accuracy(classes, scores, w) == pytest.approx(
            sklearn.accuracy_score(classes, predicted, **how), **close
        )
        assert M.top_k_accuracy(classes, scores, 3, w) == pytest.approx(
            sklearn.top_k_accuracy_score(classes, scores, k=3, **how, labels=labels), **close
        )
        np.testing.assert_allclose(
            M.confusion_matrix(classes, scores, w),
            sklearn.confusion_matrix(classes, predicted, **how, labels=labels),
            rtol=1e-13,
        )
        for own, other in ((M.mean_squared_error, sklearn.mean_squared_error),
                           (M.mean_absolute_error, sklearn.mean_absolute_error),
                           (M.r2_score, sklearn.r2_score)):  # fmt: skip
            assert own(t, x, w) == pytest.approx(other(t, x, **how), **close)
            assert own(t[:, 0], x[:, 0], w) == pytest.approx(
                other(t[:, 0], x[:, 0], **how), **close
            )


@given(
    rows=st.integers(0, 60),
    cuts=st.lists(st.integers(0, 60), max_size=6),
    weighted=st.booleans(),
    ignored=st.booleans(),
    dtype=st.sampled_from(DTYPES),
)
def test_batches_do_not_matter(rows, cuts, weighted, ignored, dtype):
    """Counts are equal, sums agree to rounding."""
    rng = np.random.default_rng(rows)
    scores, classes = rng.integers(0, 4, (rows, 5)).astype(dtype), rng.integers(0, 5, rows)
    target, weight = rng.normal(size=(rows, 5)), rng.integers(0, 3, rows) if weighted else None
    if ignored:
        classes[::3] = -100
    names = ["accuracy", "top_2", "confusion_matrix", "mse", "mae", "r2"]
    edges = sorted({0, rows, *(min(cut, rows) for cut in cuts)})
    for metric, at_once in zip(M.resolve(names), M.resolve(names), strict=True):
        t = target if metric.name in ("mse", "mae", "r2") else classes
        at_once.update(scores, t, weight)
        for i, j in itertools.pairwise(edges):
            metric.update(scores[i:j], t[i:j], None if weight is None else weight[i:j])
        if metric.name in ("mse", "mae", "r2"):
            np.testing.assert_allclose(metric.value(), at_once.value(), rtol=1e-12)
        elif metric.name == "confusion_matrix":
            if rows:
                assert np.array_equal(metric.value(), at_once.value())
        else:
            assert np.array_equal(metric.value(), at_once.value(), equal_nan=True)
        metric.reset()
        assert np.array_equal(metric.value(), M.resolve(metric.name)[0].value(), equal_nan=True)


def test_r2_far_from_zero():
    """The variance of numbers near 1e8 is not lost in their squares."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=3000)
    metric = M.R2()
    for i in range(0, 3000, 64):
        t = 1e8 + noise[i : i + 64]
        metric.update(t + 0.5, t)
    exact = 1 - 0.25 * 3000 / ((noise - noise.mean()) ** 2).sum()
    assert metric.value() == pytest.approx(exact, rel=1e-7)


def test_nothing_gives_nan():
    for name in ("accuracy", "top_5", "mse", "mae", "r2"):
        assert math.isnan(M.resolve(name)[0].value()), name
    assert M.ConfusionMatrix().value().shape == (0, 0)
    assert M.ConfusionMatrix(3).value().tolist() == [[0] * 3] * 3
    assert math.isnan(M.r2_score([1.0], [2.0]))
    assert math.isnan(M.accuracy([-100], [[1.0, 2]]))


def test_names():
    found = M.resolve(["accuracy", "TOP_7", "mse", M.MAE(), "r2", "confusion_matrix"])
    assert [metric.name for metric in found] == [
        "accuracy", "top_7", "mse", "mae", "r2", "confusion_matrix",
    ]  # fmt: skip
    assert M.resolve(None) == [] and M.resolve("mae")[0].name == "mae"
    assert M.resolve("accuracy", ignore_index=3)[0].ignore_index == 3
    used = M.Accuracy()
    used.update(SCORES, CLASSES)
    assert repr(used) == "Accuracy('accuracy': 0.6)"
    assert math.isnan(M.resolve(used)[0].value())  # it begins empty
    better = ["accuracy", "val_accuracy", "top_3", "val_top_3", "r2"]
    assert all(map(M.larger_is_better, better))
    assert not any(map(M.larger_is_better, ["loss", "val_loss", "mse", "val_mae", "seconds"]))


REFUSED = {
    "name": (lambda: M.resolve("acuracy"), ValueError, "expected one of 'accuracy', 'mse', 'mae'"),
    "top_0": (lambda: M.resolve("top_0"), ValueError, "got 'top_0'"),
    "twice": (lambda: M.resolve(["mse", M.MSE()]), ValueError, "'mse' stands twice"),
    "class": (lambda: M.resolve([M.MSE]), TypeError, r"pass MSE\(\)"),
    "number": (lambda: M.resolve([3]), TypeError, "expected one of 'accuracy'"),
    "k": (lambda: M.TopK(0), ValueError, "TopK: k: expected at least 1, got 0"),
    "rows": (lambda: M.accuracy([1, 2], SCORES), ValueError, r"output has shape \(5, 3\), target"),
    "class too large": (lambda: M.accuracy([0, 1, 3, 0, 0], SCORES), IndexError,
                        r"accuracy: target: row 2 holds 3, expected a class in 0..2"),
    "float classes": (lambda: M.accuracy(CLASSES * 1.0, SCORES), TypeError,
                      r"target: expected class indices as integers, got float64; .*astype"),
    "float prediction": (lambda: M.accuracy(CLASSES, CLASSES * 1.0), TypeError, "output: expected"),
    "scores in 3 dimensions": (lambda: M.accuracy(CLASSES, SCORES[None].repeat(5, 0)), ValueError,
                               "expected scores of shape"),
    "top of classes": (lambda: M.top_k_accuracy(CLASSES, CLASSES), ValueError, "top_5: output: "),
    "shape": (lambda: M.mean_squared_error(np.ones((5, 2)), SCORES), ValueError,
              r"mse: target: expected the shape of output, \(5, 3\), got \(5, 2\)"),
    "broadcast": (lambda: M.mean_absolute_error(np.ones(5), SCORES), ValueError, r"got \(5,\)"),
    "text": (lambda: M.accuracy(list("abcde"), SCORES), TypeError, "target: expected numbers, got"),
    "scalar": (lambda: M.mean_squared_error(1.0, 2.0), ValueError, "one row of each"),
    "weights": (lambda: M.accuracy(CLASSES, SCORES, [1, 2]), ValueError, r"expected shape \(5,\)"),
    "negative weight": (lambda: M.r2_score([1.0, 2], [1, 2], [1, -1]), ValueError,
                        "sample_weight: row 1 has -1.0, expected a finite"),
    "NaN weight": (lambda: M.r2_score([1.0, 2], [1, 2], [np.nan, 1]), ValueError, "row 0 has nan"),
    "weights as text": (lambda: M.accuracy([1], [1], ["a"]), TypeError, "sample_weight: expected"),
    "matrix too small": (lambda: M.ConfusionMatrix(2).update(SCORES, CLASSES), IndexError,
                         r"classes up to 2 were given, expected 0\.\.1"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    function, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        function()


def test_a_refused_update_adds_nothing():
    metric = M.R2()
    metric.update(np.ones((2, 2)), np.eye(2))
    before = metric.value()
    with pytest.raises(ValueError, match="expected 2 outputs as before, got 3"):
        metric.update(np.ones((2, 3)), np.ones((2, 3)))
    assert metric.value() == before
    accuracy = M.Accuracy()
    accuracy.update(SCORES, CLASSES)
    with pytest.raises(IndexError):
        accuracy.update(SCORES, CLASSES + 1)
    assert accuracy.value() == 3 / 5
