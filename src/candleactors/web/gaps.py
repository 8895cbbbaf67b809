"""Endpoints of gaps: what is missing, and what was repaired."""

from __future__ import annotations

from litestar import get
from litestar.di import NamedDependency

from candleactors.feed import Feed
from candleactors.model import Gap, GapReason
from candleactors.web.errors import ERRORS
from candleactors.web.events import gap_record
from candleactors.web.parameters import Frame, Symbol, Venue, one_stream
from candleactors.web.values import GapCounts, GapList, GapRecord, OpenGaps, RepairCount


@get("/api/gaps", operation_id="gaps", summary="Gaps of a stream", tags=["gaps"], responses=ERRORS)
async def gaps(feed: NamedDependency[Feed], venue: Venue, symbol: Symbol, timeframe: Frame) -> GapList:
    """The open gaps of one stream, ascending: intervals of which no candle is stored."""
    stream = await one_stream(feed, venue, symbol, timeframe)
    return GapList([_record(gap) for gap in await feed.gaps(stream)])


@get("/api/gaps/summary", operation_id="gap_summary", summary="Gaps of all streams", tags=["gaps"], responses=ERRORS)
async def gap_summary(feed: NamedDependency[Feed]) -> GapCounts:
    """How many gaps are open, what was repaired within 24 hours, and the oldest gap."""
    summary = await feed.gap_summary()
    return GapCounts(
        open=OpenGaps(
            gaps=summary.gaps,
            candles=summary.candles,
            venue=summary.by_reason[GapReason.VENUE],
            unrepaired=summary.by_reason[GapReason.UNREPAIRED],
        ),
        repaired_24h=RepairCount(summary.repaired_candles, summary.repaired_streams),
        oldest=None if summary.oldest is None else _record(summary.oldest),
    )


def _record(gap: Gap) -> GapRecord:
    return GapRecord(**gap_record(gap))
