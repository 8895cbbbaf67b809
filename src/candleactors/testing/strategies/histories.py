"""What a feed may say about one stream: candles, gaps, and what it takes back later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from attrs import evolve
from hypothesis import strategies as st

from candleactors.model import Candle, Event, Gap, GapReason, Revision, Source, Stream
from candleactors.testing.strategies.prices import Market, Move, moves
from candleactors.testing.strategies.runs import SYMBOL, VENUE, markets
from candleactors.testing.strategies.timeframes import Chosen

_SMALLEST: Final = Move(gap=0, body=0, up=0, down=0, steps=1, trades=1, share=0)
_Later: TypeAlias = tuple[int, int, Move | None]
"""An interval to revise, how many events after it was spoken of, and what happened in truth."""


@st.composite
def gappy_runs(
    draw: st.DrawFn,
    timeframe: Chosen = "1m",
    *,
    min_size: int = 1,
    max_size: int = 60,
    max_gaps: int = 4,
    venue: str = VENUE,
    symbol: str = SYMBOL,
    starts: st.SearchStrategy[int] | None = None,
    optional_fields: bool = True,
) -> list[Event]:
    """Return what a feed says about `min_size` to `max_size` intervals in a row: closed candles, and gaps in between.

    A `Gap` stands, in its place, for each of at most `max_gaps` holes of any length. There is at least one candle.
    `final_candles` of it are the candles alone, without a word about the holes. See `candle_runs` for the rest. Shrinks
    towards no gaps.
    """
    market = draw(
        markets(
            timeframe,
            min_size=min_size,
            max_size=max_size,
            venue=venue,
            symbol=symbol,
            starts=starts,
            optional_fields=optional_fields,
        )
    )
    return _said(market, draw(_holes(len(market.opens), max_gaps)))


@st.composite
def revised_runs(
    draw: st.DrawFn,
    timeframe: Chosen = "1m",
    *,
    min_size: int = 1,
    max_size: int = 60,
    max_gaps: int = 4,
    max_revisions: int = 8,
    venue: str = VENUE,
    symbol: str = SYMBOL,
    starts: st.SearchStrategy[int] | None = None,
    optional_fields: bool = True,
) -> list[Event]:
    """Return what a feed says about one stream when it has to take back some of it: `gappy_runs` with revisions.

    A `Revision` either brings a candle that was part of a gap, or corrects a candle said before; it comes at any time
    after, its number is one more than the last one of its interval, and it always says something new. At most
    `max_revisions`. `final_candles` of it are what holds in the end. Shrinks towards no revisions.
    """
    market = draw(
        markets(
            timeframe,
            min_size=min_size,
            max_size=max_size,
            venue=venue,
            symbol=symbol,
            starts=starts,
            optional_fields=optional_fields,
        )
    )
    count = len(market.opens)
    holes = draw(_holes(count, max_gaps))
    truth = moves(market.scale, optional_fields=optional_fields)
    delays = st.integers(0, 2) | st.integers(0, count)
    later = draw(st.lists(st.tuples(st.integers(0, count - 1), delays, truth), max_size=max_revisions))
    return _with_revisions(market, _said(market, holes), later)


def _holes(count: int, most: int) -> st.SearchStrategy[frozenset[int]]:
    """Return a strategy for the intervals that are missing: never all of them, and in at most `most` stretches."""
    stretches = st.lists(
        st.tuples(st.integers(0, count - 1), st.integers(1, 3) | st.integers(1, max(1, count // 2))), max_size=most
    )
    return stretches.map(
        lambda drawn: frozenset(at for first, size in drawn for at in range(first, min(first + size, count)))
    ).map(lambda holes: holes if len(holes) < count else holes - {0})


def _said(market: Market, holes: frozenset[int]) -> list[Event]:
    """Return the candles of `market`, each stretch of `holes` told as a gap, by turns the venue's and ours."""
    events: list[Event] = []
    first: int | None = None
    stream = Stream(market.venue, market.symbol, market.timeframe)
    for index in range(len(market.opens) + 1):
        if index in holes:
            first = index if first is None else first
            continue
        if first is not None:
            reason = GapReason.UNREPAIRED if len(events) % 2 else GapReason.VENUE
            events.append(Gap(stream, market.opens[first], market.opens[index - 1], reason))
            first = None
        if index < len(market.opens):
            events.append(market.candle(index))
    return events


def _with_revisions(market: Market, events: Sequence[Event], later: Sequence[_Later]) -> list[Event]:
    """Return `events` with revisions among them."""
    said: dict[int, Candle] = {}
    spoken_of: dict[int, int] = {}
    for position, event in enumerate(events):
        if isinstance(event, Gap):
            spoken_of.update(
                dict.fromkeys(market.timeframe.opens(event.first_open_ms, event.last_open_ms + 1), position)
            )
        elif isinstance(event, Candle):
            spoken_of[event.open_time_ms] = position
            said[event.open_time_ms] = event
    after: dict[int, list[tuple[int, Move | None]]] = {}
    for index, delay, truth in later:
        position = min(spoken_of[market.opens[index]] + delay, len(events) - 1)
        after.setdefault(position, []).append((index, truth))
    found: list[Event] = []
    for position, event in enumerate(events):
        found.append(event)
        now_ms = market.timeframe.next_open(_last_open_ms(event)) + market.lag_ms
        for index, truth in after.get(position, ()):
            candle = _revised(market, index, truth, said.get(market.opens[index])).replace(received_ms=now_ms)
            said[candle.open_time_ms] = candle
            found.append(Revision(candle))
    return found


def _revised(market: Market, index: int, truth: Move | None, before: Candle | None) -> Candle:
    """Return what `truth` makes of an interval, changed a little where that is what was said `before`."""
    candle = market.candle(index, truth, corrected=True)
    if before is not None and candle.same_values(before):
        other = _SMALLEST if truth is None else evolve(truth, steps=truth.steps + 1)
        candle = market.candle(index, other, corrected=True)
    return candle.replace(source=Source.REST, revision=1 if before is None else before.revision + 1)


def _last_open_ms(event: Event) -> int:
    if isinstance(event, Gap):
        return event.last_open_ms
    return event.candle.open_time_ms if isinstance(event, Revision) else event.open_time_ms
