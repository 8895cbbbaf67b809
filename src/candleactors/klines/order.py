"""The order of candles: ascending in each stream, none twice."""

from __future__ import annotations

from candleactors.model import Candle, Timeframe


class Order:
    """Remembers the last candle of each stream."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str, Timeframe], Candle] = {}
        self._latest: Candle | None = None

    def is_next(self, candle: Candle) -> bool:
        """Whether `candle` comes next in its stream; false if it repeats the last one.

        Raises `ValueError` if it goes back in time or contradicts the last one.
        """
        latest = self._latest
        self._latest = candle
        # The usual case, without a look into the table: the stream of the row before, and later.
        if (
            latest is not None
            and candle.timeframe is latest.timeframe
            and candle.symbol == latest.symbol
            and candle.venue == latest.venue
            and candle.open_time_ms > latest.open_time_ms
        ):
            return True
        if latest is not None:
            self._last[latest.venue, latest.symbol, latest.timeframe] = latest
        last = self._last.get((candle.venue, candle.symbol, candle.timeframe))
        if last is None or candle.open_time_ms > last.open_time_ms:
            return True
        self._latest = last
        if candle.open_time_ms < last.open_time_ms:
            raise ValueError("opens before the row above it; rows have to ascend by time")
        if not candle.same_values(last):
            raise ValueError("another row for the same time says otherwise")
        return False
