"""python -m nnlite: the console script without its installed name."""

import sys

from nnlite.cli import main

sys.exit(main())
