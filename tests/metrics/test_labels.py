"""Precision, recall, F1, balanced and multi-label accuracy, AUC and log loss: scikit-learn's
figures on random data, the same bits for any batches, and what is refused."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nnlite as nn
from nnlite import metrics as M

NAN = math.nan
RATES = {"precision": M.precision_score, "recall": M.recall_score, "f1": M.f1_score}
seeds = st.integers(0, 2**16)
zero_divisions = st.sampled_from([0, 1, NAN])


@pytest.fixture(scope="module")
def theirs():
    return pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


def weights_of(rng, rows, kind):
    """None, numbers, or numbers many of which are 0, never all."""
    if kind == "some 0":
        return np.append(rng.integers(0, 3, rows - 1), 1.0)
    return rng.random(rows) if kind else None


kinds_of_weight = st.sampled_from([None, "random", "some 0"])


@given(
    seeds, st.integers(1, 60), st.integers(2, 6), kinds_of_weight, zero_divisions,
    st.sampled_from(["micro", "macro", "weighted", None]), st.booleans(), st.booleans(),
)  # fmt: skip
def test_rates_of_classes(theirs, seed, rows, classes, kind, zero, average, named, scored):
    """Few rows, so that classes are absent from the target, the predictions or both."""
    rng = np.random.default_rng(seed)
    true, output = rng.integers(0, classes, rows), rng.integers(0, classes, rows)
    weight = weights_of(rng, rows, kind)
    labels = [int(k) for k in rng.permutation(classes + 2)[: classes - 1]] if named else None
    given_output = output
    if scored:
        given_output = rng.integers(0, 3, (rows, classes)).astype(np.float32)
        output = given_output.argmax(axis=1)
    how = {"average": average, "labels": labels, "zero_division": zero}
    for name, own in RATES.items():
        expected = getattr(theirs, f"{name}_score")(true, output, sample_weight=weight, **how)
        found = own(true, given_output, weight, **how)
        close(found, expected)
        assert np.shape(found) == np.shape(expected)


@given(seeds, st.integers(1, 20), kinds_of_weight, zero_divisions, st.integers(0, 1))
def test_rates_of_two_labels(theirs, seed, rows, kind, zero, positive):
    rng = np.random.default_rng(seed)
    true, output = rng.integers(0, 2, (2, rows))
    weight = weights_of(rng, rows, kind)
    how = {"pos_label": positive, "zero_division": zero}
    scores = np.where(output, 0.75, 0.5)  # 1/2 is not above 1/2
    for name, own in RATES.items():
        if len(np.union1d(true, output)) > 1 or positive in true:
            theirs_of = getattr(theirs, f"{name}_score")
            expected = theirs_of(true, output, sample_weight=weight, **how)
            for given_output in (output, scores, scores[:, None], np.eye(2)[output]):
                close(own(true, given_output, weight, **how), expected)
            close(
                own(true[:, None] * 1.0, 4 * scores - 2, weight, from_logits=True, **how), expected
            )


@given(
    seeds, st.integers(1, 12), st.integers(2, 5), kinds_of_weight, zero_divisions,
    st.sampled_from(["micro", "macro", "weighted", "samples", None]), st.booleans(),
)  # fmt: skip
def test_rates_of_sets(theirs, seed, rows, labels, kind, zero, average, named):
    rng = np.random.default_rng(seed)
    true = (rng.random((rows, labels)) < 0.4).astype(int)
    scores = rng.integers(0, 5, (rows, labels)) / 4
    weight = weights_of(rng, rows, kind)
    chosen = [int(k) for k in rng.permutation(labels)[: labels - 1]] if named else None
    how = {"average": average, "labels": chosen, "zero_division": zero}
    for name, own in RATES.items():
        sets = (scores > 0.5).astype(int)
        expected = getattr(theirs, f"{name}_score")(true, sets, sample_weight=weight, **how)
        for output in (sets, scores, sets.astype(bool)):
            close(own(true, output, weight, **how), expected)
        close(own(true, scores - 0.5, weight, from_logits=True, **how), expected)


@given(seeds, st.integers(2, 40), st.integers(2, 5), kinds_of_weight, st.booleans())
def test_balanced_accuracy(theirs, seed, rows, classes, kind, adjusted):
    rng = np.random.default_rng(seed)
    true, output = rng.integers(0, classes, (2, rows))
    weight = weights_of(rng, rows, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs.balanced_accuracy_score(
            true, output, sample_weight=weight, adjusted=adjusted
        )
        found = M.balanced_accuracy_score(true, output, weight, adjusted=adjusted)
    close(found, expected)


@given(seeds, st.integers(1, 30), st.integers(2, 5), kinds_of_weight)
def test_accuracy_of_sets(theirs, seed, rows, labels, kind):
    rng = np.random.default_rng(seed)
    true, output = rng.integers(0, 2, (2, rows, labels))
    weight = weights_of(rng, rows, kind)
    how = {"sample_weight": weight}
    close(M.multilabel_accuracy(true, output, weight), theirs.accuracy_score(true, output, **how))
    mean = M.multilabel_accuracy(true, output, weight, average="macro")
    close(mean, 1 - theirs.hamming_loss(true, output, **how))
    each = M.multilabel_accuracy(true, output * 0.5 + 0.2, weight, average=None)
    close(each, [theirs.accuracy_score(true[:, k], output[:, k], **how) for k in range(labels)])


def probabilities(rng, rows, classes, ties):
    raw = rng.integers(1, 4, (rows, classes)) * 1.0 if ties else rng.random((rows, classes)) + 0.01
    return raw / raw.sum(axis=1, keepdims=True)


@given(seeds, st.integers(2, 40), st.booleans(), kinds_of_weight,
       st.sampled_from([None, 0.1, 0.5, 1.0]))  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_auc_of_two_classes(theirs, seed, rows, ties, kind, most):
    rng = np.random.default_rng(seed)
    true, p = rng.integers(0, 2, rows), probabilities(rng, rows, 2, ties)
    weight = weights_of(rng, rows, kind)
    if most == 0.1 or most == 0.5:
        kept = rng.random(rows) < 2 if weight is None else weight > 0
        if len(np.unique(true[kept])) < 2:
            return  # theirs fails there
    expected = theirs.roc_auc_score(true, p[:, 1], sample_weight=weight, max_fpr=most)
    close(M.roc_auc_score(true, p[:, 1], weight, max_fpr=most), expected)
    close(M.roc_auc_score(2 * true - 1, p[:, 1:] * 5 - 3, weight, max_fpr=most), expected)
    close(M.roc_auc_score(true, p, weight, max_fpr=most), expected)


@given(
    seeds, st.integers(6, 40), st.integers(3, 5), st.booleans(), kinds_of_weight,
    st.sampled_from(["macro", "weighted", "micro", None]), st.booleans(),
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_auc_of_classes(theirs, seed, rows, classes, ties, kind, average, absent):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes - absent, rows)
    p = probabilities(rng, rows, classes, ties)
    weight, labels = weights_of(rng, rows, kind), np.arange(classes)
    how = {"average": average, "multi_class": "ovr", "labels": labels}
    close(M.roc_auc_score(true, p, weight, **how),
          theirs.roc_auc_score(true, p, sample_weight=weight, **how))  # fmt: skip
    if average in ("macro", "weighted") and len(np.unique(true)) > 1:
        how["multi_class"] = "ovo"
        close(M.roc_auc_score(true, p, **how), theirs.roc_auc_score(true, p, **how))


@given(
    seeds, st.integers(1, 20), st.integers(2, 5), st.booleans(), kinds_of_weight,
    st.sampled_from(["macro", "weighted", "micro", "samples", None]),
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_auc_of_sets(theirs, seed, rows, labels, ties, kind, average):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 2, (rows, labels))
    scores = rng.integers(0, 4, true.shape) if ties else rng.normal(size=true.shape)
    weight = weights_of(rng, rows, kind)
    expected = theirs.roc_auc_score(true, scores, sample_weight=weight, average=average)
    close(M.roc_auc_score(true, scores, weight, average=average), expected)


@given(seeds, st.integers(1, 40), st.integers(2, 5), kinds_of_weight, st.booleans(), st.booleans())
def test_log_loss(theirs, seed, rows, classes, kind, normalize, sure):
    rng = np.random.default_rng(seed)
    true, p = rng.integers(0, classes, rows), probabilities(rng, rows, classes, False)
    if sure:
        p = np.eye(classes)[rng.integers(0, classes, rows)]  # 0 and 1, which are clipped
    weight = weights_of(rng, rows, kind)
    how = {"normalize": normalize, "labels": np.arange(classes)}
    expected = theirs.log_loss(true, p, sample_weight=weight, **how)
    close(M.log_loss(true, p, weight, **how), expected)
    if classes == 2:
        close(M.log_loss(true, p[:, 1], weight, normalize=normalize), expected)
    how["labels"] = 3 * how["labels"] - 4
    close(M.log_loss(3 * true - 4, p, weight, **how), expected)
    if not sure:
        close(
            M.log_loss(true, np.log(p) + 5, weight, normalize=normalize, from_logits=True), expected
        )


def test_float32_probabilities_are_clipped_by_their_own_rounding(theirs):
    p = np.array([[1, 0], [0.25, 0.75]], np.float32)
    expected = theirs.log_loss([1, 0], p)
    assert M.log_loss([1, 0], p) == pytest.approx(expected, rel=1e-6)
    assert M.log_loss([1, 0], p.astype(float)) == pytest.approx(-np.log(2.0**-52 * 0.25) / 2)


def test_columns_stand_for_the_labels_found(theirs, rng):
    """Where y_true has as many labels as there are columns; else for 0, 1, 2, ..."""
    true, p = rng.choice([3, 7, 1000], 60), rng.dirichlet(np.ones(3), 60)
    for way in ("ovr", "ovo"):
        expected = theirs.roc_auc_score(true, p, multi_class=way)
        close(M.roc_auc_score(true, p, multi_class=way), expected)
    close(M.log_loss(true, p), theirs.log_loss(true, p))
    close(
        M.log_loss(true > 3, p[:, :2] / p[:, :2].sum(axis=1, keepdims=True)),
        theirs.log_loss(true > 3, p[:, :2] / p[:, :2].sum(axis=1, keepdims=True)),
    )
    close(M.log_loss([-100, 0, 1], p[:3]), M.log_loss([0, 1], p[1:3]))  # that label does not count
    close(M.log_loss([0, 2, 2], p[:3]), theirs.log_loss([0, 2, 2], p[:3], labels=[0, 1, 2]))


def test_logits_are_never_clipped():
    assert M.log_loss([1, 1], np.array([[800.0, 0], [0, 0]]), from_logits=True) == pytest.approx(
        (800 + np.log(2)) / 2
    )
    assert M.log_loss([1, 0], [-700.0, -700], from_logits=True) == pytest.approx(350)
    with pytest.warns(UserWarning, match="do not sum to one"):
        M.log_loss([0, 1], [[0.5, 0.4], [0.5, 0.5]])


def test_by_hand():
    true, predicted = [0, 1, 1, 0, 1], [0, 1, 0, 1, 1]
    assert (
        M.precision(true, predicted) == M.recall(true, predicted) == 2 / 3 == M.f1(true, predicted)
    )
    assert M.precision(true, predicted, [1, 1, 1, 0.5, 1]) == 2 / 2.5
    assert M.balanced_accuracy(true, predicted) == (1 / 2 + 2 / 3) / 2
    assert M.precision([2, 2, 0], [2, 0, 0], average=None).tolist() == [0.5, 1]
    assert M.precision([2, 2, 0], [2, 0, 0], average=None, labels=[2, 1, 0], zero_division=1
                       ).tolist() == [1, 1, 0.5]  # fmt: skip
    assert M.auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8]) == 3.5 / 4
    assert M.auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8], [1, 2, 1, 0]) == pytest.approx(2 / 3)
    assert M.multilabel_accuracy([[1, 0], [1, 1]], [[1, 1], [1, 1]]) == 0.5
    assert M.multilabel_accuracy([[1, 0], [1, 1]], [[1, 1], [1, 1]], average=None).tolist() == [
        1,
        0.5,
    ]


CASES = {
    **{name: make for name, make in M.NAMES.items()
       if name not in ("mse", "mae", "r2", "accuracy", "confusion_matrix", "multilabel_accuracy")},
    **{name: make for name, make in M.VARIANTS.items()
       if not name.startswith("multi") and not name.endswith("samples")},
}  # fmt: skip
SETS = {
    **{f"multilabel_{a}": lambda a=a: M.MultilabelAccuracy(a) for a in ("subset", "macro", None)},
    **{f"{k.name}_{a}": lambda k=k, a=a: k(a) for k in (M.Precision, M.Recall, M.F1)
       for a in ("micro", "macro", "weighted", "samples", None)},
    **{f"auc_{a}": lambda a=a: M.AUC(a) for a in ("micro", "macro", "weighted", "samples", None)},
}  # fmt: skip


@given(
    seeds, st.integers(1, 50), st.lists(st.integers(0, 50), max_size=6), st.booleans(),
    st.sampled_from([2, 5]), st.sampled_from([np.float32, np.float64]),
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_batches_change_no_bit(seed, rows, cuts, weighted, classes, dtype):
    rng = np.random.default_rng(seed)
    p = probabilities(rng, rows, classes, False).astype(dtype)
    true, sets = rng.integers(0, classes, rows), rng.integers(0, 2, (rows, classes))
    weight = rng.random(rows) if weighted else None
    edges = sorted({0, rows, *(min(cut, rows) for cut in cuts)})
    for makes, target in ((CASES, true), (SETS, sets)):
        for name, make in makes.items():
            if "ovo" in name and weighted and classes > 2:
                continue
            at_once, metric = make(), make()
            at_once.update(p, target, weight)
            for i, j in itertools.pairwise(edges):
                metric.update(p[i:j], target[i:j], None if weight is None else weight[i:j])
            assert np.asarray(metric.value()).tobytes() == np.asarray(at_once.value()).tobytes(), (
                name
            )
            metric.reset()
            assert np.isnan(metric.value()), name


def test_outputs_are_copied():
    """A trainer's outputs lie in a buffer that the next epoch overwrites."""
    metric, p = M.AUC(), np.array([[0.1, 0.9], [0.8, 0.2]])
    metric.update(p, np.array([1, 0]))
    p[:] = p[::-1].copy()
    assert metric.value() == 1


def test_nan_predicts_nothing():
    scores = np.array([[np.nan, 1], [0, 1], [1, 0]])
    assert M.recall([1, 1, 0], scores) == 0.5 and M.precision([1, 1, 0], scores) == 1
    assert M.f1([1, 1], [np.nan, 0.9]) == 2 / 3
    assert M.balanced_accuracy([1, 1, 0], scores) == 0.75
    assert M.multilabel_accuracy([[1, 0]], [[np.nan, np.nan]], average="macro") == 0
    for refused in (M.auc, M.log_loss):
        with pytest.raises(ValueError, match="output: row 1 holds NaN"):
            refused([0, 1], [0.5, np.nan])
    assert M.auc([0, 1, 1], [0.1, 0.3, np.nan], [1, 1, 0]) == 1  # whatever a row of weight 0 holds


def test_nothing_gives_nan():
    for name, make in (CASES | SETS).items():
        assert math.isnan(make().value()), name
    for figure in (M.log_loss, M.balanced_accuracy):
        assert math.isnan(figure([0, 1], np.eye(2), [0, 0]))


def test_rows_with_ignore_index_do_not_count():
    true, p = np.array([0, 1, -100, 2]), np.eye(3)[[0, 1, 2, 2]] * 0.7 + 0.1
    for name in ("precision", "recall", "f1", "balanced_accuracy", "auc"):
        metric = M.resolve(name)[0]
        metric.update(p, true)
        assert metric.value() == 1, name
    metric = M.resolve("log_loss", ignore_index=2)[0]
    metric.update(p[:2], true[:2])
    metric.update(p[3:], true[3:])
    assert metric.value() == pytest.approx(-np.log(0.8))


def test_undefined_figures_warn_unless_told():
    with pytest.warns(M.UndefinedMetricWarning, match="precision is ill-defined"):
        assert M.precision([1, 0], [0, 0]) == 0
    with pytest.warns(M.UndefinedMetricWarning, match="recall is ill-defined"):
        assert M.recall([0, 0], [1, 0]) == 0
    with pytest.warns(M.UndefinedMetricWarning, match="f1 is ill-defined"):
        assert M.f1([0, 0], [0, 0]) == 0
    with pytest.warns(M.UndefinedMetricWarning, match="precision_samples is ill-defined"):
        assert M.precision([[0, 1]], [[0, 0]], average="samples") == 0
    with pytest.warns(M.UndefinedMetricWarning, match="only one class"):
        assert math.isnan(M.auc([1, 1], [0.2, 0.3]))
    with pytest.warns(UserWarning, match="classes not in y_true"):
        assert M.balanced_accuracy([0, 0], [0, 1]) == 0.5
    metric = M.Precision()  # in a fit: 0, without a warning each epoch
    metric.update([0, 0], [1, 0])
    assert metric.value() == 0


def test_names():
    wanted = ["precision", "F1_macro", "recall_samples", "auc", "roc_auc_ovo_weighted", "log_loss",
              "balanced_accuracy", "multilabel_accuracy_macro"]  # fmt: skip
    found = M.resolve(wanted)
    assert [metric.name for metric in found] == [name.lower() for name in wanted]
    assert found[1].average == "macro" and found[4].multi_class == "ovo"
    assert found[4].average == "weighted" and M.resolve("auc")[0].multi_class == "ovr"
    assert M.resolve("f1", ignore_index=7)[0].ignore_index == 7
    assert all(map(M.larger_is_better, [*map(str.lower, wanted[:5]), "val_f1", "val_roc_auc"]))
    assert not any(map(M.larger_is_better, ["log_loss", "val_log_loss", "f2"]))
    assert (
        M.F1("macro").name == "f1_macro" and M.F1(None).name == "f1_labels" and M.F1().name == "f1"
    )
    assert nn.callbacks.EarlyStopping("val_f1_macro")._sign == -1


REFUSED = {
    "average": (lambda: M.Precision("mean"), ValueError, "precision: average has to be one of"),
    "binary of three": (lambda: M.precision([0, 1, 2], [0, 1, 2]), ValueError,
                        "Target is multiclass but average='binary'. Please choose another average"),
    "binary of sets": (lambda: M.recall([[0, 1]], [[1, 1]]), ValueError,
                       "Target is multilabel-indicator but average='binary'"),
    "samples of classes": (lambda: M.f1([0, 1], [0, 1], average="samples"), ValueError,
                           "'samples' is for sets of labels"),
    "pos_label": (lambda: M.f1([0, 1], [0, 1], pos_label=5), ValueError,
                  r"pos_label=5 is not a valid label; it should be one of \[0, 1\]"),
    "zero_division": (lambda: M.F1(zero_division=2), ValueError, "expected 'warn', 0, 1"),
    "zero_division text": (lambda: M.F1(zero_division="no"), ValueError, "got 'no'"),
    "labels": (lambda: M.F1(labels=[0.5]), TypeError, "labels: expected integers"),
    "labels twice": (lambda: M.F1(labels=[1, 1]), ValueError, "labels: expected each once"),
    "label of a set": (lambda: M.f1([[0, 1]], [[0, 1]], average=None, labels=[2]), ValueError,
                       r"labels: 2 is none of a set of 2; expected 0\.\.1"),
    "from_logits": (lambda: M.F1(from_logits="yes"), TypeError, "from_logits: expected True"),
    "continuous": (lambda: M.recall([0.5, 1], [0, 1]), ValueError, "target: row 0 holds 0.5"),
    "target of 3 dimensions": (lambda: M.recall(np.zeros((2, 1, 2)), [0, 1]), ValueError,
                               r"target: expected shape \(rows,\)"),
    "no set": (lambda: M.f1([[0, 2]], [[0, 1]], average="micro"), ValueError,
               "target: row 0 holds 2, expected 0 and 1"),
    "no set predicted": (lambda: M.f1([[0, 1]], [[0, 3]], average="micro"), ValueError,
                         "output: row 0 holds 3, expected 0 and 1"),
    "shape of sets": (lambda: M.f1([[0, 1]], [[0, 1, 1]], average="micro"), ValueError,
                      r"expected the shape of target, \(1, 2\)"),
    "class beyond": (lambda: M.recall([0, 4], np.eye(2), average="macro"), IndexError,
                     r"recall_macro: target: row 1 holds 4, expected a class in 0\.\.1"),
    "one score of three": (lambda: M.recall([0, 2], [0.5, 0.1]), ValueError,
                           "target holds 2; pass labels as integers, or one score for each"),
    "rows": (lambda: M.recall([0, 1, 1], [0, 1]), ValueError, r"output has shape \(2,\), target"),
    "weights": (lambda: M.recall([0, 1], [0, 1], [1, -1]), ValueError, "row 1 has -1.0"),
    "text": (lambda: M.recall(["a", "b"], ["a", "b"]), TypeError, "expected numbers"),
    "balanced of sets": (lambda: M.balanced_accuracy([[0, 1]], [[0, 1]]), ValueError,
                         "multilabel-indicator is not supported"),
    "log loss of sets": (lambda: M.log_loss([[0, 1]], [[0, 1.0]]), ValueError,
                         "multilabel-indicator is not supported"),
    "sets of classes": (lambda: M.multilabel_accuracy([0, 1], [0, 1]), ValueError,
                        "for one class a row take accuracy"),
    "multi_class": (lambda: M.AUC(multi_class="all"), ValueError, "multi_class has to be one of"),
    "multi_class raise": (lambda: M.auc([0, 1, 2], np.eye(3)), ValueError,
                          r"multi_class must be in \('ovo', 'ovr'\)"),
    "scores of three": (lambda: M.auc([0, 1, 2], [0.1, 0.2, 0.3]), ValueError,
                        r"target contains the classes \[0, 1, 2\]"),
    "no probabilities": (lambda: M.auc([0, 1, 2], np.eye(3) * 2, multi_class="ovr"), ValueError,
                         "row 0 adds up to 2; for logits pass from_logits=True"),
    "weighted pairs": (lambda: M.auc([0, 1, 2], np.eye(3), [1, 1, 1], multi_class="ovo"),
                       ValueError, "sample_weight is not supported for multi_class='ovo'"),
    "micro pairs": (lambda: M.auc([0, 1, 2], np.eye(3), average="micro", multi_class="ovo"),
                    ValueError, "average must be one of"),
    "part of three": (lambda: M.auc([0, 1, 2], np.eye(3), max_fpr=0.5, multi_class="ovr"),
                      ValueError, "max_fpr: must be None"),
    "max_fpr": (lambda: M.AUC(max_fpr=1.5), ValueError, "max_fpr: expected a finite number > 0"),
    "columns": (lambda: M.log_loss([0, 1], np.eye(2), labels=[0, 1, 2]), ValueError,
                "3 labels were given, the output has 2 columns"),
    "unknown label": (lambda: M.log_loss([0, 5], np.eye(2), labels=[0, 1]), ValueError,
                      "contains the label 5, which is not in labels"),
    "order of labels": (lambda: M.LogLoss(labels=[1, 0]), ValueError, "must be ordered"),
    "above 1": (lambda: M.log_loss([0, 1], np.eye(2) * 3), ValueError, "values greater than 1"),
    "below 0": (lambda: M.log_loss([0, 1], np.eye(2) - 1), ValueError, "values lower than 0"),
    "log loss of one score": (lambda: M.log_loss([0, 2], [0.1, 0.3]), ValueError,
                              "for the classes 0 and 1, and target holds 2"),
    "masked": (lambda: M.f1(np.ma.array([0, 1], mask=[1, 0]), [0, 1]), TypeError, "masked"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    function, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        function()


@pytest.mark.parametrize("make", [M.Precision, M.AUC, M.LogLoss, M.BalancedAccuracy])
def test_a_refused_update_adds_nothing(make):
    metric = make()
    p = np.array([[0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])
    metric.update(p, np.array([1, 0, 0]))
    before = metric.value()
    for output, target, weight in (
        (p, [0, 1, 2], None), (p[:2], [0, 1, 1], None), (p, [0, 1, 1], [1, 2, np.nan]),
        (np.c_[p, p], [0, 1, 1], None), (p, [[0, 1], [1, 1], [1, 0]], None),
    ):  # fmt: skip
        with pytest.raises((ValueError, IndexError)):
            metric.update(output, target, weight)
        assert metric.value() == before
