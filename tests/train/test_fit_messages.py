"""What users of other libraries try first is refused in words that help."""

from __future__ import annotations

import numpy as np
import pytest

import nnlite as nn

X = np.linspace(-1, 1, 80, dtype=np.float32).reshape(20, 4)
Y = np.arange(20) % 3


def trainer(make=nn.optim.Adam, **options):
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    return nn.Trainer(model, nn.SoftmaxCE(), make(model.parameters()), **options)


@pytest.mark.parametrize(
    "options, error, words",
    [
        ({"class_weight": 3.0}, TypeError, "class_weight: expected 'balanced', a dict or one"),
        ({"early_stopping": True}, TypeError, "early_stopping: expected a number of epochs"),
        ({"validation_data": X}, TypeError, r"pair \(X, y\), got an array of float32"),
    ],
)
def test_arguments_of_fit(options, error, words):
    made = trainer()
    before = made.model.state_dict()
    with pytest.raises(error, match=words):
        made.fit(X, Y, 2, 8, verbose=0, **options)
    for name, array in made.model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_lbfgs_names_its_own_loop():
    pytest.importorskip("scipy")
    with pytest.raises(TypeError, match=r"call optimizer.step\(closure\)"):
        trainer(nn.optim.LBFGS)


def test_lists_of_networks():
    made = trainer()
    with pytest.raises(TypeError, match="optimizers: expected a list, got Adam"):
        nn.fit_many([made.model], nn.SoftmaxCE(), made.optimizer, X, Y, 1, 8)
    with pytest.raises(TypeError, match="models: expected a list, got Sequential"):
        nn.fit_many(made.model, nn.SoftmaxCE(), [made.optimizer], X, Y, 1, 8)
    with pytest.raises(TypeError, match="Ensemble: models: 1: expected a Module, got int"):
        nn.Ensemble([made.model, 1])


def test_accuracy_of_one_column_of_numbers_is_refused():
    model = nn.Linear(4, 1)
    made = nn.Trainer(model, nn.MSELoss(), nn.optim.SGD(model.parameters()))
    with pytest.raises(TypeError, match="accuracy: target: expected class indices"):
        made.evaluate(X, np.ones((20, 1), np.float32), metrics=["accuracy"])


def test_resume_without_the_schedule(tmp_path):
    path = tmp_path / "fit.safetensors"

    def begin():
        made = trainer(checkpoint=path)
        return made, nn.optim.StepLR(made.optimizer, 1)

    def stop(trainer, epoch, values):
        if epoch == 1 and len(values):
            raise RuntimeError

    made, schedule = begin()
    with pytest.raises(RuntimeError):
        made.fit(X, Y, 4, 8, verbose=0, schedule=schedule, callbacks=stop)
    made, schedule = begin()
    with pytest.raises(ValueError, match="the interrupted fit had a schedule"):
        made.fit(X, Y, 4, 8, verbose=0, resume=True, callbacks=lambda *values: None)
    made, schedule = begin()
    found = made.fit(
        X, Y, 4, 8, verbose=0, resume=True, schedule=schedule, callbacks=lambda *values: None
    )
    np.testing.assert_allclose(found["lr"], [1e-3, 1e-4, 1e-5, 1e-6], rtol=1e-12)


def test_a_trainer_says_what_it_is():
    made = trainer()
    made.fit(X, Y, 2, 8, verbose=0)
    assert repr(made).startswith("Trainer(SoftmaxCE(reduction='mean'), Adam(lr=0.001")
    assert repr(made).endswith("seed=0)  # 2 epochs begun, 6 steps")
