"""The training program: a network, its loss and its optimiser that C runs, batch after batch.

It gives the same bits as the eager run (nnlite/train/_eager.py): each part is the same kernel.
What cannot be recorded has no program, and is trained eagerly; `compiled` says why.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._core import check as _check
from .._core import native
from .._core.config import _State
from ..autograd.node import Unsupported, tick
from ..data.sparse import SparseRows
from ..nn.losses import Loss
from ..nn.module import PREDICT_ROWS, Module
from ..nn.parameter import aligned_zeros
from ..optim import Optimizer
from . import launch
from .network import Forward, Measure, Step
from .rows import NotFiniteError, Rows, Sums, ignored

_from_buffer = native.from_buffer


def compiled(
    model: Module, loss: Loss, optimizer: Optimizer, rows: Rows, batch: int, classes: bool,
    count: int | None = None,
) -> Program:  # fmt: skip
    """The program for such rows, `count` of them (None: all), in batches of at most `batch`.

    Raises:
        Unsupported: why there can be none.
    """
    if type(optimizer).step is not Optimizer.step:
        raise Unsupported(f"{type(optimizer).__name__} has a step of its own")
    if rows.x.dtype != optimizer.dtype:
        raise Unsupported(f"the rows are of {rows.x.dtype}, the parameters of {optimizer.dtype}")
    own = {id(p) for p in model.parameters()}
    if any(id(p) not in own for p in optimizer.parameters):
        raise Unsupported("the optimiser has parameters that are not the model's")
    return Program(model, loss, optimizer, rows, batch, classes, count)


class Program:
    """A model, its loss and its optimiser, recorded for batches of at most `batch` rows.

    Args:
        rows: some rows, by which the calls are recorded.
        count: of rows to train on; None: all of them.
        classes: True when targets are class indices, False for rows of numbers.

    Attributes:
        steps: the recorded step; where it holds for one batch size alone, one for each size.
        nbytes: bytes of the buffers, by what they hold.
    """

    def __init__(
        self, model: Module, loss: Loss, optimizer: Optimizer, rows: Rows, batch: int,
        classes: bool, count: int | None = None,
    ) -> None:  # fmt: skip
        self.dtype, self.batch, self.classes = optimizer.dtype, batch, classes
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.input_shape, self.target_shape = rows.x.shape[1:], rows.y.shape[1:]
        self.weighted = rows.weight is not None
        self._kernels = native.KERNELS[self.dtype]
        self.steps = self._recorded(rows, len(rows.x) if count is None else count)
        step = self.steps[0]
        self.output_shape = step.output.shape[1:]
        self.outputs = math.prod(self.output_shape)
        if classes and len(self.output_shape) != 1:
            raise Unsupported("classes meet an output that is not one row of numbers for each row")
        self.training = native.struct("training")
        self._list = native.addresses("training", [self.training])
        self._keep: list[Any] = []  # what C points to
        self.nbytes: dict[str, int] = {}
        self._allocate()
        self._unread = native.structs("sums", 2)
        self._segments, self._steps_alone = None, False
        self._one_step: Any = self._kernels.Training_step
        self._target_dtype = _check.INT64 if classes else self.dtype
        self._shapes: Any = None  # of the last batch that `step` took
        self._room: np.ndarray | None = None
        self._measures: Any = None

    def _recorded(self, rows: Rows, count: int) -> list[Step]:
        """The step for every batch size; or for those that so many rows are cut into."""
        trained = [p for p in self.optimizer.parameters if p.requires_grad]
        parts = (
            self.model,
            self.loss,
            trained,
            rows.x,
            rows.y,
            rows.weight,
            self.dtype,
            self.batch,
        )
        try:
            return [Step(*parts)]
        except Unsupported:
            sizes = {min(self.batch, count), count % self.batch} - {0}
            return [Step(*parts, rows=n) for n in sorted(sizes, reverse=True)]

    def _buffer(self, label: str, *shape: int, dtype: Any = None) -> np.ndarray:
        made = aligned_zeros(math.prod(shape), np.dtype(dtype or self.dtype))
        self._keep.append(made)
        self.nbytes[label] = self.nbytes.get(label, 0) + made.nbytes
        return made

    def _allocate(self) -> None:
        t, batch = self.training, self.batch
        self._programs = native.structs("program", len(self.steps))
        self._memories = [s.memory(p) for s, p in zip(self.steps, self._programs, strict=True)]
        for struct in self._programs:
            struct.counters = self._memories[0].counters
        self.nbytes["activations"] = sum(memory.nbytes for memory in self._memories)
        t.programs, t.program_count = self._programs, len(self.steps)
        t.input_size, t.output_size = math.prod(self.input_shape), self.outputs
        t.target_size = 0 if self.classes else math.prod(self.target_shape)
        t.reduction, t.ignore_index = self.loss._code, ignored(self.loss)
        gathered = "gathered batch"
        t.input = native.pointer(self._buffer(gathered, batch, t.input_size))
        dtype = np.int64 if self.classes else self.dtype
        t.target = native.pointer(self._buffer(gathered, batch, max(t.target_size, 1), dtype=dtype))
        if self.weighted:
            t.weight = native.pointer(self._buffer(gathered, batch))
        t.index = native.pointer(self._buffer(gathered, batch, dtype=np.int64))
        t.batch = batch
        parameters = self.model.parameters()
        self._arenas = list({id(p._arena): p._arena for p in parameters}.values())
        self._random = [m for memory in self._memories for m, _ in memory.program.counters if m]

    def _takes(self, rows: int) -> bool:
        """Whether there is a program for every batch of so many rows."""
        sizes = {step.rows for step in self.steps}
        return None in sizes or {min(self.batch, rows), rows % self.batch} - {0} <= sizes

    @property
    def counters(self) -> list[Any]:
        """The random layers, in the order of the counters in C; None for what is none."""
        return [module for module, _ in self._memories[0].program.counters]

    def _take_counters(self) -> None:
        """What C counted of random streams; programs of several batch sizes share the counts."""
        memory = self._memories[0]
        for i, (module, _) in enumerate(memory.program.counters):
            if module is not None:
                module.step = int(memory.counters[i])

    def current(self) -> bool:
        """True while the model, the loss and their settings are those that were recorded."""
        for step in self.steps:  # noqa: SIM110 - the loop is quicker than a generator
            if not step.watch.holds():
                return False
        return True

    def measurable(self, rows: Rows) -> bool:
        """Whether C can measure on such rows."""
        try:
            self._evaluation(rows)
        except Unsupported:
            return False
        return True

    def _evaluation(self, rows: Rows) -> None:
        """Records what measures: the output in evaluation mode, and the loss of an output."""
        kept, weighted = self._measures, rows.weight is not None
        if kept is None or kept[2] != weighted or not kept[0].watch.holds():
            forward = Forward(self.model, rows.x, self.dtype)
            out = np.zeros((len(rows.x[:5]), *self.output_shape), self.dtype)
            part = rows.part(0, 5)
            measure = Measure(self.loss, out, part.y, part.weight, self.dtype, PREDICT_ROWS)
            self._measures = forward, measure, weighted
            self.training.forward = forward.memory.struct
            self.training.measure = measure.memory.struct

    # Running.

    def bind(
        self, data: Rows, order: np.ndarray | None, shuffle: bool = False, seed: int = 0,
        subset: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """The rows to train on; the arrays are kept alive until the next call.

        Args:
            order: numbers of rows, uint32 or int64; with `shuffle` room for them, which every epoch
                fills anew; (epochs, rows) for one of each epoch of a run.
                None: the rows as they lie.
            subset: (n,) int64: only these rows count, and an order is one of these.
        """
        t, pointer = self.training, native.pointer
        rows = len(data.x) if subset is None else len(subset)
        t.data.rows = rows if order is None else order.shape[-1]
        t.data.source = len(data.x)
        self._point_at(t.data, data.x)
        t.data.target = pointer(data.y)
        t.data.weight = native.NULL if data.weight is None else pointer(data.weight)
        t.data.subset = native.NULL if subset is None else pointer(subset)
        t.order = native.NULL if order is None else pointer(order)
        t.order_bytes = 0 if order is None else order.itemsize
        t.shuffle, t.seed = shuffle, seed
        t.order_step = 0 if order is None or order.ndim == 1 else order.shape[1]
        self._bound: tuple[Any, ...] = (data.y, data, order, subset)

    def _point_at(self, target: Any, x: Any) -> None:
        """The rows of some data for C."""
        pointer = native.pointer
        target.starts = target.columns = native.NULL
        if not isinstance(x, SparseRows):
            target.input = pointer(x)
            return
        target.input, target.index_bytes = pointer(x.values), x.starts.itemsize
        target.starts, target.columns = native.address(x.starts), native.address(x.columns)

    def hold_out(self, data: Rows | None) -> None:
        """The rows to measure on after each epoch."""
        t = self.training
        t.held_out.rows = 0
        if data is not None:
            self._measured(t.held_out, data)

    def _measured(self, target: Any, data: Rows) -> None:
        pointer = native.pointer
        self._point_at(target, data.x)
        target.target = pointer(data.y)
        target.weight = native.NULL if data.weight is None else pointer(data.weight)
        target.rows = target.source = len(data.x)
        rows = min(len(data.x), PREDICT_ROWS)
        if self._room is None or len(self._room) < rows:
            self._room = np.empty((rows, *self.output_shape), self.dtype)
            self.training.held_output = pointer(self._room)
        self._evaluation(data)
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
        self._sums, self._held_sums = (native.structs("sums", epochs) for _ in range(2))
        first = self._sums[0]
        first.loss, first.weight = sums.loss, sums.weight
        first.correct, first.counted = sums.correct, sums.counted
        t.sums, t.held_sums = self._sums, self._held_sums
        t.rates = native.NULL if rates is None else native.pointer(rates)
        t.outputs = native.NULL if outputs is None else native.pointer(outputs)
        self._lent = (rates, outputs)
        self._begin(epoch, batch, count)

    def _begin(self, epoch: int, batch: int, count: int) -> None:
        t = self.training
        t.epoch, t.position, t.todo = epoch, batch, count
        self._segments, t.segment_count, t.optimizer = self.optimizer._native_step()
        t.segments, self._steps_alone = self._segments, False
        t.stopping = t.penalties = native.NULL  # of one run
        memory = self._memories[0]
        for i, (module, _) in enumerate(memory.program.counters):
            memory.counters[i] = 0 if module is None else module.step

    def run_prepared(self) -> int:
        """Trains on the prepared batches; the status, for `require`."""
        try:
            if launch.alone():
                return int(self._kernels.Training_run(1, self._list, _State.threads))
            launch.train([self])
            return self.status
        finally:
            self.settle()

    def settle(self, counters: bool = True) -> None:
        """Takes over what C changed: weights that a graph may hold, counters of random layers."""
        now = tick()
        for arena in self._arenas:
            arena.changed[0] = now
        if counters and self._random:
            self._take_counters()

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
        if status == native.EINTR:
            raise native.Stopped
        if status == native.EFINITE:
            raise NotFiniteError(self.last_loss, int(self.training.position))
        if status == native.EINDEX:
            row = int(self.training.bad_row)
            raise IndexError(
                f"fit: y: row {row} holds {self._bound[0][row]}, expected a class in "
                f"0..{self.outputs - 1}; the model has {self.outputs} outputs"
            )
        native.check(status, "fit")

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
        """Sums of the loss and of right rows, as `nnlite.train._measure` computes them."""
        held, found = native.structs("data", 1), native.structs("sums", 1)
        self._measured(held[0], rows)
        status = self._kernels.Training_evaluate(self.training, held, found, _State.threads)
        if status == native.EINTR:
            raise native.interruption()
        self.require(status)
        return Sums().read(found[0])

    def fits(self, trainer: Any, rows: Rows, classes: bool, count: int | None = None) -> bool:
        """True when this is still the program of the trainer, and takes so many such rows."""
        return (
            self.model is trainer.model
            and self.loss is trainer.loss
            and self.optimizer is trainer.optimizer
            and self.classes == classes
            and rows.x.dtype == self.dtype
            and rows.x.shape[1:] == self.input_shape
            and rows.y.shape[1:] == self.target_shape
            and (rows.weight is not None) == self.weighted
            and self._takes(len(rows.x) if count is None else count)
            and self.current()
        )

    def measures(self, trainer: Any, rows: Rows, classes: bool) -> bool:
        """True when this program can measure such rows for the trainer."""
        return (
            self.model is trainer.model
            and self.loss is trainer.loss
            and self.classes == classes
            and rows.x.dtype == self.dtype
            and rows.x.shape[1:] == self.input_shape
            and rows.y.shape[1:] == self.target_shape
            and self.current()
            and self.measurable(rows)
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
            target = _from_buffer(native.INT64S if self.classes else room, y)
        except ValueError:  # not contiguous
            return None
        self._shapes = shapes
        if not self._steps_alone:  # what a run of another kind has left
            t, null = self.training, native.NULL
            t.data.weight, t.data.subset = null, null
            t.data.starts = null
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
        if failed == native.EINTR:
            raise native.interruption()
        return None if failed else self.training.last_loss

    def _fit_shapes(self, x: tuple[int, ...], y: tuple[int, ...]) -> bool:
        """True for the shapes of one batch."""
        rows = x[0] if x and x[1:] == self.input_shape else 0
        fits = 0 < rows <= self.batch if self.steps[0].rows is None else rows == self.batch
        return fits and y == (rows, *self.target_shape)
