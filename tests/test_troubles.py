"""docs/troubles.md: what the page quotes is what the program says, and stops where it says."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from committed import ROOT, settings

from mooc_maml.settings.params import ParamsError, parse_params

PAGE = (ROOT / "docs" / "troubles.md").read_text(encoding="utf-8")
OURS, OTHERS = PAGE.split("## What users of other programs report")
QUOTED = re.findall(r"^\| `([^`]+)` \|", OURS, re.MULTILINE)


def texts(path: Path) -> list[str]:
    """Every text of a file, with … for what is filled in."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = [x.value if isinstance(x, ast.Constant) else "…" for x in node.values]
            found.append("".join(str(part) for part in parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found


@cache
def said_by_the_program() -> list[str]:
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "stages").glob("*.py")]
    return [text for path in files for text in texts(path)] + [
        re.sub(r'"\s*\\\n\s*"', " ", (ROOT / "Makefile").read_text(encoding="utf-8"))
    ]


def is_said(quoted: str, said: list[str]) -> bool:
    """Whether one text holds the quoted words, in their order, with anything for each …."""
    parts = [re.escape(part) for part in quoted.strip("…").split("…")]
    pattern = re.compile(".*?".join(parts), re.DOTALL)
    return any(pattern.search(text) for text in said)


@pytest.mark.parametrize("quoted", QUOTED)
def test_the_program_says_what_is_quoted(quoted: str) -> None:
    assert len(re.sub(r"\W", "", quoted)) > 10 or quoted.startswith("leakage:")
    assert is_said(quoted, said_by_the_program())


def test_most_rows_quote_and_what_is_not_said_is_found() -> None:
    assert len(QUOTED) > 25
    said = said_by_the_program()
    assert not is_said("meta.variant: found '…', which nobody moves", said)
    assert not is_said("alone meta.variant: found", said)


def test_a_misspelt_setting_stops_the_first_stage() -> None:
    content = settings() | {"inner_ll": 0.1}
    with pytest.raises(ParamsError, match=r"inner_ll: no such setting \(found 0\.1\)"):
        parse_params(yaml.safe_load(yaml.safe_dump(content)))


def test_what_the_page_says_of_its_own_measurements_stands_in_their_pages() -> None:
    speed = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    for words in ("408, 434 and 468 MB", "ratio 0.97", "2.6 MB in 1,000 updates"):
        assert words in re.sub(r"\s+", " ", speed), words
    assert "ratio 0.97" in OTHERS
    assert "408, 434, 468 MB" in OTHERS
