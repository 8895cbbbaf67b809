"""Sources: what is taken from a venue, and what is made from which of its streams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candleactors.errors import InvalidTimeframe
from candleactors.model import Stream, Timeframe
from candleactors.testing import timeframes
from candleactors.venues import codec, names
from candleactors.venues.sources import source_of

RULES = {name: codec(name).rules for name in names()}


def source(frame: str, *derived: str, venue: str = "binance-spot") -> str:
    stream = Stream(venue, "BTCUSDT", Timeframe(frame))
    found = source_of(stream, RULES[venue], tuple(map(Timeframe, derived)))
    assert (found.venue, found.symbol) == (venue, "BTCUSDT")
    return str(found.timeframe)


@pytest.mark.parametrize("frame", ["1s", "1m", "5m", "1h", "3d", "1w", "1M"])
def test_what_the_venue_has_is_taken_as_it_is(frame: str) -> None:
    assert source(frame) == frame
    assert source(frame, "7m", "15m") == frame


@pytest.mark.parametrize("frame", ["3m", "5m", "1h", "1d", "1w", "1M"])
def test_unless_it_is_to_be_derived(frame: str) -> None:
    assert source(frame, frame) == "1m"


@pytest.mark.parametrize(
    "frame",
    [
        "2m",
        "7m",
        "59m",
        "60m",
        "24h",
        "7m@epoch",
        "1d@+0800",
        "1h@+0530",
        "3d@2017-08-17",
        "2w",
        "1M@-0500",
        "2M",
        "60s",
    ],
)
def test_everything_else_is_made_of_minutes(frame: str) -> None:
    assert source(frame) == source(frame, frame) == "1m"
    assert source(frame, venue="binance-usdm") == "1m"


@pytest.mark.parametrize("frame", ["5s", "7s", "90s", "7s@epoch"])
def test_or_of_seconds_where_there_are_any(frame: str) -> None:
    assert source(frame) == "1s"
    with pytest.raises(InvalidTimeframe, match=r"cannot be made from the candles of Binance USD-M Futures \(1m, 3m,"):
        source(frame, venue="binance-usdm")


def test_minutes_of_seconds() -> None:
    assert source("1m", "1m") == "1s"
    with pytest.raises(InvalidTimeframe, match='"1m" cannot be made'):
        source("1m", "1m", venue="binance-usdm")
    with pytest.raises(InvalidTimeframe, match='"1s" cannot be made'):
        source("1s", "1s")


@pytest.mark.parametrize("venue", ["aster", "binance-spot", "binance-usdm"])
def test_three_days_that_begin_anew_for_each_symbol(venue: str) -> None:
    """Binance counts them from a symbol's first day of trading."""
    assert source("3d", venue=venue) == "3d"
    with pytest.raises(InvalidTimeframe, match="begins on another day for each symbol") as caught:
        source("3d", "3d", venue=venue)
    assert caught.value.nearest == "3d@2017-08-17"
    assert source("3d@2017-08-17", "3d@2017-08-17", venue=venue) == "1m"


@given(st.sampled_from(names()), timeframes(), st.lists(timeframes(), max_size=4), st.booleans())
def test_a_source_is_the_venues_own_and_its_own_source(
    venue: str, frame: Timeframe, derived: list[Timeframe], is_derived: bool
) -> None:
    rules = RULES[venue]
    chosen = [*derived, frame] if is_derived else derived
    stream = Stream(venue, "BTCUSDT", frame)
    try:
        found = source_of(stream, rules, chosen)
    except InvalidTimeframe:
        assert frame not in rules.timeframes or frame in chosen
        return
    assert found.timeframe in rules.timeframes
    assert found.timeframe not in chosen
    assert found == stream or found.timeframe.tiles(frame)
    assert source_of(found, rules, chosen) == found
    assert (found == stream) == (frame in rules.timeframes and frame not in chosen)


def test_where_minutes_are_derived_nothing_is_made_of_the_venues() -> None:
    assert source("5m", "1m", "5m") == source("7m", "1m") == "1s"
