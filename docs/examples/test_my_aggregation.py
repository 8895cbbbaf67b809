"""Property-test an aggregation of your own. Run it with pytest; needs candleactors[testing]."""

from __future__ import annotations

from decimal import Context, Decimal
from functools import reduce

from hypothesis import given

from candleactors import Candle, Event, Gap, Revision, Timeframe
from candleactors.testing import final_candles, gappy_runs, reference_resample, revised_runs, timeframes

EXACT = Context(prec=100)


def my_bar(candles: list[Candle]) -> list[Decimal]:
    """Yours: open, high, low, close and volume of some candles in order."""
    traded = [candle for candle in candles if candle.trades or candle.volume]
    if not traded:
        return [candles[-1].close] * 4 + [Decimal(0)]
    high, low = max(candle.high for candle in traded), min(candle.low for candle in traded)
    return [traded[0].open, high, low, traded[-1].close, reduce(EXACT.add, [candle.volume for candle in traded])]


def my_bars(candles: list[Candle], timeframe: Timeframe) -> dict[int, list[Decimal]]:
    """Yours: the bars by open time."""
    inside: dict[int, list[Candle]] = {}
    for candle in candles:
        inside.setdefault(timeframe.floor(candle.open_time_ms), []).append(candle)
    return {open_ms: my_bar(found) for open_ms, found in inside.items()}


@given(gappy_runs().map(final_candles), timeframes(tiled_by="1m"))
def test_my_bars_equal_the_reference(candles: list[Candle], timeframe: Timeframe) -> None:
    expected = {
        bar.open_time_ms: [bar.open, bar.high, bar.low, bar.close, bar.volume]
        for bar in reference_resample(candles, timeframe)
    }
    assert my_bars(candles, timeframe) == expected


class MyLiveBars:
    """Yours: the same bars, kept up to date while candles come in and are corrected."""

    def __init__(self, timeframe: Timeframe) -> None:
        self.timeframe = timeframe
        self.bars: dict[int, list[Decimal]] = {}
        self._candles: dict[int, Candle] = {}

    def take(self, event: Event) -> None:
        if isinstance(event, Gap):
            return
        candle = event.candle if isinstance(event, Revision) else event
        self._candles[candle.open_time_ms] = candle
        open_ms = self.timeframe.floor(candle.open_time_ms)
        end_ms = self.timeframe.next_open(open_ms)
        self.bars[open_ms] = my_bar([self._candles[ms] for ms in sorted(self._candles) if open_ms <= ms < end_ms])


@given(revised_runs(), timeframes(tiled_by="1m", longest="1h"))
def test_my_live_bars_equal_a_rebuild(events: list[Event], timeframe: Timeframe) -> None:
    live = MyLiveBars(timeframe)
    for event in events:
        live.take(event)
    assert live.bars == my_bars(final_candles(events), timeframe)
