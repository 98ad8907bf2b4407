"""Where a training run keeps what it needs to go on after it was killed.

DVC deletes a stage's outputs before it runs, so live state lies elsewhere: in a git-ignored
folder at the repository's root, in a sub-folder named by the hash of settings, input and code. A
run with anything else never finds it. Experiments that DVC runs in a copy of the workspace find
the folder of the workspace itself.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import torch

from mooc_maml.errors import UserError
from mooc_maml.files import atomic_path, sha256

ROOT = ".state"


class RunState:
    """The saved state of one run, and files that it has already finished."""

    def __init__(self, stage: str, settings: str, inputs: Path) -> None:
        digest = hashlib.sha256(settings.encode())
        code = Path(__file__).parent
        for path in [*sorted(inputs.rglob("*.*")), *sorted(code.rglob("*.py"))]:
            if path.is_file():
                digest.update(f"{path.name} {sha256(path)}\n".encode())
        self.folder = _workspace() / ROOT / stage / digest.hexdigest()[:16]
        self.kept = self.folder / "kept"

    def load(self) -> dict[str, Any] | None:
        """The state last saved; None: there is none.

        Raises:
            UserError: it is damaged.
        """
        path = self.folder / "state.pth"
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(path, weights_only=True)
        except Exception as error:  # torch raises whatever its unpickler trips over
            raise UserError(
                f"{path}: damaged ({type(error).__name__}); delete it to start this run anew"
            ) from None
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state; a kill in between leaves the old one whole."""
        with atomic_path(self.folder / "state.pth") as temporary:
            torch.save(state, temporary)

    def publish(self, folder: Path) -> None:
        """Move the finished files to `folder`, which they replace, and forget the state."""
        with atomic_path(folder) as temporary:
            shutil.copytree(self.kept, temporary)
        shutil.rmtree(self.folder)


def _workspace() -> Path:
    here = Path.cwd().resolve()
    if ".dvc" in here.parts:  # .dvc/tmp/exps/...: a copy that DVC made for one experiment
        return Path(*here.parts[: here.parts.index(".dvc")])
    return here
