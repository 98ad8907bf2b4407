"""Where a training run keeps what it needs to go on after it was killed.

DVC deletes a stage's outputs before it runs, so live state lies elsewhere: in a git-ignored
folder at the repository's root, in a sub-folder named by the hash of settings, input and code.
Code is what dvc.yaml lists for the stage (see `mooc_maml.runtime.pipeline`), so that an edit
elsewhere orphans no state. A run with anything else never finds it; one that differs only in the
hardware, which the sub-folder's name tells in words, says what it has found. Experiments that DVC
runs in a copy of the workspace find the folder of the workspace itself.
"""

import hashlib
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import torch
from filelock import FileLock, Timeout

from mooc_maml.common.errors import UserError
from mooc_maml.common.files import atomic_path, sha256
from mooc_maml.runtime.processes import ProcessGroup
from mooc_maml.runtime.saved_state import SavedState
from mooc_maml.runtime.workspace import state_folder

_SECONDS_TO_DIE = 5  # that the processes of a run just killed may need until the last has ended


class RunState(SavedState):
    """The saved states of one run, and files that it has already finished.

    In a `with` statement it is locked: a second run of the same kind stops there. The lock is the
    operating system's and ends with the process, however that ends.

    Args:
        stage: name of the stage.
        settings: all that the result depends on, apart from the inputs and the code.
        code: fingerprint of the stage's code.
        inputs: files and folders that the stage reads.
        hardware: what runs it, in words: "cpu by 2 processes".
    """

    def __init__(
        self, stage: str, settings: str, code: str, *inputs: Path, hardware: str = ""
    ) -> None:
        self.stage = stage
        self._run, self._hardware = _digest(f"{settings}\n{code}", *inputs)[:16], hardware
        name = "-".join([self._run, *re.findall(r"\w+", hardware)])
        super().__init__(state_folder() / stage / name)
        self.kept = self.folder / "kept"
        self.lock = FileLock(self.folder.with_name(f"{name}.lock"))

    def __enter__(self) -> Self:
        """Lock the run; say so if it was begun on other hardware, from where it cannot go on.

        Raises:
            UserError: another process runs it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.lock.acquire(timeout=_SECONDS_TO_DIE)
        except Timeout:
            raise UserError(
                f"{self.lock.lock_file}: locked by another run of this stage with the same "
                "settings and input; wait until it has ended, or stop it (the lock ends with it)"
            ) from None
        if not _holds_states(self.folder):
            self._tell_others()
        return self

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    @contextmanager
    def shared(self, process_group: ProcessGroup) -> Iterator[None]:
        """As the `with` statement of the run alone; the first process locks it, for all.

        Raises:
            UserError: another run has locked it.
        """
        if process_group.rank:
            process_group.gather(None)  # returns once the first process has locked it
            yield
            return
        with self:
            process_group.gather(None)
            yield

    def part(self, name: str) -> SavedState:
        """States of one part of the run, kept and forgotten with it."""
        return SavedState(self.folder / "parts" / name)

    def _tell_others(self) -> None:
        for folder in sorted(self.folder.parent.glob(f"{self._run}-*/")):
            if folder != self.folder and _holds_states(folder):
                hardware = folder.name.partition("-")[2].replace("-", " ")
                print(
                    f"{folder}: saved by the same run on {hardware}; this one, on "
                    f"{self._hardware}, starts from the beginning. To go on from there instead, "
                    "stop it and set hardware.device and hardware.processes as there",
                    file=sys.stderr,
                )

    def publish(self, folder: Path) -> None:
        """Move the finished files to `folder`, which they replace, and forget the states."""
        with atomic_path(folder) as temporary:
            _copy(self.kept, temporary)
        # States first: were files lost before them, a run killed here would go on without those.
        self.forget()
        shutil.rmtree(self.folder)


def _holds_states(folder: Path) -> bool:
    return any(folder.rglob("state-*.pth"))


def _copy(folder: Path, to: Path) -> None:
    """Copy finished files; copytree would gather what the disk refuses into one long word."""
    to.mkdir()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".partial":
            target = to / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def _digest(settings: str, *inputs: Path) -> str:
    """Hash of settings, of PyTorch's version, and of every file in some files and folders."""
    digest = hashlib.sha256(f"{torch.__version__}\n{settings}\n".encode())
    for place in inputs:
        files = [place] if place.is_file() else sorted(place.rglob("*"))
        for path in files:
            if path.is_file() and "__pycache__" not in path.parts:
                name = path.relative_to(place.parent).as_posix()
                digest.update(f"{name} {sha256(path)}\n".encode())
    return digest.hexdigest()
