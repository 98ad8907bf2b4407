"""The one way to open a raw file: what it is packed in and how its text is encoded."""

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mooc_maml.common.errors import UserError
from mooc_maml.sources.encodings import as_utf8
from mooc_maml.sources.events import ReadReport, shown
from mooc_maml.sources.packings import DAMAGE, unpacked
from mooc_maml.sources.streams import buffered, in_a_file

_PARQUET = b"PAR1"


@contextmanager
def open_raw(
    path: Path, encoding: str, report: ReadReport, parquet_too: bool = False
) -> Iterator[io.BufferedReader]:
    """Open a raw file: unpacked, and in UTF-8, unless it is Parquet, which can be moved about in.

    Bytes that are no text are `encodings.NO_TEXT`.

    Args:
        path: the raw file.
        encoding: of text that does not say itself what it is in (data.encoding).
        report: told of the bytes read, and of what needs a word.
        parquet_too: whether a Parquet file is read.

    Raises:
        UserError: the file is cut off or damaged, may not be read, is an archive of several files,
            or holds neither text nor Parquet.
    """
    layers: list[str] = []
    with ExitStack() as stack:
        try:
            raw = stack.enter_context(path.open("rb"))
            file = unpacked(buffered(raw, report.on_bytes), path, report, stack, layers)
            if parquet_too and is_parquet(file):
                yield in_a_file(file, stack)
            else:
                yield as_utf8(file, path, encoding, report)
        except DAMAGE as error:
            words = str(error) if "something" in str(error) else ""  # our own, see `archives`
            raise UserError(_damaged(path, layers, isinstance(error, EOFError), words)) from None
        except OSError as error:
            if error.errno is None and layers:  # as pyarrow tells it
                raise UserError(_damaged(path, layers, "Truncated" in str(error))) from None
            words = error.strerror or shown(error, 200)
            raise UserError(f"{shown(path)}: cannot be read ({words})") from None


def is_parquet(file: io.BufferedReader) -> bool:
    """Whether a file at its start is Parquet."""
    return file.peek(4)[:4] == _PARQUET


def _damaged(path: Path, layers: list[str], cut_off: bool, words: str = "") -> str:
    what = "cut off" if cut_off else f"damaged{words and ': '}{words}"
    return f"{shown(path)}: the {layers[-1]} file is {what}; fetch it again"
