"""python -m nnlite: the console script without its installed name."""

import sys

from nnlite.cli.main import main

sys.exit(main())
