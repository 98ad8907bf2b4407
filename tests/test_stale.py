"""A change of raw files is noticed wherever they lie; what is unchanged is not read again."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeParams
from tiny import Project, done_project, set_params

from mooc_maml.common.errors import UserError
from mooc_maml.common.results import plain
from mooc_maml.sources.listing import list_raw

HEAD = "learner,course,time\n"


def listed(make_params: MakeParams, hashed: Path, **data: Any) -> dict[str, Any]:
    settings = make_params(data={"source": "table", **data}).data
    return plain(list_raw(hashed, settings))


def write(path: Path, text: str = HEAD, changed: int = 1_600_000_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (changed, changed))
    return path


def test_what_dvc_hashes_is_not_listed(make_params: MakeParams, tmp_path: Path) -> None:
    """Times differ from clone to clone, and dvc.lock must not."""
    write(tmp_path / "table" / "log.csv")
    assert listed(make_params, tmp_path / "table") == {}
    assert listed(make_params, tmp_path / "table", raw=str(tmp_path / "table")) == {}
    assert listed(make_params, tmp_path / "made by simulate later") == {}


def test_files_elsewhere_are_listed_by_size_and_time(
    make_params: MakeParams, tmp_path: Path
) -> None:
    write(tmp_path / "away" / "b.csv")
    write(tmp_path / "away" / "a.csv", HEAD + "u,c,2021-03-01\n")
    where = {"raw": str(tmp_path / "away"), "files": "*.csv"}
    first = listed(make_params, tmp_path / "table", **where)
    times = {"changed": 1_600_000_000 * 10**9}
    assert first["files"] == [
        {"name": "a.csv", "size": len(HEAD) + 15, **times},
        {"name": "b.csv", "size": len(HEAD), **times},
    ]
    write(tmp_path / "away" / "notes.txt")  # which data.files does not name
    assert listed(make_params, tmp_path / "table", **where) == first
    seen = [first]
    for path, text, changed in (
        ("c.csv", HEAD, 1_600_000_000),  # added
        ("b.csv", HEAD + "\n", 1_600_000_000),  # of another size
        ("b.csv", HEAD + "\n", 1_600_000_001),  # written again
    ):
        write(tmp_path / "away" / path, text, changed)
        now = listed(make_params, tmp_path / "table", **where)
        assert now not in seen, path
        seen.append(now)


@pytest.mark.parametrize("name", ["log[1].csv", "a*.csv"])
def test_a_name_that_reads_like_a_glob_is_that_file(
    make_params: MakeParams, tmp_path: Path, name: str
) -> None:
    write(tmp_path / "away" / name)
    write(tmp_path / "away" / "log1.csv")
    found = listed(make_params, tmp_path / "table", raw=str(tmp_path / "away"), files=name)
    assert [file["name"] for file in found["files"]] == [name]


def test_what_links_lead_to_is_listed(make_params: MakeParams, tmp_path: Path) -> None:
    away = write(tmp_path / "away" / "log.csv").parent
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "folder").symlink_to(away)
    (tmp_path / "table" / "log[1].csv").symlink_to(away / "log.csv")
    write(tmp_path / "table" / "own.csv")
    names = {"files": ["*/*.csv", "log[1].csv", "own.csv"]}
    found = listed(make_params, tmp_path / "table", **names)["files"]
    assert [file["name"] for file in found] == ["folder/log.csv", "log[1].csv"]


def test_a_url_is_named_and_not_looked_into(make_params: MakeParams, tmp_path: Path) -> None:
    for url in ("hdfs://namenode:8020/logs", "s3://bucket/logs"):
        assert listed(make_params, tmp_path, raw=url) == {"not_watched": url}


def test_a_name_that_is_not_utf_8(make_params: MakeParams, tmp_path: Path) -> None:
    """DVC hashes no such name, and says neither which it is nor what to do."""
    name = os.fsdecode(b"caf\xe9.csv")
    try:
        write(tmp_path / "away" / name)
    except OSError:
        pytest.skip("the file system takes only UTF-8")
    found = listed(make_params, tmp_path / "table", raw=str(tmp_path / "away"))["files"]
    assert [file["name"] for file in found] == ["caf\\xe9.csv"]
    with pytest.raises(UserError, match=r"away/caf\\xe9\.csv: the name is not in UTF-8"):
        listed(make_params, tmp_path / "away")


def test_missing_files_elsewhere_are_named_before_any_work(
    make_params: MakeParams, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="away: no such folder"):
        listed(make_params, tmp_path, raw=str(tmp_path / "away"))


# --- through DVC ------------------------------------------------------------------------------


def ran(project: Project) -> list[str]:
    return re.findall("Running stage '(.*)'", project.dvc("repro", "preprocess"))


@pytest.mark.thorough
def test_dvc_repro_notices_a_change_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    project = done_project(tmp_path_factory)
    rows = "".join(f"u{n // 9},c{n % 9},{1_500_000_000 + 60 * n}\n" for n in range(90))
    file = write(tmp_path / "away" / "log[1].csv", HEAD + rows)
    where = {"data.source": "table", "data.raw": str(file.parent), "data.files": file.name}
    set_params(project, where | {"data.table.time_format": "epoch"})
    assert ran(project) == ["list_raw", "preprocess"]
    assert ran(project) == ["list_raw"]
    shutil.copy(file, file.with_name("log1.csv"))  # which the glob would find
    assert ran(project) == ["list_raw"]
    file.write_text(HEAD + rows.replace("c3", "d3"))  # as large as before
    assert ran(project) == ["list_raw", "preprocess"]
    set_params(project, {"data.files": "*.csv"})
    assert ran(project) == ["list_raw", "preprocess"]
    file.with_name("log2.csv").write_text(HEAD + rows.replace("u", "v"))
    assert ran(project) == ["list_raw", "preprocess"]
    assert project.read_json("results/preprocess.json")["learners"] == 20
    assert ran(project) == ["list_raw"]
