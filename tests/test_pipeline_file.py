"""The one reader of dvc.yaml, and the fingerprint that saved states and studies are found by."""

from pathlib import Path

import pytest

from mooc_maml.common.errors import UserError
from mooc_maml.runtime.pipeline import (
    code_fingerprint,
    filled_in,
    read_pipeline,
    stage_code,
    stage_fingerprint,
)

DVC_YAML = """\
stages:
  meta_train:
    cmd: python -m stages.meta_train --episodes data/episodes
    deps: [data/episodes, src/meta, stages/meta_train.py]
  visualize:
    cmd: python -m stages.visualize
    deps: [results/maml.json, src/report, src/meta, stages/visualize.py]
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Two stages with a package each."""
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    for name in ("src/meta/inner.py", "src/report/style.py", "stages/meta_train.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a = 1\n")
    (tmp_path / "stages" / "visualize.py").write_text("")
    return tmp_path


def test_a_change_counts_for_the_stages_that_list_the_file_and_for_no_other(checkout: Path) -> None:
    before = {x: stage_fingerprint(x, root=checkout) for x in ("meta_train", "visualize")}
    (checkout / "src" / "report" / "style.py").write_text("a = 2\n")
    assert stage_fingerprint("meta_train", root=checkout) == before["meta_train"]
    assert stage_fingerprint("visualize", root=checkout) != before["visualize"]
    (checkout / "src" / "report" / "style.py").write_text("a = 1\n")
    (checkout / "src" / "meta" / "inner.py").write_text("a = 2\n")
    for stage, old in before.items():
        assert stage_fingerprint(stage, root=checkout) != old


def test_a_new_a_moved_and_a_lost_file_count_and_byte_code_does_not(checkout: Path) -> None:
    before = stage_fingerprint("meta_train", root=checkout)
    cache = checkout / "src" / "meta" / "__pycache__" / "inner.cpython-311.pyc"
    cache.parent.mkdir()
    cache.write_bytes(b"code")
    assert stage_fingerprint("meta_train", root=checkout) == before
    inner = checkout / "src" / "meta" / "inner.py"
    moved = inner.rename(inner.with_name("outer.py"))
    seen = {before, stage_fingerprint("meta_train", root=checkout)}
    moved.unlink()
    seen.add(stage_fingerprint("meta_train", root=checkout))
    assert len(seen) == 3


def test_code_of_several_stages_is_listed_once(checkout: Path) -> None:
    found = [x.relative_to(checkout).as_posix() for x in stage_code("meta_train", root=checkout)]
    assert found == ["src/meta", "stages/meta_train.py"]
    both = stage_code("meta_train", "visualize", root=checkout)
    assert len(both) == 4
    assert stage_fingerprint("meta_train", "visualize", root=checkout) == code_fingerprint(
        reversed(both), checkout
    )


def test_a_fingerprint_does_not_depend_on_where_the_checkout_lies(checkout: Path) -> None:
    there = checkout / "elsewhere"
    for name in ("dvc.yaml", "src/meta/inner.py", "stages/meta_train.py"):
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_bytes((checkout / name).read_bytes())
    assert stage_fingerprint("meta_train", root=there) == stage_fingerprint(
        "meta_train", root=checkout
    )


def test_settings_are_filled_in() -> None:
    settings = {"data": {"source": "table"}, "seed": 3}
    assert filled_in("--raw data/raw/${data.source} ${seed}", settings) == "--raw data/raw/table 3"
    with pytest.raises(UserError, match=r"\$\{data\.sauce\}: no such setting in params\.yaml"):
        filled_in("${data.sauce}", settings)


@pytest.mark.parametrize(("text", "said"), [(None, "no such file"), ("stages", "with stages")])
def test_no_pipeline_is_told(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "dvc.yaml").write_text(text)
    with pytest.raises(UserError, match=f"dvc.yaml: .*{said}"):
        read_pipeline(tmp_path)
