"""Prices and amounts of an imagined market, and the candles they make."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from typing import Final

from attrs import field, frozen
from hypothesis import strategies as st

from candleactors.model import Candle, Source, Timeframe

OPTIONAL_FIELDS: Final = ("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
"""What not every venue gives."""
_SHARES: Final = 8


@frozen
class Scale:
    """One market's digits. Prices count in ticks and amounts in steps of so many decimals, all of them exact."""

    price_decimals: int
    amount_decimals: int
    quote_decimals: int
    first_price: int
    move: int
    """Ticks of a small move."""
    most: int
    """Steps of the largest amount of a candle."""
    quiet: int
    """Of four intervals, how many have no trades, about."""
    lacking: frozenset[str]
    """Which of `OPTIONAL_FIELDS` the venue never gives."""

    def price(self, ticks: int) -> Decimal:
        """Return a price in quote currency."""
        return shifted(ticks, self.price_decimals)

    def amount(self, steps: int) -> Decimal:
        """Return an amount in base currency."""
        return shifted(steps, self.amount_decimals)

    def quote(self, ticks_times_steps: int) -> Decimal:
        """Return an amount in quote currency, cut off behind `quote_decimals`, as venues do."""
        beyond = self.price_decimals + self.amount_decimals - self.quote_decimals
        return shifted(ticks_times_steps // 10**beyond, self.quote_decimals)


@frozen
class Move:
    """What happens in one interval with trades: prices in small moves, the first one from the price before."""

    gap: int
    body: int
    up: int
    down: int
    steps: int
    trades: int
    share: int
    """Eighths of the volume that takers bought, and where the average price lies between low and high."""
    lacking: frozenset[str] = frozenset()
    """Which of `OPTIONAL_FIELDS` the venue does not give this time."""


@frozen
class Market:
    """One stream of an imagined venue: `opens` are its intervals, `moves` what happens in each, ``None`` for no trade.

    Candles arrive `lag_ms` after the end of their interval.
    """

    venue: str
    symbol: str
    timeframe: Timeframe
    scale: Scale
    opens: Sequence[int]
    moves: Sequence[Move | None]
    lag_ms: int
    _prices: list[int] = field(init=False, repr=False)
    """Ticks before each interval."""

    @_prices.default
    def _the_prices(self) -> list[int]:
        prices = [self.scale.first_price]
        for move in self.moves:
            prices.append(_prices_of(prices[-1], move, self.scale.move)[3])
        return prices

    def candle(self, index: int, move: Move | None = None, *, corrected: bool = False) -> Candle:
        """Return the closed candle of an interval; with `corrected` it is what `move` makes of it instead."""
        happened = move if corrected else self.moves[index]
        opened, high, low, closed = _prices_of(self._prices[index], happened, self.scale.move)
        steps, trades, bought, average, lacking = 0, 0, 0, low, self.scale.lacking
        if happened is not None:
            steps, trades = happened.steps, happened.trades
            bought = steps * happened.share // _SHARES
            average = low + (high - low) * happened.share // _SHARES
            # Where nothing but the number of trades tells that there were any, it is given.
            lacking |= happened.lacking if steps else happened.lacking - {"trades"}
        given = {
            "quote_volume": self.scale.quote(average * steps),
            "trades": trades,
            "taker_buy_volume": self.scale.amount(bought),
            "taker_buy_quote_volume": self.scale.quote(average * bought),
        }
        opened_ms = self.opens[index]
        close_ms = self.timeframe.close_ms(opened_ms)
        return Candle(
            venue=self.venue,
            symbol=self.symbol,
            timeframe=self.timeframe,
            open_time_ms=opened_ms,
            close_time_ms=close_ms,
            open=self.scale.price(opened),
            high=self.scale.price(high),
            low=self.scale.price(low),
            close=self.scale.price(closed),
            volume=self.scale.amount(steps),
            closed=True,
            complete=True,
            source=Source.WS,
            revision=0,
            received_ms=close_ms + 1 + self.lag_ms,
            **{name: None if name in lacking else value for name, value in given.items()},  # type: ignore[arg-type]  # each of its own type
        )


def _prices_of(before: int, move: Move | None, small: int) -> tuple[int, int, int, int]:
    """Return open, high, low and close in ticks, never below one."""
    if move is None:
        return before, before, before, before
    opened = max(1, before + move.gap * small)
    closed = max(1, opened + move.body * small)
    return opened, max(opened, closed) + move.up * small, max(1, min(opened, closed) - move.down * small), closed


def shifted(digits: int, decimals: int) -> Decimal:
    """Return `digits` with a decimal point before the last `decimals` of them, exactly, whatever the context."""
    return Decimal(f"{digits}E-{decimals}")


@cache
def amounts(most: int) -> st.SearchStrategy[int]:
    """Return a strategy for amounts in smallest units; of a large range Hypothesis would hardly draw the large half."""
    return st.integers(1, most) | st.integers(most // 10 + 1, most)


# Strategies cost more to make than to draw from, so none is made for every draw.
_DECIMALS: Final = st.sampled_from([0, 2, 8, 18]) | st.integers(0, 18)
_MOST: Final = st.sampled_from([10**digits for digits in (1, 4, 8, 14, 20, 30)])
_FIRST_PRICES: Final = st.sampled_from([10**digits for digits in (1, 4, 8, 12, 16)]).flatmap(amounts)
_PERMILLE: Final = st.integers(0, 50)
_QUIET: Final = st.sampled_from([1, 0, 3])
_SOME_LACKING: Final = st.frozensets(st.sampled_from(OPTIONAL_FIELDS))
_NONE_LACKING: Final = st.just(frozenset[str]())


@st.composite
def scales(draw: st.DrawFn, *, optional_fields: bool) -> Scale:
    """Return digits from none to 18 decimals, from the smallest amounts to such as no float can hold."""
    price_decimals, amount_decimals, first_price = draw(_DECIMALS), draw(_DECIMALS), draw(_FIRST_PRICES)
    return Scale(
        price_decimals,
        amount_decimals,
        quote_decimals=min(18, price_decimals + amount_decimals),
        first_price=first_price,
        move=1 + first_price * draw(_PERMILLE) // 1_000,
        most=draw(_MOST),
        quiet=draw(_QUIET),
        lacking=draw(_SOME_LACKING if optional_fields else _NONE_LACKING),
    )


def moves(scale: Scale, *, optional_fields: bool) -> st.SearchStrategy[Move | None]:
    """Return a strategy for what happens in an interval; ``None``, no trade, is the simplest."""
    return _moves(scale.most, scale.quiet, "trades" not in scale.lacking, optional_fields)


@cache
def _moves(most: int, quiet: int, tells_trades: bool, optional_fields: bool) -> st.SearchStrategy[Move | None]:
    traded = st.builds(
        Move,
        gap=st.integers(-2, 2),
        body=st.integers(-9, 9),
        up=st.integers(0, 9),
        down=st.integers(0, 9),
        # Volumes of 0 with trades are real, but only the number of trades tells them from no trade at all.
        steps=amounts(most) | st.just(0) if tells_trades else amounts(most),
        trades=st.integers(1, 2_000),
        share=st.integers(0, _SHARES),
        lacking=_NONE_LACKING | _SOME_LACKING if optional_fields else _NONE_LACKING,
    )
    return st.one_of([st.none()] * quiet + [traded] * (4 - quiet))
