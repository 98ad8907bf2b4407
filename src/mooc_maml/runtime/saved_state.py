"""States of a run on disk: each with a checksum in its name, and always the one before it too."""

import hashlib
import io
import re
import sys
from pathlib import Path
from typing import Any

import torch

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import atomic_path, sha256

_NAME = re.compile(r"state-(\d+)-([0-9a-f]{64})\.pth")
_STATES_KEPT = 2
SECONDS_BETWEEN_SAVES = 120  # bounds what a killed run loses


class SavedState:
    """The last state saved to a folder, and the one before it.

    A file is named state-NUMBER-SHA256.pth: one rename makes it and its checksum appear together.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self) -> dict[str, Any] | None:
        """The newest whole state; None: none was ever saved. Damaged ones are put aside.

        Raises:
            UserError: states were saved and none of them is whole.
        """
        damaged = []
        for path in reversed(self._paths()):
            if sha256(path) == path.stem.split("-")[2]:
                state: dict[str, Any] = torch.load(path, weights_only=True)
                return state
            damaged.append(path.rename(path.with_name(f"damaged-{path.name}")))
            print(f"{path}: damaged; going back to the state before it", file=sys.stderr)
        if damaged:
            raise UserError(
                f"{self.folder}: damaged, no whole state among {len(damaged)}; check the disk, "
                "and run the same command again to start this run from scratch"
            )
        return None

    def save(self, state: dict[str, Any]) -> None:
        """Add a state, then forget all but the last two; a kill in between loses nothing."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content, paths = buffer.getvalue(), self._paths()
        number = int(paths[-1].stem.split("-")[1]) + 1 if paths else 1
        name = f"state-{number:08d}-{hashlib.sha256(content).hexdigest()}.pth"
        with atomic_path(self.folder / name) as temporary:
            temporary.write_bytes(content)
        for path in self._paths()[:-_STATES_KEPT]:
            path.unlink()

    def forget(self) -> None:
        """Delete all states."""
        for path in self._paths():
            path.unlink()

    def _paths(self) -> list[Path]:
        """Files of states, oldest first."""
        return sorted(path for path in self.folder.glob("state-*") if _NAME.fullmatch(path.name))
