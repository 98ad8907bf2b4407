"""Draw the figures and write the report from the result files."""

from pathlib import Path

from mooc_maml.common.arguments import read_paths
from mooc_maml.common.errors import main_guard
from mooc_maml.recommend.titles import titles_in
from mooc_maml.report.build import build_report
from mooc_maml.settings.params import load_params

PATHS = {
    "results": "folder of the result files",
    "models": "folder of the models, hashed; titles of courses come from its bundle",
    "report": "folder to write the report to",
}


def main(results: Path, models: Path, report: Path) -> None:
    """Build the report; print the result."""
    params, titles = load_params("params.yaml"), titles_in(models / "bundle")
    print(build_report(params, results, models, report, titles))
    print(f"\nreport: {report / 'index.html'}")


if __name__ == "__main__":
    main_guard(lambda: main(**read_paths(__doc__, **PATHS)))
