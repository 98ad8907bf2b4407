"""The application: addresses, errors, and the gate before them."""

from typing import Any

from fastapi import FastAPI, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import APIKeyHeader
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from mooc_maml.recommend.recommender import Recommender
from mooc_maml.recommend.service.api import Api, Reload
from mooc_maml.recommend.service.errors import ErrorBody, Refused, failed, of_status, of_validation
from mooc_maml.recommend.service.gate import Gate
from mooc_maml.recommend.service.metrics import Metrics
from mooc_maml.recommend.service.pages import add_pages
from mooc_maml.recommend.service.settings import ServiceSettings

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": words}
    for status, words in {
        400: "The request cannot be read",
        401: "The key is missing or wrong",
        403: "Not allowed from there",
        408: "The request came too slowly",
        413: "The body is too long",
        421: "The service does not answer under this host name",
        422: "Something in the request is not allowed",
        500: "A fault of the service",
        409: "The bundle on the disk cannot be served; the old one stays",
        503: "Too much to do; Retry-After says when to ask again",
    }.items()
}
_ABOUT = (
    "Next courses for learners, before and after a model has been told of their own courses. "
    "Every error has the same body; 503 comes with Retry-After."
)


def create_app(
    recommender: Recommender, settings: ServiceSettings, reload: Reload | None = None
) -> ASGIApp:
    """The whole application, its gate included.

    Args:
        recommender: what is asked.
        settings: of the service.
        reload: see `Api`.
    """
    metrics = Metrics()
    api = Api(recommender, settings, metrics, reload)
    app = FastAPI(
        title="mooc-maml",
        version=recommender.bundle.made_by,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        responses=_ERRORS,
        dependencies=_key_in_schema(settings),
    )
    app.add_api_route("/recommend", api.recommend, methods=["POST"])
    app.add_api_route("/courses", api.courses, methods=["GET"])
    app.add_api_route("/model", api.model, methods=["GET"])
    app.add_api_route("/health", api.health, methods=["GET"])
    app.add_api_route("/metrics", api.metrics, methods=["GET"], response_class=PlainTextResponse)
    app.add_api_route("/reload", api.reload, methods=["POST"])
    add_pages(app)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _of_framework)
    app.add_exception_handler(Exception, _failed)
    return _with_origins(Gate(app, settings, metrics), settings)


def _key_in_schema(settings: ServiceSettings) -> list[Any]:
    """Names the key in the OpenAPI page; the gate is what checks it."""
    if settings.key is None:
        return []
    return [Security(APIKeyHeader(name="X-API-Key", auto_error=False))]


def _with_origins(app: ASGIApp, settings: ServiceSettings) -> ASGIApp:
    """Let pages of the named origins read answers (CORS); without names, none may."""
    if not settings.origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=list(settings.origins),
        allow_methods=["GET", "POST"],
        allow_headers=["Content-Type", "X-API-Key"],
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return error.response()


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return of_validation(error.errors()).response()


async def _of_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return of_status(error.status_code, str(error.detail), error.headers).response()


async def _failed(request: Request, error: Exception) -> Response:
    """The framework raises it again afterwards, and the gate logs it."""
    return failed().response()
