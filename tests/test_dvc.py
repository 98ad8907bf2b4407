"""dvc.yaml against the code: nothing that a stage depends on is left out, so nothing goes stale."""

import configparser
import os
import re
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pipeline_files import ROOT, code_of, leaves, read_yaml, stages

from mooc_maml.runtime.pipeline import is_code, outs, read_plots, tracks
from mooc_maml.sources import SOURCES

STAGES = stages()


@pytest.mark.parametrize("stage", STAGES)
def test_deps_list_exactly_the_code_that_the_stage_imports(stage: str) -> None:
    listed = {dep for dep in STAGES[stage]["deps"] if is_code(dep)}
    needed = code_of(stage)
    if {"src", "stages"} <= set(STAGES[stage]["deps"]):
        return  # all of it: the stage records what the code was
    assert sorted(needed - listed) == [], "imported, but a change would not make the stage stale"
    assert sorted(listed - needed) == [], "listed, but not imported or not there"


def test_the_reading_of_imports_finds_what_is_imported_at_second_hand() -> None:
    code = code_of("preprocess")
    assert "src/mooc_maml/sources" in code  # through preprocess
    assert "src/mooc_maml/__init__.py" in code
    assert "src/mooc_maml/report" in code_of("visualize")
    assert not any("report" in path or "meta" in path.split("/")[2:] for path in code)


@pytest.mark.parametrize(
    ("edited", "left"),
    [
        ("report", {name for name in STAGES if name != "visualize"}),
        ("baselines", {"simulate", "preprocess", "build_episodes", "meta_train"}),
        ("composites", {"simulate", "preprocess", "build_episodes", "meta_train"}),
        ("evaluation", {"simulate", "preprocess", "build_episodes", "meta_train"}),
        ("meta", {"simulate", "preprocess", "build_episodes"}),
        ("episodes", {"simulate", "preprocess"}),
    ],
)
def test_an_edit_of_a_package_leaves_alone_the_stages_that_do_not_use_it(
    edited: str, left: set[str]
) -> None:
    for stage in left:
        assert f"src/mooc_maml/{edited}" not in STAGES[stage]["deps"], stage


@pytest.mark.parametrize("key", leaves(read_yaml("params.yaml")))
def test_changing_a_setting_makes_a_stage_stale(key: str) -> None:
    """Otherwise `dvc exp run -S key=...` records an experiment in which nothing ran."""
    stale = [name for name, stage in STAGES.items() if tracks(stage, key)]
    # the report and the bundle show all settings; the bundle alone reads titles
    assert set(stale) - {"visualize", "export"} or key == "data.titles", stale


@pytest.mark.parametrize("stage", STAGES)
def test_tracked_settings_exist(stage: str) -> None:
    keys = leaves(read_yaml("params.yaml"))
    for name in STAGES[stage].get("params", []):
        assert any(key == name or key.startswith(f"{name}.") for key in keys), name


def test_a_section_does_not_track_a_key_that_only_begins_like_it() -> None:
    assert tracks({"params": ["data.table"]}, "data.table.time")
    assert not tracks({"params": ["data.table"]}, "data.tables")
    assert not tracks({"params": ["data.table.time"]}, "data.table")


def test_data_moves_one_way() -> None:
    """A stage reads raw files and what a stage before it wrote; it names all that it writes."""
    written: set[str] = {f"data/raw/{read_yaml('params.yaml')['data']['source']}"}
    written.add("results/test_reads.csv")  # kept by git, since no stage's output may outlast it
    written |= {"src", "stages"}  # the code as a whole is an input of the report
    for name, stage in STAGES.items():
        read = [dep for dep in stage["deps"] if not is_code(dep)]
        unknown = [x for x in read if x not in written and str(Path(x).parent) not in written]
        assert unknown == [], f"{name} reads what no stage before it writes"
        written |= set(outs(stage))


@pytest.mark.parametrize("stage", STAGES)
def test_every_path_on_the_command_line_is_an_input_or_an_output(stage: str) -> None:
    entry = STAGES[stage]
    declared = {*entry["deps"], *outs(entry)}
    if stage == "list_raw":  # it looks before DVC does, and where DVC does not
        declared.add(f"data/raw/{read_yaml('params.yaml')['data']['source']}")
    paths = re.findall(r"--\S+ (\S+)", entry["cmd"])
    assert paths
    for path in paths:
        assert any(known == path or known.startswith(f"{path}/") for known in declared), path


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_tells_what_it_does_in_words(stage: str) -> None:
    assert len(STAGES[stage]["desc"].split()) >= 4


def test_metrics_and_pictures_go_to_git_and_the_rest_to_the_cache() -> None:
    for name, stage in STAGES.items():
        for path, options in outs(stage).items():
            in_git = options.get("cache") is False
            assert in_git == path.startswith("results/"), f"{name}: {path}"
            assert "persist" not in options, f"{name}: {path} would go on from an old run"
        assert all(path.startswith("results/") for path in outs(stage, ("metrics",)))


def test_plots_are_drawn_from_files_that_a_stage_writes() -> None:
    written = {path for stage in STAGES.values() for path in outs(stage)}
    drawn = [path for plot in read_plots(ROOT) for p in plot.values() for path in p["y"]]
    assert drawn
    assert set(drawn) <= written


def is_ignored(path: str) -> bool:
    command = ["git", "check-ignore", "--quiet", "--no-index", path]
    return subprocess.run(command, cwd=ROOT, check=False, timeout=60).returncode == 0


@pytest.mark.parametrize(
    "path",
    [
        *(
            path
            for stage in STAGES.values()
            for path in outs(stage)
            if not path.startswith("results")
        ),
        "data/raw/xuetangx/20180801-raw_user_activity.json",
        "data/raw/mooccubex/user.json",
        "data/raw/table/log.csv.gz",
        ".state/meta_train/0123/state-00000001-ab.pth",
        "results/.maml_K5_Q10.json.123.partial",
        "results/.report.123.old/index.html",
        ".venv/bin/python",
    ],
)
def test_data_and_models_stay_out_of_git(path: str) -> None:
    assert is_ignored(path)


@pytest.mark.parametrize(
    "path",
    [
        *(path for stage in STAGES.values() for path in outs(stage) if path.startswith("results")),
        "results/report/index.html",
        "dvc.lock",
        "data/raw/table/log.csv.gz.dvc",
        *(f"data/raw/{source}/.gitignore" for source in SOURCES if source != "synthetic"),
    ],
)
def test_results_are_kept_in_git(path: str) -> None:
    assert not is_ignored(path)


@pytest.mark.parametrize("source", [name for name in SOURCES if name != "synthetic"])
def test_the_folder_of_raw_files_is_there_before_them(source: str) -> None:
    """Without it DVC says Errno 2 before a stage of ours can say what to put where."""
    assert (ROOT / "data" / "raw" / source / ".gitignore").is_file()
    assert f"`{source}/`" in (ROOT / "data" / "raw" / "README.md").read_text(encoding="utf-8")


def test_dvc_is_set_up() -> None:
    config = configparser.ConfigParser()
    config.read_string(re.sub(r"(?m)^\s+", "", (ROOT / ".dvc" / "config").read_text()))
    assert config.getboolean("core", "analytics") is False
    assert config.getboolean("core", "autostage") is True


# --- the lock ---------------------------------------------------------------------------------


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    wrong = [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._!]+", line)]
    assert wrong == [], "neither hashes nor addresses nor ranges nor local versions"
    split = (pin.split("==") for pin in pins)
    return {canonicalize_name(name): version for name, version in split}


def wanted() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    build = project["build-system"]["requires"]
    texts = [*build, *project["project"]["dependencies"], *(x for e in extras.values() for x in e)]
    return [Requirement(text) for text in texts]


def test_the_lock_pins_every_dependency_of_the_project() -> None:
    pins = locked()
    for requirement in wanted():
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, requirement
        assert requirement.specifier.contains(version, prereleases=True), requirement


def test_the_lock_pins_what_the_dependencies_need_in_turn() -> None:
    pins, todo, seen = locked(), wanted(), set[str]()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        # PyTorch's wheel for a GPU machine brings CUDA libraries that fit it, and only it
        if name in seen or name.startswith(("nvidia-", "triton", "cuda-")):
            continue
        seen.add(name)
        assert name in pins, f"{requirement} is needed and not pinned"
        try:
            inner = [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:
            continue  # locked for another platform
        extras = requirement.extras or {""}
        todo += [
            r
            for r in inner
            if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in extras)
        ]
    assert {"numpy", "dvc-data", "pygit2"} <= seen


# --- make -------------------------------------------------------------------------------------


def planned(folder: Path, target: str) -> str:
    command = ["make", "--dry-run", "PYTHON=python3.11", target]
    return subprocess.run(
        command,
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin"},
    ).stdout


def test_make_installs_once_and_again_when_the_lock_changes(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    assert "pip install" in planned(tmp_path, "repro")
    stamp = tmp_path / ".venv" / ".installed"
    (stamp.parent / "bin").mkdir(parents=True)
    (stamp.parent / "bin" / "dvc").write_text(f"#!{stamp.parent}/bin/python\n")
    stamp.touch()
    for target, work in (("repro", "dvc repro"), ("test", "pytest")):
        assert "pip install" not in planned(tmp_path, target)
        assert work in planned(tmp_path, target)
    later = stamp.stat().st_mtime + 10
    os.utime(tmp_path / "requirements.lock", (later, later))
    assert "pip install" in planned(tmp_path, "test")
