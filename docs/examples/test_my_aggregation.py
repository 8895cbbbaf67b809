"""Property-test an aggregation of your own. Run it with pytest; needs candleactors[testing]."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Any

from hypothesis import given

from candleactors import Candle, Event, Revision, Timeframe
from candleactors.testing import final_candles, gappy_runs, reference_resample, revised_runs, timeframes

EXACT = Context(prec=100)


def my_bars(candles: list[Candle], timeframe: Timeframe) -> dict[int, list[Decimal]]:
    """Yours: open, high, low, close and volume by open time, of candles in order."""
    bars: dict[int, list[Decimal]] = {}
    for candle in candles:
        open_ms = timeframe.floor(candle.open_time_ms)
        bar = bars.setdefault(open_ms, [candle.close, candle.close, candle.close, candle.close, Decimal(0)])
        if not (candle.trades or candle.volume):  # the line that is usually missing
            if not bar[4]:
                bar[:4] = [candle.close] * 4
            continue
        if not bar[4]:
            bar[:3] = [candle.open, candle.high, candle.low]
        bar[1], bar[2], bar[3] = max(bar[1], candle.high), min(bar[2], candle.low), candle.close
        bar[4] = EXACT.add(bar[4], candle.volume)
    return bars


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
        candle: Any = event.candle if isinstance(event, Revision) else event
        if not isinstance(candle, Candle):
            return
        self._candles[candle.open_time_ms] = candle
        open_ms = self.timeframe.floor(candle.open_time_ms)
        inside = [ms for ms in sorted(self._candles) if self.timeframe.floor(ms) == open_ms]
        self.bars |= my_bars([self._candles[ms] for ms in inside], self.timeframe)


@given(revised_runs(), timeframes(tiled_by="1m", longest="1h"))
def test_my_live_bars_equal_a_rebuild(events: list[Event], timeframe: Timeframe) -> None:
    live = MyLiveBars(timeframe)
    for event in events:
        live.take(event)
    assert live.bars == my_bars(final_candles(events), timeframe)
