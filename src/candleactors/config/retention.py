"""How long candles are kept, against what the feed itself needs of them."""

from __future__ import annotations

from candleactors import venues
from candleactors.errors import ConfigError
from candleactors.model import DAY_MS, MINUTE_MS, Stream, Timeframe
from candleactors.settings import Settings
from candleactors.venues.sources import source_of


def check_retention(settings: Settings) -> None:
    """Raise `ConfigError` for candles that would be deleted although the feed fetches them or makes others from them.

    The venues are right, see `check_venues`.
    """
    fetched, sources = _used(settings)
    history, catch_up = settings.repair.history, settings.aggregation.catch_up_minutes
    for timeframe, days in settings.retention.days.items():
        if timeframe in fetched and history * timeframe.nominal_ms > days * DAY_MS:
            needed = f"{history} candles that repair.history fetches ({_days(history * timeframe.nominal_ms)})"
        elif timeframe in sources and catch_up * MINUTE_MS > days * DAY_MS:
            needed = f"{catch_up} minutes of aggregation.catch_up_minutes ({_days(catch_up * MINUTE_MS)})"
        else:
            continue
        raise ConfigError(
            f"{_days(round(days * DAY_MS))} are less than the {needed}", key=f"retention.days.{timeframe}"
        )


def _used(settings: Settings) -> tuple[set[Timeframe], set[Timeframe]]:
    """Return the timeframes that are asked of venues, and those that others are made from."""
    fetched: set[Timeframe] = set()
    sources: set[Timeframe] = set()
    for name, venue in settings.venues.items():
        rules = venues.codec(name).rules
        made_from = {source_of(Stream(name, "", derived), rules, venue.derived).timeframe for derived in venue.derived}
        fetched |= {*venue.timeframes, *made_from}
        sources |= made_from
    return fetched, sources


def _days(length_ms: int) -> str:
    days = f"{length_ms / DAY_MS:.3g}" if length_ms < 1000 * DAY_MS else str(round(length_ms / DAY_MS))
    return f"{days} day{'s' * (days != '1')}"
