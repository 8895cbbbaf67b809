"""The application: endpoints, their description, and one shape for whatever goes wrong."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any, Final, TypeAlias

import structlog
from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from candleactors.errors import FeedClosed, StoreUnavailable
from candleactors.feed import Feed
from candleactors.settings import WebSettings
from candleactors.web import candles, gaps, pages, streams, sync, system
from candleactors.web.access import Access
from candleactors.web.asgi import App
from candleactors.web.contract import Contract
from candleactors.web.errors import ApiError, ErrorBody
from candleactors.web.limits import Limits
from candleactors.web.live import LiveReaders

_AnyRequest: TypeAlias = Request[None, None, State]

_ENDPOINTS: Final = (
    *(candles.candles, candles.candle_stream, gaps.gaps, gaps.gap_summary),
    *(streams.streams, streams.watch, streams.unwatch),
    *(sync.sync_all, sync.sync_one, sync.syncs, sync.sync_status),
    *(system.healthz, system.readyz, system.status, system.metrics, system.login),
)
_MISSING: Final = re.compile(r"Missing required \w+ parameter '(.+?)' for")
_FIELD: Final = re.compile(r"field `(\w+)`")
_WHOLE_BODY: Final = "data"
_PAGES: Final = (pages.index, pages.chart, pages.docs, pages.page)


def make_app(feed: Feed, readers: LiveReaders, settings: WebSettings) -> App:
    """Return the ASGI application that serves `feed`. It needs no lifespan."""
    contract = Contract()

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await litestar(scope, receive, send)

    access = Access(Limits(answer, settings), settings)
    litestar = Litestar(
        [*_ENDPOINTS, *_PAGES],
        dependencies={
            "feed": Provide(lambda: feed, sync_to_thread=False),
            "readers": Provide(lambda: readers, sync_to_thread=False),
            "session": Provide(lambda: access.session, sync_to_thread=False),
        },
        before_request=contract.check,
        exception_handlers={Exception: _answer_error},
        openapi_config=_description(settings),
        logging_config=None,
    )
    contract.learn(litestar)
    return access


def _description(settings: WebSettings) -> OpenAPIConfig:
    return OpenAPIConfig(
        title="candleactors",
        version=version("candleactors"),
        description="Candles that are never missed, never repeated and never wrong, over HTTP.",
        path="/openapi.json",
        render_plugins=[JsonRenderPlugin(path="/")],
        use_handler_docstrings=True,
        components=Components(
            security_schemes={"token": SecurityScheme(type="http", scheme="bearer")} if settings.token else {}
        ),
        security=[{"token": []}] if settings.token else None,
    )


def _answer_error(request: _AnyRequest, error: Exception) -> Response[ErrorBody]:
    found = _as_api_error(error)
    if found is None:
        structlog.get_logger("candleactors").error("request failed", path=request.url.path, exc_info=error)
        found = ApiError.of_status(500, "something went wrong here; the log says what")
    return Response(found.body, status_code=found.status, headers=found.headers, media_type="application/json")


def _as_api_error(error: Exception) -> ApiError | None:
    """Return what a client is told of `error`, ``None`` where it is our own fault."""
    match error:
        case ApiError():
            return error
        case StoreUnavailable() | FeedClosed():
            return ApiError(503, "unavailable", str(error), retry_after_s=2)
        case ValidationException(extra=[{"message": message, "key": key, "source": "body"}, *_]):
            field = _FIELD.search(message) if key == _WHOLE_BODY else None
            parameter = field[1] if field else None if key == _WHOLE_BODY else str(key)
            return ApiError(400, "invalid_body", str(message), parameter=parameter)
        case ValidationException(extra=[{"message": message, "key": key}, *_]):
            return ApiError(400, "invalid_parameter", str(message), parameter=str(key))
        case ValidationException() if found := _MISSING.match(error.detail):
            return ApiError(400, "invalid_parameter", f"{found[1]} is needed", parameter=found[1])
        case HTTPException(status_code=400):
            return ApiError(400, "invalid_body", error.detail)
        case HTTPException() if error.status_code < 500:
            headers = {name.lower(): value for name, value in (error.headers or {}).items()}
            return ApiError.of_status(error.status_code, error.detail, headers)
    return None
