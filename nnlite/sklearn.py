"""Estimators of scikit-learn that nnlite trains; needs the extra `sklearn`.

`from nnlite.sklearn import MLPClassifier` in the place of `from sklearn.neural_network import
MLPClassifier`: the same constructor, methods and attributes, and the same weights but for rounding.
"""

from .interop.sklearn import GridSearch, MLPClassifier, MLPRegressor, NetClassifier, NetRegressor

__all__ = ["GridSearch", "MLPClassifier", "MLPRegressor", "NetClassifier", "NetRegressor"]
