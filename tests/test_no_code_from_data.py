"""Nothing that is read can run, and nothing is written where a link or a setting points."""

import ast
from pathlib import Path

import pytest
from conftest import ROOT

from mooc_maml.common.errors import UserError, main_guard
from mooc_maml.common.files import atomic_path, write_json
from mooc_maml.models.gru import read_model

CODE = sorted(path for top in ("src", "stages") for path in (ROOT / top).rglob("*.py"))
NEVER_IMPORTED = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
NEVER_CALLED = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "pd.eval"}
NEVER_CALLED |= {"pd.read_pickle", "yaml.load", "yaml.full_load", "yaml.unsafe_load"}
SAYS_SO = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
SAYS_SO |= {"np.save": ("allow_pickle", False), "np.savez": ("allow_pickle", False)}


def risks(code: str) -> list[str]:
    """What in a file could run what it reads."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in NEVER_IMPORTED]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module or ""] * ((node.module or "").split(".")[0] in NEVER_IMPORTED)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            said = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            key, value = SAYS_SO.get(name, ("", None))
            is_shell = said.get("shell", False) is not False
            if name in NEVER_CALLED or is_shell or (key and said.get(key) is not value):
                found.append(name)
    return found


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_that_is_read_can_run(path):
    assert risks(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_the_control_a_risk_is_seen(code):
    assert len(risks(code)) == 1


def test_a_model_file_with_code_in_it_does_not_run_it(tmp_path: Path):
    mark = tmp_path / "ran"
    code = f"c__builtin__\nopen\n(S'{mark}'\nS'w'\ntR.".encode()  # a pickle that makes a file
    (tmp_path / "model.pth").write_bytes(code)
    with pytest.raises(UserError, match="not a model file"):
        read_model(tmp_path / "model.pth")
    assert not mark.exists()


def test_writing_replaces_a_link_and_leaves_alone_what_it_points_to(tmp_path: Path):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "file.json").write_text("theirs")
    (inside / "file.json").symlink_to(outside / "file.json")
    (inside / "folder").symlink_to(outside, target_is_directory=True)
    write_json(inside / "file.json", {})
    with atomic_path(inside / "folder") as folder:
        folder.mkdir()
        (folder / "ours").write_text("ours")
    assert not any(path.is_symlink() for path in inside.iterdir())
    assert sorted(path.name for path in inside.iterdir()) == ["file.json", "folder"]
    assert [path.name for path in outside.iterdir()] == ["file.json"]
    assert (outside / "file.json").read_text() == "theirs"


def test_no_memory_is_one_line(capsys):
    def main() -> None:
        raise MemoryError

    with pytest.raises(SystemExit) as stop:
        main_guard(main)
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("error: out of memory; ")
