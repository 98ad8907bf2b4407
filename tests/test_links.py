"""Links of README and of the pages in docs/ lead to files and headings that are there."""

import re
from pathlib import Path

import pytest
from pipeline_files import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / folder / "measured" / "README.md" for folder in ("benchmarks", "experiments")),
    ROOT / "data" / "raw" / "README.md",
]


def broken_links(page: Path) -> list[str]:
    """Relative links of a page, pictures too, to a file or a heading that is not there."""
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [link for link in found if "://" not in link and not _is_there(page, link)]


def _is_there(page: Path, link: str) -> bool:
    name, _, heading = link.partition("#")
    path = page.parent / name if name else page
    return path.exists() and (not heading or heading in _headings(path))


def _headings(page: Path) -> set[str]:
    """As GitHub names them: "## What it's worth" -> "what-its-worth"."""
    lines = re.findall(r"(?m)^#+ (.+)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_link_to_nothing_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# What it's worth\n")
    page = tmp_path / "page.md"
    links = ["there.md", "there.md#what-its-worth", "#here", "https://example.org/x", "../page.md"]
    links += ["gone.md", "there.md#what-it-costs", "#nowhere"]
    page.write_text("## Here\n" + " ".join(f"[words]({link})" for link in links))
    (tmp_path / "inner").mkdir()
    assert broken_links(page) == ["../page.md", "gone.md", "there.md#what-it-costs", "#nowhere"]
