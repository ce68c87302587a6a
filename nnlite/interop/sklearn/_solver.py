"""scikit-learn's stochastic solvers as optimisers of nnlite, which outlive their network."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._core import native
from ...optim import SGD, Adam, Optimizer
from ._network import Network

_RUNNING = ("steps", "power1", "power2")
_SMALLEST_RATE = 1e-6  # below it an adaptive rate ends the fit


class Solver:
    """An optimiser with an estimator's settings; it is pickled without the network.

    scikit-learn's velocity has the learning rate inside, so that a change of the rate does not
    change the velocity; its Adam has eps beside the root of the uncorrected second moment.
    """

    def __init__(self, estimator: Any) -> None:
        e = estimator
        self.kind = e.solver
        self.rate_init, self.schedule, self.power_t = (
            e.learning_rate_init,
            e.learning_rate,
            e.power_t,
        )
        self.settings: dict[str, Any] = {"weight_decay": float(e.alpha)}
        if self.kind == "sgd":
            momentum = min(float(e.momentum), float(np.nextafter(1, 0)))
            nesterov = bool(e.nesterovs_momentum) and momentum > 0
            self.settings |= {"momentum": momentum, "nesterov": nesterov}
        else:
            self.settings |= {"betas": (float(e.beta_1), float(e.beta_2)), "eps": float(e.epsilon)}
        self._rate = float(self.rate_init)
        self._state: dict[str, Any] = {}
        self._optimizer: Optimizer | None = None
        self._network: Network | None = None

    def optimizer(self, network: Network) -> Optimizer:
        """The optimiser over this network's parameters, with the state that there is."""
        if self._optimizer is None or self._network is not network:
            state = self._numbers()
            kind: Any = SGD if self.kind == "sgd" else Adam
            made = kind(network.model.parameters(), self._rate, **self.settings)
            if self.kind == "adam":
                made._set(native.EPS_HAT)
            for name, array in made.state.items():
                if name in state:
                    array[...] = state[name]
            made._set(**{name: state[name] for name in _RUNNING if name in state})
            self._optimizer, self._network = made, network
        return self._optimizer

    @property
    def learning_rate(self) -> float:
        """The rate of the last update."""
        numbers = self._numbers()
        if self.kind == "sgd" or not numbers.get("steps"):
            return self._rate
        return float(self._rate * np.sqrt(1 - numbers["power2"]) / (1 - numbers["power1"]))

    def _change(self, rate: float) -> None:
        """Sets the rate and leaves rate times velocity as it is."""
        before, self._rate = self._rate, float(rate)
        if self._optimizer is None:
            return
        self._optimizer.lr = self._rate
        for velocity in self._optimizer.state.values():
            velocity *= before / self._rate

    @property
    def changes_each_epoch(self) -> bool:
        """Whether the rate of the next epoch is another one."""
        return self.kind == "sgd" and self.schedule == "invscaling"

    def end_epoch(self, samples: int) -> None:
        """After an epoch, when so many samples have been trained on in all."""
        if self.changes_each_epoch:
            self._change(float(self.rate_init) / (samples + 1) ** self.power_t)

    def stops(self, message: str, verbose: Any) -> bool:
        """Whether a fit that no longer improves ends; else the rate is a fifth from now on."""
        adaptive = self.kind == "sgd" and self.schedule == "adaptive"
        if not adaptive or self._rate <= _SMALLEST_RATE:
            if verbose:
                print(message, "Learning rate too small." if adaptive else "", "Stopping.")
            return True
        self._change(self._rate / 5)
        if verbose:
            print(f"{message} Setting learning rate to {self._rate:f}")
        return False

    def _numbers(self) -> dict[str, Any]:
        """Arrays and running scalars."""
        if self._optimizer is None:
            return self._state
        running = {name: getattr(self._optimizer._numbers, name) for name in _RUNNING}
        return {**self._optimizer.state, **running}

    def __getstate__(self) -> dict[str, Any]:
        arrays = {
            k: v.copy() if isinstance(v, np.ndarray) else v for k, v in self._numbers().items()
        }
        return {**vars(self), "_state": arrays, "_optimizer": None, "_network": None}
