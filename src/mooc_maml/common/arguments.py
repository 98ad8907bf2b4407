"""Command lines of stages: paths that dvc.yaml gives, and nothing else."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

NONE: Mapping[str, str] = MappingProxyType({})


def read_paths(
    description: str | None, optional: Mapping[str, str] = NONE, /, **paths: str
) -> dict[str, Path]:
    """Read one required path for each name from the command line.

    Args:
        description: what the program does, for --help.
        optional: further paths, of which those that are given are among the result.
        paths: name -> what lies there; `episodes` is given as --episodes PATH.
    """
    parser = argparse.ArgumentParser(description=description)
    for name, words in paths.items():
        parser.add_argument(f"--{name}", type=Path, required=True, help=words)
    for name, words in optional.items():
        parser.add_argument(f"--{name}", type=Path, help=words)
    given = vars(parser.parse_args())
    return {name: path for name, path in given.items() if path is not None}
