"""How often the test learners have been looked at: each look is a chance to choose by them.

A reading is a result file about the test learners that differs from all that were read before.
Repeating a run that gives the same figures tells nothing new and does not count; other settings,
seeds or code do, as soon as one figure differs. The readings stand in a file kept by git,
outside of DVC's outputs, so that they outlast `dvc repro` and go along with a clone. Experiments
that DVC runs in a copy note theirs in the workspace's state as well, from where the next reading
in the workspace takes them over. What was read in another clone and not committed is not known.
"""

from pathlib import Path
from typing import Any

from filelock import FileLock

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import atomic_path, sha256, write_json
from mooc_maml.runtime.workspace import state_folder

FILE = "test_readings.csv"
_HEADER = "test_set,result_file,content"


def write_test_results(path: Path, content: dict[str, Any], test_set: str) -> None:
    """Write a result file about the test learners, and note in its folder that they were read.

    Args:
        path: the JSON file.
        content: what it is to hold; `test_set` is added.
        test_set: which learners and queries these are, `EpisodeStore.test_set`.

    Raises:
        UserError: the file of readings is not one.
    """
    write_json(path, {"test_set": test_set, **content})
    _note(path.with_name(FILE), test_set, f"{path.name},{sha256(path)[:16]}")


def count_readings(path: Path, test_set: str) -> dict[str, int]:
    """Readings of one test set: result file -> number, in the order of their first readings.

    Raises:
        UserError: the file of readings is not one.
    """
    found: dict[str, int] = {}
    for line in _lines(path):
        name, result_file, _ = line.split(",")
        if name == test_set:
            found[result_file] = found.get(result_file, 0) + 1
    return found


def _note(path: Path, test_set: str, reading: str) -> None:
    shared = state_folder() / FILE
    shared.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(shared.with_suffix(".lock")):
        lines, elsewhere = _lines(path), _lines(shared)
        new = [line for line in elsewhere if line.startswith(test_set)] + [f"{test_set},{reading}"]
        _write(path, [*lines, *new])
        _write(shared, [*elsewhere, *new])


def _write(path: Path, lines: list[str]) -> None:
    """Write each line once, where it comes first."""
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join([_HEADER, *dict.fromkeys(lines), ""]), encoding="utf-8")


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    header, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    if header != _HEADER or any(line.count(",") != 2 for line in lines):
        raise UserError(
            f"{path}: expected the header {_HEADER} and three values a line; "
            "bring back the file that git has: git checkout -- " + str(path)
        )
    return lines
