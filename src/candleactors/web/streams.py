"""Endpoints of streams: what is watched, and to watch and unwatch while the feed runs."""

from __future__ import annotations

import math
from typing import Annotated, Final

from litestar import delete, get, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from candleactors.feed import Feed
from candleactors.web.errors import ERRORS, ApiError
from candleactors.web.parameters import some_streams
from candleactors.web.values import StreamList, WatchRequest

OWNER: Final = "api"
_LONGEST_OWNER: Final = 64
_MOST: Final = 1_000
_OWN: Final = ("config", "sse:")
"""Owners whose interest is declared otherwise, and does not end from here."""


@get(
    "/api/streams",
    operation_id="streams",
    summary="Watched streams",
    tags=["streams"],
    sync_to_thread=False,
    responses=ERRORS,
)
def streams(feed: NamedDependency[Feed]) -> StreamList:
    """Every watched stream, and how it is served."""
    return StreamList(feed.streams())


@put("/api/streams", operation_id="watch", summary="Watch streams", tags=["streams"], responses=ERRORS)
async def watch(feed: NamedDependency[Feed], data: JSONBody[WatchRequest]) -> StreamList:
    """Watch streams on behalf of an owner; what an owner watches already is given the new priority and expiry.

    The answer has the streams, in the venue's spelling. That a symbol does not exist is known a moment later: its
    stream is parked then.
    """
    _check_owner(data.owner, "owner")
    if not 0 < len(data.streams) <= _MOST:
        raise ApiError(400, "invalid_body", f"from 1 to {_MOST} streams", parameter="streams")
    if abs(data.priority) > 1_000_000:
        raise ApiError(400, "invalid_body", "from -1000000 to 1000000", parameter="priority")
    expires_s = data.expires_after_s
    if expires_s is not None and not (math.isfinite(expires_s) and expires_s > 0):
        raise ApiError(400, "invalid_body", "a number of seconds greater than 0", parameter="expires_after_s")
    wanted = await some_streams(feed, data.streams, "streams")
    feed.watch(wanted, owner=data.owner, priority=data.priority, expires_after_s=expires_s)
    return StreamList(feed.streams(wanted))


@delete(
    "/api/streams",
    operation_id="unwatch",
    summary="Let streams go",
    tags=["streams"],
    status_code=200,
    responses=ERRORS,
)
async def unwatch(
    feed: NamedDependency[Feed],
    stream: Annotated[list[str], QueryParameter(description="`venue:symbol:timeframe`; may be repeated.")],
    owner: Annotated[str, QueryParameter(description="On whose behalf they are watched.")] = OWNER,
) -> StreamList:
    """End an owner's interest in streams; the answer has them as they are now. Others may watch them still."""
    _check_owner(owner, "owner")
    leaving = await some_streams(feed, stream, "stream")
    feed.unwatch(leaving, owner=owner)
    return StreamList(feed.streams(leaving))


def _check_owner(owner: str, parameter: str) -> None:
    if not (owner.isprintable() and 0 < len(owner) <= _LONGEST_OWNER) or owner.startswith(_OWN):
        problem = f"a name of at most {_LONGEST_OWNER} characters, other than config and sse:…"
        raise ApiError(400, "invalid_parameter", problem, parameter=parameter)
