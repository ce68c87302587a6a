"""nn.data.source on arrays and on iterables of batches."""

from __future__ import annotations

import numpy as np
import pytest

from nnlite.data import permutation, source
from nnlite.data._source import ArraySource
from nnlite.data.batches import BatchSource

X = np.arange(30, dtype=np.float32).reshape(10, 3)
Y = np.arange(10) % 4


# ---- arrays ----


def test_arrays_are_one_chunk_without_a_copy():
    data = source(X, Y)
    assert isinstance(data, ArraySource) and not data.own_batches and not data.one_shot
    assert (data.rows, data.shape, data.width, data.target_shape) == (10, (3,), 3, ())
    ((found, targets, order),) = data.epoch(7, 2, 4)
    assert found is X and targets is Y
    assert np.array_equal(order, permutation(10, 7, 2))
    ((_, _, plain),) = data.epoch(7, 2, 4, shuffle=False)
    assert plain.dtype == np.int64 and plain.tolist() == [*range(10)]
    ((_, _, rest),) = data.epoch(7, 2, 4, skip_batches=2)
    assert np.array_equal(rest, order[8:])
    assert list(data.epoch(7, 2, 4, skip_batches=3)) == []
    assert data.head(2)[0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert [(start, y.tolist()) for start, y in data.targets()] == [(0, Y.tolist())]


def test_read_only_arrays_are_not_copied():
    frozen = X.copy()
    frozen.flags.writeable = False
    assert source(frozen, Y).X is frozen


@pytest.mark.parametrize(
    "y, dtype",
    [([0, 1], np.int64), ([True, False], np.int64), ([0.5, 1], np.float32), ([[1], [2]], np.int64)],
)
def test_conversion(y, dtype):
    data = source([[1, 2], [3, 4]], y)
    assert data.X.dtype == np.float32 and data.X.flags.carray
    assert data.y.dtype == dtype and data.y.tolist() == y
    assert source(X[:, ::2], Y, np.float64).X.dtype == np.float64
    assert source([[1, 2]], [3], target_dtype=np.float32).y.dtype == np.float32


@pytest.mark.parametrize(
    "x, y, kind, message",
    [
        ([["a"]], [1], TypeError, "X: expected real numbers"),
        ([[1, 2], [3]], [1, 2], ValueError, "X: expected rows of equal length"),
        (X, Y[:9], ValueError, "y has 9 rows, X has 10"),
        (X, 5, ValueError, "y: expected rows, got a single number"),
        (X, None, TypeError, "an array of float32, shape .10, 3. without y; pass y"),
        (5, None, TypeError, "got int without y"),
        (np.full((2, 2), 1e300), [1, 2], ValueError, "too large"),
        (np.ma.masked_array([[1.0, 2.0]], [[True, False]]), [1], TypeError, "masked"),
    ],
)
def test_bad_arrays(x, y, kind, message):
    with pytest.raises(kind, match=message) as error:
        source(x, y)
    assert "\n" not in str(error.value)


# ---- iterables ----


def pairs():
    yield X[:4].tolist(), Y[:4].astype(np.uint8)
    yield X[4:9], Y[4:9]
    yield X[9:], Y[9:]


def content(chunks) -> list[tuple[list, list, list]]:
    return [(x.tolist(), y.tolist(), order.tolist()) for x, y, order in chunks]


EXPECTED = [
    (X[i:j].tolist(), Y[i:j].tolist(), [*range(j - i)]) for i, j in ((0, 4), (4, 9), (9, 10))
]


class Again:
    """An iterable that gives its batches as often as it is asked."""

    def __iter__(self):
        return pairs()


def by_epoch(epoch):
    return [(X + epoch, Y)]


@pytest.mark.parametrize("make", [pairs, list(pairs()), Again(), lambda: list(pairs())])
def test_batches_come_as_they_are(make):
    data = source(make)
    assert isinstance(data, BatchSource) and data.own_batches and data.rows is None
    assert not data.one_shot
    assert data.width == 3 and data.shape == (3,) and data.target_shape == ()
    for epoch in range(2):
        assert content(data.epoch(0, epoch, 32)) == EXPECTED
    assert content(data.epoch(0, 2, 32, skip_batches=2)) == EXPECTED[2:]
    x, y, order = next(data.epoch(0, 0, 1))
    assert x.dtype == np.float32 and x.flags.carray
    assert y.dtype == np.int64 and order.dtype == np.int64
    data.check_epochs(5)
    assert list(data.targets()) == [] and data.signature(32) == {}


def test_a_function_may_take_the_epoch():
    data = source(by_epoch)
    for epoch in (0, 3, 1):
        ((x, _, _),) = data.epoch(0, epoch, 1)
        assert np.array_equal(x, X + epoch)


def test_an_iterator_goes_once():
    data = source(pairs())
    assert data.one_shot
    assert data.head(2)[0].tolist() == X[:2].tolist()  # does not lose the first batch
    assert data.width == 3
    data.check_epochs(1)
    with pytest.raises(ValueError, match="3 epochs of an iterator: it can be gone through once"):
        data.check_epochs(3)
    assert content(data.epoch(0, 0, 1)) == EXPECTED
    with pytest.raises(ValueError, match="second epoch of an iterator: it can be gone"):
        next(data.epoch(0, 1, 1))
    with pytest.raises(ValueError, match="second epoch"):
        data.head()


def test_target_dtype_by_the_model():
    data = source([(X, Y)], dtype=np.float64, target_dtype=np.float64)
    ((x, y, _),) = data.epoch(0, 0, 1)
    assert x.dtype == y.dtype == np.float64


@pytest.mark.parametrize(
    "batches, kind, message",
    [
        ([], ValueError, "the iterable of batches gave none"),
        (lambda: iter(()), ValueError, "the iterable of batches gave none"),
        (lambda: 5, TypeError, "the function returned int, expected an iterable"),
        ([X], TypeError, r"batch 1: expected a pair \(x, y\), got an array"),
        ([(X, Y), None], TypeError, r"batch 2: expected a pair \(x, y\), got NoneType"),
        ([(X, Y), (X, Y[1:])], ValueError, "batch 2: x has 10 rows, y has 9"),
        ([(X[:0], Y[:0])], ValueError, "batch 1: x has 0 rows"),
        ([(X, Y), (X[:, :2], Y)], ValueError, r"batch 2: x: expected rows of shape \(3,\) like"),
        ([(X, Y), (X, Y.reshape(10, 1))], ValueError, r"batch 2: y: expected rows of shape \(\)"),
        ([(X, Y), (X, Y / 2)], TypeError, "batch 2: y: expected class indices as integers"),
        ([(X, Y), ([["a"]], [1])], TypeError, "batch 2: x: expected real numbers"),
    ],
)
def test_bad_batches(batches, kind, message):
    with pytest.raises(kind, match=message) as error:
        for _ in source(batches).epoch(0, 0, 1):
            pass
    assert "\n" not in str(error.value)


def test_error_of_the_iterable_arrives():
    def broken():
        yield X, Y
        raise KeyError("disk")

    chunks = source(broken).epoch(0, 0, 1)
    next(chunks)
    with pytest.raises(KeyError, match="disk"):
        next(chunks)


def test_resuming_with_fewer_batches():
    with pytest.raises(ValueError, match="go on after batch 4, but the iterable gave 3"):
        list(source(pairs).epoch(0, 0, 1, skip_batches=4))
