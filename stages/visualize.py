"""Draw the figures and write the report from the result files."""

import argparse
from pathlib import Path

from mooc_maml.common.errors import main_guard
from mooc_maml.report.build import build_report
from mooc_maml.settings.params import load_params


def main() -> None:
    """Read the paths from the command line and build the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="folder of the result files")
    parser.add_argument("--models", type=Path, required=True, help="folder of the models, hashed")
    parser.add_argument("--report", type=Path, required=True, help="folder to write the report to")
    paths = parser.parse_args()
    print(build_report(load_params("params.yaml"), paths.results, paths.models, paths.report))
    print(f"\nreport: {paths.report / 'index.html'}")


if __name__ == "__main__":
    main_guard(main)
