"""Matrices of which few cells are not 0, counted and kept in files.

scipy is loaded where one is made: a start that needs none is a sixth of a second shorter.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mooc_maml.common.ranges import ranges

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FIELDS = ("indptr", "indices", "data")  # of compressed rows, as scipy calls them


def counted(
    row: NDArray[np.int64], column: NDArray[np.int64], shape: tuple[int, int]
) -> "csr_array":
    """How often each (row, column) occurs among pairs [n]: float64."""
    return summed(np.ones(len(row)), row, column, shape)


def summed(
    values: NDArray[np.float64],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    shape: tuple[int, int],
) -> "csr_array":
    """The sum of the values [n] of each (row, column)."""
    from scipy.sparse import coo_array

    return coo_array((values, (row, column)), shape=shape).tocsr()


def compressed(
    data: NDArray[Any], column: NDArray[Any], start: NDArray[Any], columns: int
) -> "csr_array":
    """The matrix of cells [m] that stand row by row; `start` [rows + 1]: where each row begins."""
    from scipy.sparse import csr_array

    return csr_array((data, column, start), shape=(len(start) - 1, columns))


def arrays_of(matrix: "csr_array") -> dict[str, NDArray[Any]]:
    """What a file holds of a matrix, by `FIELDS`."""
    return {name: getattr(matrix, name) for name in FIELDS}


def matrix_of(arrays: dict[str, NDArray[Any]], columns: int) -> "csr_array":
    """The matrix of these arrays: float64 [rows, columns]."""
    indptr, indices, data = (arrays[name] for name in FIELDS)
    return compressed(data, indices, indptr, columns)


def cells(
    matrix: "csr_array", rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cells of some rows [n]: for each its place in `rows`, and its number; both [m].

    `matrix[rows]` copies the cells and checks them, which takes longer where it is done often.
    """
    start = matrix.indptr[rows]
    size = matrix.indptr[rows + 1] - start
    return np.repeat(np.arange(len(rows)), size), ranges(start, size)
