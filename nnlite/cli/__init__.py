"""The command line: nnlite demo, train, predict, bench, info."""
