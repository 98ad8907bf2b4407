"""The page for people at /, and the API's page at /docs; every file is in an installed package."""

from functools import cache
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import Response

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_OWN = {
    "/": "index.html",
    "/app.js": "app.js",
    "/asking.js": "asking.js",
    "/drawing.js": "drawing.js",
    "/picking.js": "picking.js",
    "/style.css": "style.css",
    "/icon.svg": "icon.svg",
    "/docs": "docs.html",
    "/docs/start.js": "docs.js",
}
_SWAGGER = ("swagger-ui.css", "swagger-ui-bundle.js")
_FRESH = {"Cache-Control": "no-cache"}  # a new version of the program is seen at once


def add_pages(app: FastAPI) -> None:
    """Let the application answer with the pages' files."""
    for address, name in _OWN.items():
        content = files("mooc_maml.recommend.page").joinpath(name).read_bytes()
        _add(app, address, content, _TYPES[Path(name).suffix])
    for name in _SWAGGER:
        _add(app, f"/docs/{name}", _swagger(name), _TYPES[Path(name).suffix])


@cache
def _swagger(name: str) -> bytes:
    return files("swagger_ui").joinpath("static", name).read_bytes()


def _add(app: FastAPI, address: str, content: bytes, media_type: str) -> None:
    async def answer() -> Response:
        return Response(content, media_type=media_type, headers=_FRESH)

    app.add_api_route(address, answer, methods=["GET"], include_in_schema=False)
