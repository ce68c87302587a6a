"""The benchmark: nnlite against a pure-NumPy baseline and other libraries.

`nnlite bench` is its command line (cli.py). From Python, `baseline.MLP` is the NumPy network, and
`run_workload` measures one workload. No other library is imported until it is asked for.
"""
