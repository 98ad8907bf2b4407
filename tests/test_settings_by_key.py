"""params.yaml written back: the value changes, the rest stays."""

from pathlib import Path

import pytest
import yaml
from pipeline_files import ROOT

from experiments.settings_by_key import as_yaml, leaves, value_of, with_changes, write_settings
from mooc_maml.common.errors import UserError
from mooc_maml.settings.params import load_params, parse_params


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    return path


CHANGES = [
    {"inner_lr": 0.0371, "model.hidden_dim": 64},
    {"outer_lr": 1e-05, "use_second_order": False, "meta.variant": "anil"},
    {"episodes.split_seed": 7, "data.engine": "spark", "num_meta_iterations": 123456789},
]


@pytest.mark.parametrize("changes", CHANGES)
def test_every_other_character_and_every_comment_s_column_stay(file: Path, changes) -> None:
    before = file.read_text().splitlines()
    params = write_settings(file, changes)
    after = file.read_text().splitlines()
    assert {key: value_of(params, key) for key in changes} == changes
    differing = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(differing) == len(changes)
    for a, b in differing:
        assert a.split(":")[0] == b.split(":")[0]
        comments = a.find("#"), b.find("#")
        value = len(b[: comments[1]].rstrip())
        assert a[comments[0] :] == b[comments[1] :]
        assert comments[1] == max(comments[0], value + 1)


def test_writing_what_stands_there_changes_no_byte(file: Path) -> None:
    before = file.read_bytes()
    content = leaves(yaml.safe_load(before))
    scalars = {key: value for key, value in content.items() if not isinstance(value, list)}
    quoted = {key for key in scalars if key in ("data.files", "data.spark.master")}
    write_settings(file, {key: value for key, value in scalars.items() if key not in quoted})
    assert file.read_bytes() == before
    assert len(scalars) > 40


def test_a_small_number_is_a_number_for_every_reader(file: Path) -> None:
    write_settings(file, {"outer_lr": 1e-05})
    assert yaml.safe_load(file.read_text())["outer_lr"] == 1e-05
    assert load_params(file).outer_lr == 1e-05


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-05, "1.0e-05"),
        (True, "true"),
        (None, "null"),
        ("no", "'no'"),
        ("anil", "anil"),
        (3, "3"),
    ],
)
def test_a_value_is_written_as_it_is_read_back(value, text: str) -> None:
    assert as_yaml(value) == text
    assert yaml.safe_load(text) == value


def test_a_value_that_is_not_allowed_leaves_the_file_alone(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(UserError, match=r"inner_lr: found -1\.0"):
        write_settings(file, {"outer_lr": 0.5, "inner_lr": -1.0})
    assert file.read_bytes() == before


def test_a_word_that_is_meant_as_a_number_is_one() -> None:
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert value_of(parse_params(with_changes(content, {"outer_lr": "1e-05"})), "outer_lr") == 1e-05


def test_a_section_that_there_is_not_is_named() -> None:
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    with pytest.raises(UserError, match=r"modle\.layers: found no section modle; expected a key"):
        with_changes(content, {"modle.layers": 2})
