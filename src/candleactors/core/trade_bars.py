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
_FIRST_EVER: Final = 1
"""The id of a market's very first trade, or 0."""


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
    """Missing trade ids, and the open times of the intervals of the trade before them and of the one behind them.

    They may belong to either interval and to any in between. Times may go back a little where ids go on.
    """

    first_id: int
    last_id: int
    before_ms: int
    behind_ms: int

    @property
    def first_ms(self) -> int:
        return min(self.before_ms, self.behind_ms)

    @property
    def last_ms(self) -> int:
        return max(self.before_ms, self.behind_ms)

    def without(self, trade: Trade, open_ms: int) -> list[_Hole]:
        """Return what is left once `trade`, of the interval at `open_ms`, is there."""
        before = evolve(self, last_id=trade.first_id - 1, behind_ms=open_ms)
        behind = evolve(self, first_id=trade.last_id + 1, before_ms=open_ms)
        return [part for part in (before, behind) if part.first_id <= part.last_id]


class TradeBars:
    """Closed candles of `stream` out of its trades.

    An interval is over once a trade of a later one has come, or when `advance` says so. One without trades is a flat
    candle at the last price, as venues have it. The interval in which the trades begin is incomplete, since nobody
    knows what came before the first; `missing` is 1 there and means at least one. While trade ids are missing, each
    candle they may belong to is incomplete, and `missing` counts them; what they change when they come goes out as
    `Revision`s. Intervals further back than `memory` are final. Never blocks.

    With `contiguous` false ids are merely different: repeats are noticed, whatever the order, and holes are not, so
    `interrupted` has to tell of them.
    """

    def __init__(self, stream: Stream, memory: int, *, contiguous: bool = True) -> None:
        self.stream = stream
        self._memory = memory
        self._contiguous = contiguous
        self._bars: dict[int, _Bar] = {}
        self._said: dict[int, Candle] = {}
        self._holes: list[_Hole] = []
        self._first_id = self._next_id = 0
        self._begin_ms = self._newest_ms = 0  # open time of the interval of the first trade, and of the last
        self._open_ms: int | None = None  # of the first interval that is not over; None before the first trade
        # Where ids do not tell: the interval of each trade, by its id, and whether some were lost since the last one.
        self._seen: dict[int, int] = {}
        self._lost = False

    def add(self, trade: Trade) -> list[Candle | Revision]:
        """Return what `trade` makes deliverable; nothing for a repeated one.

        Raises `UnorderedCandles` for a trade of another market, one from before the first, one that repeats others only
        in part, and one further back than is remembered.
        """
        if (trade.venue, trade.symbol) != (self.stream.venue, self.stream.symbol):
            raise UnorderedCandles(f"a trade of {trade.venue}:{trade.symbol} does not belong to {self.stream}")
        open_ms = self.stream.timeframe.floor(trade.time_ms)
        if self._open_ms is None:
            self._open_ms = self._begin_ms = self._newest_ms = open_ms
            self._first_id = self._next_id = trade.first_id
        if not self._is_news(trade):
            return []
        if open_ms < self._begin_ms:
            self._count(trade, self._begin_ms)  # a little older than the one before it
            return []
        if open_ms < self._open_ms and open_ms not in self._said:
            raise UnorderedCandles(f"trade {trade.first_id} of {self.stream} lies further back than is remembered")
        changed_ms = self._count(trade, open_ms)
        events = self._close_until(open_ms)
        if open_ms in self._bars:
            self._bars[open_ms].add(trade)
        else:
            self._bars[open_ms] = _Bar.of(trade)
        return events + (self._revise(changed_ms) if changed_ms < self._open_ms else [])

    def interrupted(self) -> None:
        """Take notice that trades may have been lost since the last one, as by a new connection.

        Without effect where ids are contiguous, since they tell.
        """
        self._lost = True

    def advance(self, now_ms: int) -> list[Candle | Revision]:
        """Return the candles of the intervals that are over at `now_ms`, by the venue's clock."""
        return [] if self._open_ms is None else self._close_until(self.stream.timeframe.floor(now_ms))

    def _is_news(self, trade: Trade) -> bool:
        if not self._contiguous:
            return trade.first_id not in self._seen
        first_id, last_id = trade.first_id, trade.last_id
        if first_id >= self._next_id:
            return True
        if first_id < self._first_id:
            raise UnorderedCandles(f"trade {first_id} of {self.stream} comes before the first, {self._first_id}")
        if any(hole.first_id <= first_id and last_id <= hole.last_id for hole in self._holes):
            return True
        if last_id >= self._next_id or any(h.first_id <= last_id and first_id <= h.last_id for h in self._holes):
            raise UnorderedCandles(f"trades {first_id} to {last_id} of {self.stream} repeat others in part")
        return False

    def _count(self, trade: Trade, open_ms: int) -> int:
        """Take notice of a trade's ids; return the first interval about which something else may be true now."""
        if not self._contiguous:
            changed_ms = open_ms
            if self._lost:
                hole = _Hole(trade.first_id, trade.first_id, self._newest_ms, open_ms)  # one at least
                self._holes.append(hole)
                changed_ms, self._lost = hole.first_ms, False
            self._seen[trade.first_id] = open_ms
            self._newest_ms = max(self._newest_ms, open_ms)
            return changed_ms
        if trade.first_id < self._next_id:
            hole = next(hole for hole in self._holes if hole.first_id <= trade.first_id <= hole.last_id)
            self._holes.remove(hole)
            self._holes += hole.without(trade, open_ms)
            return min(hole.first_ms, open_ms)
        changed_ms = open_ms
        if trade.first_id > self._next_id:
            hole = _Hole(self._next_id, trade.first_id - 1, self._newest_ms, open_ms)
            self._holes.append(hole)
            changed_ms = hole.first_ms
        self._next_id, self._newest_ms = trade.last_id + 1, open_ms
        return changed_ms

    def _close_until(self, until_ms: int) -> list[Candle | Revision]:
        closed: list[Candle | Revision] = []
        assert self._open_ms is not None, "closed intervals before the first trade"
        while self._open_ms < until_ms:
            candle = self._said[self._open_ms] = self._candle(self._open_ms)
            closed.append(candle)
            self._open_ms = candle.next_open_time_ms
        if len(self._said) > self._memory:
            self._forget(len(self._said) - self._memory)
        return closed

    def _forget(self, count: int) -> None:
        for open_ms in list(self._said)[:count]:
            del self._said[open_ms]
            self._bars.pop(open_ms, None)
        oldest_ms = min(self._said, default=0)
        self._holes = [hole for hole in self._holes if hole.last_ms >= oldest_ms]
        for trade_id in [trade_id for trade_id, open_ms in self._seen.items() if open_ms < oldest_ms]:
            del self._seen[trade_id]

    def _revise(self, since_ms: int) -> list[Candle | Revision]:
        """Return what closed candles have become, where that is something else than was said."""
        revised: list[Candle | Revision] = []
        oldest_ms = min(self._said, default=0)
        for open_ms, said in self._said.items():
            # What is flat since before anything remembered stays so.
            if open_ms < since_ms or (open_ms == oldest_ms and open_ms not in self._bars):
                continue
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
        if open_ms == self._begin_ms and not (self._contiguous and self._first_id <= _FIRST_EVER):
            missing += 1
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
