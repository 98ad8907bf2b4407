"""The whole report, from result files to page, in one call."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from mooc_maml.common.files import atomic_path, write_json
from mooc_maml.common.results import write_result
from mooc_maml.report.diagnostics import training_diagnostics
from mooc_maml.report.exports import write_exports
from mooc_maml.report.figures import draw_figures
from mooc_maml.report.findings import results
from mooc_maml.report.headline import answer, headline_rows
from mooc_maml.report.inputs import read_inputs, tag
from mooc_maml.report.manifest import artefacts, configuration
from mooc_maml.report.model_card import model_card
from mooc_maml.report.page import write_page
from mooc_maml.report.readme import results_table
from mooc_maml.report.repeated import read_seeds
from mooc_maml.report.summary import report, terminal_table
from mooc_maml.settings.params import Params

_NO_TITLES: Mapping[str, str] = MappingProxyType({})


def build_report(
    params: Params,
    results_path: Path,
    models_path: Path,
    report_path: Path,
    titles: Mapping[str, str] = _NO_TITLES,
) -> str:
    """Write the report's folder: page, figures, tables, and what a program can read.

    The same inputs give the same bytes.

    Args:
        params: the settings of the run.
        results_path: folder of the result files; tables of plots in plots/.
        models_path: folder of the model files, which are only hashed.
        report_path: folder that the report is written to.
        titles: course id -> title, for people; courses without one are shown by their id.

    Returns:
        A plain table of the result for the terminal.

    Raises:
        UserError: an input is missing or unreadable.
    """
    inputs = replace(read_inputs(results_path, params), titles=titles)
    seeds = read_seeds(results_path / f"seeds_{tag(params)}.json", params)
    sizes = (params.episodes.support_size, params.episodes.query_size)
    figures = report_path / "figures"
    draw_figures(inputs, figures)
    write_exports(inputs, report_path / "tables", figures)
    findings = results(inputs) + training_diagnostics(inputs)
    settings = configuration(inputs)
    write_json(report_path / "config.json", settings)
    write_result(report_path / "report.json", report(inputs, findings))
    short = headline_rows(inputs)
    texts = {
        "table.md": results_table(inputs),
        "table_short.md": results_table(inputs, short),
        "model_card.md": model_card(inputs),
        "answer.md": "\n".join(f"- {text}" for text in answer(inputs, seeds).sentences) + "\n",
    }
    for name, text in texts.items():
        with atomic_path(report_path / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    folders = [path.resolve() for path in (results_path, models_path, report_path)]
    root = Path(os.path.commonpath(folders))
    made_from = [
        entry
        for entry in artefacts(folders[:2], root, *sizes)
        if not (root / entry["path"]).is_relative_to(folders[2])
    ]
    write_page(report_path / "index.html", figures, inputs, findings, settings, made_from, seeds)
    listed = [
        entry
        for entry in made_from + artefacts(folders[2:], root, *sizes)
        if root / entry["path"] != folders[2] / "manifest.json"
    ]
    write_json(report_path / "manifest.json", {"artefacts": listed})
    return terminal_table(inputs)
