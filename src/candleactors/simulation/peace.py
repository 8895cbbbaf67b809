"""Peace: what has to be true once nothing has gone wrong for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from candleactors.actors.status import FeedStatus
from candleactors.feed import Feed
from candleactors.model import Stream
from candleactors.simulation.judge import Judge
from candleactors.simulation.losses import Losses
from candleactors.simulation.reader import Reader
from candleactors.simulation.truth import MINUTE
from candleactors.stores.base import Store


async def unsettled(
    feed: Feed,
    store: Store,
    readers: Sequence[Reader],
    watched: Sequence[Stream],
    over_ms: int,
    losses: Losses,
) -> list[str]:
    """Return everything that is not right yet, a line each.

    The feed serves all it was asked for; each reader has been told everything of `watched` that was over at `over_ms`,
    and it is the truth; the store holds what the first reader was told, who reads everything; `losses` aside.
    Raises `FeedClosed`, and `StoreUnavailable` where the store cannot be read.
    """
    await feed.history(watched[0], limit=1)  # everything delivered is stored then
    since_ms = {stream: await _known_since_ms(store, stream) for stream in watched}
    problems = list(_unhealthy(feed.status()))
    for reader in readers:
        own = [stream for stream in watched if reader.reads(stream) and stream not in losses.abandoned]
        problems += [f"{reader.name}: {each}" for each in reader.judge.compare(own, over_ms, since_ms)]
    judge = readers[0].judge
    streams = [stream for stream in judge.streams if stream not in losses.abandoned]
    return problems + await _stored_otherwise(store, judge, streams, late=losses.any)


async def _known_since_ms(store: Store, stream: Stream) -> int:
    """Return when the first minute that the feed has of a stream's symbol opens."""
    found = await store.candles(Stream(stream.venue, stream.symbol, MINUTE), limit=1)
    return found[0].open_time_ms if found else 0


def _unhealthy(status: FeedStatus) -> Iterator[str]:
    if not status.healthy:
        yield f"the feed is not healthy: {status}"
    for venue in status.venues:
        if venue.waiting or venue.repairing or venue.cold or venue.confirmed < venue.subscriptions:
            yield f"{venue.venue} has not caught up: {venue}"


async def _stored_otherwise(store: Store, judge: Judge, streams: Sequence[Stream], *, late: bool) -> list[str]:
    """Return what the store holds and was not told, and the other way round."""
    problems: list[str] = []
    for stream in streams:
        first_ms = judge.kept_from_ms(stream)
        stored = {candle.open_time_ms: candle for candle in await store.candles(stream, first_ms)}
        if late and stored:
            first_ms = min(stored)
        said, passed_over = judge.said(stream)
        told = {open_ms: candle for open_ms, candle in said.items() if open_ms >= first_ms}
        problems += [f"{stream} {ms} is stored and was never told" for ms in sorted(stored.keys() - told.keys())]
        problems += [f"{stream} {ms} was told and is not stored" for ms in sorted(told.keys() - stored.keys())]
        problems += [
            f"{stream} {ms} is stored with other values than it was told"
            for ms in sorted(stored.keys() & told.keys())
            if not stored[ms].same_values(told[ms])
        ]
        missing = {
            ms
            for gap in await store.gaps(stream)
            for ms in stream.timeframe.opens(max(gap.first_open_ms, first_ms), gap.last_open_ms + 1)
        }
        if missing != {ms for ms in passed_over if ms >= first_ms}:
            problems.append(f"{stream}: other gaps are stored than were told")
    return problems
