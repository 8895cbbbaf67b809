"""Many readers of one hub: each is given what it chose, and a delivery concerns no others."""

from __future__ import annotations

import gc
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from candleactors.actors.delivery import Delivery
from candleactors.actors.forming import FormingCandles
from candleactors.actors.readers import Readers
from candleactors.actors.subscription import Subscription
from candleactors.model import Candle, Event, Revision, Source, Stream, Timeframe
from candleactors.settings import SubscriberSettings

STREAMS = tuple(Stream("binance-spot", f"S{number}", Timeframe("1m")) for number in range(4))
OWN = Stream("binance-spot", "OWN", Timeframe("1m"))
SETTINGS = SubscriberSettings()


def candle(n: int, stream: Stream, *, closed: bool = True) -> Candle:
    one = Decimal(1)
    return Candle(
        venue=stream.venue, symbol=stream.symbol, timeframe=stream.timeframe, open_time_ms=n * 60_000,
        close_time_ms=n * 60_000 + 59_999, open=one, high=one, low=one, close=one, volume=one,
        quote_volume=None, trades=1, taker_buy_volume=None, taker_buy_quote_volume=None, closed=closed, complete=True,
        source=Source.WS, revision=0, received_ms=0,
    )  # fmt: skip


class Wire:
    """A forming candle that counts how often it is made."""

    open_time_ms = 60_000
    made = 0

    def to_candle(self, stream: Stream, received_ms: int) -> Candle:
        self.made += 1
        return candle(1, stream, closed=False)


choices = st.none() | st.sets(st.sampled_from(STREAMS), min_size=1)
batches = st.lists(st.lists(st.sampled_from(STREAMS), max_size=12), max_size=5)


@given(chosen=st.lists(choices, max_size=6), batches=batches, leaving=st.sets(st.integers(0, 5)))
def test_each_is_offered_what_it_chose_in_order_and_nobody_else_is(
    chosen: list[set[Stream] | None], batches: list[list[Stream]], leaving: set[int]
) -> None:
    readers, subscriptions = Readers(), [Subscription(streams, SETTINGS) for streams in chosen]
    for subscription in subscriptions:
        readers.add(subscription)
    for index in leaving & set(range(len(subscriptions))):
        readers.discard(subscriptions[index])
    expected: list[list[Event]] = [[] for _ in chosen]
    opened = 0
    for batch in batches:
        delivery = Delivery()
        for stream in batch:
            opened += 1
            event: Event = candle(opened, stream) if opened % 3 else Revision(candle(opened, stream))
            delivery.add(stream, event)
            for index, streams in enumerate(chosen):
                if index not in leaving and (streams is None or stream in streams):
                    expected[index].append(event)
        concerned = readers.concerned(delivery)
        assert len(concerned) == len(set(concerned))
        for subscription in concerned:
            before = subscription.pending
            subscription.offer(delivery)
            assert subscription.pending > before or (subscription.streams is None and not batch)
    for subscription, events in zip(subscriptions, expected, strict=True):
        given_, subscription._events = subscription._events, type(subscription._events)()
        for stream in STREAMS:
            assert [e for s, e in given_ if s == stream] == [e for e in events if e.stream == stream]


def test_who_chose_another_spelling_is_found_by_the_venues_own() -> None:
    readers, reader = Readers(), Subscription([STREAMS[0], STREAMS[1]], SETTINGS)
    readers.add(reader)
    readers.spell(STREAMS[0], OWN)
    assert readers.concerned(Delivery([(OWN, candle(1, OWN))])) == [reader]
    assert readers.concerned(Delivery([(STREAMS[0], candle(1, STREAMS[0]))])) == []
    assert list(reader.streams or ()) == [OWN, STREAMS[1]]


def test_a_reader_that_was_forgotten_is_in_no_index() -> None:
    readers = Readers()
    readers.add(Subscription([STREAMS[0]], SETTINGS))
    gc.collect()
    assert readers.concerned(Delivery([(STREAMS[0], candle(1, STREAMS[0]))])) == []
    assert readers._of_stream == {}


def test_a_forming_candle_is_made_once_for_all_readers() -> None:
    wire, candles = Wire(), FormingCandles()
    forming, later = (wire, 5), (wire, 6)
    made = [candles.to_candle(STREAMS[0], forming) for _ in range(3)]
    assert made[0] == candle(1, STREAMS[0], closed=False)
    assert made[0] is made[1] is made[2]
    assert wire.made == 1
    assert candles.to_candle(STREAMS[0], later) is not made[0], "another message is another candle"
