"""Command lines of stages: paths that dvc.yaml gives, and nothing else."""

import argparse
from pathlib import Path


def read_paths(description: str | None, **paths: str) -> dict[str, Path]:
    """Read one required path for each name from the command line.

    Args:
        description: what the program does, for --help.
        paths: name -> what lies there; `episodes` is given as --episodes PATH.
    """
    parser = argparse.ArgumentParser(description=description)
    for name, words in paths.items():
        parser.add_argument(f"--{name}", type=Path, required=True, help=words)
    return vars(parser.parse_args())
