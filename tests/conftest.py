"""The whole suite: the same random numbers in every run, settings put back after each test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings

import nnlite as nn

# The same examples in every run, and no folder of them left behind.
settings.register_profile("nnlite", deadline=None, derandomize=True, database=None, max_examples=40)
settings.load_profile("nnlite")


@pytest.fixture(autouse=True)
def _settings_put_back():
    threads = nn.get_num_threads()
    nn.manual_seed(0)
    yield
    nn.set_num_threads(threads)
    nn.manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(20)
