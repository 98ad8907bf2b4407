"""Experiments as a table that fits a terminal: what each changes, and what came of it.

    dvc exp show --csv | python -m experiments.shown

DVC's own table has a column for each figure and setting and is many hundred characters wide.
"""

import csv
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from mooc_maml.common.errors import UserError, main_guard

WIDTH = 100
FIGURES = {  # column of DVC -> head of ours
    "few_shot.NDCG@10": "few-shot",
    "zero_shot.NDCG@10": "zero-shot",
    "baselines.gru.NDCG@10": "GRU",
    "baselines.mixture.NDCG@10": "mixture",
}
_ABOUT = ("Experiment", "rev", "typ", "Created", "parent", "State", "Executor", "Queued", "error")
_NAME, _FIGURE = 24, 10  # characters


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """A line an experiment, and more where it changes much; NDCG@10 in percent.

    Args:
        rows: of `dvc exp show --csv`: the workspace, then each commit and what was tried on it.

    Raises:
        UserError: there are none.
    """
    if not rows or "Experiment" not in rows[0]:
        raise UserError(
            "no table of experiments came in; run "
            "`dvc exp show --csv | python -m experiments.shown`"
        )
    figures = [column for column in FIGURES if any(row.get(column) for row in rows)]
    head = "".join(f"{FIGURES[column]:>{_FIGURE}}" for column in figures)
    lines = [f"{'NDCG@10 in percent':<{_NAME}}{head}  changed settings"]
    base = next((row for row in rows if row.get("typ") == "baseline"), rows[0])
    for row in rows:
        base = row if row.get("typ") == "baseline" else base
        lines += _entry(row, base, figures)
    return "\n".join(lines)


def _entry(
    row: Mapping[str, str], base: Mapping[str, str], figures: Sequence[str]
) -> Iterable[str]:
    name = row["Experiment"] or (row.get("rev") or "")
    name = name[:7] if re.fullmatch("[0-9a-f]{40}", name) else name
    name = name if row.get("typ") == "baseline" else f"  {name}"
    name = name if len(name) < _NAME else f"{name[: _NAME - 2]}…"
    cells = "".join(f"{_percent(row.get(column)):>{_FIGURE}}" for column in figures)
    lead = f"{name:<{_NAME}}{cells}  "
    room = WIDTH - len(lead)
    changes = textwrap.wrap(", ".join(_changes(row, base)) or "-", room) or ["-"]
    return [lead + changes[0], *(" " * len(lead) + more for more in changes[1:])]


def _changes(row: Mapping[str, str], base: Mapping[str, str]) -> list[str]:
    settings = [
        column
        for column in row
        if column not in _ABOUT and not any(mark in column for mark in ("@", "MRR", "/"))
    ]
    return [f"{key}={row[key]}" for key in settings if row[key] and row[key] != base.get(key)]


def _percent(value: str | None) -> str:
    try:
        return f"{100 * float(value or ''):.1f}"
    except ValueError:
        return "-"


def main() -> None:
    """Read DVC's table from the pipe; print ours."""
    if sys.stdin.isatty():
        raise UserError("run `dvc exp show --csv | python -m experiments.shown`")
    lines = sys.stdin.read().splitlines()
    start = next((n for n, line in enumerate(lines) if line.startswith("Experiment,")), len(lines))
    print(table(list(csv.DictReader(lines[start:]))))


if __name__ == "__main__":
    main_guard(main)
