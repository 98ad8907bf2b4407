"""Where experiments and benchmarks stand: above src, and beside each other."""

import ast

import pytest
from pipeline_files import ROOT


def imported_by(folder: str) -> set[str]:
    """First parts of the names of all modules that a folder's files import, anywhere in them."""
    names = set[str]()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module or "")
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize(
    ("folder", "others"),
    [
        ("src", {"stages", "benchmarks", "experiments"}),
        ("stages", {"benchmarks", "experiments"}),
        ("benchmarks", {"experiments"}),
        ("experiments", {"benchmarks"}),
    ],
)
def test_nothing_is_imported_from_above_or_beside(folder: str, others: set[str]) -> None:
    found = imported_by(folder)
    assert "mooc_maml" in found
    assert found & others == set()
