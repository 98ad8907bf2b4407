import numpy as np
import pytest
import torch

from mooc_maml.errors import UserError, main_guard
from mooc_maml.files import atomic_path, read_json, sha256, write_json
from mooc_maml.randomness import generator, torch_generator


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        assert temporary.parent == path.parent  # the same disk, so that moving is one step
        assert not path.exists()
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert names(path.parent) == ["a.txt"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_replaces_a_folder_whole(tmp_path):
    path = tmp_path / "pairs"
    path.mkdir()
    (path / "stale").write_text("old")
    with atomic_path(path) as temporary:
        temporary.mkdir()
        (temporary / "fresh").write_text("new")
        assert names(path) == ["stale"]
    assert names(path) == ["fresh"]
    assert names(tmp_path) == ["pairs"]


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    path = tmp_path / "pairs"
    path.mkdir()
    (path / "old").write_text("old")

    def fail():
        with atomic_path(path) as temporary:
            temporary.mkdir()
            (temporary / "half").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(path) == ["old"]
    assert names(tmp_path) == ["pairs"]


def test_json_is_the_same_bytes_for_the_same_content(tmp_path):
    write_json(tmp_path / "a.json", {"b": np.float64(0.5), "a": [1, "é"]})
    write_json(tmp_path / "b.json", {"a": [1, "é"], "b": 0.5})
    assert sha256(tmp_path / "a.json") == sha256(tmp_path / "b.json")
    assert read_json(tmp_path / "a.json") == {"a": [1, "é"], "b": 0.5}
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == '{\n  "a": [\n    1,\n    "é"\n  ],\n  "b": 0.5\n}\n'


def test_unreadable_json_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.json: no such file"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"half": ')
    with pytest.raises(UserError, match=r"a\.json: not valid JSON"):
        read_json(tmp_path / "a.json")


def test_sha256_of_known_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")  # the example of FIPS 180-2
    assert sha256(tmp_path / "a").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_draws_depend_on_seed_purpose_and_index_alone():
    def draw(*arguments):
        return generator(*arguments).integers(0, 2**62, 4).tolist()

    assert draw(1, "split") == draw(1, "split", 0)
    others = [draw(1, "split"), draw(2, "split"), draw(1, "batch"), draw(1, "split", 1)]
    assert len({tuple(numbers) for numbers in others}) == 4


def test_torch_draws_are_their_own_and_leave_the_global_state_alone():
    before = torch.random.get_rng_state()
    first = torch.rand(4, generator=torch_generator(1, "weights"))
    assert torch.equal(first, torch.rand(4, generator=torch_generator(1, "weights")))
    assert not torch.equal(first, torch.rand(4, generator=torch_generator(1, "weights", 1)))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_user_error_is_a_plain_line_and_status_1(capsys):
    def fail():
        raise UserError("a.csv: no column 'x'")

    with pytest.raises(SystemExit) as stopped:
        main_guard(fail)
    assert stopped.value.code == 1
    assert capsys.readouterr().err == "error: a.csv: no column 'x'\n"


def test_a_programming_error_is_not_hidden():
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main_guard(fail)
