"""Matrices of which few cells are not 0, as arrays that a file can hold."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from mooc_maml.common.ranges import ranges


class SparseRows(NamedTuple):
    """Compressed rows of a matrix.

    Attributes:
        start: int64 [rows + 1], where each row's cells begin.
        column: int64 [cells].
        value: float64 [cells].
    """

    start: NDArray[np.int64]
    column: NDArray[np.int64]
    value: NDArray[np.float64]

    @classmethod
    def counted(
        cls, row: NDArray[np.int64], column: NDArray[np.int64], shape: tuple[int, int]
    ) -> Self:
        """How often each (row, column) occurs among pairs [n]."""
        cell, count = np.unique(row * shape[1] + column, return_counts=True)
        per_row = np.bincount(cell // shape[1], minlength=shape[0])
        start = np.concatenate([[0], np.cumsum(per_row)])
        return cls(start, cell % shape[1], count.astype(np.float64))

    def cells(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The cells of some rows [n]: for each its place in `rows`, and its number; both [m]."""
        size = self.start[rows + 1] - self.start[rows]
        return np.repeat(np.arange(len(rows)), size), ranges(self.start[rows], size)

    def dense(self, rows: NDArray[np.int64], columns: int) -> NDArray[np.float64]:
        """Some rows [n] written out: float64 [n, columns]."""
        found = np.zeros((len(rows), columns))
        place, cell = self.cells(rows)
        found[place, self.column[cell]] = self.value[cell]
        return found
