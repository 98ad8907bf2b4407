"""A stage that several processes of this machine share."""

import sys
from collections.abc import Mapping
from pathlib import Path

from mooc_maml.runtime.hardware import process_count
from mooc_maml.runtime.processes import is_distributed, launch
from mooc_maml.settings.hardware import HardwareParams


def run_in_processes(
    stage: str,
    hardware: HardwareParams,
    paths: Mapping[str, Path],
    *,
    at_most: int | None = None,
    lines_of_all: bool = False,
) -> bool:
    """Run a stage once a process, where settings ask for several and this is none of them yet.

    Args:
        stage: its name.
        hardware: the settings.
        paths: name -> place, as its command line takes them.
        at_most: processes that have something to do; None: however many there are.
        lines_of_all: see `launch`.

    Returns:
        Whether it was run.

    Raises:
        SystemExit: a process has failed, with its status.
        UserError: see `launch` and `process_count`.
    """
    if is_distributed():
        return False
    processes = process_count(hardware)
    processes = processes if at_most is None else min(processes, at_most)
    if processes <= 1:
        return False
    options = [f"--{name.replace('_', '-')}={place}" for name, place in paths.items()]
    command = [sys.executable, "-m", f"stages.{stage}", *options]
    if status := launch(processes, command, lines_of_all):
        sys.exit(status)
    return True
