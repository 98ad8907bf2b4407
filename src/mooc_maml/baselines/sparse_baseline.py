"""What the baselines have in common that are one sparse matrix and the courses' popularity."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from mooc_maml.baselines.arrays import read_arrays, write_arrays
from mooc_maml.baselines.base import NO_PARTS, Parts
from mooc_maml.baselines.sparse import FIELDS, arrays_of, matrix_of

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class SparseBaseline:
    """A matrix of courses by courses, and popularity to order what it says nothing of.

    Args:
        matrix: rows courses 0..C (0 empty), columns courses 0..C-1.
        share: float64 [C], popularity, adds up to 1.
        device: of the scores.
    """

    ending: ClassVar[str] = ".npz"
    made_of: ClassVar[tuple[str, ...]] = ()
    reads_support: ClassVar[bool] = False

    def __init__(
        self, matrix: "csr_array", share: NDArray[np.float64], device: torch.device
    ) -> None:
        self.matrix, self.share, self.device = matrix, share, device
        self.history: list[dict[str, Any]] = []

    def write(self, path: Path) -> None:
        """Write matrix and popularity as an .npz file."""
        write_arrays(path, len(self.share), share=self.share, **arrays_of(self.matrix))

    @classmethod
    def read(
        cls, path: Path, num_courses: int, device: torch.device, parts: Parts = NO_PARTS
    ) -> Self:
        """Read matrix and popularity.

        Raises:
            UserError: the file is missing, is damaged, or ranks another number of courses.
        """
        found = read_arrays(path, num_courses, ("share", *FIELDS))
        share = found.pop("share")
        return cls(matrix_of(found, len(share)), share, device)
