"""What dvc.yaml says, and what the code of a stage really needs."""

import ast
from pathlib import Path
from typing import Any

import yaml
from committed import settings

from mooc_maml.runtime.pipeline import filled_in, read_pipeline

ROOT = Path(__file__).resolve().parents[1]


def read_yaml(name: str) -> dict[str, Any]:
    """A file of the repository; params.yaml as committed."""
    if name == "params.yaml":
        return settings()
    content: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return content


def stages() -> dict[str, dict[str, Any]]:
    """Stage -> its entry in dvc.yaml, with ${data.source} and the like filled in."""
    settings = read_yaml("params.yaml")
    text = filled_in(yaml.safe_dump(read_pipeline(ROOT)), settings)
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return {stage: found[stage] for stage in read_pipeline(ROOT)}


def leaves(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"data": {"source": "table"}} -> {"data.source": "table"}."""
    found = {}
    for key, value in content.items():
        inner = isinstance(value, dict)
        found |= leaves(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return found


def code_of(stage: str) -> set[str]:
    """What dvc.yaml has to list of our code for `python -m stages.STAGE`.

    A package of src whole, as a folder; of stages the files that are imported.
    """
    todo, seen = [ROOT / "stages" / f"{stage}.py"], set[Path]()
    if _does_something(ROOT / "stages" / "__init__.py"):
        todo.append(ROOT / "stages" / "__init__.py")
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo += _imports(path)
    return {_listed(path.relative_to(ROOT)) for path in seen}


def _listed(path: Path) -> str:
    """src/mooc_maml/meta/gru/layer.py -> src/mooc_maml/meta; other files as they are."""
    is_in_package = path.parts[:2] == ("src", "mooc_maml") and len(path.parts) > 3
    return "/".join(path.parts[:3]) if is_in_package else path.as_posix()


def _does_something(path: Path) -> bool:
    return any(not isinstance(line, ast.Expr) for line in ast.parse(path.read_text()).body)


def _imports(path: Path) -> list[Path]:
    """Our own modules that a file imports, wherever in it, with the packages they lie in."""
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import, which this reading cannot follow"
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    parts = [name.split(".") for name in names]
    ours = {tuple(p[:n]) for p in parts for n in range(1, len(p) + 1)}
    found = (_file_of(name) for name in ours if name[0] in ("mooc_maml", "stages"))
    return [path for path in found if path is not None]


def _file_of(module: tuple[str, ...]) -> Path | None:
    for base in (ROOT / "src", ROOT):
        for path in (
            base.joinpath(*module).with_suffix(".py"),
            base.joinpath(*module, "__init__.py"),
        ):
            if path.is_file():
                return path
    return None
