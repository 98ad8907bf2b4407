"""The benchmark of growing dumps: nothing half done counts, and nothing that goes trips it up."""

from pathlib import Path

import pytest

from benchmarks import scale
from mooc_maml.common.errors import UserError


def test_a_dump_that_was_not_finished_is_not_measured(tmp_path, monkeypatch):
    def stopped(raw: Path, events: int) -> None:
        raw.mkdir()
        (raw / "part-0000").write_text("[")
        raise KeyboardInterrupt

    monkeypatch.setattr(scale, "write_dumps", stopped)
    monkeypatch.setattr("sys.argv", ["scale", "--events", "5", "--folder", str(tmp_path)])
    with pytest.raises(KeyboardInterrupt):
        scale.main()
    assert [path.name for path in tmp_path.rglob("*")] == ["5"]


def test_a_dump_too_large_for_the_disk_is_refused_before_it_is_made(tmp_path):
    with pytest.raises(UserError, match=r"need about 150,000\.0 GB of disk.* are free"):
        scale.check_disk(tmp_path, [10**15 // 10**3], keep=False)


def test_tables_in_between_are_counted_wherever_they_lie(tmp_path):
    inside = tmp_path / ".preprocess.1.partial" / "spill"
    inside.mkdir(parents=True)
    (inside / "a").write_bytes(b"12345")
    (inside.parent / "b").write_bytes(b"123")
    (inside / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "raw").write_bytes(b"1")
    assert scale.bytes_between(tmp_path) == 8
