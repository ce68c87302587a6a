"""The pure-NumPy baseline: a multilayer perceptron as a good NumPy programmer would write it.

    h_0 = x,  h_l = max(h_{l-1} W_l + b_l, 0),  logits = h_{L-1} W_L + b_L
    loss = mean_i( log sum_k e^{logits_ik} - logits_i,target_i )
    dlogits = (softmax(logits) - T) / N
    dW_l = h_{l-1}^T dz_l,  db_l = sum_i dz_l
    dz_{l-1} = (dz_l W_l^T) [h_{l-1} > 0]

Every operation writes into memory that already exists; all weights lie in one flat array, all
gradients in another, so that an optimiser step is a handful of calls. Nothing of nnlite is used.

Source: Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", 1986.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


class Optimizer(Protocol):
    """Updates the flat weights from the flat gradient, which it may use as scratch memory."""

    def update(self, weights: Array, grad: Array) -> None: ...


class SGD:
    """Stochastic gradient descent: v = momentum v + grad + weight_decay w;  w = w - lr v.

    Args:
        lr: learning rate per step, > 0.
        momentum: fraction of the velocity kept per step, in [0, 1).
        weight_decay: factor of the L2 penalty's gradient, >= 0.
    """

    def __init__(self, lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.velocity: Array | None = None

    def update(self, weights: Array, grad: Array) -> None:
        if self.momentum == 0:
            weights *= 1 - self.lr * self.weight_decay
            grad *= self.lr
        else:
            if self.velocity is None:
                self.velocity = np.zeros_like(weights)
            # Once added to the velocity, the gradient's memory holds the other products.
            self.velocity *= self.momentum
            self.velocity += grad
            if self.weight_decay != 0:
                np.multiply(weights, self.weight_decay, out=grad)
                self.velocity += grad
            np.multiply(self.velocity, self.lr, out=grad)
        weights -= grad


class Adam:
    """Adam: m, v decaying means of g and g^2;  w = w - lr m' / (sqrt(v') + eps), bias-corrected.

    Source: Kingma, Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1.
    """

    def __init__(
        self, lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
    ) -> None:
        self.lr, self.beta1, self.beta2, self.eps = lr, beta1, beta2, eps
        self.step = 0
        self.mean: Array | None = None

    def update(self, weights: Array, grad: Array) -> None:
        if self.mean is None:
            self.mean = np.zeros_like(weights)
            self.square = np.zeros_like(weights)
            self.scratch = np.empty_like(weights)
        self.step += 1
        self.mean *= self.beta1
        np.multiply(grad, 1 - self.beta1, out=self.scratch)
        self.mean += self.scratch
        self.square *= self.beta2
        np.multiply(grad, grad, out=grad)
        grad *= 1 - self.beta2
        self.square += grad
        np.multiply(self.square, 1 / (1 - self.beta2**self.step), out=grad)
        np.sqrt(grad, out=grad)
        grad += self.eps
        np.divide(self.mean, grad, out=grad)
        grad *= self.lr / (1 - self.beta1**self.step)
        weights -= grad


class Memory(NamedTuple):
    """What a batch of one size needs: made once, written again at every step."""

    outputs: list[Array]  # of every layer, (N, width)
    grads: list[Array]  # of those outputs
    row: NDArray[np.intp]  # 0 ... N - 1
    ones: Array  # (N,)


class MLP:
    """Linear layers with ReLU between them, trained on softmax cross-entropy.

    With `residual` every two hidden layers are a block: h_l = h_{l-2} + max(...) W_l + b_l, whose
    gradient reaches h_{l-2} twice.

    Args:
        layers: pairs (W, b) of initial weights, W of shape (in, out) and b of shape (out,), all of
            one dtype; copied.
        optimizer: what a training step does with the gradient; default SGD(lr=0.1).
        residual: whether hidden layers are blocks of two, all of them as wide as the input.
    """

    def __init__(
        self,
        layers: Sequence[tuple[Array, Array]],
        optimizer: Optimizer | None = None,
        residual: bool = False,
    ) -> None:
        self.optimizer = optimizer or SGD(0.1)
        self.widths = [layers[0][0].shape[0], *(w.shape[1] for w, _ in layers)]
        self.dtype = layers[0][0].dtype
        hidden = range(len(layers) - 1)
        self.ends_block = [residual and layer % 2 == 1 for layer in hidden] + [False, False]
        self.has_relu = [not end for end in self.ends_block[: len(hidden)]] + [False]
        self.flat = np.concatenate([a.ravel() for layer in layers for a in layer])
        self.flat_grad = np.zeros_like(self.flat)
        self.weights, self.biases = self._views(self.flat)
        self.weight_grads, self.bias_grads = self._views(self.flat_grad)
        self._memory: dict[int, Memory] = {}

    def _views(self, flat: Array) -> tuple[list[Array], list[Array]]:
        """The weight matrices and the bias vectors that lie in a flat array."""
        weights, biases, at = [], [], 0
        for rows, columns in zip(self.widths, self.widths[1:], strict=False):
            weights.append(flat[at : at + rows * columns].reshape(rows, columns))
            at += rows * columns
            biases.append(flat[at : at + columns])
            at += columns
        return weights, biases

    def _buffers(self, rows: int) -> Memory:
        if rows not in self._memory:
            outputs = [np.empty((rows, width), self.dtype) for width in self.widths[1:]]
            grads = [np.empty_like(output) for output in outputs]
            self._memory[rows] = Memory(outputs, grads, np.arange(rows), np.ones(rows, self.dtype))
        return self._memory[rows]

    def _forward(self, x: Array, outputs: list[Array]) -> Array:
        block = x
        for layer, output in enumerate(outputs):
            np.matmul(x, self.weights[layer], out=output)
            output += self.biases[layer]
            if self.has_relu[layer]:
                np.maximum(output, 0, out=output)
            if self.ends_block[layer]:
                output += block
                block = output
            x = output
        return x

    def loss_and_gradients(self, x: Array, target: NDArray[np.integer]) -> float:
        """Mean loss in nats; leaves the gradients in weight_grads and bias_grads.

        Args:
            x: samples, shape (N, D).
            target: class indices, shape (N,).
        """
        memory = self._buffers(len(x))
        logits, grad, row = self._forward(x, memory.outputs), memory.grads[-1], memory.row
        np.subtract(logits, logits.max(axis=1, keepdims=True), out=grad)
        correct = grad[row, target]
        np.exp(grad, out=grad)
        total = grad.sum(axis=1, keepdims=True)
        loss = float(np.mean(np.log(total[:, 0]) - correct))
        grad /= total
        grad[row, target] -= 1
        grad *= self.dtype.type(1 / len(x))
        self._backward(x, memory)
        return loss

    def _backward(self, x: Array, memory: Memory) -> None:
        for layer in range(len(self.weights) - 1, -1, -1):
            below = memory.outputs[layer - 1] if layer > 0 else x
            grad = memory.grads[layer]
            np.matmul(below.T, grad, out=self.weight_grads[layer])
            # Column sums as a product: twice as fast as grad.sum(axis=0).
            np.matmul(memory.ones, grad, out=self.bias_grads[layer])
            if layer > 0:
                np.matmul(grad, self.weights[layer].T, out=memory.grads[layer - 1])
                if self.has_relu[layer - 1]:
                    memory.grads[layer - 1] *= below > 0
                elif self.ends_block[layer + 1]:  # below begins the block that ends there
                    memory.grads[layer - 1] += memory.grads[layer + 1]

    def train_step(self, x: Array, target: NDArray[np.integer]) -> float:
        """One step of the optimiser on one batch; the loss before the step."""
        loss = self.loss_and_gradients(x, target)
        self.optimizer.update(self.flat, self.flat_grad)
        return loss

    def fit(
        self,
        x: Array,
        target: NDArray[np.integer],
        epochs: int,
        batch_size: int,
        order: Callable[[int], NDArray[np.integer]] | None = None,
    ) -> list[float]:
        """Trains on all samples `epochs` times.

        Args:
            order: the order of the samples in an epoch, given its number from 0; default as stored.

        Returns:
            The mean loss of each epoch, every sample with the same weight.
        """
        history = []
        batch = np.empty((batch_size, x.shape[1]), self.dtype)
        for epoch in range(epochs):
            index = np.arange(len(x)) if order is None else order(epoch)
            total = 0.0
            for start in range(0, len(x), batch_size):
                chosen = index[start : start + batch_size]
                rows = batch[: len(chosen)]
                np.take(x, chosen, axis=0, out=rows, mode="clip")  # "raise" would buffer the result
                total += self.train_step(rows, target[chosen]) * len(chosen)
            history.append(total / len(x))
        return history

    def predict(self, x: Array) -> Array:
        """Logits, shape (N, K), in an array of their own."""
        outputs = self._buffers(len(x)).outputs
        return self._forward(x, [*outputs[:-1], np.empty_like(outputs[-1])])
