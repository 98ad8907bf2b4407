"""Stage: raw activity -> sessions -> pairs."""

import argparse
import sys
from pathlib import Path
from typing import Any

from mooc_maml.common.errors import main_guard
from mooc_maml.common.progress import progress
from mooc_maml.common.results import write_result
from mooc_maml.preprocess.account import PreprocessResult
from mooc_maml.preprocess.sessions import preprocess
from mooc_maml.settings.params import load_params


def main(raw: Path, pairs: Path, report: Path) -> None:
    """Read the raw files; write the pairs and an account of everything dropped."""
    params = load_params("params.yaml")
    account = preprocess(raw, pairs, params, show=progress, tell=_tell)
    write_result(report, PreprocessResult.model_validate(account))
    _show(account)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show(account: dict[str, Any]) -> None:
    for bad in account["bad_records"]["first"]:
        print(f"unreadable: {bad['file']}: {bad['place']}: {bad['reason']}", file=sys.stderr)
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in account["dropped"].items())
    print(f"{account['raw_events']:,} raw events; dropped: {dropped}".replace("_", " "))
    names = ("sessions", "learners", "items", "pairs")
    print(", ".join(f"{account[name]:,} {name}" for name in names))


def _from_command_line() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", type=Path, required=True, help="folder of the raw files")
    parser.add_argument("--pairs", type=Path, required=True, help="folder to write")
    parser.add_argument("--report", type=Path, required=True, help="JSON account to write")
    arguments = parser.parse_args()
    main(arguments.raw, arguments.pairs, arguments.report)


if __name__ == "__main__":
    main_guard(_from_command_line)
