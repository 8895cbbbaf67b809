"""Endpoints of backfill: start a comparison with the venues, and see how far it has come."""

from __future__ import annotations

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from candleactors.feed import Feed
from candleactors.model import SyncStatus
from candleactors.web.errors import ERRORS, ApiError
from candleactors.web.parameters import Frame, Instant, Symbol, Venue, as_instant_ms, one_stream
from candleactors.web.values import SyncList

_ROOT = "/api/v1/market-data"


@post(
    f"{_ROOT}/sync-all",
    operation_id="sync_all",
    summary="Backfill everything",
    tags=["backfill"],
    status_code=202,
    responses=ERRORS,
)
async def sync_all(feed: NamedDependency[Feed], start: Instant = None) -> SyncStatus:
    """Compare every stream with its venue over REST, from `start` on, and fill what is missing.

    Without `start`, the most recent candles. Within the venues' limits, and behind whatever is urgent. The answer is
    the progress.
    """
    return feed.sync(start_ms=as_instant_ms("start", start))


@post(
    f"{_ROOT}/sync",
    operation_id="sync_one",
    summary="Backfill a stream",
    tags=["backfill"],
    status_code=202,
    responses=ERRORS,
)
async def sync_one(
    feed: NamedDependency[Feed], venue: Venue, symbol: Symbol, timeframe: Frame, start: Instant = None
) -> SyncStatus:
    """Do so for one stream; for a derived one, that is the stream it is made from."""
    start_ms = as_instant_ms("start", start)
    return feed.sync([await one_stream(feed, venue, symbol, timeframe)], start_ms=start_ms)


@get(
    f"{_ROOT}/sync",
    operation_id="syncs",
    summary="Backfills",
    tags=["backfill"],
    sync_to_thread=False,
    responses=ERRORS,
)
def syncs(feed: NamedDependency[Feed]) -> SyncList:
    """The backfills of late, as far as they are remembered."""
    return SyncList(feed.syncs())


@get(
    f"{_ROOT}/sync/{{sync_id:str}}",
    operation_id="sync_status",
    summary="A backfill",
    tags=["backfill"],
    responses=ERRORS,
)
async def sync_status(feed: NamedDependency[Feed], sync_id: FromPath[str]) -> SyncStatus:
    """How far one backfill has come."""
    found = feed.sync_status(sync_id)
    if found is None:
        raise ApiError(404, "not_found", "there is no such backfill (any more)", parameter="sync_id")
    return found
