"""The names of program/rows.py, for pickles of trainers that were written when they stood here."""

from ..program.rows import NotFiniteError, Rows, Sums

__all__ = ["NotFiniteError", "Rows", "Sums"]
