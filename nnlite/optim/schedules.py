"""Learning rate schedules: each a pure function of the step t = 0, 1, 2, ...

`base` in the formulas is the optimiser's own rate. Names, arguments and rates are PyTorch's where
it has the schedule. `interval` says whether a Trainer counts epochs or batches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._core import check
from ._power import cosine_pi, integer_power, power
from .optimizer import Optimizer
from .schedule import Schedule


class ConstantLR(Schedule):
    """base factor for the first total_iters steps, then base.

    Args:
        optimizer: the optimiser whose rate is set.
        factor: at least 0; with factor 1 the rate never changes.
        total_iters: at least 0.
        interval: "epoch" or "batch".

    Raises:
        TypeError, ValueError: an argument is of another kind, or outside its range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1 / 3,
        total_iters: int = 5,
        interval: str = "epoch",
    ) -> None:
        self.factor = self._number("factor", factor)
        self.total_iters = self._count("total_iters", total_iters, 0)
        super().__init__(optimizer, interval)

    def _rates(self, t: np.ndarray) -> np.ndarray:
        return self.base_lr * np.where(t < self.total_iters, self.factor, 1.0)


class StepLR(Schedule):
    """base gamma^(t div step_size).

    Args:
        optimizer: the optimiser whose rate is set.
        step_size: steps between two changes, at least 1.
        gamma: factor of a change, above 0.
        interval: "epoch" or "batch".

    Raises:
        TypeError, ValueError: an argument is of another kind, or outside its range.
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, interval: str = "epoch"
    ) -> None:
        self.step_size = self._count("step_size", step_size)
        self.gamma = self._number("gamma", gamma, above=True)
        super().__init__(optimizer, interval)

    def _rates(self, t: np.ndarray) -> np.ndarray:
        return self.base_lr * integer_power(self.gamma, t // self.step_size)


class MultiStepLR(Schedule):
    """base gamma^k, k the number of milestones <= t.

    Args:
        optimizer: the optimiser whose rate is set.
        milestones: steps at which the rate changes, at least 0 each.
        gamma: factor of a change, above 0.
        interval: "epoch" or "batch".

    Raises:
        TypeError, ValueError: an argument is of another kind, or outside its range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Sequence[int],
        gamma: float = 0.1,
        interval: str = "epoch",
    ) -> None:
        self.milestones = sorted(self._count("milestones", at, 0) for at in milestones)
        self.gamma = self._number("gamma", gamma, above=True)
        super().__init__(optimizer, interval)

    def _rates(self, t: np.ndarray) -> np.ndarray:
        return self.base_lr * integer_power(
            self.gamma, np.searchsorted(self.milestones, t, side="right")
        )


class ExponentialLR(Schedule):
    """base gamma^t.

    Args:
        optimizer: the optimiser whose rate is set.
        gamma: factor of each step, above 0.
        interval: "epoch" or "batch".

    Raises:
        TypeError, ValueError: an argument is of another kind, or outside its range.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, interval: str = "epoch") -> None:
        self.gamma = self._number("gamma", gamma, above=True)
        super().__init__(optimizer, interval)

    def _rates(self, t: np.ndarray) -> np.ndarray:
        return self.base_lr * integer_power(self.gamma, t)


class PolynomialLR(Schedule):
    """base (1 - t / total_iters)^power, 0 from total_iters on.

    Args:
        optimizer: the optimiser whose rate is set.
        total_iters: steps until 0, at least 1.
        power: above 0.
        interval: "epoch" or "batch".

    Raises:
        TypeError, ValueError: an argument is of another kind, or outside its range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        interval: str = "epoch",
    ) -> None:
        self.total_iters = self._count("total_iters", total_iters)
        self.power = self._number("power", power, above=True)
        super().__init__(optimizer, interval)

    def _rates(self, t: np.ndarray) -> np.ndarray:
        left = 1 - np.minimum(t, self.total_iters) / self.total_iters
        return self.base_lr * power(left, self.power)


class CosineAnnealingLR(Schedule):
    """eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2: down in T_max steps, and up again.

    Args:
        optimizer: the optimiser whose rate is set.
        T_max: steps from the base rate to eta_min, at least 1.
        eta_min: lowest rate, at least 0.
        interval: "epoch" or "batch".

    Raises:
        TypeError, ValueError: an argument is of another kind, or outside its range.

    Source: Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, interval: str = "epoch"
    ) -> None:
        self.T_max = self._count("T_max", T_max)
        self.eta_min = self._number("eta_min", eta_min)
        super().__init__(optimizer, interval)

    def _rates(self, t: np.ndarray) -> np.ndarray:
        place = t % (2 * self.T_max) / self.T_max
        return self.eta_min + (self.base_lr - self.eta_min) * (1 + cosine_pi(place)) / 2


class CosineAnnealingWarmRestarts(Schedule):
    """Cosine annealing that starts anew from the base rate after T_0, T_0 T_mult, ... steps.

    Args:
        optimizer: the optimiser whose rate is set.
        T_0: steps of the first period, at least 1.
        T_mult: how many times longer each period is than the one before, an integer from 1.
        eta_min: lowest rate, at least 0.
        interval: "epoch" or "batch".

    Raises:
        TypeError, ValueError: an argument is of another kind, or outside its range.

    Source: Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        interval: str = "epoch",
    ) -> None:
        self.T_0 = self._count("T_0", T_0)
        self.T_mult = self._count("T_mult", T_mult)
        self.eta_min = self._number("eta_min", eta_min)
        super().__init__(optimizer, interval)

    def _rates(self, t: np.ndarray) -> np.ndarray:
        period = np.full(t.shape, self.T_0)
        if self.T_mult == 1:
            t = t % period
        while (over := t >= period).any():
            t = np.where(over, t - period, t)
            period = np.where(over, period * self.T_mult, period)
        return self.eta_min + (self.base_lr - self.eta_min) * (1 + cosine_pi(t / period)) / 2


class LinearLR(Schedule):
    """base times a factor that goes from start_factor to end_factor in total_iters steps.

    Args:
        optimizer: the optimiser whose rate is set.
        start_factor: at least 0 (PyTorch: above 0).
        end_factor: at least 0.
        total_iters: at least 1.
        interval: "epoch" or "batch".

    Raises:
        TypeError, ValueError: an argument is of another kind, or outside its range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        interval: str = "epoch",
    ) -> None:
        self.start_factor = self._number("start_factor", start_factor)
        self.end_factor = self._number("end_factor", end_factor)
        self.total_iters = self._count("total_iters", total_iters)
        super().__init__(optimizer, interval)

    def _rates(self, t: np.ndarray) -> np.ndarray:
        share = np.minimum(t, self.total_iters) / self.total_iters
        return self.base_lr * (self.start_factor + (self.end_factor - self.start_factor) * share)


class WarmupLR(Schedule):
    """base min(1, (t + 1) / total_iters): a linear warm-up whose first step is not 0.

    Args:
        optimizer: the optimiser whose rate is set.
        total_iters: steps until the base rate, at least 1.
        interval: "batch" or "epoch".

    Raises:
        TypeError, ValueError: an argument is of another kind, or outside its range.

    Source: Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 2.2.
    """

    def __init__(self, optimizer: Optimizer, total_iters: int, interval: str = "batch") -> None:
        self.total_iters = self._count("total_iters", total_iters)
        super().__init__(optimizer, interval)

    def _rates(self, t: np.ndarray) -> np.ndarray:
        return self.base_lr * (np.minimum(t + 1, self.total_iters) / self.total_iters)


class OneCycleLR(Schedule):
    """Up from max_lr / div_factor to max_lr, then down to max_lr / div_factor / final_div_factor.

    The momentum is not cycled, as with PyTorch's cycle_momentum=False; the optimiser's own rate is
    not used.

    Args:
        optimizer: the optimiser whose rate is set.
        max_lr: the highest rate, above 0.
        total_steps: all steps, at least 2; or give epochs and steps_per_epoch.
        epochs, steps_per_epoch: their product is total_steps.
        pct_start: share of the steps that go up, 0 < pct_start < 1.
        anneal_strategy: "cos" or "linear".
        div_factor, final_div_factor: above 0.
        three_phase: down to the first rate as fast as up, and then on to the last.
        interval: "batch" or "epoch".

    Raises:
        ValueError: also from rate(t) for t > total_steps, as PyTorch's does.

    Source: Smith, Topin, "Super-Convergence", 2019.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        interval: str = "batch",
    ) -> None:
        self.max_lr = self._number("max_lr", max_lr, above=True)
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError(
                    "OneCycleLR: total_steps: expected a number, or epochs and steps_per_epoch"
                )
            total_steps = self._count("epochs", epochs) * self._count(
                "steps_per_epoch", steps_per_epoch
            )
        self.total_steps = self._count("total_steps", total_steps, 2)
        self.epochs, self.steps_per_epoch = epochs, steps_per_epoch
        self.pct_start = self._number("pct_start", pct_start, above=True)
        if self.pct_start >= 1:
            raise ValueError(f"OneCycleLR: pct_start: expected a number below 1, got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"OneCycleLR: anneal_strategy: expected 'cos' or 'linear', got {anneal_strategy!r}"
            )
        self.anneal_strategy, self.three_phase = anneal_strategy, bool(three_phase)
        self.div_factor = self._number("div_factor", div_factor, above=True)
        self.final_div_factor = self._number("final_div_factor", final_div_factor, above=True)
        super().__init__(optimizer, interval)

    def _phases(self) -> list[tuple[float, float, float]]:
        """(last step, rate at its start, rate at its end) of each phase."""
        first, up = self.max_lr / self.div_factor, self.pct_start * self.total_steps - 1
        last, end = first / self.final_div_factor, float(self.total_steps - 1)
        if self.three_phase:
            down = 2 * self.pct_start * self.total_steps - 2
            return [(up, first, self.max_lr), (down, self.max_lr, first), (end, first, last)]
        return [(up, first, self.max_lr), (end, self.max_lr, last)]

    def _rates(self, t: np.ndarray) -> np.ndarray:
        if t.max(initial=0) > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {t.max()} is beyond total_steps, {self.total_steps}; pass "
                "epochs and steps_per_epoch, the batches of an epoch"
            )
        begin, found = 0.0, np.empty(t.shape)
        for end, start, stop in self._phases():
            share = (t - begin) / (end - begin) if end != begin else np.ones(t.shape)
            if self.anneal_strategy == "linear":
                rates = start + (stop - start) * share
            else:
                rates = stop + (start - stop) / 2 * (1 + cosine_pi(share))
            found = rates if begin == 0.0 else np.where(t > begin, rates, found)
            begin = end
        return found


class InverseScalingLR(Schedule):
    """base / (t + 1)^power_t, scikit-learn's "invscaling".

    Args:
        optimizer: the optimiser whose rate is set.
        power_t: at least 0.
        interval: "batch" or "epoch".

    Raises:
        TypeError, ValueError: an argument is of another kind, or outside its range.
    """

    def __init__(self, optimizer: Optimizer, power_t: float = 0.5, interval: str = "batch") -> None:
        self.power_t = self._number("power_t", power_t)
        super().__init__(optimizer, interval)

    def _rates(self, t: np.ndarray) -> np.ndarray:
        return self.base_lr / power(t + 1.0, self.power_t)


class RobbinsMonroLR(Schedule):
    """base / (t + 1)^p with 1/2 < p <= 1: stochastic approximation with proven convergence.

    The rates a_t meet the two conditions of Robbins and Monro: sum a_t = infinity, so that any
    distance can be gone, which needs p <= 1; and sum a_t^2 < infinity, so that the noise of the
    gradients dies out, which needs p > 1/2.

    Args:
        optimizer: the optimiser whose rate is set.
        p: 0.5 < p <= 1.
        interval: "batch" or "epoch".

    Raises:
        ValueError: p breaks one of the conditions.

    Source: Robbins, Monro, "A Stochastic Approximation Method", Annals of Mathematical Statistics
    22, 1951.
    """

    def __init__(self, optimizer: Optimizer, p: float = 1.0, interval: str = "batch") -> None:
        self.p = check.number("RobbinsMonroLR", "p", p, 0.5, 1.0, above=True)
        super().__init__(optimizer, interval)

    def _rates(self, t: np.ndarray) -> np.ndarray:
        return self.base_lr / power(t + 1.0, self.p)
