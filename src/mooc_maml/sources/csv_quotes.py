"""Quotes in a CSV that are not closed and take in what follows, or stand behind a blank."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mooc_maml.sources.ids import BLANKS

SWALLOWED = "a quote that is not closed has swallowed lines"
_BREAK = re.compile(r"\r\n|\r|\n")
_BEHIND_A_BLANK = r'(?s)^[ \t]+"(.*)"[ \t]*$'


@dataclass(frozen=True)
class Quotes:
    """Tells a value of several lines from a quote that is not closed.

    Attributes:
        separator: between two columns.
        names: of all columns.
        roles: learner, item, time, ... -> number of its column.
        are_times: [texts] -> bool [texts], which of them are times.
    """

    separator: str
    names: Sequence[str]
    roles: dict[str, int]
    are_times: Callable[[list[str]], NDArray[np.bool_]]

    def torn(self, columns: dict[str, pa.Array]) -> list[int]:
        """The rows in which a value that is read has swallowed what looks like a part of rows.

        Args:
            columns: role -> string [rows].
        """
        rows: set[int] = set()
        for role, column in columns.items():
            if _has_break(column):
                rows |= {n for n, x in enumerate(column.to_pylist()) if self._is_torn(role, x)}
        return sorted(rows)

    def _is_torn(self, role: str, value: str) -> bool:
        value = value.strip(BLANKS)
        if self.separator not in value or not _BREAK.search(value):
            return False
        cells = [cell for line in _BREAK.split(value) for cell in line.split(self.separator)]
        return role == "time" or bool(self.are_times(cells).any())

    def lines_within(self, record: list[str]) -> int:
        """How many records a record has swallowed; 0 where `torn` counts them."""
        if len(record) != len(self.names):
            return 0  # counted already
        if any(self._is_torn(role, record[number]) for role, number in self.roles.items()):
            return 0
        lines = _BREAK.split(self.separator.join(record))
        found = sum(self._is_record(line.split(self.separator)) for line in lines)
        return max(0, found - 1)  # one of them is kept

    def _is_record(self, cells: list[str]) -> bool:
        if len(cells) < len(self.names):
            return False
        texts = {role: cells[number].strip(BLANKS) for role, number in self.roles.items()}
        there = bool(texts["learner"] and texts["item"] and texts["time"])
        return there and bool(self.are_times([texts["time"]])[0])


def _has_break(column: pa.Array) -> bool:
    content = column.buffers()[2]
    if content is None:
        return False
    whole = content.to_pybytes()
    return b"\n" in whole or b"\r" in whole


def unquoted(column: pa.Array) -> tuple[pa.Array, int]:
    """Values without quotes that stand behind a blank, as `1, "a"` has them; and how many had some.

    Args:
        column: string [rows].
    """
    had = pc.match_substring_regex(column, _BEHIND_A_BLANK)
    bare = pc.replace_substring_regex(column, _BEHIND_A_BLANK, r"\1")
    bare = pc.replace_substring(bare, '""', '"')
    return pc.if_else(had, bare, column), int(pc.sum(had).as_py() or 0)
