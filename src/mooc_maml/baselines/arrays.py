"""The file of a baseline that is a few arrays."""

from collections.abc import Collection
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import atomic_path
from mooc_maml.common.tensor_files import ENDING, as_tensor, read_tensors, write_tensors


def write_arrays(path: Path, num_courses: int, **arrays: NDArray[Any]) -> None:
    """Write an .npz file that says which catalogue it ranks; the same arrays, the same bytes.

    With the ending .safetensors it holds the same in that format.
    """
    if path.suffix == ENDING:
        words = {name: x.tolist() for name, x in arrays.items() if x.dtype.kind == "U"}
        numbers = {name: as_tensor(x) for name, x in arrays.items() if name not in words}
        write_tensors(path, numbers, {"num_courses": num_courses, "words": words})
        return
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, num_courses=np.array(num_courses), **arrays)


def read_arrays(path: Path, num_courses: int, names: Collection[str]) -> dict[str, NDArray[Any]]:
    """Read the arrays of these names.

    Raises:
        UserError: the file is missing, is damaged, or ranks another number of courses.
    """
    try:
        if path.suffix == ENDING:
            content, ranked = _from_tensors(path)
            found = {name: content[name] for name in names}
        else:
            with np.load(path, allow_pickle=False) as content:
                found, ranked = {name: content[name] for name in names}, int(content["num_courses"])
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro` to make it") from None
    except (ValueError, OSError, EOFError, KeyError, TypeError, BadZipFile) as error:
        raise UserError(
            f"{path}: not the whole .npz file of a baseline ({error}); "
            "delete it and run `dvc repro`"
        ) from None
    if ranked != num_courses:
        raise UserError(
            f"{path}: ranks {ranked} courses, the data have {num_courses} courses; it was made "
            "from other data, run `dvc repro`"
        )
    return found


def _from_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], int]:
    """The arrays of a .safetensors file, and the catalogue that it ranks."""
    numbers, about = read_tensors(path)
    words = {name: np.array(x) for name, x in about["words"].items()}
    return {name: x.numpy() for name, x in numbers.items()} | words, int(about["num_courses"])
