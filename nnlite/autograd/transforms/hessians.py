"""Second derivatives: products with the Hessian, and the Hessian itself.

    hvp(f, x, v) = H v = d/dt grad f(x + t v) at t = 0

The tangent of the gradient, exact: one forward and one backward pass whose values all carry
tangents. The Hessian of n elements is n such products.

Source: Pearlmutter, "Fast exact multiplication by the Hessian" (1994).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import grad
from ..node import FORWARD, GRAD, PLAIN, Mode, state
from ..tensor import Tensor, wrap
from .arguments import Inputs, settled
from .forward_mode import carrying
from .reverse_mode import pull


def hvp(
    f: Callable[..., Any], inputs: Any, v: Any, create_graph: bool = False, strict: bool = True
) -> tuple[Any, Any]:
    """The value of f and H v, the product of its Hessian with a vector.

        loss = nn.SoftmaxCE()
        value, Hv = nn.autograd.hvp(lambda: loss(model(nn.tensor(X)), y), model, v)

    Args:
        f: a function that gives a Tensor of one element.
        inputs: a Tensor or array (float32 or float64), or a tuple of them, for f(*inputs); or
            Parameters or a Module that f() uses.
        v: an array like each input, or one flat array of all elements in their order.
        create_graph: record the result, for derivatives of it: by two backward passes.
        strict: False: the product is 0 for inputs that f does not depend on.

    Returns:
        (value, H v), the latter in the form of the inputs, or flat where v is.

    Raises:
        RuntimeError: f does not depend on an input, and strict.
        ValueError: f gives more than one number; v has another shape.
        TypeError: an argument or what f returns is not as described.
        NotImplementedError: f uses a module whose gradient is a kernel without a formula.

    Notes:
        About 2 to 4 times the cost of a gradient. No `grad` of a Parameter changes.
    """
    given = Inputs("hvp", f, inputs)
    vs, flat = given.vectors("v", v)
    if create_graph or state.mode & FORWARD:
        value, products = _twice_backward(given, vs, create_graph, strict)
    else:
        value, products = _tangent_of_gradient(given, vs, strict)
    return value, given.form(products, flat)


def _tangent_of_gradient(
    given: Inputs, vs: tuple[Tensor, ...], strict: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Forward over reverse: both passes carry tangents, nothing is recorded twice."""
    xs = given.leaves(False)
    with Mode(on=FORWARD | GRAD | PLAIN), carrying(given, xs, vs) as duals:
        y = given.scalar(duals)
        slopes = _slopes(given, y, duals, strict)
    products = [getattr(g, "_tangent", None) for g in slopes]
    return wrap(y._data), tuple(
        [
            wrap(np.zeros(x.shape, x.dtype) if t is None else t._data)
            for t, x in zip(products, xs, strict=True)
        ]
    )


def _slopes(
    given: Inputs, y: Tensor, xs: tuple[Tensor, ...], strict: bool, create_graph: bool = False
) -> tuple[Tensor, ...]:
    one = (wrap(np.ones(y.shape, y.dtype)),)
    if strict and not y.requires_grad:
        raise given.unused(None)
    return pull(given, (y,), xs, one, create_graph, strict)


def _twice_backward(
    given: Inputs, vs: tuple[Tensor, ...], create_graph: bool, strict: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Reverse over reverse: the gradient of <grad f, v>."""
    with Mode(on=GRAD, off=PLAIN):
        xs = given.leaves(create_graph)
        y = given.scalar(xs)
        slopes = _slopes(given, y, xs, strict, True)
        used = [(g, v) for g, v in zip(slopes, vs, strict=True) if g.requires_grad]
        found: tuple[Any, ...] = (None,) * len(xs)
        if used:
            found = grad(
                [g for g, _ in used], xs, [v for _, v in used], create_graph, create_graph,
                allow_unused=True,
            )  # fmt: skip
    products = [
        wrap(np.zeros(x.shape, x.dtype)) if t is None else t if create_graph else settled(t)
        for t, x in zip(found, xs, strict=True)
    ]
    return y if create_graph else settled(y), tuple(products)


LARGEST = 1 << 27  # elements of a Hessian: 1 GiB of float64


def hessian(
    f: Callable[..., Any], inputs: Any, create_graph: bool = False, strict: bool = True
) -> Any:
    """The matrix of all second derivatives of an f that gives one number; for small inputs.

    Args:
        f: a function that gives a Tensor of one element.
        inputs: a Tensor or array (float32 or float64), or a tuple of them, for f(*inputs); or
            Parameters or a Module that f() uses.
        create_graph: record the result, for derivatives of it.
        strict: False: derivatives by inputs that f does not depend on are 0.

    Returns:
        For one input a Tensor of shape (*input.shape, *input.shape); for a tuple of inputs a tuple
        of tuples of the blocks (*input_i.shape, *input_j.shape).

    Raises:
        RuntimeError: f does not depend on an input, and strict.
        ValueError: f gives more than one number; the Hessian has more than 2^27 elements.
        TypeError: an argument or what f returns is not as described.

    Notes:
        One product hvp for each element of the inputs.
    """
    given = Inputs("hessian", f, inputs)
    total = sum(x.size for x in given.items)
    if total * total > LARGEST:
        raise ValueError(
            f"hessian: inputs: {total} elements give a matrix of {total * total}, more than "
            f"{LARGEST}; use products with it: hvp(f, inputs, v)"
        )
    rows: list[list[tuple[Tensor, ...]]] = [[] for _ in given.items]
    zeros = [wrap(np.zeros(x.shape, x.dtype)) for x in given.items]
    twice = create_graph or state.mode & FORWARD
    if not total:
        given.scalar(given.items)
    for i, x in enumerate(given.items):
        for place in range(x.size):
            v = np.zeros(x.size, x.dtype)
            v[place] = 1
            vs = (*zeros[:i], wrap(v.reshape(x.shape)), *zeros[i + 1 :])
            rows[i].append(
                _twice_backward(given, vs, create_graph, strict)[1] if twice else
                _tangent_of_gradient(given, vs, strict)[1]
            )  # fmt: skip
    blocks = [
        given.form(tuple([_block([row[j] for row in rows[i]], a, b)
                          for j, b in enumerate(given.items)]))
        for i, a in enumerate(given.items)
    ]  # fmt: skip
    return given.form(tuple(blocks))


def _block(rows: list[Tensor], a: Tensor, b: Tensor) -> Tensor:
    """The second derivatives by the elements of a (rows) and of b."""
    from ..ops.joining import stack

    if not rows:
        return wrap(np.zeros(a.shape + b.shape, b.dtype))
    return stack(rows).reshape(a.shape + b.shape)
