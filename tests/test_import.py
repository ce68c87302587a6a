"""`import nnlite` loads little, and every public name is there and what it should be."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import nnlite as nn

CODE = """
import sys
import numpy, _cffi_backend
before = set(sys.modules)
import nnlite as nn
print(" ".join(sorted(set(sys.modules) - before)))
import importlib, pkgutil
for package in (nn, nn.autograd, nn.optim, nn.metrics, nn.data):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__") and "_kernels" not in module.name:
            importlib.import_module(module.name)
    for name in package.__all__:
        print(package.__name__, name, type(getattr(package, name)).__name__)
"""

MODULES = {"autograd", "callbacks", "data", "functional", "init", "metrics", "optim"}


def test_names_and_what_is_loaded():
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    first, *names = run.stdout.splitlines()
    loaded = first.split()
    heavy = {"json", "csv", "ssl", "urllib.parse", "subprocess", "shutil", "lzma", "safetensors",
             "tqdm", "scipy", "sklearn", "joblib", "pandas", "dask", "matplotlib",
             "nnlite.train.trainer", "nnlite.checkpoint",
             "nnlite.autograd.check.gradcheck"}  # fmt: skip
    assert not heavy & set(loaded)
    ours = [name for name in loaded if name.startswith("nnlite")]
    packages = {name.rpartition(".")[0] for name in ours}
    assert len([name for name in ours if name not in packages]) < 60
    for line in names:
        package, name, kind = line.split()
        assert (kind == "module") == (package == "nnlite" and name in MODULES), line


def test_the_estimators_are_imported_when_they_are_used():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    import nnlite.sklearn as estimators

    assert nn.sklearn is estimators and {"GridSearch", "MLPClassifier"} <= set(nn.sklearn.__all__)
    code = "import sys, nnlite as nn; nn.Trainer, nn.metrics; assert 'sklearn' not in sys.modules"
    code += "; nn.sklearn.NetClassifier; assert 'sklearn' in sys.modules"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_an_unknown_name_is_an_attribute_error():
    for package in (nn, nn.autograd):
        assert isinstance(package, ModuleType) and not hasattr(package, "no_such_name")
        assert set(package.__all__) <= set(dir(package))
