"""The program of a frozen model: its weights lie packed as the matrix product reads them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._core import native
from ..nn.module import Module
from ..nn.parameter import aligned_zeros
from .emit import B, Call
from .network import Forward
from .values import Buffer

ROWS = 2  # the bit of a product's size m, in Call.batch

Packed = dict[tuple[Any, ...], Buffer | None]


def packed(
    array: np.ndarray, offset: int, strides: tuple[int, ...], k: int, n: int
) -> np.ndarray | None:
    """The matrix [k, n] that begins `offset` elements into an array, in the order of nnl_gemm_pack;
    None where a product gains nothing from it."""
    kernels = native.kernels(array.dtype)
    size = native.cell("int64_t")
    native.check(kernels.gemm_packed_size(k, n, size), "freeze")
    if size[0] == 0:
        return None
    made = aligned_zeros(size[0], array.dtype)
    first = native.address(array.reshape(-1)[offset:])
    native.check(kernels.gemm_pack(k, n, first, *strides[1:3], native.pointer(made)), "freeze")
    return made


class FrozenForward(Forward):
    """`Forward` of a model whose parameters never change.

    Args:
        packs: the packed weights so far, for programs of other rows of the same model.

    Raises:
        Unsupported: why there is no program.
    """

    def __init__(self, model: Module, x: np.ndarray, packs: Packed) -> None:
        self._weights = {id(p._data) for p in model.parameters()}
        self._packs = packs
        super().__init__(model, x, x.dtype)

    def _prepared(self, calls: list[Call]) -> list[Call]:
        for call in calls:
            if call.op == "GEMM" and call.sizes[0] == 1 and call.batch == ROWS:
                self._pack(call)
        return calls

    def _pack(self, call: Call) -> None:
        """Has a product read its weight packed, where its second factor is one."""
        buffer, offset, strides = call.slots[B]
        if buffer.array is None or id(buffer.array) not in self._weights:
            return
        _, _, n, k = call.sizes
        key = id(buffer.array), offset, strides, k, n
        if key not in self._packs:
            made = packed(buffer.array, offset, strides, k, n)
            self._packs[key] = None if made is None else Buffer(made.size, False, array=made)
        found = self._packs[key]
        if found is not None:
            call.slots[B] = found, 0, (0,) * len(strides)
            call.fields["flag"] = call.fields.get("flag", 0) | native.PACKED
