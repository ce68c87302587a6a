"""Blocks, summaries and pictures of graphs."""

from __future__ import annotations

import re
import shutil
import stat
import threading

import numpy as np
import pytest

import nnlite as nn
from nnlite import autograd as ag
from nnlite.autograd.node import state

F64 = np.float64


def leaf(values, dtype=F64):
    return nn.tensor(np.asarray(values), requires_grad=True, dtype=dtype)


@nn.function
def line(w, x):
    """A docstring."""
    return w[0] * x + w[1]


@nn.function("head")
def neuron(w, x):
    return line(w, x).sigmoid()


def path(tensor) -> list[str]:
    block = tensor.producer.block
    return [] if block is None else [b.name for b in block.path()]


# Blocks.


def test_blocks_nest_and_end():
    w, x = leaf([2.0, -3.0]), leaf(0.5)
    inner, outer, after = line(w, x), neuron(w, x), w * x
    assert path(inner) == ["line"] and path(outer) == ["head"] and path(after) == []
    add = outer.producer.parents[0]
    assert [b.name for b in add.block.path()] == ["head", "line"]
    assert repr(add.block) == "Block(head/line)"
    assert add.block.outer is outer.producer.block  # one call of head, one block
    assert line(w, x).producer.block is not inner.producer.block
    assert line.__name__ == "line" and line.__doc__ == "A docstring."


def test_a_block_ends_when_its_function_raises():
    @nn.function
    def wrong(x):
        raise KeyError("no")

    with pytest.raises(KeyError):
        wrong(leaf(1.0))
    assert state.block is None


def test_blocks_are_those_of_the_thread():
    found = []
    x = leaf(1.0)

    @nn.function
    def outer():
        thread = threading.Thread(target=lambda: found.append(path(x * x)))
        thread.start()
        thread.join()
        return path(x * x)

    assert outer() == ["outer"] and found == [[]]


def test_nothing_is_recorded_without_a_graph():
    seen = []

    @nn.function
    def call(x):
        seen.append(state.block)
        return x * 2

    with nn.no_grad():
        assert call(leaf(2.0)).item() == 4
    assert call(3) == 6 and call(np.ones(2)).tolist() == [2, 2]
    assert seen[0] is None


def test_function_takes_a_function_or_a_name():
    with pytest.raises(TypeError, match="function: expected a function or a name, got int"):
        nn.function(5)


def test_modules_are_blocks():
    class Twice(nn.Module):
        def __init__(self):
            self.inner = nn.Linear(2, 2, dtype=F64)

        def forward(self, x):
            return self.inner(self.inner(x)) * 2

    y = Twice()(leaf(np.ones((1, 2))))
    assert path(y) == ["Twice"]
    assert [b.name for b in y.producer.parents[0].block.path()] == ["Twice", "Linear"]


# Summaries.


def test_summary_of_a_network(capsys):
    model = nn.Sequential(nn.Linear(2, 4, dtype=F64), nn.ReLU(), nn.Linear(4, 3, dtype=F64))
    x, target = nn.tensor(np.ones((5, 2))), np.array([0, 1, 2, 0, 1])
    loss = nn.SoftmaxCE()(model(x), target) + 0.5 * (model[0].weight ** 2).sum()
    text = ag.summary(loss, model)
    rows = [re.split(r"  +", line.strip()) for line in text.splitlines()]
    assert rows == [
        ["call", "inputs", "output", "parameters", "bytes kept"],
        ["-" * len(text.splitlines()[1])],
        ["Sequential"],
        ["Linear"],
        ["linear", "constant 5x2, p0_weight 2x4, p0_bias 4", "linear1 5x4", "12", "80"],
        ["ReLU"],
        ["relu", "linear1", "relu1 5x4", "160"],
        ["Linear"],
        ["linear", "relu1, p2_weight 4x3, p2_bias 3", "linear2 5x3", "15"],
        ["SoftmaxCE", "linear2", "softmaxce1 ()", "280"],  # logits, gradient, target: 120+120+40
        ["square", "p0_weight 2x4", "square1 2x4"],
        ["sum", "square1", "sum1 ()"],
        ["mul", "0.5, sum1", "mul1 ()"],
        ["add", "softmaxce1, mul1", "loss ()"],
        ["-" * len(text.splitlines()[1])],
        ["8 calls", "27", "520"],
    ]
    assert capsys.readouterr().out == text + "\n"
    assert repr(text) == f"<Printed: {text.count(chr(10)) + 1} lines>"
    indent = {line.strip().split()[0]: len(line) - len(line.lstrip()) for line in text.splitlines()}
    assert (indent["Sequential"], indent["ReLU"], indent["relu"]) == (0, 2, 4)
    loss.backward(retain_graph=True)
    assert ag.summary(loss, model) == text


def test_summary_counts_shared_values_once():
    x = leaf(np.ones((10, 10)))
    y = x.exp()
    text = ag.summary((y * y + y.sin() * y.reshape(100).reshape(10, 10)).sum())
    kept = text.splitlines()[-1].split()[-1]
    assert kept == "1,600"  # exp and sin, each once


# Pictures.


def test_the_picture_of_the_sigmoid_neuron():
    w0, x0, w1, x1, w2 = (leaf(v) for v in (2.0, -1.0, -3.0, -2.0, -3.0))
    names = {"w0": w0, "x0": x0, "w1": w1, "x1": x1, "w2": w2}
    y = (w0 * x0 + w1 * x1 + w2).sigmoid()
    text = ag.draw(y, names=names)
    numbers = {}
    for line in text.splitlines():
        edge = re.match(r"  (\w+) -> (\w+) \[label=<(.*)>\];", line)
        if edge:
            numbers[edge[1], edge[2]] = re.findall(r">(-?\d+\.\d\d)<", edge[3])
    assert numbers == {
        ("w0", "mul1"): ["2.00", "-0.20"], ("x0", "mul1"): ["-1.00", "0.39"],
        ("w1", "mul2"): ["-3.00", "-0.39"], ("x1", "mul2"): ["-2.00", "-0.59"],
        ("mul1", "add1"): ["-2.00", "0.20"], ("mul2", "add1"): ["6.00", "0.20"],
        ("add1", "add2"): ["4.00", "0.20"], ("w2", "add2"): ["-3.00", "0.20"],
        ("add2", "loss"): ["1.00", "0.20"], ("loss", "result"): ["0.73", "1.00"],
    }  # fmt: skip
    assert all(x.grad is None for x in names.values())  # drawing leaves no gradients behind
    y.backward()
    assert round(w0.grad.item(), 2) == -0.20


def test_each_branch_of_a_copy_has_its_own_gradient():
    x = leaf(3.0)
    text = ag.draw(x * 4 + x * 5, names={"x": x})
    assert re.findall(r'x -> mul\d .*"#d00000">([\d.]+)<', text) == ["4.00", "5.00"]
    (box,) = re.findall(r"  x \[shape=box, label=<(.*)>\];", text)
    assert re.findall(r">([\d.]+)<", box) == ["3.00", "9.00"]  # the gradients add
    assert re.findall(r"constant_\w+ \[shape=plaintext, label=<(\w)>", text) == ["4", "5"]


def test_blocks_are_frames_and_arrays_have_shapes():
    w, x = leaf(np.ones((3, 4))), leaf(np.ones(4))
    y = nn.function('a "quoted" name')(lambda: (w @ x).relu())()
    text = ag.draw(y, names={"W": w})
    assert 'subgraph cluster_1 {\n    label="a \\"quoted\\" name"; style=rounded;' in text
    assert "W -> matmul1 [label=<3x4>];" in text and "matmul1 -> output [label=<3>];" in text
    assert text.count("{") == text.count("}")


def test_drawing_keeps_retained_gradients():
    x = leaf(2.0)
    y = x * x
    y.retain_grad()
    z = y * 3
    ag.draw(z)
    assert y.grad is None
    z.backward()
    assert y.grad.item() == 3 and x.grad.item() == 12


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_files(tmp_path, monkeypatch, suffix):
    y = leaf(2.0) * leaf(3.0)
    file = tmp_path / f"graph{suffix}"
    monkeypatch.setenv("PATH", str(tmp_path))
    message = (
        r"dot of Graphviz was not found; install the system.s package graphviz \(apt install gra"
    )
    with pytest.raises(RuntimeError, match=message):
        ag.draw(y, file)
    assert not file.exists()
    fake = tmp_path / "dot"
    fake.write_text('#!/bin/sh\necho "$@" > "$3"\nexec /bin/cat >> "$3"\n')
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    text = ag.draw(y, file)
    assert file.read_text(encoding="utf-8") == f"-T{suffix[1:]} -o {file}\n{text}"
    fake.write_text('#!/bin/sh\necho "syntax error" >&2\nexit 3\n')
    with pytest.raises(RuntimeError, match="dot failed with code 3: syntax error"):
        ag.draw(y, file)


def test_dot_files_need_no_program(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    text = ag.draw(leaf(2.0) * leaf(3.0), tmp_path / "graph.dot")
    assert (tmp_path / "graph.dot").read_text(encoding="utf-8") == text
    with pytest.raises(ValueError, match=r"draw: path: expected a name in \.svg, \.png or \.dot"):
        ag.draw(leaf(2.0) * 2, "graph.pdf")


@pytest.mark.skipif(shutil.which("dot") is None, reason="the program dot is not installed")
def test_dot_draws_it(tmp_path):
    w, x = leaf([2.0, -3.0]), leaf(0.5)
    ag.draw(neuron(w, x), tmp_path / "graph.svg", {"w<&>": w})
    svg = (tmp_path / "graph.svg").read_text(encoding="utf-8")
    assert "<svg" in svg and ">head<" in svg and ">line<" in svg and ">sigmoid<" in svg
    ag.draw(neuron(w, x), tmp_path / "graph.png")
    assert (tmp_path / "graph.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


# Networks of the user's own modules.


class Gain(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 3, dtype=F64)
        self.gain = nn.Parameter(np.full(3, 0.5))

    def forward(self, x):
        return x + self.inner(x).tanh() * self.gain


def test_graphs_of_own_modules():
    model = nn.Sequential(
        Gain(),
        nn.Residual(nn.Linear(3, 3, dtype=F64)),
        nn.Concat(nn.Linear(3, 2, dtype=F64), nn.Linear(3, 1, dtype=F64)),
    )
    x = nn.tensor(np.random.default_rng(0).normal(size=(4, 3)))
    loss = nn.SoftmaxCE()(model(x), np.array([0, 1, 2, 0]))
    table = ag.summary(loss, model)
    count = sum(p.size for p in model.parameters())
    assert re.search(rf"^10 calls +{count} ", table.splitlines()[-1])
    for name in ("Sequential", "  Gain", "    Linear", "  Residual", "  Concat"):
        assert name in table.splitlines()
    picture = str(ag.draw(loss, names=model))
    assert all(name in picture for name in ("Gain", "Residual", "Concat", "gain"))
    code = ag.flat(loss, model)
    assert "# Sequential/Gain/Linear\n" in code
    loss.backward()
    space = code.run()
    for name, p in model.named_parameters():
        found = space[f"d_p{name.replace('.', '_')}"]
        np.testing.assert_allclose(found, p.grad, rtol=1e-12, atol=1e-14)
