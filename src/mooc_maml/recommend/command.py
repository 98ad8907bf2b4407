"""`mooc-maml`: ask a bundle from the command line. PyTorch is loaded only where it computes."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mooc_maml.common.errors import UserError, main_guard
from mooc_maml.recommend.service.command import serve

if TYPE_CHECKING:
    from mooc_maml.recommend.answers import Recommendation
    from mooc_maml.recommend.bundle import BundleInfo
    from mooc_maml.recommend.recommender import Recommender

app = typer.Typer(
    help="Ask trained course recommenders (a bundle, made by the pipeline's stage export).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Bundle = Annotated[Path, typer.Option(help="Folder of the bundle.")]
BUNDLE = Path("models/bundle")


class Format(StrEnum):
    """How answers are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@app.command()
def recommend(
    file: Annotated[
        str | None,
        typer.Argument(
            help="Many learners: CSV or Parquet with the columns learner, course and session, or "
            "JSON lines; - for standard input."
        ),
    ] = None,
    courses: Annotated[
        str | None, typer.Option(help="Courses of one session, oldest first: a,b,c.")
    ] = None,
    sessions: Annotated[
        str | None, typer.Option(help="Several sessions, oldest first: 'a,b;c,d'.")
    ] = None,
    top: Annotated[int, typer.Option(help="Courses in the list.", min=1)] = 10,
    model: Annotated[
        str | None, typer.Option(help="One of those that `mooc-maml show` names.")
    ] = None,
    exclude: Annotated[
        str | None,
        typer.Option(
            help="seen: courses that were told; none; or a file of ids. As in training if left out."
        ),
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="File of the ids on offer now, one a line.")
    ] = None,
    pairs: Annotated[
        int | None, typer.Option(help="Latest pairs to learn from; K, as in training, if left out.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Gradient steps of a meta-trained model.")
    ] = None,
    format: Annotated[Format, typer.Option(help="Of the answer.")] = Format.TABLE,
    out: Annotated[
        Path | None, typer.Option(help="File for the answer, which appears whole or not at all.")
    ] = None,
    bundle: Bundle = BUNDLE,
) -> None:
    """What comes next for a learner, or for many."""
    from mooc_maml.recommend.inputs import from_words, read_asked, read_ids

    if file is None and courses is None and sessions is None:
        raise UserError(
            "recommend: say for whom: --courses a,b,c or --sessions 'a,b;c,d' or a file"
        )
    if file is not None and (courses is not None or sessions is not None):
        raise UserError("recommend: a file, or --courses or --sessions, not both")
    asked = from_words(courses, sessions) if file is None else read_asked(file)
    left_out: str | list[str] | None = exclude
    if exclude is not None and exclude not in ("seen", "none"):
        left_out = read_ids(exclude, "--exclude")
    on_offer = None if only is None else read_ids(only, "--only")
    found = _open(bundle, model)
    answers = found.recommend(
        asked.learners,
        top=top,
        model=model,
        exclude=left_out,
        only=on_offer,
        pairs=pairs,
        inner_steps=steps,
    )
    _warn_of_ids(found, "--exclude", left_out)
    _warn_of_ids(found, "--only", on_offer)
    _warn_of_unknown(asked.names, answers)
    _write(found.bundle, asked.names, answers, format, out)


@app.command()
def courses(
    search: Annotated[
        str | None, typer.Option(help="Words of an id or a title; near misses are found too.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Courses at most.", min=1)] = 20,
    format: Annotated[Format, typer.Option(help="Of the answer.")] = Format.TABLE,
    bundle: Bundle = BUNDLE,
) -> None:
    """The courses that the bundle knows."""
    from mooc_maml.recommend.bundle import read_bundle
    from mooc_maml.recommend.catalogue import Catalogue
    from mooc_maml.recommend.output import write_courses

    info = read_bundle(bundle)
    known = Catalogue(info.courses, info.titles)
    found = known.courses[:limit] if search is None else known.search(search, limit)
    write_courses(found, format)
    if not found:
        raise UserError(f"--search: no course has, or is like, {search!r}")
    if search is None and limit < len(known):
        _warn(f"the first {limit} of {len(known):,} courses; --limit shows more")


@app.command()
def show(
    format: Annotated[Format, typer.Option(help="Of the answer; csv: the models.")] = Format.TABLE,
    bundle: Bundle = BUNDLE,
) -> None:
    """What the bundle is: data, models, what they are worth, and which answers unless told."""
    from mooc_maml.recommend.bundle import read_bundle
    from mooc_maml.recommend.shown import write_bundle

    write_bundle(bundle, read_bundle(bundle), format)


@app.command()
def compare(
    run_a: Annotated[str, typer.Argument(help="Git revision, DVC experiment, or workspace.")],
    run_b: Annotated[str, typer.Argument(help="The other; what changed is B - A.")],
) -> None:
    """Two runs of the pipeline side by side: settings, metrics, pictures, as table and page."""
    from mooc_maml.report.compare import main as compared

    print(compared(run_a, run_b))


@app.command()
def onnx(
    out: Annotated[Path, typer.Argument(help="File to write.")],
    model: Annotated[str, typer.Option(help="A GRU that looks at the last session alone.")] = (
        "zero_shot"
    ),
    bundle: Bundle = BUNDLE,
) -> None:
    """Write a zero-shot GRU as ONNX, for programs without PyTorch."""
    from mooc_maml.recommend.bundle import read_bundle

    info = read_bundle(bundle)
    from mooc_maml.recommend.onnx_file import write_onnx

    write_onnx(bundle, info, model, out)


app.command()(serve)


def main() -> None:
    """Run the command; what the user can mend is one line on standard error, with status 1."""
    # Threads that wait give their core away; read when PyTorch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main_guard(lambda: app(prog_name="mooc-maml"))


def _open(folder: Path, model: str | None) -> "Recommender":
    """The bundle with the model that is asked; what is wrong with it is said before any work."""
    from mooc_maml.recommend.bundle import check_model, read_bundle

    info = read_bundle(folder)
    own = check_model(folder, info, info.default_model if model is None else model)
    if own.carries_learners:
        _warn(
            f"{own.name} holds sessions of training learners, which can be read from its files; "
            "do not give it to people who may not see them"
        )
    from mooc_maml.recommend.recommender import Recommender

    return Recommender(folder, info)


def _warn(words: str) -> None:
    print(f"note: {words}", file=sys.stderr)


def _warn_of_ids(found: "Recommender", option: str, ids: str | list[str] | None) -> None:
    """Ids of a file that the bundle does not know do nothing."""
    unknown = (
        [id for id in ids if id not in found.catalogue.number] if isinstance(ids, list) else []
    )
    if unknown:
        _warn(f"{option}: {len(unknown)} ids are not known to the bundle, such as {unknown[0]!r}")


_MOST_NOTES = 10


def _warn_of_unknown(names: list[str], answers: list["Recommendation"]) -> None:
    """Courses of learners that were left out, and what they may have meant."""
    rows = [
        (name, own) for name, answer in zip(names, answers, strict=True) for own in answer.unknown
    ]
    for name, own in rows[:_MOST_NOTES]:
        like = " or ".join(f"{c.id} ({c.title})" if c.title else c.id for c in own.near)
        meant = f"; did you mean {like}?" if like else ""
        _warn(f"{name}: left out {own.id!r}, a course that the bundle does not know{meant}")
    if len(rows) > _MOST_NOTES:
        _warn(f"and {len(rows) - _MOST_NOTES:,} more unknown courses")


def _write(
    info: "BundleInfo",
    names: list[str],
    answers: list["Recommendation"],
    format: Format,
    out: Path | None,
) -> None:
    from mooc_maml.common.files import atomic_path
    from mooc_maml.recommend.output import as_csv, as_json, table

    if format == Format.CSV:
        text = as_csv(names, answers)
    elif format == Format.JSON:
        text = as_json(info, names, answers)
    else:
        text = table(info, names, answers) + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        with atomic_path(out) as temporary:
            temporary.write_text(text, encoding="utf-8")
