"""Trade bars: candles of one size out of trades.

Trade ids tell what is missing, the venue's trade times which interval a trade belongs to. What arrives late, or was
missing, corrects the candle it belongs to.
"""

from __future__ import annotations

from decimal import Context, Decimal, Inexact
from typing import Final

from attrs import define, evolve, frozen

from candleactors.errors import UnorderedCandles
from candleactors.model import Candle, Revision, Source, Stream, Trade

_EXACT: Final = Context(prec=2_000, traps=[Inexact])
_ZERO: Final = Decimal(0)


@define
class _Bar:
    """An interval with trades. `first_id` and `last_id` are those of the trades that made `open` and `close`."""

    first_id: int
    last_id: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = _ZERO
    quote_volume: Decimal = _ZERO
    trades: int = 0
    taker: Decimal | None = _ZERO
    taker_quote: Decimal | None = _ZERO

    @classmethod
    def of(cls, trade: Trade) -> _Bar:
        """Return the bar of a first trade."""
        bar = cls(trade.first_id, trade.last_id, trade.price, trade.price, trade.price, trade.price)
        bar.add(trade)
        return bar

    def add(self, trade: Trade) -> None:
        """Count a trade in, whatever its place among the others."""
        if trade.first_id < self.first_id:
            self.first_id, self.open = trade.first_id, trade.price
        if trade.last_id > self.last_id:
            self.last_id, self.close = trade.last_id, trade.price
        self.high, self.low = max(self.high, trade.price), min(self.low, trade.price)
        quote = _EXACT.multiply(trade.price, trade.amount)
        self.volume = _EXACT.add(self.volume, trade.amount)
        self.quote_volume = _EXACT.add(self.quote_volume, quote)
        self.trades += trade.count
        if trade.taker_buy is None or self.taker is None or self.taker_quote is None:
            self.taker = self.taker_quote = None
        elif trade.taker_buy:
            self.taker = _EXACT.add(self.taker, trade.amount)
            self.taker_quote = _EXACT.add(self.taker_quote, quote)


@frozen
class _Hole:
    """Missing trade ids, and the open times of the first and the last interval they may belong to."""

    first_id: int
    last_id: int
    first_ms: int
    last_ms: int

    def without(self, trade: Trade) -> list[_Hole]:
        """Return what is left once `trade` is there."""
        parts = [evolve(self, last_id=trade.first_id - 1), evolve(self, first_id=trade.last_id + 1)]
        return [part for part in parts if part.first_id <= part.last_id]


class TradeBars:
    """Closed candles of `stream` out of its trades.

    An interval is over once a trade of a later one has come, or when `advance` says so. One without trades is a flat
    candle at the last price, as venues have it. While trade ids are missing, each candle they may belong to is
    incomplete, and `missing` tells how many; what they change when they come goes out as `Revision`s. Intervals further
    back than `memory` are final. With `contiguous` false ids need only grow: repeats are noticed, holes are not.
    Never blocks.
    """

    def __init__(self, stream: Stream, memory: int, *, contiguous: bool = True) -> None:
        self.stream = stream
        self._memory = memory
        self._contiguous = contiguous
        self._bars: dict[int, _Bar] = {}
        self._said: dict[int, Candle] = {}
        self._holes: list[_Hole] = []
        self._next_id: int | None = None
        self._newest_ms = 0  # open time of the interval of the trade with the highest id
        self._open_ms: int | None = None  # of the first interval that is not over

    def add(self, trade: Trade) -> list[Candle | Revision]:
        """Return what `trade` makes deliverable; nothing for a repeated one.

        Raises `UnorderedCandles` for a trade of another market, one that repeats others only in part, and one further
        back than is remembered.
        """
        if (trade.venue, trade.symbol) != (self.stream.venue, self.stream.symbol):
            raise UnorderedCandles(f"a trade of {trade.venue}:{trade.symbol} does not belong to {self.stream}")
        open_ms = self.stream.timeframe.floor(trade.time_ms)
        if self._open_ms is None:
            self._open_ms = self._newest_ms = open_ms
        if not self._is_news(trade):
            return []
        if open_ms < self._open_ms and open_ms not in self._said:
            raise UnorderedCandles(f"trade {trade.first_id} of {self.stream} lies further back than is remembered")
        events: list[Candle | Revision] = []
        if self._next_id is None or trade.first_id >= self._next_id:
            events += self._count_on(trade, open_ms)
        else:
            self._fill(trade)
        if open_ms in self._bars:
            self._bars[open_ms].add(trade)
        else:
            self._bars[open_ms] = _Bar.of(trade)
        return events + self._revise()

    def advance(self, now_ms: int) -> list[Candle | Revision]:
        """Return the candles of the intervals that are over at `now_ms`, by the venue's clock."""
        return [] if self._open_ms is None else self._close_until(self.stream.timeframe.floor(now_ms))

    def _is_news(self, trade: Trade) -> bool:
        expected = self._next_id
        if expected is None or trade.first_id >= expected:
            return True
        ids = (trade.first_id, trade.last_id)
        if any(hole.first_id <= ids[0] and ids[1] <= hole.last_id for hole in self._holes):
            return True
        if ids[1] >= expected or any(hole.first_id <= ids[1] and ids[0] <= hole.last_id for hole in self._holes):
            raise UnorderedCandles(f"trades {ids[0]} to {ids[1]} of {self.stream} repeat others in part")
        return False

    def _count_on(self, trade: Trade, open_ms: int) -> list[Candle | Revision]:
        """Take notice of the trade with the highest id so far; intervals before its own are over."""
        expected, self._next_id = self._next_id, trade.last_id + 1
        if self._contiguous and expected is not None and trade.first_id > expected:
            first_ms, last_ms = sorted((self._newest_ms, open_ms))
            self._holes.append(_Hole(expected, trade.first_id - 1, first_ms, last_ms))
        self._newest_ms = open_ms
        return self._close_until(open_ms)

    def _fill(self, trade: Trade) -> None:
        for hole in self._holes:
            if hole.first_id <= trade.first_id <= hole.last_id:
                self._holes.remove(hole)
                self._holes += hole.without(trade)
                return

    def _close_until(self, until_ms: int) -> list[Candle | Revision]:
        closed: list[Candle | Revision] = []
        assert self._open_ms is not None, "closed intervals before the first trade"
        while self._open_ms < until_ms:
            candle = self._said[self._open_ms] = self._candle(self._open_ms)
            closed.append(candle)
            self._open_ms = candle.next_open_time_ms
        while len(self._said) > self._memory:
            forgotten = next(iter(self._said))
            del self._said[forgotten]
            self._bars.pop(forgotten, None)
            self._holes = [hole for hole in self._holes if hole.last_ms > forgotten]
        return closed

    def _revise(self) -> list[Candle | Revision]:
        """Return what closed candles have become, where that is something else than was said."""
        revised: list[Candle | Revision] = []
        for open_ms, said in self._said.items():
            if open_ms not in self._bars and open_ms == next(iter(self._said)):
                continue  # flat at a price that is forgotten
            candle = self._candle(open_ms)
            if candle.missing != said.missing or not candle.same_values(said):
                self._said[open_ms] = candle = candle.replace(revision=said.revision + 1)
                revised.append(Revision(candle))
        return revised

    def _candle(self, open_ms: int) -> Candle:
        stream, bar = self.stream, self._bars.get(open_ms)
        missing = sum(
            hole.last_id - hole.first_id + 1 for hole in self._holes if hole.first_ms <= open_ms <= hole.last_ms
        )
        if bar is None:
            price = self._said[stream.timeframe.previous_open(open_ms)].close
            bar = _Bar(0, 0, price, price, price, price)
        close_ms = stream.timeframe.close_ms(open_ms)
        return Candle(
            stream.venue,
            stream.symbol,
            stream.timeframe,
            open_ms,
            close_ms,
            bar.open,
            bar.high,
            bar.low,
            bar.close,
            bar.volume,
            bar.quote_volume,
            bar.trades,
            bar.taker,
            bar.taker_quote,
            closed=True,
            complete=not missing,
            source=Source.DERIVED,
            revision=0,
            received_ms=close_ms + 1,
            missing=missing,
        )
