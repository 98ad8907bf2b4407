"""Matrices of which few cells are not 0, counted and kept in files."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from mooc_maml.common.ranges import ranges

FIELDS = ("indptr", "indices", "data")  # of compressed rows, as scipy calls them


def counted(row: NDArray[np.int64], column: NDArray[np.int64], shape: tuple[int, int]) -> csr_array:
    """How often each (row, column) occurs among pairs [n]: float64."""
    return coo_array((np.ones(len(row)), (row, column)), shape=shape).tocsr()


def arrays_of(matrix: csr_array) -> dict[str, NDArray[Any]]:
    """What a file holds of a matrix, by `FIELDS`."""
    return {name: getattr(matrix, name) for name in FIELDS}


def matrix_of(arrays: dict[str, NDArray[Any]], columns: int) -> csr_array:
    """The matrix of these arrays: float64 [rows, columns]."""
    indptr, indices, data = (arrays[name] for name in FIELDS)
    return csr_array((data, indices, indptr), shape=(len(indptr) - 1, columns))


def cells(
    matrix: csr_array, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cells of some rows [n]: for each its place in `rows`, and its number; both [m].

    `matrix[rows]` copies the cells and checks them, which takes longer where it is done often.
    """
    start = matrix.indptr[rows]
    size = matrix.indptr[rows + 1] - start
    return np.repeat(np.arange(len(rows)), size), ranges(start, size)
