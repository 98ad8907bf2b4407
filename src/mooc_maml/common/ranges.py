"""Several ranges of numbers, one after the other."""

import numpy as np
from numpy.typing import NDArray


def ranges(start: NDArray[np.integer], size: NDArray[np.integer]) -> NDArray[np.int64]:
    """start[0], start[0] + 1, ..., `size[0]` of them, then the same of the next: int64 [sum]."""
    begin = np.cumsum(size) - size  # where each range begins in the result
    found: NDArray[np.int64] = np.arange(size.sum()) + np.repeat(start - begin, size)
    return found
