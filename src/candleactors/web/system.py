"""Endpoints of the system: is it well, how is it in detail, and who may ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from litestar import MediaType, Request, Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import SecurityRequirement
from litestar.params import JSONBody

from candleactors.actors.status import FeedStatus
from candleactors.feed import Feed
from candleactors.web.access import COOKIE
from candleactors.web.errors import ERRORS, ApiError
from candleactors.web.metrics import exposition
from candleactors.web.values import Health, LoginRequest

Session: TypeAlias = Callable[[str], str | None]
_COOKIE_AGE_S: Final = 30 * 86_400
_OPEN: Final[list[SecurityRequirement]] = [{}]
"""Needs no token."""


@get(
    "/healthz",
    operation_id="healthz",
    summary="Is the process alive?",
    tags=["system"],
    security=_OPEN,
    sync_to_thread=False,
    responses=ERRORS,
)
def healthz() -> Health:
    """Answers 200 as long as the process answers at all."""
    return Health("ok")


@get(
    "/readyz",
    operation_id="readyz",
    summary="Does the feed serve?",
    tags=["system"],
    security=_OPEN,
    sync_to_thread=False,
    responses=ERRORS | {503: ResponseSpec(Health, description="It does not, and why.", generate_examples=False)},
)
def readyz(feed: NamedDependency[Feed]) -> Response[Health]:
    """Answers 200 when every stream that fits is served and the store takes rows, else 503 with the reasons."""
    problems = _problems(feed.status())
    return Response(Health("unready" if problems else "ready", problems), status_code=503 if problems else 200)


@get(
    "/system/status",
    operation_id="status",
    summary="Status in detail",
    tags=["system"],
    sync_to_thread=False,
    responses=ERRORS,
)
def status(feed: NamedDependency[Feed]) -> FeedStatus:
    """Venues, connections, subscriptions, repairs, store, actors: what `candleactors status --json` prints."""
    return feed.status()


@get(
    "/metrics",
    operation_id="metrics",
    summary="Metrics for Prometheus",
    tags=["system"],
    media_type=MediaType.TEXT,
    sync_to_thread=False,
    responses=ERRORS,
)
def metrics(request: Request[None, None, State], feed: NamedDependency[Feed]) -> Response[bytes]:
    """Counters, gauges and histograms in Prometheus' text format."""
    body, content_type = exposition(feed, request.headers.get("accept"))
    return Response(body, media_type=content_type)


@post(
    "/api/session", operation_id="login", summary="Log a browser in", tags=["system"], status_code=204, responses=ERRORS
)
async def login(session: NamedDependency[Session], data: JSONBody[LoginRequest]) -> Response[None]:
    """Exchange the token for a cookie, so that pages can use what only a token opens."""
    value = session(data.token)
    if value is None:
        raise ApiError(401, "unauthorized", "this is not the token", parameter="token")
    response: Response[None] = Response(None, status_code=204)
    response.set_cookie(COOKIE, value, httponly=True, samesite="strict", max_age=_COOKIE_AGE_S, path="/")
    return response


def _problems(status: FeedStatus) -> list[str]:
    problems = []
    for venue in status.venues:
        if not venue.healthy:
            served = f"{venue.confirmed} of {venue.subscriptions} streams are served"
            sick = sum(len(connection.sick) for connection in venue.connections)
            problems.append(f"{venue.venue}: {served}" + (f", {sick} are sick" if sick else ""))
    if status.store.error is not None:
        problems.append(f"store: {status.store.error}")
    return problems
