"""Functions of Tensors as C programs: recorded once for each kind of arguments, then replayed.

- `recorder.py`: `jit_program`; which program a call runs, or none.
- `program.py`: one program: made, proved, run, and its backward.
- `lowering.py`, `rules.py`: from a recorded graph to instructions of `csrc/generic/Graph.c`.
- `reads.py`: what a function reads besides its arguments, and whether it is as it was.
"""

from .recorder import JitProgram, jit_program

__all__ = ["JitProgram", "jit_program"]
