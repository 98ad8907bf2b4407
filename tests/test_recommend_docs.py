"""docs/use/recommend.md: what its scripts give to other programs, which are stood in for here."""

import json
import os
import re
import sys
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import pytest
from bundle_helpers import made
from committed import ROOT

PAGE = (ROOT / "docs" / "use" / "recommend.md").read_text(encoding="utf-8")
SCRIPTS = {
    name: next(x for x in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if name in x)
    for name in ("mlflow", "huggingface_hub")
}


def calls(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """What the script of that name asks of the package."""
    (folder / "models").mkdir()
    (folder / "models" / "bundle").symlink_to(made().folder)
    asked = MagicMock()
    package: Any = ModuleType(name)
    package.__getattr__ = lambda attribute: getattr(asked, attribute)
    monkeypatch.setitem(sys.modules, name, package)
    monkeypatch.chdir(folder)
    exec(compile(SCRIPTS[name], f"docs/use/recommend.md, {name}", "exec"), {})
    return asked


def test_mlflow_gets_settings_metrics_and_the_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = calls("mlflow", tmp_path, monkeypatch)
    info = json.loads((made().folder / "bundle.json").read_text())
    (settings,) = (call.args[0] for call in asked.log_params.call_args_list)
    assert settings["inner_lr"] == info["settings"]["inner_lr"]
    metrics: dict[str, float] = {}
    for call in asked.log_metrics.call_args_list:
        metrics |= call.args[0]
    assert len(metrics) == sum(len(own["metrics"]) for own in info["models"]) > 40
    few = next(own for own in info["models"] if own["name"] == "few_shot")
    assert metrics["few_shot/NDCG_at_10"] == few["metrics"]["NDCG@10"]["mean"]
    assert all(re.fullmatch(r"[\w/. -]+", name) for name in metrics), "what MLflow allows"
    asked.log_artifacts.assert_called_once_with("models/bundle", "bundle")


def test_no_model_that_carries_learners_is_uploaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = calls("huggingface_hub", tmp_path, monkeypatch).HfApi.return_value
    upload = api.upload_folder.call_args.kwargs
    folder = Path(upload["folder_path"])
    files = [
        (Path(place) / name).relative_to(folder).as_posix()
        for place, _, names in os.walk(folder)
        for name in names
    ]
    kept = {x for x in files if not any(fnmatch(x, own) for own in upload["ignore_patterns"])}
    models = json.loads((folder / "bundle.json").read_text())["models"]
    carrying = {own["file"] for own in models if own["carries_learners"]} - {None}
    assert carrying
    assert not kept & carrying
    assert {"bundle.json", "maml.safetensors"} <= kept
    assert api.create_repo.call_args.kwargs["private"] is True
    card = Path(api.upload_file.call_args.kwargs["path_or_fileobj"])
    assert (ROOT / card).is_file()
