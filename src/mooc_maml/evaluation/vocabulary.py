"""The ids that learners and courses have in the raw data."""

from pathlib import Path
from typing import Literal

from mooc_maml.common.files import read_parquet


def read_ids(pairs: Path, name: Literal["course", "learner"]) -> list[str]:
    """The ids of courses or learners, in order of their numbers.

    Args:
        pairs: the folder of `preprocess`.
        name: which of the two.

    Raises:
        UserError: the vocabulary is missing or damaged.
    """
    table = read_parquet(pairs / f"{name}s.parquet", [name, "id"])
    ids: list[str] = table.sort_by(name)["id"].to_pylist()
    return ids
