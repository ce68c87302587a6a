"""Bad input: each case gets its exception, with a message that names argument, expected, got and
cure, and changes nothing: no parameter, gradient, optimiser state or output array."""

from __future__ import annotations

import gzip
import os
import runpy
import struct
from pathlib import Path

import numpy as np
import pytest
from helpers import BUILDS, F32, F64, run_python, sha

import nnlite as nn
from nnlite import functional as F


class Bench:
    """What the cases work on: a trained-looking model and arrays that fit it."""

    def __init__(self) -> None:
        rng = np.random.default_rng(8)
        nn.manual_seed(0)
        self.linear = nn.Linear(5, 3)
        self.model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
        self.sgd = nn.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.trainer = nn.Trainer(self.model, nn.SoftmaxCE(), self.sgd)
        self.mse = nn.Trainer(self.model, nn.MSELoss(), self.sgd)
        self.x = rng.normal(size=(8, 5)).astype(F32)
        self.logits = rng.normal(size=(8, 3)).astype(F32)
        self.y = rng.integers(0, 3, 8)
        self.w = rng.normal(size=(5, 3)).astype(F32)
        self.out = np.full((8, 3), 7, F32)
        self.grad = np.full((8, 3), 7, F32)
        for p in (*self.model.parameters(), *self.linear.parameters()):
            p.grad = rng.normal(size=p.shape)
        self.sgd.step()

    def everything(self) -> str:
        """One hash of all that a refused call must leave as it was."""
        parameters = [*self.model.parameters(), *self.linear.parameters()]
        arrays = [p.data for p in parameters] + [p.grad for p in parameters]
        arrays += [*self.sgd.state.values(), self.x, self.logits, self.y, self.w]
        return sha(*arrays, self.out, self.grad) + repr((self.sgd, self.trainer.epoch))


def changed(array: np.ndarray, value: object, place: int = 2) -> np.ndarray:
    array = (
        array.astype(F64) if isinstance(value, float) and array.dtype.kind == "i" else array.copy()
    )
    array.flat[place] = value
    return array


def fit(b: Bench, X, y, epochs=1, batch_size=4, **options) -> None:
    b.trainer.fit(X, y, epochs, batch_size, verbose=0, **options)


def backward(b: Bench, grad, module: str = "model") -> None:
    """Backward after a forward of 8 rows."""
    getattr(b, module)(b.x)
    try:
        getattr(b, module).backward(grad)
    finally:
        getattr(b, module).forget()


NAN, INF = float("nan"), float("inf")
FOREIGN = np.ones((8, 5), np.dtype(F32).newbyteorder())
READ_ONLY = np.ones((8, 5), F32)
READ_ONLY.flags.writeable = False
SPARSE = np.ones((8, 10), F32)[:, ::2]
OBJECT = np.array([[1, "a"]] * 8, object)

# name: (call, exception, part of the message)
CASES = {
    # wrong feature count
    "linear, features": (lambda b: b.linear(b.x[:, :4].copy()), ValueError,
                         r"linear: x has 4 features \(shape \(8, 4\)\), expected 5"),
    "model, features": (lambda b: b.model(np.ones((8, 6), F32)), ValueError, "x has 6 features"),
    "predict, features": (lambda b: b.model.predict([[1, 2]]), ValueError, "x has 2 features"),
    "fit, features": (lambda b: fit(b, b.x[:, 1:], b.y), ValueError, "x has 4 features"),
    "evaluate, features": (lambda b: b.trainer.evaluate(b.x[:, 1:], b.y), ValueError, "has 4 feat"),
    "train_step, features": (lambda b: b.trainer.train_step(b.x[:, 1:], b.y), ValueError, "4 feat"),
    "matmul, inner sizes": (lambda b: F.matmul(b.x, b.w, transpose_b=True, out=b.out), ValueError,
                            r"op\(a\) is \(8, 5\), op\(b\) is \(3, 5\).*transpose_b"),
    "linear, bias": (lambda b: F.linear(b.x, b.w, np.ones(4, F32), out=b.out), ValueError,
                     r"bias: expected shape \(3,\), got \(4,\)"),
    "backward, features": (lambda b: backward(b, b.x), ValueError, "grad_output has 5 features"),
    "backward, shape": (lambda b: nn.ReLU.backward(_after(nn.ReLU(), b.x), b.logits), ValueError,
                        r"ReLU.backward: grad_output: expected the shape of .*\(8, 5\), got"),
    # wrong rank
    "linear, rank": (lambda b: b.linear(b.x[0]), ValueError, r"expected 2 dim.*reshape\(1, -1\)"),
    "linear, three": (lambda b: b.linear(b.x[None]), ValueError, r"expected 2 dim.*\(1, 8, 5\)"),
    "fit, one number": (lambda b: fit(b, 3.0, b.y), ValueError, "X: expected rows, got a single"),
    "predict, rank": (lambda b: b.model.predict(b.x[0]), ValueError, "expected 2 dimensions"),
    "softmax, scalar": (lambda b: F.softmax(np.ones((), F32)), ValueError,
                        "softmax: x: expected at least one dimension"),
    "matmul, vector": (lambda b: F.matmul(b.x[0], b.w), ValueError, "expected two matrices"),
    "loss, rank": (lambda b: F.softmax_ce(b.logits[0], b.y, grad=b.grad), ValueError,
                   r"logits: expected \(rows, classes\), got shape \(3,\)"),
    "loss, target rank": (lambda b: F.softmax_ce(b.logits, b.y[:, None], grad=b.grad), TypeError,
                          "target: expected float32, got int64"),
    "fit, target rank": (lambda b: fit(b, b.x, b.y[:, None]), ValueError,
                         r"fit: y: expected shape \(8,\), one class for each row, got \(8, 1\)"),
    # mismatched batch sizes
    "loss, rows": (lambda b: F.softmax_ce(b.logits, b.y[:7], grad=b.grad), ValueError,
                   r"target: expected shape \(8,\), one class index for each row, got \(7,\)"),
    "nll, rows": (lambda b: F.nll_loss(b.logits, b.y[:7]), ValueError, "one class index for each"),
    "mse, shapes": (lambda b: F.mse_loss(b.x, b.logits), ValueError,
                    r"of x, \(8, 5\), got \(8, 3\)"),
    "backward, rows": (lambda b: backward(b, b.grad[:7]), ValueError,
                       "grad_output has 7 rows, the"),
    "fit, rows": (lambda b: fit(b, b.x, b.y[:7]), ValueError, "y has 7 rows, X has 8; pass one"),
    "fit, mse shape": (lambda b: b.mse.fit(b.x, b.y, 1, 4, verbose=0), ValueError,
                       r"y: expected rows of shape \(3,\).* has 3 outputs; .* \(8, 3\), or"),
    "validation, rows": (lambda b: fit(b, b.x, b.y, validation_data=(b.x, b.y[1:])), ValueError,
                         "fit: validation_data: y has 7 rows, X has 8"),
    "validation, none": (lambda b: fit(b, b.x, b.y, validation_data=(b.x[:0], b.y[:0])), ValueError,
                         "fit: validation_data: X has 0 rows; pass at least one"),
    "validation, width": (lambda b: fit(b, b.x, b.y, validation_data=(b.x[:, 1:], b.y)),
                          ValueError, "x has 4 features"),
    "validation, class": (lambda b: fit(b, b.x, b.y, validation_data=(b.x, b.y + 3)), IndexError,
                          "fit: validation_data: y: row 0 holds"),
    "validation, pair": (lambda b: fit(b, b.x, b.y, validation_data=b.x), TypeError, r"\(X, y\)"),
    # empty batch
    "mean of nothing": (lambda b: F.softmax_ce(b.logits[:0], b.y[:0]), ValueError,
                        "mean loss of 0 rows"),
    "mse of nothing": (lambda b: nn.MSELoss()(b.x[:0], b.x[:0]), ValueError, "mean loss of 0 rows"),
    "nll of nothing": (lambda b: F.nll_loss(b.logits[:0], b.y[:0]), ValueError,
                       "mean loss of 0 rows"),
    "fit nothing": (lambda b: fit(b, b.x[:0], b.y[:0]), ValueError, "X has 0 rows; pass at least"),
    "step on nothing": (lambda b: b.trainer.train_step(b.x[:0], b.y[:0]), ValueError,
                        "x has 0 rows"),
    "evaluate nothing": (lambda b: b.trainer.evaluate(b.x[:0], b.y[:0]), ValueError,
                         "X has 0 rows"),
    # wrong dtype, layout, kind
    "linear, float64": (lambda b: b.linear(b.x.astype(F64)), TypeError,
                        r"x: expected float32, got float64; convert .* x.astype\(np.float32\)"),
    "linear, list": (lambda b: b.linear([[1] * 5]), TypeError,
                     r"got list; convert .*np.asarray\(x"),
    "linear, foreign": (lambda b: b.linear(FOREIGN), TypeError, "in foreign byte order; convert"),
    "linear, Fortran": (lambda b: b.linear(np.asfortranarray(b.x)), ValueError,
                        "ascontiguousarray"),
    "linear, strided": (lambda b: b.linear(SPARSE), ValueError,
                        "expected a C-contiguous array, got"),
    "linear, read-only": (lambda b: b.linear(READ_ONLY), ValueError, "a read-only array; copy it"),
    "linear, object": (lambda b: b.linear(OBJECT), TypeError, "x: expected float32, got object"),
    "exp, integers": (lambda b: F.exp(b.y), TypeError, "x: expected float32 or float64, got int64"),
    "exp, float16": (lambda b: F.exp(b.x.astype(np.float16)), TypeError, "got float16; convert"),
    "mixed": (lambda b: F.matmul(b.x, b.w.astype(F64), out=b.out), TypeError,
              "b: expected float32"),
    "backward, float64": (lambda b: backward(b, b.grad.astype(F64)), TypeError, "got float64"),
    "backward, strided": (lambda b: backward(b, np.asfortranarray(b.grad)), ValueError, "C-contig"),
    "fit, object": (lambda b: fit(b, OBJECT, b.y), TypeError,
                    "real numbers, got an array of object"),
    "fit, complex": (lambda b: fit(b, b.x * 1j, b.y), TypeError,
                     "X: expected real numbers, got .*64"),
    "fit, strings": (lambda b: fit(b, b.x, list("abcdefgh")), TypeError, "np.unique"),
    "fit, masked": (lambda b: fit(b, np.ma.masked_array(b.x, b.x > 0.5), b.y), TypeError, "masked"),
    "fit, too large": (lambda b: fit(b, b.x.astype(F64) * 1e300, b.y), ValueError, "too large"),
    "fit, probabilities for NLL": (
        lambda b: nn.Trainer(nn.Sequential(b.model, nn.LogSoftmax()), nn.NLLLoss(), b.sgd).fit(
            b.x, np.full((8, 3), 1 / 3, F32), 1, 4, verbose=0),
        TypeError, "expected class indices as integers"),
    "optimiser of another": (
        lambda b: nn.Trainer(nn.Linear(5, 3), nn.SoftmaxCE(), b.sgd),
        ValueError, "none of its parameters belongs to the model"),
    "fit, ragged": (lambda b: fit(b, [[1, 2], [3]], [0, 1]), ValueError, "rows of equal length"),
    "predict, strings": (lambda b: b.model.predict([["a"] * 5]), TypeError, "real numbers, got an"),
    "out, shape": (lambda b: F.exp(b.x, out=b.out), ValueError,
                   r"out: expected shape \(8, 5\), got"),
    "out, dtype": (lambda b: F.exp(b.logits.astype(F64), out=b.out), TypeError,
                   "out: expected float64"),
    "out, read-only": (lambda b: F.exp(b.x, out=READ_ONLY), ValueError, "out: .*a read-only array"),
    "out overlaps": (lambda b: F.matmul(b.w.T.copy(), b.w, out=b.w[:3]), ValueError,
                     "out overlaps a or b"),
    "out is x": (lambda b: F.linear(b.out[:3], b.w[:3], out=b.out[:3]), ValueError,
                 "out overlaps x"),
    "grad, shape": (lambda b: F.softmax_ce(b.logits, b.y, grad=b.grad[:7]), ValueError,
                    "expected shape"),
    # targets
    "float classes": (lambda b: F.softmax_ce(b.logits, b.y.astype(F64), grad=b.grad), TypeError,
                      r"expected class indices as int64, got float64; .*astype\(np.int64\)"),
    "NaN in classes": (lambda b: F.softmax_ce(b.logits, changed(b.y, NAN), grad=b.grad), TypeError,
                       r"got float64 \(and it holds nan\)"),
    "fit, NaN class": (lambda b: fit(b, b.x, changed(b.y, NAN)), TypeError, "holds nan; check the"),
    "fit, inf class": (lambda b: fit(b, b.x, changed(b.y, INF)), TypeError, "holds inf; check the"),
    "fit, float class": (lambda b: fit(b, b.x, b.y * 1.0), TypeError, "class indices as integers"),
    "int32 classes": (lambda b: F.nll_loss(b.logits, b.y.astype(np.int32)), TypeError,
                      "expected int64"),
    "class too large": (lambda b: F.softmax_ce(b.logits, changed(b.y, 3), grad=b.grad), IndexError,
                        r"target: row 2 holds 3, expected a class in 0..2; .* 3 columns"),
    "class negative": (lambda b: nn.SoftmaxCE()(b.logits, changed(b.y, -1, 5)), IndexError,
                       "row 5 holds -1, expected a class in 0..2"),
    "nll, class": (lambda b: nn.NLLLoss()(b.logits, changed(b.y, 9)), IndexError, "row 2 holds 9"),
    "fit, class": (lambda b: fit(b, b.x, changed(b.y, 3, 7)), IndexError,
                   r"fit: y: row 7 holds 3, expected a class in 0..2; the model has 3 outputs"),
    "fit, negative": (lambda b: fit(b, b.x, changed(b.y, -1)), IndexError, "row 2 holds -1"),
    "fit, huge": (lambda b: fit(b, b.x, changed(b.y.astype(np.uint64), 2**64 - 1)), IndexError,
                  "row 2 holds 18446744073709551615, not a class"),
    "evaluate, class": (lambda b: b.trainer.evaluate(b.x, changed(b.y, 3)), IndexError,
                        "row 2 holds 3"),
    "step, class": (lambda b: b.trainer.train_step(b.x, changed(b.y, 3)), IndexError,
                    "row 2 holds 3"),
    # order of calls
    "backward first": (lambda b: b.model.backward(b.grad), RuntimeError,
                       "no forward since the last"),
    "layer first": (lambda b: b.linear.backward(b.grad), RuntimeError,
                    r"call forward\(x\), then back"),
    "loss first": (lambda b: nn.SoftmaxCE().backward(), RuntimeError,
                   r"call forward\(output, target\)"),
    # state
    "state, missing": (lambda b: b.model.load_state_dict(_state(b, drop="2.bias")), ValueError,
                       r"missing: \['2.bias'\]; not in the model: none; "),
    "state, extra": (lambda b: b.model.load_state_dict(_state(b, extra=1)), ValueError,
                     r"missing: none; not in the model: \['extra'\]"),
    "state, shape": (lambda b: b.model.load_state_dict(_state(b, **{"2.bias": np.ones(4, F32)})),
                     ValueError, r"2.bias has shape \(4,\), expected \(3,\)"),
    "state, dtype": (lambda b: b.model.load_state_dict(_state(b, **{"2.bias": np.ones(3)})),
                     TypeError, r"2.bias is float64, expected float32; convert it with .astype"),
    "state, kind": (lambda b: b.model.load_state_dict([1]), TypeError, "expected a dict of names"),
    "data, shape": (lambda b: setattr(b.linear.bias, "data", [1, 2]), ValueError,
                    r"bias.data: expected shape \(3,\), got \(2,\)"),
    "grad, kind": (lambda b: setattr(b.linear.bias, "grad", ["a"] * 3), TypeError,
                   "bias.grad: expected num"),
    # settings
    "Parameter, dtype": (lambda b: nn.Parameter([1, 2]), TypeError,
                         "expected np.float32 or np.float64"),
    "SGD, lr": (lambda b: nn.optim.SGD(b.model.parameters(), lr=-1), ValueError,
                "SGD: lr: expected a finite number >= 0, got -1"),
    "SGD, lr NaN": (lambda b: nn.optim.SGD(b.model.parameters(), lr=NAN), ValueError,
                    "lr: .*got nan"),
    "SGD, lr text": (lambda b: nn.optim.SGD(b.model.parameters(), lr="1"), TypeError,
                     "lr: .*got str"),
    "SGD, set lr": (lambda b: setattr(b.sgd, "lr", -1), ValueError, "lr: .*>= 0, got -1"),
    "SGD, momentum": (lambda b: nn.optim.SGD(b.model.parameters(), 1, 1), ValueError,
                      "momentum: .*below 1"),
    "SGD, decay": (lambda b: nn.optim.SGD(b.model.parameters(), 1, weight_decay=-1), ValueError,
                   "decay: .*>= 0, got -1"),
    "SGD, model": (lambda b: nn.optim.SGD(b.model, 1), TypeError,
                   r"got a module; pass model.parameters\(\)"),
    "SGD, none": (lambda b: nn.optim.SGD([], 1), ValueError, "at least one Parameter, got none"),
    "SGD, twice": (lambda b: nn.optim.SGD([b.linear.bias] * 2, 1), ValueError, "stands twice"),
    "SGD, arrays": (lambda b: nn.optim.SGD([b.w], 1), TypeError,
                    "expected Parameters, got an array of"),
    "batch_size 0": (lambda b: fit(b, b.x, b.y, batch_size=0), ValueError, "at least 1, got 0"),
    "batch_size 1.5": (lambda b: fit(b, b.x, b.y, batch_size=1.5), TypeError,
                       "an integer, got float"),
    "epochs 0": (lambda b: fit(b, b.x, b.y, epochs=0), ValueError, "epochs: expected at least 1"),
    "predict, batch": (lambda b: b.model.predict(b.x, 0), ValueError,
                       "batch_size: expected at least 1"),
    "predict, True": (lambda b: b.model.predict(b.x, True), TypeError, "an integer, got bool"),
    "seed": (lambda b: nn.manual_seed(-1), ValueError, r"expected 0 <= n < 2\*\*64, got -1"),
    "fit, no weight": (lambda b: b.trainer.fit(b.x, b.y, 1, sample_weight=np.zeros(len(b.x))),
        ValueError, "every row weighs 0"),
    "Trainer, seed": (lambda b: nn.Trainer(b.model, nn.MSELoss(), b.sgd, 1.5), TypeError,
                      "seed: expected an int"),
    "Trainer, class": (lambda b: nn.Trainer(b.model, nn.MSELoss, b.sgd), TypeError,
                       r"pass MSELoss\(...\)"),
    "threads 0": (lambda b: nn.set_num_threads(0), ValueError, "expected 1..1024, got 0"),
    "threads 1.0": (lambda b: nn.set_num_threads(1.0), TypeError, "expected an integer, got float"),
    "reduction": (lambda b: nn.MSELoss("max"), ValueError, "expected 'mean' or 'sum', got 'max'"),
    "activation": (lambda b: F.linear(b.x, b.w, activation="gelu", out=b.out), ValueError,
                   "'tanh', got 'gelu'"),
    "init": (lambda b: nn.Linear(2, 2, init="zeros"), ValueError, "expected one of 'he_uniform'"),
    "dtype": (lambda b: nn.Linear(2, 2, dtype=np.float16), TypeError,
              "np.float32 or np.float64, got"),
    "Linear, 0": (lambda b: nn.Linear(0, 2), ValueError, "in_features: expected at least 1, got 0"),
    "Linear, 2.0": (lambda b: nn.Linear(2, 2.0), TypeError, "out_features: expected an integer"),
    "overflow": (lambda b: nn.Linear(2**40, 2**40), ValueError,
                 "in_features=1099511627776 x out_feat"),
    "chain, list": (lambda b: nn.Sequential([nn.ReLU()]), TypeError,
                    r"pass Sequential\(\*layers\)"),
    "chain, twice": (lambda b: nn.Sequential(b.linear, nn.ReLU(), b.linear), ValueError,
                     r"stands at 0 and again at 2; make a second module"),
    "chain, inside": (lambda b: nn.Sequential(b.model, b.model[0]), ValueError,
                      "stands at 0 and again at 1"),
}  # fmt: skip


def _after(module: nn.Module, x: np.ndarray) -> nn.Module:
    module(x)
    return module


def _state(b: Bench, drop: str = "", **other) -> dict:
    state = {name: array + 1 for name, array in b.model.state_dict().items()} | other
    state.pop(drop, None)
    return state


@pytest.mark.parametrize("case", CASES)
def test_refused(case):
    call, error, message = CASES[case]
    bench = Bench()
    before = bench.everything()
    with pytest.raises(error, match=message) as caught:
        call(bench)
    assert type(caught.value) is error
    assert bench.everything() == before
    bench.trainer.fit(bench.x, bench.y, 1, 4, verbose=0)  # and all goes on


# ---- arrays that overlap are refused, except in place where that is allowed ----


def _loss_of_classes(logits: np.ndarray, out: np.ndarray) -> float:
    return F.softmax_ce(logits, np.arange(8) % 3, grad=out)


def _loss_of_probabilities(logits: np.ndarray, target: np.ndarray, out: np.ndarray) -> float:
    return F.softmax_ce(logits, target, grad=out)


# inputs and output are these rows of one array of (40, 3)
OVERLAPS = {
    "loss, its logits": (_loss_of_classes, [slice(0, 8)], slice(0, 8)),
    "loss, half its logits": (_loss_of_classes, [slice(0, 8)], slice(1, 9)),
    "loss, its target": (_loss_of_probabilities, [slice(8, 16), slice(0, 8)], slice(0, 8)),
    "exp, forwards": (F.exp, [slice(0, 39)], slice(1, 40)),
    "exp, backwards": (F.exp, [slice(1, 40)], slice(0, 39)),
    "relu, forwards": (F.relu, [slice(0, 20)], slice(10, 30)),
    "softmax, forwards": (F.softmax, [slice(0, 39)], slice(1, 40)),
    "matmul": (lambda x, out: F.matmul(x, x, out=out), [slice(0, 3)], slice(2, 5)),
    "relu in place": (F.relu, [slice(0, 40)], slice(0, 40)),
    "softmax in place": (F.softmax, [slice(0, 40)], slice(0, 40)),
    "side by side": (F.exp, [slice(0, 20)], slice(20, 40)),
}
IN_ORDER = ["relu in place", "softmax in place", "side by side"]


@pytest.mark.parametrize("case", OVERLAPS)
def test_arrays_that_overlap(case):
    call, inputs, output = OVERLAPS[case]
    a = np.random.default_rng(0).normal(size=(40, 3)).astype(F32)
    if case in IN_ORDER:
        expected = call(*(a[rows].copy() for rows in inputs)).copy()
        assert np.array_equal(call(*(a[rows] for rows in inputs), out=a[output]), expected)
        assert np.array_equal(a[output], expected)
        return
    before = a.copy()
    with pytest.raises(ValueError, match=r"(out|grad) overlaps .*; pass another array"):
        call(*(a[rows] for rows in inputs), out=a[output])
    assert np.array_equal(a, before)


# ---- files, builds and compilers ----

HEADER = struct.pack(">HBBII", 0, 8, 2, 3, 4)
FILES = {
    "truncated": (
        HEADER + bytes(11),
        "expected 12 bytes of data.* got only 11; fetch the file again",
    ),
    "longer": (HEADER + bytes(13), "expected 12 bytes of data.* got more"),
    "another format": (b"\x89PNG" + bytes(20), "does not start as an IDX file"),
    "cut in the header": (HEADER[:9], "ends in its header"),
    "empty": (b"", "got no bytes"),
    "overflow": (struct.pack(">HBBIII", 0, 14, 3, *[2**32 - 1] * 3), "a size that overflows"),
    "cut gzip": (gzip.compress(HEADER + bytes(12))[:-9], "is not a sound gzip file"),
}


@pytest.mark.parametrize("case", FILES)
def test_idx_files(case, tmp_path):
    content, message = FILES[case]
    (tmp_path / "file.idx").write_bytes(content)
    with pytest.raises(ValueError, match=f"^load_idx: .*file.idx.*{message}"):
        nn.data.load_idx(tmp_path / "file.idx")


@pytest.mark.parametrize("isa", ["neon" if "neon" not in BUILDS else "avx2", "sse9", "AVX2"])
def test_a_build_that_is_not_here(isa):
    found = run_python("import nnlite", NNLITE_ISA=isa)
    assert found.returncode != 0 and found.stdout == ""
    assert f"ImportError: NNLITE_ISA='{isa}': expected one of {', '.join(BUILDS)} " in found.stderr
    assert "unset it to get the best" in found.stderr


def test_a_compiler_that_is_missing(monkeypatch):
    build = runpy.run_path(str(Path(nn.__file__).with_name("_core") / "build.py"))
    for command in ("/nonexistent/cc", "no-such-compiler -m64"):
        monkeypatch.setenv("CC", command)
        with pytest.raises(SystemExit) as caught:
            build["compiler"]()
        message = str(caught.value)
        assert f"nnlite needs a C compiler: '{command.split()[0]}' was not found" in message
        for cure in ("apt install gcc", "dnf install gcc", "xcode-select --install", "CC"):
            assert cure in message
    monkeypatch.setenv("CC", "env -i cc")
    assert build["compiler"]() == ["env", "-i", "cc"]
    monkeypatch.setenv("NNLITE_ISAS", "portable,sse9")
    with pytest.raises(
        SystemExit, match=r"NNLITE_ISAS: unknown here: \['sse9'\]; this machine has"
    ):
        build["isas"]()
    assert os.environ["CC"] == "env -i cc"
