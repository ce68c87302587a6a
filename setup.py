"""Builds the native extensions: see nnlite/_core/build.py, which has all the facts of the build."""

import os
import runpy

from setuptools import setup

root = os.path.dirname(os.path.abspath(__file__))
build = runpy.run_path(os.path.join(root, "nnlite", "_core", "build.py"))
setup(**build["setup_arguments"]())
