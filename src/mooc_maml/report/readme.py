"""The table of results for README: written by the report, put into README by this program.

    python -m mooc_maml.report.readme README.md docs/evidence.md

In these a block from `<!-- table: PATH -->` to `<!-- end of table -->` holds the file PATH.
"""

import argparse
import re
from pathlib import Path

from mooc_maml.common.errors import UserError, main_guard
from mooc_maml.common.files import atomic_path
from mooc_maml.evaluation.schema import METRICS
from mooc_maml.report.findings import interval
from mooc_maml.report.inputs import Inputs, ModelRow
from mooc_maml.report.words import percent
from mooc_maml.report.worth import worth

_BLOCK = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def results_table(inputs: Inputs, rows: list[ModelRow] | None = None) -> str:
    """Models by metrics in Markdown, with data set, protocol and seed; ends with a line break.

    Args:
        inputs: the run's results.
        rows: the models to show; None: all.
    """
    params, found = inputs.params, inputs.maml
    episodes, metric = params.episodes, params.evaluation.validation_metric
    split = (episodes.train_fraction, episodes.validation_fraction, episodes.test_fraction)
    seen = "as any other" if params.evaluation.seen_courses == "keep" else "if they recur"
    steps = " or ".join(map(str, inputs.steps))
    about = (
        f"Data: {inputs.source_label}, {found.learners:,} test learners, "
        f"{found.queries:,} queries. Protocol: split by learner "
        f"{'/'.join(f'{100 * share:g}' for share in split)}, K = {episodes.support_size} support "
        f"pairs, then Q = {episodes.query_size} queries, a learner's {episodes.position} pairs, "
        f"ranked among all courses, seen ones {seen}; {inputs.method}, α = {params.inner_lr:g}, "
        f"{steps} gradient steps. Seed {params.seed}. The best on validation first; in "
        "brackets 95 % intervals over learners."
    )
    head = ["", f"validation {metric}", *METRICS]
    lines = [head, ["---"] * len(head)]
    for row in inputs.rows() if rows is None else rows:
        cells = [
            f"{percent(measure.value)} ({interval(measure)})"
            if measure.has_interval
            else percent(measure.value)
            for measure in row.measures.values()
        ]
        lines.append([row.label, percent(row.validation), *cells])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    parts = [about, table, worth(inputs)]
    return "\n\n".join(part for part in parts if part) + "\n"


def with_tables(text: str, root: Path) -> str:
    """The text of README or another page with every block as its file has it.

    Args:
        text: of the page.
        root: the folder that paths of tables in it are relative to.

    Raises:
        UserError: there is no block, or the file of one is missing.
    """

    def block(found: re.Match[str]) -> str:
        path = root / found[2]
        if not path.is_file():
            raise UserError(f"{path}: no such file, but a page shows it; run `dvc repro`")
        return f"{found[1]}\n{path.read_text(encoding='utf-8')}\n{found[3]}"

    if not _BLOCK.search(text):
        raise UserError("no block <!-- table: PATH --> ... <!-- end of table --> in the page")
    return _BLOCK.sub(block, text)


def main() -> None:
    """Bring pages of the repository whose root is the current folder up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", type=Path, nargs="+", help="Markdown files that show tables")
    for path in parser.parse_args().pages:
        text = with_tables(path.read_text(encoding="utf-8"), Path())
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main_guard(main)
