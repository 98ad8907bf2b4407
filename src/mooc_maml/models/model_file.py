"""The file of a trained model: its weights and the settings to rebuild it."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import atomic_path
from mooc_maml.common.tensor_files import ENDING, read_tensors, write_tensors


class Storable(Protocol):
    """A module that `cls(**settings)` rebuilds, with weights that are about to be loaded."""

    @property
    def settings(self) -> dict[str, int | float]:
        """What the constructor takes, `num_courses` among it."""

    def state_dict(self) -> dict[str, Any]:
        """Weights by name."""


Module = TypeVar("Module", bound=torch.nn.Module)


def write_module(
    path: Path,
    model: Storable,
    run: Mapping[str, Any] | None = None,
    learned: Mapping[str, Tensor] | None = None,
) -> None:
    """Write {"weights": state, "settings": {"model": shape, **run}}; same model, same bytes.

    Args:
        path: the file; it appears whole or not at all. With the ending .safetensors it holds the
            same in that format, which needs no pickle.
        model: on any device; the weights are stored on the CPU.
        run: further settings, of plain Python values.
        learned: what was learned besides the weights, under that key; left out if there is none.
    """
    weights = {name: weight.detach().cpu() for name, weight in model.state_dict().items()}
    if path.suffix == ENDING:
        parts = {"weights": weights, "learned": learned or {}}
        tensors = {f"{part}/{name}": x for part, own in parts.items() for name, x in own.items()}
        write_tensors(path, tensors, {**(run or {}), "model": model.settings})
        return
    # By way of memory: torch.save writes the name of a file that it is given into the archive.
    buffer = io.BytesIO()
    content = {"weights": weights, "settings": {**(run or {}), "model": model.settings}}
    if learned:
        content["learned"] = {name: x.detach().cpu() for name, x in learned.items()}
    torch.save(content, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def read_module(
    path: Path, kind: type[Module], num_courses: int | None = None, others: int = 0
) -> Module:
    """Read a model that `write_module` wrote, on the CPU, in the precision it was written in.

    Args:
        path: the file.
        kind: the class of the model.
        num_courses: the catalogue it has to fit; None: any.
        others: how many of the model's courses are none, and stand after those of the catalogue.

    Raises:
        UserError: the file is missing, is damaged, or its weights do not fit.
    """
    content = _load(path)
    try:
        settings, weights = content["settings"]["model"], content["weights"]
        first: Tensor = next(iter(weights.values()))
        model = kind(**settings).to(first.dtype)
        model.load_state_dict(weights)
    except (KeyError, TypeError, AttributeError, RuntimeError, StopIteration) as error:
        reason = (str(error).splitlines() or [""])[-1].strip()
        raise UserError(
            f"{path}: expected weights and settings of a {kind.__name__}, found something else "
            f"({type(error).__name__}: {reason}); delete the file and run `dvc repro`"
        ) from None
    if num_courses not in (None, settings["num_courses"] - others):
        raise UserError(
            f"{path}: this model ranks {settings['num_courses'] - others} courses, the data have "
            f"{num_courses}; it was trained on other data, run `dvc repro` to train it on these"
        )
    return model


def read_settings(path: Path) -> dict[str, Any]:
    """Read the settings that `write_module` wrote, the shape under "model" among them.

    Raises:
        UserError: the file is missing or damaged.
    """
    settings: dict[str, Any] = _load(path)["settings"]
    return settings


def read_learned(path: Path, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read what `write_module` was given as `learned`, on the device and of the dtype of `like`.

    Raises:
        UserError: the file is damaged, or its names or shapes are not those of `like`.
    """
    found = _load(path).get("learned", {})
    shapes = {name: tuple(x.shape) for name, x in found.items()}
    if shapes != {name: tuple(x.shape) for name, x in like.items()}:
        raise UserError(
            f"{path}: what was learned besides the weights is not what meta.variant and "
            "num_inner_steps say; run `dvc repro` to train it"
        )
    return {name: found[name].to(x) for name, x in like.items()}


def _load(path: Path) -> Any:
    if path.suffix == ENDING:
        return _by_part(*read_tensors(path))
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not look at the checksums
            if archive.testzip() is not None:
                raise zipfile.BadZipFile("wrong checksum")
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `dvc repro` to make it") from None
    # On damaged bytes torch raises whatever its unpickler trips over, IndexError included, and
    # its own words advise to load without weights_only, which would run code from the file.
    except Exception as error:
        raise UserError(
            f"{path}: not a model file, or damaged ({type(error).__name__}); "
            "delete it and run `dvc repro`"
        ) from None


def _by_part(tensors: dict[str, Tensor], settings: dict[str, Any]) -> dict[str, Any]:
    """As torch.load gives it: tensors by the part before the first slash of their names."""
    found: dict[str, Any] = {"weights": {}, "learned": {}, "settings": settings}
    for name, x in tensors.items():
        part, _, own = name.partition("/")
        found.setdefault(part, {})[own] = x
    return found
