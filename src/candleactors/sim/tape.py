"""The tape: every trade of one symbol, generated on demand from a seed, and its exact one-minute bars.

A minute's trades depend only on the seed, the symbol, the minute, the price and the trade id it starts with. Trades are
therefore not kept: they are generated again when somebody asks, and only the bars stay in memory.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from decimal import Decimal
from math import log
from random import Random
from typing import Final, NamedTuple
from zlib import crc32

from attrs import field, frozen
from attrs.validators import ge, gt

from candleactors.errors import ConfigError
from candleactors.model import MINUTE_MS

_KEPT_MINUTES: Final = 32
_MINUTES_OF_ONE_REGIME: Final = 5
FOREVER_MS: Final = 1 << 62


class Trade(NamedTuple):
    """One trade. `price` counts ticks and `quantity` steps of the symbol, so sums are exact integers."""

    at_ms: int
    id: int
    price: int
    quantity: int
    taker_buys: bool


class Bar(NamedTuple):
    """Trades of a span folded together, in ticks, steps and their products. Without trades, both ids are -1."""

    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    trades: int
    taker_volume: int
    taker_quote_volume: int
    first_id: int
    last_id: int


@frozen
class SymbolSpec:
    """A symbol of the simulated market.

    `tick` and `step` are the number of decimals of prices and quantities; together at most 8, so that every quote
    volume is exact in the venue's 8 decimals. `trades_per_minute` is the long-run mean. `volatility` is the typical
    move between two trades in parts of the price. `listed_ms` is the instant of the first trade; ``None``: at the
    beginning of the market's history.
    """

    base: str
    quote: str
    price: Decimal = field(converter=Decimal)
    tick: int = field(default=2, validator=ge(0))
    step: int = field(default=4, validator=ge(0))
    trades_per_minute: float = field(default=20.0, validator=gt(0))
    volatility: float = field(default=0.0001, validator=ge(0))
    mean_quantity: Decimal = field(default=Decimal(1), converter=Decimal)
    spot: bool = True
    futures: bool = True
    listed_ms: int | None = None

    def __attrs_post_init__(self) -> None:
        if self.tick + self.step > 8:
            raise ConfigError(f"{self.symbol}: tick and step have more than 8 decimals together")
        if self.ticks(self.price) < 1 or self.steps(self.mean_quantity) < 1:
            raise ConfigError(f"{self.symbol}: the price or the mean quantity is below its smallest unit")

    @property
    def symbol(self) -> str:
        return self.base + self.quote

    def ticks(self, price: Decimal) -> int:
        return int(price.scaleb(self.tick))

    def steps(self, quantity: Decimal) -> int:
        return int(quantity.scaleb(self.step))


@frozen
class Outage:
    """The venue's candle engine is down in [`start_ms`, `end_ms`): no trades, no rows, no closing pushes."""

    start_ms: int
    end_ms: int


def fold_trades(trades: Sequence[Trade], previous_close: int) -> Bar:
    """Return the bar of `trades`, ascending by time; flat at `previous_close` if there are none."""
    if not trades:
        return Bar(previous_close, previous_close, previous_close, previous_close, 0, 0, 0, 0, 0, -1, -1)
    high = low = trades[0].price
    volume = quote = taker_volume = taker_quote = 0
    for _, _, price, quantity, taker_buys in trades:
        if price > high:
            high = price
        elif price < low:
            low = price
        amount = price * quantity
        volume += quantity
        quote += amount
        if taker_buys:
            taker_volume += quantity
            taker_quote += amount
    first, last = trades[0], trades[-1]
    return Bar(
        first.price, high, low, last.price, volume, quote, len(trades), taker_volume, taker_quote, first.id, last.id
    )


def merge(earlier: Bar, later: Bar) -> Bar:
    """Return both bars folded together; one without trades does not touch the other."""
    if not later.trades:
        return earlier
    if not earlier.trades:
        return later
    return Bar(
        earlier.open,
        max(earlier.high, later.high),
        min(earlier.low, later.low),
        later.close,
        earlier.volume + later.volume,
        earlier.quote_volume + later.quote_volume,
        earlier.trades + later.trades,
        earlier.taker_volume + later.taker_volume,
        earlier.taker_quote_volume + later.taker_quote_volume,
        earlier.first_id,
        later.last_id,
    )


class _Minute:
    """The trades of one minute, and the bar of its first ones as far as they were last asked for."""

    __slots__ = ("_bar", "_folded", "start_price", "times", "trades")

    def __init__(self, start_price: int, trades: list[Trade]) -> None:
        self.start_price = start_price
        self.trades = trades
        self.times = [trade.at_ms for trade in trades]
        self._folded = 0
        self._bar = fold_trades((), start_price)

    def bar(self, count: int) -> Bar:
        """Return the bar of the first `count` trades; those asked for in ascending order are folded once."""
        if count < self._folded:
            self._folded, self._bar = 0, fold_trades((), self.start_price)
        if count > self._folded:
            self._bar = merge(self._bar, fold_trades(self.trades[self._folded : count], self._bar.close))
            self._folded = count
        return self._bar


class Tape:
    """All trades of one symbol from its listing on. Advances by itself to whatever instant is asked for.

    Times before the listing have no trades and must not be asked for. Not thread-safe; does no I/O.

    Memory grows by one bar a minute: 0.2 MB a day for a symbol that hardly trades, 0.8 MB for a busy one.
    """

    def __init__(self, spec: SymbolSpec, seed: int, listed_ms: int) -> None:
        self.spec = spec
        self.listed_ms = listed_ms
        self.first_minute = listed_ms // MINUTE_MS
        self.outages: list[Outage] = []
        self.outages_end_ms = 0
        """The end of the last one."""
        self.delisted_ms: int | None = None
        self.revision = 0
        """Grows with every change of the past."""
        self._seed = (seed << 64) ^ (crc32(spec.symbol.encode()) << 32)
        self._base = spec.ticks(spec.price)
        self._bars: list[Bar] = []
        self._next_ids: list[int] = [1]
        self._regime = (-1, 1.0)
        self._late: dict[int, list[Trade]] = {}
        self._cache: OrderedDict[int, _Minute] = OrderedDict()

    def add_outage(self, outage: Outage) -> None:
        """Add an outage; it must not start before what was already asked for."""
        self.outages.append(outage)
        self.outages_end_ms = max(self.outages_end_ms, outage.end_ms)
        self._cache.clear()

    def delist(self, at_ms: int) -> None:
        """End the tape at `at_ms`, which must not lie before what was already asked for; the first end stays."""
        if self.delisted_ms is None:
            self.delisted_ms = at_ms
            self.add_outage(Outage(at_ms, FOREVER_MS))

    def add_late_trade(self, at_ms: int, quantity: int, ticks_above_high: int) -> None:
        """Correct the past: one more trade in the finished minute that contains `at_ms`.

        It never becomes the last trade of its minute that has others, so no later flat candle changes. In a minute
        without trades it has the standing price.
        """
        minute = at_ms // MINUTE_MS
        known = self._minute(minute)
        bar = self.bar(minute)
        if known.trades:
            last = known.trades[-1]
            late = Trade(last.at_ms, last.id, bar.high + ticks_above_high, quantity, taker_buys=True)
        else:
            late = Trade(at_ms, self._next_ids[minute - self.first_minute], bar.close, quantity, taker_buys=True)
        self._late.setdefault(minute, []).append(late)
        self._cache.clear()
        changed = self._minute(minute)
        self._bars[minute - self.first_minute] = changed.bar(len(changed.trades))
        self.revision += 1

    def bar(self, minute: int) -> Bar:
        """Return the bar of `minute` (counted from the epoch) with all its trades."""
        index = minute - self.first_minute
        while len(self._bars) <= index:
            self._finish(self.first_minute + len(self._bars))
        return self._bars[index]

    def trades(self, from_ms: int, until_ms: int) -> list[Trade]:
        """Return the trades in [`from_ms`, `until_ms`), ascending."""
        found: list[Trade] = []
        for minute in range(max(from_ms // MINUTE_MS, self.first_minute), (until_ms - 1) // MINUTE_MS + 1):
            known = self._minute(minute)
            found += known.trades[bisect_left(known.times, from_ms) : bisect_left(known.times, until_ms)]
        return found

    def span(self, from_ms: int, until_ms: int) -> Bar:
        """Return the bar of [`from_ms`, `until_ms`), which must lie within one minute."""
        known = self._minute(from_ms // MINUTE_MS)
        end = bisect_left(known.times, until_ms)
        if not from_ms % MINUTE_MS:
            return known.bar(end)
        trades, first = known.trades, bisect_left(known.times, from_ms)
        return fold_trades(trades[first:end], trades[first - 1].price if first else known.start_price)

    def _finish(self, minute: int) -> None:
        known = self._minute(minute)
        count = len(known.trades)
        self._bars.append(known.bar(count))
        self._next_ids.append(self._next_ids[-1] + count)

    def _minute(self, minute: int) -> _Minute:
        known = self._cache.get(minute)
        if known is None:
            start_price = self.bar(minute - 1).close if minute > self.first_minute else self._base
            trades = self._generate(minute, start_price, self._next_ids[minute - self.first_minute])
            for late in self._late.get(minute, ()):
                trades.insert(max(len(trades) - 1, 0), late)
            known = self._cache[minute] = _Minute(start_price, trades)
            if len(self._cache) > _KEPT_MINUTES:
                self._cache.popitem(last=False)
        return known

    def _pace(self, regime: int) -> float:
        """Return how busy the symbol is in this regime, in parts of its mean."""
        if self._regime[0] != regime:
            self._regime = (regime, Random(self._seed ^ (1 << 31) ^ regime).choice((0.2, 0.6, 1.0, 1.2, 2.0)))
        return self._regime[1]

    def _generate(self, minute: int, start_price: int, next_id: int) -> list[Trade]:
        start_ms, end_ms = minute * MINUTE_MS, (minute + 1) * MINUTE_MS
        if self.delisted_ms is not None and self.delisted_ms <= start_ms:
            return []
        spec = self.spec
        mean_gap_ms = MINUTE_MS / (spec.trades_per_minute * self._pace(minute // _MINUTES_OF_ONE_REGIME))
        mean_steps = float(spec.steps(spec.mean_quantity))
        move = max(1.0, self._base * spec.volatility) * 4
        highest, lowest = self._base * 3, self._base // 3
        random = Random(self._seed ^ minute).random
        at, price, trades = float(start_ms), start_price, []
        if minute == self.first_minute:
            trades.append(Trade(self.listed_ms, next_id, price, max(1, int(mean_steps)), taker_buys=True))
            at = float(self.listed_ms)
        outages = [o for o in self.outages if o.start_ms < end_ms and o.end_ms > start_ms]
        while (at := at - log(1.0 - random()) * mean_gap_ms) < end_ms:
            price += round((random() + random() - 1.0) * move)
            if not lowest <= price <= highest:
                price = min(max(price, lowest, 1), highest)
            quantity = 1 - int(log(1.0 - random()) * mean_steps)
            at_ms = int(at)
            buys = random() < 0.5
            if not (outages and any(o.start_ms <= at_ms < o.end_ms for o in outages)):
                trades.append(Trade(at_ms, next_id + len(trades), price, quantity, buys))
        return trades
