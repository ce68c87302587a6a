"""The training program: a chain of layers, loss and optimiser that C runs, batch after batch.

It gives the same bits as the modules called one by one (nnlite/training/eager.py): each part is
the same kernel. What cannot be recorded has no program, and is trained by the modules.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _check, _native
from .._config import _State, available_cores
from ..autograd.node import tick
from ..nn.forward_program import recordable
from ..nn.linear import Linear
from ..nn.losses import Loss, MSELoss, NLLLoss, SoftmaxCE
from ..nn.module import PREDICT_ROWS, Module, Structure
from ..nn.parameter import Parameter, aligned_zeros
from ..nn.sequential import Sequential
from ..optim import Optimizer
from .rows import NotFiniteError, Rows, Sums, ignored

_from_buffer = _native.from_buffer

# A batch is shared by so many threads at most, where neither its values nor the weights take more
# bytes than this: of larger ones each product by itself is worth its threads.
MOST_THREADS, TEAM_BYTES = min(available_cores(), 16), 1 << 20

# Layers whose input's gradient cannot lie where their output's does.
MOVES = {_native.LINEAR, _native.SOFTMAX, _native.LOGSOFTMAX}

CRITERIA = {SoftmaxCE: _native.CROSS_ENTROPY, NLLLoss: _native.NLL, MSELoss: _native.MSE}


def plan_of(model: Module) -> list[Any] | None:
    """(module, activation in its kernel) for each recorded step; None where there is no program."""
    if type(model) is Sequential:
        plan: list[Any] = []
        for module, activation in model._plan:
            inner = plan_of(module) if type(module) is Sequential else [(module, activation)]
            if inner is None:
                return None
            plan += inner
    else:
        plan = [(model, None)]
    return plan if plan and all(_trainable(module) for module, _ in plan) else None


def _trainable(module: Any) -> bool:
    """True where the recorded layer is what forward and backward of the module compute."""
    kind: Any = type(module)
    home: Any = next(base for base in kind.__mro__ if "_record" in vars(base))
    return recordable(module) and kind.backward is Module.backward and kind._grad is home._grad


def compiled(
    model: Module, loss: Loss, optimizer: Optimizer, rows: Rows, batch: int, classes: bool
) -> Program | None:
    """The program for such rows and batches of at most `batch`; None where there can be none."""
    plan = plan_of(model)
    if (
        plan is None
        or type(loss) not in CRITERIA
        or type(optimizer).step is not Optimizer.step
        or rows.x.ndim != 2
        or rows.x.dtype != optimizer.dtype
    ):
        return None
    parts = [part for module, _ in plan for part in vars(module).values()]
    parameters = [part for part in parts if isinstance(part, Parameter)]
    trained = {id(p) for p in parameters if p.requires_grad}
    if len({id(p) for p in parameters}) < len(parameters) or trained != {
        id(p) for p in optimizer.parameters if p.requires_grad
    }:
        return None  # shared by two layers, or not all of them trained by this optimiser
    width = rows.x.shape[1]
    for module, _ in plan:
        if getattr(module, "in_features", width) != width:
            return None
        width = getattr(module, "out_features", width)
    if not (rows.y.ndim == 1 if classes else rows.y.shape[1:] == (width,)):
        return None
    return Program(plan, model, loss, optimizer, rows.x.shape[1], batch, classes)


class Program:
    """A model, its loss and its optimiser, recorded for batches of at most `batch` rows.

    Args:
        plan: what `plan_of` gave.
        width: columns of an input row.
        classes: True when targets are class indices, False for rows of numbers.
    """

    def __init__(
        self, plan: list[Any], model: Module, loss: Loss, optimizer: Optimizer, width: int,
        batch: int, classes: bool,
    ) -> None:  # fmt: skip
        self.dtype, self.width, self.batch, self.classes = optimizer.dtype, width, batch, classes
        self.model, self.loss, self.optimizer, self.plan = model, loss, optimizer, plan
        self._token = Structure.token
        self._linears = [
            (module, module.weight, module.bias) for module, _ in plan if type(module) is Linear
        ]
        self._kernels = _native.KERNELS[self.dtype]
        self.training = _native.struct("training")
        self._list = _native.addresses("training", [self.training])
        self._steps = _native.structs("step", len(plan))
        self._keep: list[Any] = []  # what C points to
        self.nbytes: dict[str, int] = {}  # of the buffers, by what they hold
        self._record_steps()
        self._record_loss()
        self.outputs = self._steps[len(plan) - 1].outputs
        self._allocate()
        self._unread = _native.structs("sums", 2)
        self._segments, self._steps_alone = None, False
        self._one_step: Any = self._kernels.Training_step
        self._target_dtype = _check.INT64 if classes else self.dtype
        self._shapes: Any = None  # of the last batch that `step` took
        self._room: np.ndarray | None = None
        self._random = [  # their counters go on in C
            (step, module)
            for step, (module, _) in zip(self._steps, plan, strict=True)
            if step.layer == _native.DROPOUT
        ]

    # Recording.

    def _record_steps(self) -> None:
        columns = self.width
        for step, (module, activation) in zip(self._steps, self.plan, strict=True):
            step.inputs = columns
            module._record(step, activation and activation.fused)
            columns = step.outputs
            if type(module) is Linear:
                if module.weight._requires_grad:
                    step.gradWeight = _native.pointer(module.weight._grad)
                if module.bias is not None and module.bias._requires_grad:
                    step.gradBias = _native.pointer(module.bias._grad)
        self._arenas = list({id(p._arena): p._arena for p in self._parameters()}.values())
        self._keep += [(p._data, p._grad) for p in self._parameters()]
        self.training.steps, self.training.count = self._steps, len(self.plan)

    def _parameters(self) -> list[Any]:
        return [p for _, weight, bias in self._linears for p in (weight, bias) if p is not None]

    def _record_loss(self) -> None:
        target, loss = self.training.loss, self.loss
        target.criterion, target.reduction = CRITERIA[type(loss)], loss._code
        self._loss_changes = loss._changes
        target.classes = self.classes
        weight = getattr(loss, "weight", None)
        if weight is not None:
            weight = np.ascontiguousarray(weight, self.dtype)
            target.class_weight = _native.pointer(weight)
            self._keep.append(weight)
        target.smoothing = getattr(loss, "label_smoothing", 0.0)
        target.ignore_index = ignored(loss)

    def _buffer(self, label: str, *shape: int, dtype: Any = None) -> np.ndarray:
        made = aligned_zeros(math.prod(shape), np.dtype(dtype or self.dtype))
        self._keep.append(made)
        self.nbytes[label] = self.nbytes.get(label, 0) + made.nbytes
        return made

    def _allocate(self) -> None:
        t, batch = self.training, self.batch
        for step in self._steps:
            step.output = _native.pointer(self._buffer("activations", batch, step.outputs))
        t.team = self._team()
        self._allocate_gradients()
        gathered = "gathered batch"
        t.input = _native.pointer(self._buffer(gathered, max(t.team, 1), batch, self.width))
        columns, dtype = (1, np.int64) if self.classes else (self.outputs, self.dtype)
        t.target = _native.pointer(self._buffer(gathered, batch, columns, dtype=dtype))
        t.weight = _native.pointer(self._buffer(gathered, batch))
        t.index = _native.pointer(self._buffer(gathered, batch, dtype=np.int64))
        t.batch = batch

    def _team(self) -> int:
        """Threads that may share a batch (csrc/generic/team.h): of a small network."""
        unit, width = self.dtype.itemsize, sum(step.outputs for step in self._steps)
        values = self.batch * (width + MOST_THREADS * self.width) * unit
        weights = sum(p.size for p in self._parameters()) * unit
        return MOST_THREADS if max(values, weights) <= TEAM_BYTES else 0

    def _allocate_gradients(self) -> None:
        """For each layer the place of the gradient by its output; elementwise layers change it in
        place. Of a batch that threads share, every product reads a place of its own; else two take
        turns."""
        steps, place, places = self._steps, -1, []
        for i in reversed(range(len(self.plan))):
            if i + 1 == len(self.plan) or steps[i + 1].layer in MOVES:
                place += 1
            places.append(place if self.training.team else place % 2)
        places.reverse()
        widest = [0] * (max(places) + 1)
        for i, place in enumerate(places):
            widest[place] = max(widest[place], steps[i].outputs)
        label = "activation gradients"
        buffers = [_native.pointer(self._buffer(label, self.batch, width)) for width in widest]
        for i, place in enumerate(places):
            steps[i].gradOutput = buffers[place]

    def current(self) -> bool:
        """True while the parameters and the loss's settings are those that were recorded."""
        if self.loss._changes != self._loss_changes:
            return False
        if self._token is not Structure.token:
            token = Structure.token
            for module, weight, bias in self._linears:
                if module.weight is not weight or module.bias is not bias:
                    return False
            self._token = token
        for arena in self._arenas:  # noqa: SIM110 - the loop is quicker than a generator
            if arena.retired:
                return False
        return True

    # Running.

    def bind(
        self, data: Rows, order: np.ndarray | None, shuffle: bool = False, seed: int = 0,
        subset: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """The rows to train on; the arrays are kept alive until the next call.

        Args:
            order: numbers of rows, uint32 or int64; with `shuffle` room for them, which every epoch
                fills anew.
                None: the rows as they lie.
            subset: (n,) int64: only these rows count, and an order is one of these.
        """
        t, pointer = self.training, _native.pointer
        rows = len(data.x) if subset is None else len(subset)
        t.data.rows = rows if order is None else len(order)
        t.data.source = len(data.x)
        t.data.input, t.data.target = pointer(data.x), pointer(data.y)
        t.data.weight = _native.NULL if data.weight is None else pointer(data.weight)
        t.data.subset = _native.NULL if subset is None else pointer(subset)
        t.order = _native.NULL if order is None else pointer(order)
        t.order_bytes = 0 if order is None else order.itemsize
        t.shuffle, t.seed = shuffle, seed
        self._bound: tuple[Any, ...] = (data.y, data, order, subset)

    def hold_out(self, data: Rows | None) -> None:
        """The rows to measure on after each epoch."""
        t = self.training
        t.held_out.rows = 0
        if data is not None:
            self._measured(t.held_out, data)

    def _measured(self, target: Any, data: Rows) -> None:
        pointer = _native.pointer
        target.input, target.target = pointer(data.x), pointer(data.y)
        target.weight = _native.NULL if data.weight is None else pointer(data.weight)
        target.rows = target.source = len(data.x)
        rows = min(len(data.x), PREDICT_ROWS)
        if self._room is None or len(self._room) < rows:
            self._room = np.empty((rows, self.outputs), self.dtype)
            self.training.held_output = pointer(self._room)
        self._held = data

    def prepare(
        self,
        epoch: int,
        batch: int,
        count: int,
        epochs: int,
        sums: Sums,
        rates: np.ndarray | None = None,
        outputs: np.ndarray | None = None,
    ) -> None:
        """Says what the next run trains on.

        Args:
            epoch, batch: the first batch.
            count: how many batches.
            epochs: how many epochs they touch at most, a last one of which none is done included.
            sums: those of the epoch so far.
            rates: (count,) the learning rate of each batch, or None.
            outputs: filled with the output of every row, in the order of training, or None.
        """
        t = self.training
        self._sums, self._held_sums = (_native.structs("sums", epochs) for _ in range(2))
        first = self._sums[0]
        first.loss, first.weight = sums.loss, sums.weight
        first.correct, first.counted = sums.correct, sums.counted
        t.sums, t.held_sums = self._sums, self._held_sums
        t.rates = _native.NULL if rates is None else _native.pointer(rates)
        t.outputs = _native.NULL if outputs is None else _native.pointer(outputs)
        self._lent = (rates, outputs)
        self._begin(epoch, batch, count)

    def _begin(self, epoch: int, batch: int, count: int) -> None:
        t = self.training
        t.epoch, t.position, t.todo = epoch, batch, count
        self._segments, t.segment_count, t.optimizer = self.optimizer._native_step()
        t.segments, self._steps_alone = self._segments, False
        for step, module in self._random:
            module._record(step, None)

    def run_prepared(self) -> int:
        """Trains on the prepared batches; the status, for `require`."""
        try:
            return int(self._kernels.Training_run(1, self._list, _State.threads))
        finally:
            self.settle()

    def settle(self, counters: bool = True) -> None:
        """Takes over what C changed: weights that a graph may hold, counters of random layers."""
        now = tick()
        for arena in self._arenas:
            arena.changed[0] = now
        if counters:
            for step, module in self._random:
                module.step = step.counter

    # What a run left.

    @property
    def done(self) -> int:
        """Batches that the last run trained on."""
        return int(self.training.done)

    @property
    def status(self) -> int:
        """Of the last run; for `require`."""
        return int(self.training.status)

    @property
    def position(self) -> tuple[int, int]:
        """(epoch, batch) of the next batch."""
        return int(self.training.epoch), int(self.training.position)

    @property
    def last_loss(self) -> float:
        """Of the last batch that ran."""
        return float(self.training.last_loss)

    def ended(self, first: int) -> list[tuple[Sums, Sums | None]]:
        """Sums of the epochs that ended since `first` began, and those on what is held out."""
        held = self.training.held_out.rows > 0
        return [
            (Sums().read(self._sums[i]), Sums().read(self._held_sums[i]) if held else None)
            for i in range(self.training.epoch - first)
        ]

    def unfinished(self, number: int) -> Any:
        """The sums of the epoch that has not ended, after so many that have."""
        return self._sums[number]

    def require(self, status: int) -> None:
        """Raises what a status other than 0 says."""
        if status == _native.EINTR:
            raise _native.Stopped
        if status == _native.EFINITE:
            raise NotFiniteError(self.last_loss, int(self.training.position))
        if status == _native.EINDEX:
            row = int(self.training.bad_row)
            raise IndexError(
                f"fit: y: row {row} holds {self._bound[0][row]}, expected a class in "
                f"0..{self.outputs - 1}; the model has {self.outputs} outputs"
            )
        _native.check(status, "fit")

    # Short ways.

    def run(
        self,
        rows: Rows,
        order: np.ndarray | None,
        first: int,
        count: int,
        sums: Sums,
        rates: np.ndarray | None = None,
        outputs: np.ndarray | None = None,
    ) -> None:
        """Trains on some batches of one pass; `Eager.run` describes the arguments."""
        self.bind(rows, order)
        self.hold_out(None)
        self.prepare(0, first, count, 2, sums, rates, outputs)
        status = self.run_prepared()
        sums.read(self._sums[0])
        self.require(status)

    def measure(self, rows: Rows) -> Sums:
        """Sums of the loss and of right rows, as `nnlite.training.measure` computes them."""
        held, found = _native.structs("data", 1), _native.structs("sums", 1)
        self._measured(held[0], rows)
        status = self._kernels.Training_evaluate(self.training, held, found, _State.threads)
        if status == _native.EINTR:
            raise _native.interruption()
        self.require(status)
        return Sums().read(found[0])

    def fits(self, trainer: Any, rows: Rows, classes: bool) -> bool:
        """True when this is still the program of the trainer, and takes such rows."""
        return (
            self.model is trainer.model
            and self.loss is trainer.loss
            and self.optimizer is trainer.optimizer
            and self.classes == classes
            and rows.x.dtype == self.dtype
            and rows.x.shape[1:] == (self.width,)
            and (classes or rows.y.shape[1:] == (self.outputs,))
            and self.current()
        )

    def step(self, x: Any, y: Any) -> float | None:
        """Trains on one batch; its loss. None, and no parameter changed, for a batch that needs a
        conversion or fails. The shortest way into C."""
        if not (
            type(x) is type(y) is np.ndarray
            and x.dtype is self.dtype
            and y.dtype is self._target_dtype
            and self.current()
        ):
            return None
        shapes = x.shape, y.shape
        if shapes != self._shapes and not self._fit_shapes(*shapes):
            return None
        room = self._kernels.array
        try:
            source = _from_buffer(room, x)
            target = _from_buffer(_native.INT64S if self.classes else room, y)
        except ValueError:  # not contiguous
            return None
        self._shapes = shapes
        if not self._steps_alone:  # what a run of another kind has left
            t, null = self.training, _native.NULL
            t.data.weight, t.data.subset = null, null
            t.order, t.shuffle, t.outputs, t.rates = null, 0, null, null
            t.held_out.rows = 0
            t.sums = self._unread
            self._begin(0, 0, 1)
            self._steps_alone = True
        elif self._random or not self.optimizer._is_prepared(self._segments):
            self._begin(0, 0, 1)
            self._steps_alone = True
        failed = 0
        try:
            failed = self._one_step(self.training, shapes[0][0], source, target, _State.threads)
        finally:
            now = tick()
            for arena in self._arenas:
                arena.changed[0] = now
            if self._random and not failed:  # who tries again draws the same masks
                self.settle()
        if failed == _native.EINTR:
            raise _native.interruption()
        return None if failed else self.training.last_loss

    def _fit_shapes(self, x: tuple[int, ...], y: tuple[int, ...]) -> bool:
        """True for the shapes of one batch."""
        rows = x[0] if len(x) == 2 and x[1] == self.width else 0
        return 0 < rows <= self.batch and y == ((rows,) if self.classes else (rows, self.outputs))
