"""A candle feed that never misses, never repeats and never lies about a candle.

Embed it::

    async with candleactors.open_feed(settings) as feed:
        async for event in feed.candles():
            ...

or run it: ``candleactors run candles.toml``. What this module names is the public interface, together with
`candleactors.errors`, `candleactors.settings` and the command line.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from candleactors.core.bars import BarBuilder
    from candleactors.core.resampling import resample
    from candleactors.errors import CandleactorsError, ConfigError, FeedClosed, SubscriberLagged
    from candleactors.feed import Feed, open_feed, run_feed
    from candleactors.klines import read_klines
    from candleactors.model import Candle, Cursor, Event, Gap, GapReason, Revision, Source, Stream, Timeframe, Trade
    from candleactors.settings import Settings

__all__ = [
    "BarBuilder",
    "Candle",
    "CandleactorsError",
    "ConfigError",
    "Cursor",
    "Event",
    "Feed",
    "FeedClosed",
    "Gap",
    "GapReason",
    "Revision",
    "Settings",
    "Source",
    "Stream",
    "SubscriberLagged",
    "Timeframe",
    "Trade",
    "open_feed",
    "read_klines",
    "resample",
    "run_feed",
]

_HOMES = ("errors", "model", "settings", "core.bars", "core.resampling", "klines", "feed")


def __getattr__(name: str) -> object:
    # Late, so that ``candleactors --help`` and shell completion need not wait for the whole feed to be imported.
    if name in __all__:
        for home in _HOMES:
            module = import_module(f"candleactors.{home}")
            if name in vars(module):
                value: object = vars(module)[name]
                globals()[name] = value
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
