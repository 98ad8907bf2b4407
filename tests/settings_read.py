"""Which settings each stage really reads: run in a project that `dvc repro` has run in.

`python tests/settings_read.py OUT.json` runs every stage's command as dvc.lock has it, in one
process, and notes each attribute of the settings that is asked for after they were checked.
"""

import json
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

# This copy's code, not that of the checkout that the editable install points at.
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

import mooc_maml.settings.params as settings  # noqa: E402


def _places(model: type[BaseModel], prefix: str = "") -> dict[type[BaseModel], str]:
    """Settings class -> where its fields stand in params.yaml ("data.table.")."""
    found = {model: prefix}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= _places(field.annotation, f"{prefix}{name}.")
    return found


def _leaves(content: dict[str, Any], prefix: str) -> set[str]:
    """Keys of a section that is read as it stands in params.yaml."""
    found = set[str]()
    for name, value in content.items():
        inside = isinstance(value, dict) and value
        found |= _leaves(value, f"{prefix}{name}.") if inside else {f"{prefix}{name}"}
    return found


PLACES = _places(settings.Params)


class Recorder:
    """Notes every setting that is read, by its key in params.yaml."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.is_on = False
        self._plain_get = BaseModel.__getattribute__

    def note(self, model: BaseModel, name: str) -> None:
        """Note a leaf; a section that is passed on is not read yet."""
        if not isinstance(self._plain_get(model, "__dict__").get(name), BaseModel):
            key, value = PLACES[type(model)] + name, self._plain_get(model, "__dict__").get(name)
            self.keys |= {key, *_leaves(value, f"{key}.")} if isinstance(value, dict) else {key}

    def note_all(self, model: BaseModel, but: set[str]) -> None:
        """Note the leaves of a whole section."""
        for name, value in self._plain_get(model, "__dict__").items():
            if name not in but:
                self.note_all(value, set()) if isinstance(value, BaseModel) else self.note(
                    model, name
                )

    def watch(self) -> None:
        """Begin to listen, as soon as `load_params` has returned."""
        recorder, load, plain_get = self, settings.load_params, self._plain_get

        def get(model: BaseModel, name: str) -> Any:
            if recorder.is_on and name in type(model).model_fields:
                recorder.note(model, name)
            return plain_get(model, name)

        def dump(plain: Any) -> Any:
            def dumped(model: BaseModel, **options: Any) -> Any:
                is_on = recorder.is_on  # not while settings are checked
                if is_on:
                    recorder.note_all(model, set(options.get("exclude") or ()))
                recorder.is_on = False
                found = plain(model, **options)
                recorder.is_on = is_on
                return found

            return dumped

        def load_and_listen(*args: Any) -> settings.Params:
            recorder.is_on = False
            params = load(*args)
            recorder.is_on = True
            return params

        base: Any = settings.Section
        base.__getattribute__ = get
        base.model_dump = dump(BaseModel.model_dump)
        base.model_dump_json = dump(BaseModel.model_dump_json)
        settings.load_params = load_and_listen


def main(out: Path) -> None:
    """Run the stages; write {stage: [key, ...]}."""
    recorder, found = Recorder(), {}
    recorder.watch()
    lock = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"]
    for stage, entry in lock.items():
        _, _, module, *arguments = shlex.split(entry["cmd"])
        recorder.keys.clear()
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__")
        found[stage] = sorted(recorder.keys)
    out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
