"""docs/how/: links by a function's name lead to it; what can be checked by hand is so."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from pipeline_files import ROOT
from torch import Tensor

from mooc_maml.meta.dense import DenseTaskModel
from mooc_maml.meta.outer import meta_gradient

PAGES = sorted((ROOT / "docs").rglob("*.md"))
LINK = re.compile(r"\[`(\w+)`\]\(([^)]+\.py)\)")


def unknown_names(page: Path) -> list[str]:
    """Names that a page links to a file which does not define them."""
    found = LINK.findall(page.read_text(encoding="utf-8"))
    return [name for name, path in found if not _defines(page.parent / path, name)]


def _defines(path: Path, name: str) -> bool:
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return bool(re.search(rf"(?m)^ *(?:def|class) {name}\b", text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_link_by_name_leads_to_what_is_so_called(page: Path) -> None:
    assert unknown_names(page) == []


def test_enough_is_linked_and_a_wrong_name_is_found(tmp_path: Path) -> None:
    linked = {page.stem: len(LINK.findall(page.read_text(encoding="utf-8"))) for page in PAGES}
    assert min(linked[page] for page in ("maml", "engine", "task")) >= 8
    (tmp_path / "a.py").write_text("def adapted():\n    adapt = 1\n")
    (tmp_path / "a.md").write_text("[`adapted`](a.py) [`adapt`](a.py) [`adapted`](b.py)")
    assert unknown_names(tmp_path / "a.md") == ["adapt", "adapted"]


def test_the_lines_of_the_loop_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "how" / "maml.md").read_text(encoding="utf-8")
    code = (ROOT / "src" / "mooc_maml" / "meta" / "outer.py").read_text(encoding="utf-8")
    lines = re.findall(r"(?m)^\| `([^`]+)` \| .*\$|^\| `(step = [^`]+)`", page)
    shown = [one or other for one, other in lines if "=" in (one or other)]
    assert len(shown) == 4
    places = [code.index(line) for line in shown]
    assert places == sorted(places)


@pytest.mark.parametrize(("second_order", "gradient"), [(True, 0.5888), (False, 0.92)])
def test_the_example_by_hand(second_order: bool, gradient: float) -> None:
    def loss(weights: dict[str, Tensor], examples: Any) -> Tensor:
        slope, aim = examples
        return (slope * (weights["w"] - aim) ** 2 / 2).sum()

    one = torch.ones(1, dtype=torch.float64)
    found = meta_gradient(
        DenseTaskModel(loss),
        {"w": torch.tensor([3.0], dtype=torch.float64)},
        (2 * one, 0 * one),
        (one, one),
        steps=2,
        inner_lr=0.1,
        second_order=second_order,
    )
    assert found.weights["w"].item() == pytest.approx(gradient)
    page = (ROOT / "docs" / "how" / "maml.md").read_text(encoding="utf-8")
    assert f" {gradient}" in page


def test_the_coefficients_of_the_page_are_derivatives_of_the_gru() -> None:
    """m and c of docs/how/engine.md against autograd, one number each."""
    draw = torch.Generator().manual_seed(1)
    values = torch.randn(7, generator=draw, dtype=torch.float64)
    i_r, i_z, i_n, g_r, g_z, g_n, h = values.requires_grad_().unbind()
    r, z = torch.sigmoid(i_r + g_r), torch.sigmoid(i_z + g_z)
    n = torch.tanh(i_n + r * g_n)
    (found,) = torch.autograd.grad(n + z * (h - n), values)
    c = (1 - z) * (1 - n**2)
    m = [c * g_n * r * (1 - r), (h - n) * z * (1 - z), c * r]
    assert torch.allclose(found, torch.stack([*m[:2], c, *m, z]))


def test_the_softmax_tangent_of_the_page_is_its_derivative() -> None:
    draw = torch.Generator().manual_seed(2)
    scores, moved = torch.randn(2, 5, generator=draw, dtype=torch.float64)
    p = scores.softmax(0)
    _, tangent = torch.func.jvp(lambda x: x.softmax(0), (scores,), (moved,))
    assert torch.allclose(tangent, p * (moved - p @ moved))
