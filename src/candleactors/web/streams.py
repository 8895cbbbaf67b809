"""Endpoints of streams: what is watched, and to watch and unwatch while the feed runs."""

from __future__ import annotations

from typing import Annotated

from litestar import delete, get, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from candleactors.feed import Feed
from candleactors.web.errors import ERRORS
from candleactors.web.parameters import Streams, some_streams
from candleactors.web.values import OWNER, StreamList, WatchRequest


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
    wanted = await some_streams(feed, data.streams, "streams")
    feed.watch(wanted, owner=data.owner, priority=data.priority, expires_after_s=data.expires_after_s)
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
    stream: Streams,
    owner: Annotated[str, QueryParameter(pattern=OWNER, description="On whose behalf they are watched.")] = "api",
) -> StreamList:
    """End an owner's interest in streams; the answer has them as they are now. Others may watch them still."""
    leaving = await some_streams(feed, stream, "stream")
    feed.unwatch(leaving, owner=owner)
    return StreamList(feed.streams(leaving))
