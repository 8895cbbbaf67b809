"""A reference aggregation: obviously right, and slow. Whatever is faster or incremental can be compared with it.

It takes everything at once, keeps nothing, and adds up one by one. Of the package it uses the values and the interval
arithmetic of `Timeframe`, none of the code that it is there to check.
"""

from __future__ import annotations

import decimal
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Final

from candleactors.errors import InvalidTimeframe
from candleactors.model import Candle, Event, Gap, Revision, Source, Stream, Timeframe, Trade

_EXACT: Final = decimal.Context(
    prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[decimal.Inexact]
)


def reference_resample(candles: Iterable[Candle], timeframe: Timeframe | str) -> list[Candle]:
    """Return the candles of `timeframe` that `candles` make up, by venue and symbol, ascending.

    The order of `candles` does not matter; the last one given for an interval counts, and one that is not closed does
    not. Those of one market are all of one timeframe. The rule:

    - Intervals are made of the closed candles that open in them. One without any yields nothing.
    - A constituent has *traded* if its number of trades or its volume is not 0. Open is that of the first traded one,
      close that of the last, high and low are the extremes of the traded ones. Where none has, all four are the close
      of the last constituent.
    - Volumes and the number of trades are sums; ``None`` where any constituent has ``None``.
    - `missing` is how many constituents are absent, plus what those present miss; `complete` where that is 0.
    - `received_ms` is that of the last constituent. The last interval is not `closed` unless its last constituent is
      there.

    Raises `InvalidTimeframe` where an interval of `timeframe` is not made of whole source intervals.
    """
    target = _parsed(timeframe)
    found: list[Candle] = []
    for market in _by_market(candle for candle in candles if candle.closed).values():
        source = next(iter(market.values())).timeframe
        if not all(candle.timeframe == source for candle in market.values()) or not source.tiles(target):
            raise InvalidTimeframe(f'"{target}" is not made of {source} candles')
        intervals: dict[int, list[Candle]] = defaultdict(list)
        for open_ms in sorted(market):
            intervals[target.floor(open_ms)].append(market[open_ms])
        newest_ms = max(intervals)
        for open_ms, constituents in intervals.items():
            is_over = open_ms != newest_ms or constituents[-1].close_time_ms == target.close_ms(open_ms)
            found.append(_candle(target, open_ms, constituents, is_over))
    return found


def _candle(timeframe: Timeframe, open_ms: int, constituents: Sequence[Candle], is_over: bool) -> Candle:
    """Return what `constituents`, ascending and at least one, come to."""
    last = constituents[-1]
    expected = last.timeframe.count_between(open_ms, timeframe.next_open(open_ms))
    missing = expected - len(constituents) + sum(each.missing for each in constituents)
    traded = [each for each in constituents if each.trades or each.volume != 0]
    trades = [each.trades for each in constituents if each.trades is not None]
    volume = _sum(each.volume for each in constituents)
    assert volume is not None, "a volume is never None"
    return Candle(
        venue=last.venue,
        symbol=last.symbol,
        timeframe=timeframe,
        open_time_ms=open_ms,
        close_time_ms=timeframe.close_ms(open_ms),
        open=traded[0].open if traded else last.close,
        high=max(each.high for each in traded) if traded else last.close,
        low=min(each.low for each in traded) if traded else last.close,
        close=traded[-1].close if traded else last.close,
        volume=volume,
        quote_volume=_sum(each.quote_volume for each in constituents),
        trades=sum(trades) if len(trades) == len(constituents) else None,
        taker_buy_volume=_sum(each.taker_buy_volume for each in constituents),
        taker_buy_quote_volume=_sum(each.taker_buy_quote_volume for each in constituents),
        closed=is_over,
        complete=missing == 0,
        source=Source.DERIVED,
        revision=0,
        received_ms=last.received_ms,
        missing=missing,
    )


def final_candles(events: Iterable[Event]) -> list[Candle]:
    """Return the last word on every interval in a history of candles, gaps and revisions, by stream, ascending.

    Forming candles say nothing; of an interval in a gap there is no candle unless a revision brings it later. What an
    incremental aggregation comes to must equal ``reference_resample(final_candles(events), timeframe)``.
    """
    said: dict[Stream, dict[int, Candle]] = defaultdict(dict)
    for event in events:
        candles = said[event.stream]
        if isinstance(event, Gap):
            for open_ms in event.stream.timeframe.opens(event.first_open_ms, event.last_open_ms + 1):
                candles.pop(open_ms, None)
        else:
            candle = event.candle if isinstance(event, Revision) else event
            if candle.closed:
                candles[candle.open_time_ms] = candle
    return [said[stream][open_ms] for stream in sorted(said, key=str) for open_ms in sorted(said[stream])]


def reference_from_trades(trades: Iterable[Trade], timeframe: Timeframe | str) -> list[Candle]:
    """Return the candles of `timeframe` that the trades of one market make up, from the first to the last, ascending.

    The order of `trades` does not matter, and the ids of one count once. The rule:

    - A trade belongs to the interval of its own time; open and close are those of the lowest and the highest id.
    - An interval without trades is flat at the close before it.
    - The first interval is that of the lowest id. Its `missing` is one too many, since trades before the first may
      belong to it, unless that is the market's very first, 0 or 1.
    - Where ids are missing, `missing` counts them in every interval from that of the trade before to that of the trade
      behind, whichever is earlier: they may belong to any of these.
    - The last interval is not `closed`: more trades may come.
    """
    target = _parsed(timeframe)
    ordered = sorted({trade.first_id: trade for trade in trades}.values(), key=lambda trade: trade.first_id)
    opens = [target.floor(trade.time_ms) for trade in ordered]
    found: list[Candle] = []
    for open_ms in target.opens(opens[0], max(opens) + 1) if opens else ():
        inside = [trade for trade in ordered if target.floor(trade.time_ms) == open_ms]
        missing = int(open_ms == opens[0] and ordered[0].first_id > 1)
        for before, behind in pairwise(ordered):
            edges = sorted((target.floor(before.time_ms), target.floor(behind.time_ms)))
            if edges[0] <= open_ms <= edges[1]:
                missing += behind.first_id - before.last_id - 1
        found.append(_bar(target, open_ms, inside, found, missing, is_over=open_ms != max(opens), sample=ordered[0]))
    return found


def _bar(
    timeframe: Timeframe,
    open_ms: int,
    trades: Sequence[Trade],
    before: Sequence[Candle],
    missing: int,
    *,
    is_over: bool,
    sample: Trade,
) -> Candle:
    """Return the candle of an interval, of the market of `sample`; `before` are those before it."""
    prices = [trade.price for trade in trades] or [before[-1].close]
    quotes = [_EXACT.multiply(trade.price, trade.amount) for trade in trades]
    knows_takers = all(trade.taker_buy is not None for trade in trades)
    bought = [index for index, trade in enumerate(trades) if trade.taker_buy]
    volume = _sum(trade.amount for trade in trades)
    assert volume is not None, "an amount is never None"
    close_ms = timeframe.close_ms(open_ms)
    return Candle(
        venue=sample.venue,
        symbol=sample.symbol,
        timeframe=timeframe,
        open_time_ms=open_ms,
        close_time_ms=close_ms,
        open=prices[0],
        high=max(prices),
        low=min(prices),
        close=prices[-1],
        volume=volume,
        quote_volume=_sum(quotes),
        trades=sum(trade.last_id - trade.first_id + 1 for trade in trades),
        taker_buy_volume=_sum(trades[index].amount for index in bought) if knows_takers else None,
        taker_buy_quote_volume=_sum(quotes[index] for index in bought) if knows_takers else None,
        closed=is_over,
        complete=is_over and missing == 0,
        source=Source.DERIVED,
        revision=0,
        received_ms=close_ms + 1,
        missing=missing,
    )


def _by_market(candles: Iterable[Candle]) -> Mapping[tuple[str, str], dict[int, Candle]]:
    """Return the candles of each market by open time, markets in order; of several at one time the last."""
    markets: dict[tuple[str, str], dict[int, Candle]] = defaultdict(dict)
    for candle in candles:
        markets[candle.venue, candle.symbol][candle.open_time_ms] = candle
    return dict(sorted(markets.items()))


def _sum(values: Iterable[Decimal | None]) -> Decimal | None:
    """Return the exact sum; ``None`` where one value is."""
    total = Decimal(0)
    for value in values:
        if value is None:
            return None
        total = _EXACT.add(total, value)
    return total


def _parsed(timeframe: Timeframe | str) -> Timeframe:
    return timeframe if isinstance(timeframe, Timeframe) else Timeframe(timeframe)
