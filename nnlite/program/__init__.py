"""Programs: functions of Tensors that are recorded once and then run as one call of C.

- `unify.py`: two recordings (nnlite/autograd/tape.py) as one that holds for any batch
- `values.py`: where values lie: buffers, strides, the axis that is the batch
- `lower.py`: from recorded calls to instructions of csrc/ops.h
- `rewrite.py`: instructions that become one: a product with its activation, and the like
- `run.py`: the program as C has it, and its buffers
- `train.py`, `rows.py`, `launch.py`: the program that trains; its rows and sums; where it runs
"""
