"""scikit-learn's own tests of its perceptrons, read from its installation, with nnlite's in their
place: one import line is swapped, and every test of the file is one of this module."""

from __future__ import annotations

from pathlib import Path

import pytest

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

_FILE = Path(sklearn.__file__).parent / "neural_network" / "tests" / "test_mlp.py"
if not _FILE.exists():
    pytest.skip("this scikit-learn is installed without its tests", allow_module_level=True)

_THEIRS = "from sklearn.neural_network import MLPClassifier, MLPRegressor\n"
_SOURCE = _FILE.read_text(encoding="utf-8")
assert _SOURCE.count(_THEIRS) == 1, f"{_FILE} imports its estimators in another way"
_swapped = _SOURCE.replace(_THEIRS, "from nnlite.sklearn import MLPClassifier, MLPRegressor\n")
exec(compile(_swapped.replace("from __future__ import annotations\n", ""), str(_FILE), "exec"))


@pytest.fixture
def global_random_seed() -> int:
    return 42


def test_the_import_was_swapped() -> None:
    estimators = {globals()["MLPClassifier"], globals()["MLPRegressor"]}
    assert {kind.__module__.partition(".")[0] for kind in estimators} == {"nnlite"}
    assert sum(name.startswith("test_") for name in globals()) > 40
