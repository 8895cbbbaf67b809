"""Frozen values without behaviour of their own: the nouns of the package."""

from candleactors.model.candle import Candle, Source
from candleactors.model.cursor import Cursor
from candleactors.model.event import Event, Gap, GapReason, GapSummary, Revision
from candleactors.model.stream import Stream
from candleactors.model.sync import SyncState, SyncStatus
from candleactors.model.ticker import Ticker
from candleactors.model.timeframe import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, WEEK_MS, Timeframe
from candleactors.model.trade import Trade

__all__ = [
    "DAY_MS",
    "HOUR_MS",
    "MINUTE_MS",
    "SECOND_MS",
    "WEEK_MS",
    "Candle",
    "Cursor",
    "Event",
    "Gap",
    "GapReason",
    "GapSummary",
    "Revision",
    "Source",
    "Stream",
    "SyncState",
    "SyncStatus",
    "Ticker",
    "Timeframe",
    "Trade",
]
