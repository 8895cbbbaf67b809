"""Trades, as a venue tells of them or as they come in."""

from __future__ import annotations

from functools import cache
from typing import Final, TypeAlias

from hypothesis import strategies as st

from candleactors.model import Trade
from candleactors.testing.strategies.prices import amounts, scales
from candleactors.testing.strategies.runs import SYMBOL, VENUE
from candleactors.testing.strategies.times import open_times

_PAUSES_MS: Final = (1_000, 60_000, 3_600_000)
_TAKERS: Final = (st.booleans(), st.booleans() | st.none(), st.none())
_ALL_TAKERS: Final = st.sampled_from(_TAKERS)
_One: TypeAlias = tuple[int, int, int, int, bool | None, int, int]
"""Pause, move, amount, number, taker, ids left out before it, and how far its time steps back."""


@st.composite
def trades(
    draw: st.DrawFn,
    *,
    min_size: int = 1,
    max_size: int = 60,
    venue: str = VENUE,
    symbol: str = SYMBOL,
    starts: st.SearchStrategy[int] | None = None,
    aggregates: bool = True,
    optional_fields: bool = True,
    holes: bool = False,
    repeats: bool = False,
    out_of_order: bool = False,
) -> list[Trade]:
    """Return `min_size` to `max_size` trades of one market, the ids counting up by one, the times ascending.

    - `starts`: a strategy for the first one's time in UTC milliseconds; by default `open_times`.
    - `aggregates`: whether some stand for several trades, with as many ids.
    - `optional_fields`: whether `taker_buy` may be ``None``, throughout or here and there.
    - `holes`: whether ids may be missing.
    - `repeats`: whether some come again, later.
    - `out_of_order`: whether times may step back by up to ten seconds, although the ids count up;
      never to before the first trade.

    Pauses last from nothing to an hour, so that some intervals have many trades and others none. Prices and amounts are
    those of `candle_runs`. For trades that arrive in another order, see `arrivals`. Shrinks towards few trades of one
    unit at a price of 1, in the same millisecond.
    """
    scale = draw(scales(optional_fields=False))
    takers = draw(_ALL_TAKERS) if optional_fields else _TAKERS[0]
    one = _one(draw(st.sampled_from(_PAUSES_MS)), scale.most, takers, aggregates, holes, out_of_order)
    at_least = draw(st.integers(min_size, max(min_size, max_size - 1)))
    drawn = draw(st.lists(one, min_size=at_least, max_size=max_size))
    at_ms, price, next_id = (
        draw(open_times() if starts is None else starts),
        scale.first_price,
        draw(st.integers(1, 10**10)),
    )
    found: list[Trade] = []
    for pause_ms, move, steps, count, taker_buy, skipped, back_ms in drawn:
        if found:
            at_ms, price, next_id = at_ms + pause_ms, max(1, price + move * scale.move), next_id + skipped
        found.append(
            Trade(
                venue=venue,
                symbol=symbol,
                first_id=next_id,
                last_id=next_id + count - 1,
                price=scale.price(price),
                amount=scale.amount(steps),
                time_ms=max(at_ms - back_ms, found[0].time_ms) if found else at_ms,
                taker_buy=taker_buy,
            )
        )
        next_id += count
    if repeats:
        spots = st.integers(0, len(found) - 1)
        for at, delay in draw(st.lists(st.tuples(spots, spots), max_size=4)):
            found.insert(min(at + 1 + delay, len(found)), found[at])
    return found


@cache
def _one(
    pause_ms: int, most: int, takers: st.SearchStrategy[bool | None], aggregates: bool, holes: bool, out_of_order: bool
) -> st.SearchStrategy[_One]:
    """Return a strategy for one trade; kept, since strategies cost more to make than to draw from."""
    return st.tuples(
        st.integers(0, pause_ms),
        st.integers(-9, 9),
        amounts(most),
        st.integers(1, 4 if aggregates else 1),
        takers,
        (st.just(0) | st.integers(0, 5)) if holes else st.just(0),
        (st.just(0) | st.integers(0, 10_000)) if out_of_order else st.just(0),
    )
