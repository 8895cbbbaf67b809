"""Warm starts: whatever was told before, what is built from the store adds what is missing, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from candleactors.core.cascade import cascade
from candleactors.core.derivation import Derivation, Derived
from candleactors.core.warm_start import Told, begins_ms, doubtful, news
from candleactors.model import MINUTE_MS, Candle, Event, Gap, GapReason, Revision, Source, Stream, Timeframe
from candleactors.stores.gaps import cover, fill
from candleactors.testing import contract_breaches, final_candles, reference_resample, revised_runs, timeframes

M5 = Stream("binance-spot", "BTCUSDT", Timeframe("5m"))
MIDNIGHT_MS = 1_700_006_400_000


def five(n: int, volume: int = 1, *, missing: int = 0, revision: int = 0) -> Candle:
    """Return the `n`th five minutes of a day."""
    one, open_ms = Decimal(1), opens(n)
    return Candle(
        venue=M5.venue, symbol=M5.symbol, timeframe=M5.timeframe, open_time_ms=open_ms,
        close_time_ms=open_ms + 5 * MINUTE_MS - 1, open=one, high=one, low=one, close=one, volume=Decimal(volume),
        quote_volume=None, trades=1, taker_buy_volume=None, taker_buy_quote_volume=None, closed=True,
        complete=not missing, source=Source.DERIVED, revision=revision, received_ms=0, missing=missing,
    )  # fmt: skip


def hole(first: int, last: int, reason: GapReason = GapReason.UNREPAIRED) -> Gap:
    return Gap(M5, opens(first), opens(last), reason)


def opens(n: int) -> int:
    return MIDNIGHT_MS + n * 5 * MINUTE_MS


def fresh(told: Sequence[Candle | Gap], derived: Sequence[Event], *, first: int = 0, until: int = 0) -> list[Event]:
    """Return the news of `derived`, built from the `first` five minutes up to `until`, by default to their end."""
    until_ms = opens(until) if until else end_ms(derived)
    pairs = [(M5, event) for event in derived]
    state = {M5: Told(M5, [event for event in told if isinstance(event, Candle)])}
    for stream in doubtful(pairs, state, until_ms):
        state[stream].add_gaps([event for event in told if isinstance(event, Gap)])
    return [event for _, event in news(pairs, state, opens(first), until_ms)]


def end_ms(events: Iterable[Event]) -> int:
    """Return when the latest interval ends that anything was said about."""
    ends = []
    for event in events:
        candle = event.candle if isinstance(event, Revision) else event
        last_ms = candle.last_open_ms if isinstance(candle, Gap) else candle.open_time_ms
        ends.append(event.stream.timeframe.next_open(last_ms))
    return max(ends)


def test_all_is_new_where_nothing_was_told() -> None:
    assert fresh([], [five(0), hole(1, 2), five(3)]) == [five(0), hole(1, 2), five(3)]


def test_what_was_told_is_not_told_again() -> None:
    said: list[Candle | Gap] = [five(0), hole(1, 2), five(3)]
    assert fresh(said, said) == []
    assert fresh(said[:1], said) == said[1:]
    assert fresh(said[:2], said) == said[2:]


def test_what_the_beginning_cuts_is_left_out() -> None:
    derived = [five(0, missing=2), five(1), five(2)]
    assert fresh([], derived, first=1) == derived[1:]
    assert fresh([five(0)], derived, first=1) == derived[1:]
    assert fresh([], [hole(0, 2), five(3)], first=1) == [hole(1, 2), five(3)]
    assert fresh([], [hole(0, 2), five(3)], first=3) == [five(3)]


def test_what_was_told_otherwise_is_revised() -> None:
    said = [five(0), five(1, missing=2, revision=3), five(2)]
    assert fresh(said, [five(0), five(1), five(2)]) == [Revision(five(1, revision=4))]
    assert fresh(said, [five(0, 7), five(1, missing=2), five(2)]) == [Revision(five(0, 7, revision=1))]


def test_what_was_a_gap_is_a_revision_once_there_is_something() -> None:
    assert fresh([five(0), hole(1, 3)], [five(0), hole(1, 1), five(2, missing=4), hole(3, 3)]) == [
        Revision(five(2, missing=4, revision=1))
    ]


def test_a_gap_that_has_grown_is_told_from_where_it_ended() -> None:
    assert fresh([five(0), hole(1, 2)], [five(0), hole(1, 4), five(5)]) == [hole(3, 4), five(5)]
    assert fresh([five(0), hole(1, 2)], [five(0), hole(1, 2)]) == []


def test_what_lies_before_the_stream_is_nobodys_business() -> None:
    """A correction of something old had more built than was ever told."""
    assert fresh([five(5), five(6)], [five(n) for n in range(8)]) == [five(7)]


def test_what_was_not_derived_for_long_is_a_gap() -> None:
    assert fresh([five(0)], [five(4), five(5)], first=4) == [hole(1, 3), five(4), five(5)]
    venues = hole(4, 5, GapReason.VENUE)
    assert fresh([five(0)], [venues, five(6)], first=4) == [hole(1, 3), venues, five(6)]
    assert fresh([five(0), hole(1, 2)], [five(4)], first=4) == [hole(3, 3), five(4)]


def test_the_running_interval_may_be_the_first_since_long() -> None:
    """Nothing has ended since what the store was read from."""
    assert fresh([five(0)], [five(3, missing=1)], first=4, until=4) == [hole(1, 3)]
    assert fresh([five(0), hole(1, 3)], [five(3, missing=1)], first=4, until=4) == []
    assert fresh([], [five(3, missing=1)], first=4, until=4) == []


def test_begins_with_the_longest() -> None:
    frames = [Timeframe("5m"), Timeframe("7m"), Timeframe("1h")]
    assert begins_ms(frames, opens(1)) == MIDNIGHT_MS
    assert begins_ms(frames[:2], opens(3)) == MIDNIGHT_MS + 14 * MINUTE_MS
    assert begins_ms([Timeframe("1w")], opens(3)) == MIDNIGHT_MS - 2 * 24 * 60 * MINUTE_MS


# What follows lets a derivation end at any moment, and another go on from what the store has then.


class Shelf:
    """What a store would have of some streams after some events."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.candles: dict[Stream, list[Candle]] = {}
        self.gaps: dict[Stream, list[Gap]] = {}
        told = list(events)
        for event in told:
            if isinstance(event, Gap):
                self.gaps[event.stream] = cover(self.gaps.get(event.stream, []), event)
        for candle in final_candles(told):
            self.candles.setdefault(candle.stream, []).append(candle)
        for stream, gaps in self.gaps.items():
            self.gaps[stream] = fill(gaps, [candle.open_time_ms for candle in self.candles.get(stream, [])])

    def rows(self, stream: Stream, start_ms: int) -> list[Candle | Gap]:
        rows: list[Candle | Gap] = [*self.candles.get(stream, ()), *self.gaps.get(stream, ())]
        return sorted((row for row in rows if first_ms(row) >= start_ms), key=first_ms)


def first_ms(event: Event) -> int:
    if isinstance(event, Gap):
        return event.first_open_ms
    return (event.candle if isinstance(event, Revision) else event).open_time_ms


def take_in(derivation: Derivation, event: Event) -> list[Derived]:
    if isinstance(event, Gap):
        return derivation.on_gap(event)
    return derivation.on_candle(event.candle if isinstance(event, Revision) else event)


def rebuilt(said: Sequence[Event], frames: Sequence[Timeframe], source: Stream) -> tuple[Derivation, list[Event]]:
    """Return a derivation built from what was said of everything, and the news in it."""
    shelf = Shelf(said)
    derivation = Derivation(source, cascade(source.timeframe, tuple(frames)), 10_000)
    rows = shelf.rows(source, 0)
    derived = [each for row in rows for each in take_in(derivation, row)]
    told = {stream: Told(stream, shelf.candles.get(stream, ())) for stream in derivation.streams}
    assert derivation.expected_ms is not None
    for stream in doubtful(derived, told, derivation.expected_ms):
        told[stream].add_gaps(shelf.gaps.get(stream, ()))
    found = [event for _, event in news(derived, told, first_ms(rows[0]), derivation.expected_ms)]
    for candle in [candle for each in told.values() for candle in each.candles]:
        derivation.said(candle)
    derivation.leave_out(first_ms(rows[0]))
    return derivation, found


several = st.lists(timeframes(tiled_by="1m", longest="2h"), min_size=1, max_size=4, unique=True)


@given(revised_runs("1m", min_size=5), several, st.data())
def test_any_number_of_lives_say_what_one_would(
    events: list[Event], frames: list[Timeframe], data: st.DataObject
) -> None:
    """Each ends before the derived candles of its last few constituents were told, or only some of them."""
    source, begin_ms = events[0].stream, first_ms(events[0])
    ends = sorted(data.draw(st.sets(st.integers(1, len(events)), max_size=3)) | {len(events)})
    said: list[Event] = [events[0]]
    derivation, found = rebuilt(said, frames, source)
    said += found
    done = 1
    for end in ends:
        lost = data.draw(st.integers(0, 4))
        for position in range(done, end):
            said.append(events[position])
            derived = [event for _, event in take_in(derivation, events[position])]
            if position < end - lost:
                said += derived
            elif position == end - lost:
                said += derived[: data.draw(st.integers(0, len(derived)))]
        done = max(done, end)
        derivation, found = rebuilt(said, frames, source)
        said += found
    assert contract_breaches(said) == []
    for frame in frames:
        told = of(said, Stream(source.venue, source.symbol, frame))
        over = [each for each in reference_resample(of(said, source), frame) if each.close_time_ms < end_ms(events)]
        right = [candle for candle in over if candle.open_time_ms >= begin_ms]
        assert unmarked(candle for candle in told if candle.open_time_ms >= begin_ms) == unmarked(right)


def of(said: Iterable[Event], stream: Stream) -> list[Candle]:
    """Return the last words on a stream."""
    return [candle for candle in final_candles(said) if candle.stream == stream]


def unmarked(candles: Iterable[Candle]) -> list[Candle]:
    """Return candles without what depends on the way they came."""
    return [candle.replace(closed=True, revision=0, received_ms=0) for candle in candles]
