"""nnlite's networks as estimators of scikit-learn; the public name is `nnlite.sklearn`."""

from __future__ import annotations

from ..._core.extras import require

require("sklearn", "sklearn", "nnlite.sklearn", "scikit-learn")

from ._mlp import MLPClassifier, MLPRegressor  # noqa: E402
from ._net import NetClassifier, NetRegressor  # noqa: E402
from ._search import GridSearch  # noqa: E402

__all__ = ["GridSearch", "MLPClassifier", "MLPRegressor", "NetClassifier", "NetRegressor"]
