"""`mooc-maml serve`."""

import os
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from mooc_maml.common.errors import UserError
from mooc_maml.recommend.service.settings import Limits, ServiceSettings
from mooc_maml.recommend.service.start import serve as start

_KEY = "MOOC_MAML_KEY"


def serve(
    bundle: Annotated[Path, typer.Option(help="Folder of the bundle.")] = Path("models/bundle"),
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0: reachable from other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0: any free one.")] = 8000,
    workers: Annotated[int, typer.Option(help="Processes that answer; they share the model.")] = 1,
    key_file: Annotated[
        Path | None,
        typer.Option(help=f"File with the key that callers must send; or set {_KEY}."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Web page's origin that may ask (CORS); repeatable.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Host name that is answered to; repeatable.")
    ] = None,
    with_learners: Annotated[
        bool,
        typer.Option(help="Offer models from which training learners' sessions can be read."),
    ] = False,
    request_seconds: Annotated[float, typer.Option(help="Time that a request may take.")] = 10.0,
    max_waiting: Annotated[
        int, typer.Option(help="Requests in a worker at once; more get 503.")
    ] = 64,
    max_body: Annotated[int, typer.Option(help="Bytes of a request's body.")] = 1 << 20,
) -> None:
    """Answer over HTTP: a page at /, the interface at /docs; SIGHUP reads the bundle again."""
    try:
        settings = ServiceSettings(
            bundle=bundle,
            host=host,
            port=port,
            workers=workers,
            key=_read_key(key_file),
            origins=tuple(allow_origin or ()),
            hosts=tuple(name.lower() for name in allow_host or ()),
            with_learners=with_learners,
            limits=Limits(
                request_seconds=request_seconds, waiting=max_waiting, body_bytes=max_body
            ),
        )
    except ValidationError as error:
        raise UserError(_in_words(error)) from None
    start(settings)


def _read_key(path: Path | None) -> str | None:
    """The key of a file or of the environment; an empty one is none."""
    if path is None:
        return os.environ.get(_KEY, "").strip() or None
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        words = getattr(error, "strerror", None) or "no text"
        raise UserError(f"--key-file {path}: {words}; name a file that holds the key") from None
    if not key:
        raise UserError(f"--key-file {path}: empty; write a key of 8 characters or more into it")
    return key


_OPTIONS = {"waiting": "max-waiting", "body_bytes": "max-body"}


def _in_words(error: ValidationError) -> str:
    """The first problem, by the option's name; never the key itself."""
    first = error.errors(include_url=False, include_input=False)[0]
    name = str(first["loc"][-1])
    place = "the key" if name == "key" else f"--{_OPTIONS.get(name, name).replace('_', '-')}"
    return f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}"
