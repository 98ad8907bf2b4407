import errno
import hashlib
import itertools
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from crash import killed_before, needs_fork
from episode_helpers import small_store

from mooc_maml.common.errors import UserError, main_guard
from mooc_maml.common.files import (
    atomic_path,
    read_json,
    read_parquet,
    scratch_folder,
    sha256,
    write_array,
    write_json,
)
from mooc_maml.common.randomness import generator, torch_generator
from mooc_maml.episodes.leakage import check_ids
from mooc_maml.evaluation.oracle import oracle_ranks


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


def write_folder(path, text):
    with atomic_path(path) as temporary:
        (temporary / "inner").mkdir(parents=True)
        (temporary / "inner" / "a").write_text(text)
        (temporary / "b").write_text(text)


def read_folder(path):
    return {name.read_text() for name in (path / "inner" / "a", path / "b")}


@needs_fork
def test_a_folder_killed_anywhere_is_old_or_new_and_recovers(tmp_path):
    seen = set()
    for change in itertools.count():
        path = tmp_path / str(change) / "pairs"
        write_folder(path, "old")
        was_killed = killed_before(change, lambda path=path: write_folder(path, "new"))
        if path.exists():
            assert names(path) == ["b", "inner"]
            (found,) = read_folder(path)
        else:
            found = "nothing"
            beside = [read_folder(left) for left in path.parent.glob(".pairs.*.old")]
            assert beside == [{"old"}]
        seen.add(found)
        if not was_killed:
            break
        with pytest.raises(OSError, match="disk full"), atomic_path(path):  # recovers, then fails
            raise OSError("disk full")
        assert read_folder(path) == ({"new"} if found == "new" else {"old"})
        assert names(path.parent) == ["pairs"], "nothing is left of the killed one"
    assert seen == {"old", "nothing", "new"}, "the kills did not meet every moment"


@needs_fork
def test_a_file_killed_anywhere_is_old_or_new(tmp_path):
    seen = []
    for change in itertools.count():
        path = tmp_path / str(change) / "a.json"
        write_json(path, "old")
        was_killed = killed_before(change, lambda path=path: write_json(path, "new"))
        seen.append(read_json(path))
        write_json(path, "newest")
        assert names(path.parent) == ["a.json"]
        if not was_killed:
            break
    # before the folder is made, the file opened, renamed; before the cleaning up; not at all
    assert seen == ["old", "old", "old", "new", "new"]


def test_what_a_living_process_writes_is_left_alone(tmp_path):
    theirs = tmp_path / f".a.json.{os.getppid()}.partial"
    of_nobody = tmp_path / ".a.json.4194305.partial"  # beyond the largest process number
    another = tmp_path / ".b.json.4194305.partial"
    for path in (theirs, of_nobody, another):
        path.write_text("half")
    write_json(tmp_path / "a.json", 1)
    assert names(tmp_path) == sorted([theirs.name, another.name, "a.json"])


def test_a_folder_that_cannot_be_moved_in_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "pairs"
    write_folder(path, "old")
    replace = os.replace

    def fail(source, target):
        if str(source).endswith(".partial"):
            raise OSError(errno.ENOSPC, "No space left on device", str(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=r"No space left on device: '.*/pairs'"):
        write_folder(path, "new")
    assert read_folder(path) == {"old"}
    assert names(tmp_path) == ["pairs"]


def test_contents_reach_the_disk_before_the_name_changes(tmp_path, monkeypatch):
    calls = []
    sync, replace = os.fsync, os.replace

    def noted_sync(descriptor):
        calls.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    def noted_replace(source, target):
        calls.append(f"-> {os.path.basename(target)}")
        replace(source, target)

    if not os.path.exists("/proc/self/fd"):
        pytest.skip("no /proc on this system")
    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write_json(tmp_path / "a.json", 1)
    assert calls == [f".a.json.{os.getpid()}.partial", "-> a.json", tmp_path.name]
    calls.clear()
    write_folder(tmp_path / "pairs", "new")
    assert sorted(calls[:4]) == sorted([f".pairs.{os.getpid()}.partial", "a", "b", "inner"])
    assert calls[4:] == ["-> pairs", tmp_path.name]


def test_a_scratch_folder_is_empty_and_goes_away(tmp_path):
    left = tmp_path / ".work.4194305.partial"
    left.mkdir()
    (left / "big").write_text("left by a kill")
    with scratch_folder(tmp_path / "work") as folder:
        assert names(tmp_path) == [folder.name]
        assert names(folder) == []
        (folder / "a").write_text("a")
    assert names(tmp_path) == []


# --- a fault of the disk is one line ----------------------------------------------------------


def said(work, capsys):
    with pytest.raises(SystemExit) as stopped:
        main_guard(work)
    assert stopped.value.code == 1
    return capsys.readouterr().err


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    path = tmp_path / "results" / "a.json"
    assert said(lambda: write_json(path, 1), capsys) == (
        f"error: {path}: No space left on device; free some disk space, "
        "then run the same command again\n"
    )
    assert names(path.parent) == []


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind root"
)
def test_a_read_only_folder_is_one_line(tmp_path, capsys):
    tmp_path.chmod(0o500)
    found = said(lambda: write_json(tmp_path / "a.json", 1), capsys)
    assert found.startswith(f"error: {tmp_path / 'a.json'}: Permission denied; give yourself")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_refuses_is_one_line(tmp_path, monkeypatch, capsys, number):
    def refuse(path, *_):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    found = said(lambda: write_json(tmp_path / "a.json", 1), capsys)
    assert found.startswith(f"error: {tmp_path / 'a.json'}: {os.strerror(number)}; give yourself")
    assert found.count("\n") == 1


def test_a_file_in_place_of_a_folder_is_one_line(tmp_path, capsys):
    (tmp_path / "results").write_text("a file")
    found = said(lambda: write_json(tmp_path / "results" / "a.json", 1), capsys)
    assert found.startswith(f"error: {tmp_path / 'results'}: ")
    assert found.count("\n") == 1


def test_a_missing_file_is_one_line(tmp_path, capsys):
    found = said(lambda: sha256(tmp_path / "no.pth"), capsys)
    assert found.startswith(f"error: {tmp_path / 'no.pth'}: No such file or directory; make it")


def test_a_short_write_without_a_number_names_the_file_too(tmp_path, capsys):
    def fail():
        with atomic_path(tmp_path / "a.npy"):
            raise OSError("1000 requested and 20 written")  # as numpy says it

    found = said(fail, capsys)
    assert found.startswith(f"error: {tmp_path / 'a.npy'}: 1000 requested and 20 written; look")


def test_an_error_about_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="other"), atomic_path(tmp_path / "a"):
        (tmp_path / "other").read_bytes()


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


def test_ctrl_c_is_one_line_that_says_how_to_go_on(capsys):
    def main() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        main_guard(main)
    assert stop.value.code == 130
    assert capsys.readouterr().err == "stopped by Ctrl-C; run the same command again to go on\n"


# --- arrays -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (0, 2), (3, 4), (300, 400)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_is_the_file_that_numpy_writes(shape, order, tmp_path):
    array = np.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape), order=order)
    write_array(tmp_path / "ours.npy", array)
    np.save(tmp_path / "numpys.npy", array)
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "numpys.npy").read_bytes()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("length", [1, 100_000])
def test_an_array_that_finds_the_disk_full_keeps_the_reason(length):
    with pytest.raises(OSError, match="No space left on device") as fault:
        write_array(Path("/dev/full"), np.zeros(length))
    assert fault.value.errno == errno.ENOSPC


# --- Parquet ------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "learners.parquet"
    ids = [hashlib.sha256(bytes([n])).hexdigest() for n in range(200)]
    pq.write_table(pa.table({"id": ids, "n": range(200)}), path, write_page_checksum=True)
    return path


def test_columns_of_a_parquet_file(table: Path):
    assert read_parquet(table, ["n"]).to_pydict() == {"n": list(range(200))}
    with pytest.raises(UserError, match=r"learners\.parquet: no column x, y \(found id, n\); run"):
        read_parquet(table, ["x", "id", "y"])
    with pytest.raises(UserError, match=r"other: no such file; run `dvc repro preprocess`"):
        read_parquet(table.with_name("other"), ["id"])


@pytest.mark.parametrize("how", ["empty", "cut", "one bit"])
def test_a_damaged_parquet_file_is_one_line(table: Path, how):
    content = bytearray(table.read_bytes())
    content[1000] ^= 1  # within an id, which would otherwise be read as another
    table.write_bytes({"empty": b"", "cut": content[:-100], "one bit": content}[how])
    with pytest.raises(UserError, match=r"learners\.parquet: not a whole Parquet file") as fault:
        read_parquet(table, ["id"])
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    "read", [check_ids, lambda path: oracle_ranks(small_store(), "test", None, path.parent)]
)
def test_whoever_reads_the_ids_says_so(table: Path, read):
    table.write_bytes(table.read_bytes()[:-100])
    shutil.copy(table, table.with_name("courses.parquet"))
    with pytest.raises(UserError, match=r"\.parquet: not a whole Parquet file"):
        read(table)
