"""Write the synthetic platform's raw dump, the truth behind it for the oracle, and titles."""

import argparse
from pathlib import Path

from mooc_maml.common.errors import main_guard
from mooc_maml.settings.params import load_params
from mooc_maml.synthetic.activity import simulate
from mooc_maml.synthetic.dump import write_dump
from mooc_maml.synthetic.oracle import save_tastes
from mooc_maml.synthetic.titles import course_titles, write_titles


def main() -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", type=Path, required=True, help="folder for the dump")
    parser.add_argument("--truth", type=Path, required=True, help="folder for the true tastes")
    parser.add_argument("--titles", type=Path, required=True, help="file of the courses' titles")
    arguments = parser.parse_args()
    params = load_params("params.yaml")
    activity = simulate(params.data.synthetic, params.seed)
    write_dump(activity, arguments.raw, params.seed)
    save_tastes(activity.tastes, arguments.truth)
    titles = course_titles(params.data.synthetic, params.seed)
    write_titles(arguments.titles, activity.tastes.course_ids, titles)


if __name__ == "__main__":
    main_guard(main)
