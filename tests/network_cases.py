"""Networks that are no chains of the library's layers; rows are (6,) unless the class says so."""

from __future__ import annotations

import numpy as np

import nnlite as nn

INPUTS, CLASSES = 6, 3


def residual(dtype):
    block = nn.Sequential(
        nn.Linear(8, 8, dtype=dtype), nn.Tanh(), nn.Dropout(0.25), nn.Linear(8, 8, dtype=dtype)
    )
    return nn.Sequential(
        nn.Linear(INPUTS, 8, dtype=dtype), nn.ReLU(), nn.Residual(block),
        nn.Residual(nn.Residual(nn.Linear(8, 8, dtype=dtype))), nn.Linear(8, CLASSES, dtype=dtype),
    )  # fmt: skip


def concatenated(dtype):
    branches = nn.Concat(
        nn.Sequential(nn.Linear(INPUTS, 5, dtype=dtype), nn.Tanh()),
        nn.Identity(),
        nn.Sequential(nn.Linear(INPUTS, 3, dtype=dtype), nn.Sigmoid(), nn.Dropout(0.5)),
    )
    return nn.Sequential(branches, nn.Lambda(nn.functional.relu), nn.Linear(14, CLASSES,
                                                                         dtype=dtype))  # fmt: skip


def flattened(dtype):
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 7, dtype=dtype), nn.ReLU(),
                         nn.Linear(7, CLASSES, dtype=dtype))  # fmt: skip


flattened.shape = (4, 3)


def dropout_first(dtype):
    return nn.Sequential(nn.Dropout(0.2), nn.Linear(INPUTS, CLASSES, dtype=dtype))


def activation_first(dtype):
    return nn.Sequential(nn.Tanh(), nn.Linear(INPUTS, CLASSES, dtype=dtype))


class Added(nn.Module):
    """Two branches, added."""

    def __init__(self, dtype=np.float32):
        self.dtype = dtype
        self.left, self.right = nn.Linear(INPUTS, 7, dtype=dtype), nn.Linear(INPUTS, 7, dtype=dtype)
        self.head = nn.Linear(7, CLASSES, dtype=dtype)

    def forward(self, x):
        return self.head(nn.autograd.tanh(self.left(x)) + nn.autograd.relu(self.right(x)))


class Twice(nn.Module):
    """One Linear used twice."""

    def __init__(self, dtype=np.float32):
        self.inner = nn.Linear(INPUTS, INPUTS, dtype=dtype)
        self.head = nn.Linear(INPUTS, CLASSES, dtype=dtype)

    def forward(self, x):
        return self.head(self.inner(nn.autograd.tanh(self.inner(x))))


class Own(nn.Module):
    """Parameters of its own, in operators."""

    def __init__(self, dtype=np.float32):
        rng = np.random.default_rng(5)
        self.W = nn.Parameter(rng.normal(size=(INPUTS, 5)).astype(dtype))
        self.V = nn.Parameter(rng.normal(size=(5, CLASSES)).astype(dtype))
        self.b = nn.Parameter(np.zeros(5, dtype))
        self.scale = nn.Parameter(np.ones((), dtype))

    def forward(self, x):
        h = nn.autograd.sigmoid(x @ self.W + self.b) * self.scale
        return (h - h.mean(axis=1, keepdims=True)) @ self.V / 2.0


class Split(nn.Module):
    """Two inputs in one array."""

    def __init__(self, dtype=np.float32):
        self.a, self.b = nn.Linear(2, 5, dtype=dtype), nn.Linear(4, 5, dtype=dtype)
        self.head = nn.Linear(5, CLASSES, dtype=dtype)

    def forward(self, x):
        return self.head(nn.autograd.relu(self.a(x[:, :2])) * nn.autograd.tanh(self.b(x[:, 2:])))


class Tied(nn.Module):
    """An autoencoder with W and its transpose."""

    def __init__(self, dtype=np.float32):
        rng = np.random.default_rng(6)
        self.W = nn.Parameter((rng.normal(size=(INPUTS, 4)) * 0.5).astype(dtype))
        self.b, self.c = nn.Parameter(np.zeros(4, dtype)), nn.Parameter(np.zeros(INPUTS, dtype))

    def forward(self, x):
        return nn.autograd.tanh(x @ self.W + self.b) @ self.W.T + self.c


Tied.reconstructs = True


class Standardise(nn.Module):
    """A layer normalisation, the first of the network."""

    def __init__(self, width, dtype=np.float32):
        self.gain, self.shift = (
            nn.Parameter(np.ones(width, dtype)), nn.Parameter(np.zeros(width, dtype))
        )  # fmt: skip

    def forward(self, x):
        centred = x - x.mean(axis=-1, keepdims=True)
        spread = ((centred * centred).mean(axis=-1, keepdims=True) + 1e-5).sqrt()
        return centred / spread * self.gain + self.shift


def normalised_first(dtype):
    return nn.Sequential(
        Standardise(INPUTS, dtype), nn.Linear(INPUTS, 6, dtype=dtype), nn.ReLU(),
        nn.Residual(nn.Sequential(Standardise(6, dtype), nn.Linear(6, 6, dtype=dtype))),
        nn.Linear(6, CLASSES, dtype=dtype),
    )  # fmt: skip


class OverTheBatch(nn.Module):
    """A batch normalisation without running statistics."""

    def __init__(self, dtype=np.float32):
        self.first = nn.Linear(INPUTS, 5, dtype=dtype)
        self.gain = nn.Parameter(np.ones(5, dtype))
        self.head = nn.Linear(5, CLASSES, dtype=dtype)

    def forward(self, x):
        h = self.first(x)
        h = h - h.mean(axis=0)
        h = h / ((h * h).mean(axis=0, keepdims=True) + 1e-3).sqrt()
        return self.head(nn.autograd.relu(h * self.gain))


class Attention(nn.Module):
    """Self-attention over (N, T, d), then a mean over T."""

    shape = (5, 4)

    def __init__(self, dtype=np.float32):
        self.q, self.k, self.v = (nn.Linear(4, 4, dtype=dtype) for _ in range(3))
        self.head = nn.Linear(4, CLASSES, dtype=dtype)

    def forward(self, x):
        q, k, v = self.project(x)
        scores = q @ k.transpose((0, 2, 1)) * 0.5
        return self.head((nn.autograd.softmax(scores) @ v + x).mean(axis=1))

    def project(self, x):
        rows = x.reshape(-1, 4)
        return [f(rows).reshape(-1, 5, 4) for f in (self.q, self.k, self.v)]


class AttentionOfShapes(Attention):
    """The same, that reads the batch size."""

    def project(self, x):
        n, t, d = x.shape
        rows = x.reshape(n * t, d)
        return [f(rows).reshape(n, t, d) for f in (self.q, self.k, self.v)]


class ReadsRows(nn.Module):
    """Reads len(x) and x.shape[0]."""

    def __init__(self, dtype=np.float32):
        self.head = nn.Linear(INPUTS, CLASSES, dtype=dtype)

    def forward(self, x):
        y = self.head(x)
        if len(x) > 10:  # another network for large batches
            y = y * 2.0
        return y + y.sum(axis=0) / x.shape[0]


NETWORKS = [
    residual, concatenated, flattened, dropout_first, activation_first, normalised_first, Added,
    Twice, Own, Split, Tied, OverTheBatch, Attention, AttentionOfShapes, ReadsRows,
]  # fmt: skip
