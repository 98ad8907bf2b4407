"""How often the test learners have been read: each time is a chance to choose by them.

A test read is a result file about the test learners that differs from all that were written before.
Repeating a run that gives the same figures tells nothing new and does not count; other settings,
seeds or code do, as soon as one figure differs. The test reads stand in a file kept by git,
outside of DVC's outputs, so that they outlast `dvc repro` and go along with a clone. Experiments
that DVC runs in a copy note theirs in the workspace's state as well, from where the next test read
in the workspace takes them over. What was read in another clone and not committed is not known.
"""

from pathlib import Path

from filelock import FileLock

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import atomic_path, sha256
from mooc_maml.common.results import write_result
from mooc_maml.evaluation.schema import OfTestLearners
from mooc_maml.runtime.workspace import state_folder

FILE = "test_reads.csv"
_HEADER = "test_set,result_file,content"


def write_test_results(path: Path, result: OfTestLearners) -> None:
    """Write a result file about the test learners, and note in its folder that they were read.

    Args:
        path: the JSON file.
        result: what it holds.

    Raises:
        UserError: the file of test reads is not one.
    """
    write_result(path, result)
    _note(path.with_name(FILE), result.test_set, f"{path.name},{sha256(path)[:16]}")


def count_reads(path: Path, test_set: str) -> dict[str, int]:
    """Reads of one test set: result file -> number, in the order of their first reads.

    Raises:
        UserError: the file of test reads is not one.
    """
    found: dict[str, int] = {}
    for line in _lines(path):
        name, result_file, _ = line.split(",")
        if name == test_set:
            found[result_file] = found.get(result_file, 0) + 1
    return found


def _note(path: Path, test_set: str, read: str) -> None:
    shared = state_folder() / FILE
    shared.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(shared.with_suffix(".lock")):
        lines, elsewhere = _lines(path), _lines(shared)
        new = [line for line in elsewhere if line.startswith(test_set)] + [f"{test_set},{read}"]
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
