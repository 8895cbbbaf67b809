"""One reader's view of the feed, and the hub that feeds it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from candleactors.actors import replay as replay_module
from candleactors.actors.delivery import Delivery
from candleactors.actors.hub import Hub
from candleactors.actors.replay import StoredReplay
from candleactors.actors.subscription import Subscription
from candleactors.errors import FeedClosed, StoreUnavailable, SubscriberLagged
from candleactors.model import Candle, Cursor, Event, Gap, GapReason, Revision, Source, Stream, Timeframe
from candleactors.settings import SubscriberSettings

BTC = Stream("binance-spot", "BTCUSDT", Timeframe("1m"))
ETH = Stream("binance-spot", "ETHUSDT", Timeframe("1m"))


def candle(n: int, stream: Stream = BTC) -> Candle:
    one = Decimal(1)
    return Candle(
        venue=stream.venue, symbol=stream.symbol, timeframe=stream.timeframe, open_time_ms=n * 60_000,
        close_time_ms=n * 60_000 + 59_999, open=one, high=one, low=one, close=one, volume=one,
        quote_volume=None, trades=1, taker_buy_volume=None, taker_buy_quote_volume=None, closed=True, complete=True,
        source=Source.WS, revision=0, received_ms=0,
    )  # fmt: skip


def gap(first: int, last: int, stream: Stream = BTC) -> Gap:
    return Gap(stream, first * 60_000, last * 60_000, GapReason.VENUE)


def revision(n: int, stream: Stream = BTC) -> Revision:
    return Revision(candle(n, stream).replace(revision=1))


def delivery(*events: Event) -> Delivery:
    return Delivery([(event.stream, event) for event in events])


class Stored:
    """A replay of given pages; ``None`` is a failure to read."""

    def __init__(self, cursor: Cursor, *pages: list[Event] | None) -> None:
        self.cursor = cursor
        self._pages = list(pages)

    async def batch(self) -> list[tuple[Stream, Event]]:
        await trio.lowlevel.checkpoint()
        page = self._pages.pop(0) if self._pages else []
        if page is None:
            raise StoreUnavailable("busy")
        return [(event.stream, event) for event in page]


class RowStore:
    """A store of one stream, as far as a replay reads it."""

    def __init__(self, rows: list[Candle]) -> None:
        self.rows = rows

    async def candles(
        self, stream: Stream, start_ms: int, end_ms: int | None = None, limit: int | None = None
    ) -> list[Candle]:
        return [row for row in self.rows if start_ms <= row.open_time_ms <= (end_ms or row.open_time_ms)][:limit]

    async def gaps(self, stream: Stream) -> list[Gap]:
        return []


async def read_some(subscription: Subscription, count: int) -> list[Event]:
    """Read so many events."""
    return [await anext(subscription) for _ in range(count)]


async def read_all(subscription: Subscription) -> list[Event]:
    """Read to the end of the feed."""
    return [event async for event in subscription]


async def test_events_come_once_and_in_order() -> None:
    subscription = Subscription(None, SubscriberSettings())
    subscription.offer(delivery(candle(1), candle(1, ETH)))
    subscription.offer(delivery(candle(2), gap(3, 4), candle(5), revision(3)))
    subscription.offer(delivery(candle(2), gap(3, 4), candle(5), candle(6)))
    subscription.end()
    assert await read_all(subscription) == [
        candle(1), candle(1, ETH), candle(2), gap(3, 4), candle(5), revision(3), candle(6),
    ]  # fmt: skip
    with pytest.raises(FeedClosed):
        await subscription.batch()


async def test_a_replay_comes_first_without_a_seam() -> None:
    stored = Stored(Cursor({BTC: 60_000, ETH: 0}), [candle(2), candle(3)], [candle(1, ETH)])
    subscription = Subscription(None, SubscriberSettings(), replay=stored)
    subscription.offer(delivery(candle(3), candle(1, ETH), candle(4), candle(2, ETH)))
    events = [event for _ in range(3) for event in await subscription.batch()]
    assert events == [candle(2), candle(3), candle(1, ETH), candle(4), candle(2, ETH)]
    assert subscription.cursor == Cursor({BTC: 240_000, ETH: 120_000})


async def test_a_store_that_fails_is_reported_and_asked_again() -> None:
    subscription = Subscription(None, SubscriberSettings(), replay=Stored(Cursor({BTC: 0}), None, [candle(1)]))
    with pytest.raises(StoreUnavailable):
        await subscription.batch()
    assert subscription.cursor == Cursor({BTC: 0})
    assert await subscription.batch() == [candle(1)]


async def test_cut_off_in_a_replay_the_cursor_names_what_was_not_replayed_yet() -> None:
    missed = ((BTC, 60_000), (ETH, 0))
    stored = Stored(Cursor({BTC: 60_000, ETH: 0}, missed), [candle(2)], [candle(1, ETH)])
    subscription = Subscription(None, SubscriberSettings(max_pending=2), replay=stored)
    subscription.offer(delivery(candle(7, ETH), candle(8, ETH), candle(9, ETH)))
    with pytest.raises(SubscriberLagged) as caught:
        await subscription.batch()
    assert caught.value.cursor == Cursor({BTC: 60_000, ETH: 0}, missed)


async def test_a_cursor_names_the_revisions_that_were_not_read_yet() -> None:
    subscription = Subscription(None, SubscriberSettings(), life=5)
    subscription.offer(delivery(candle(1), candle(2)))
    assert await anext(subscription) == candle(1)
    subscription.offer(delivery(revision(1), candle(3), revision(2)))
    # That of the second candle is not missing: whoever resumes is given the candle as it is then.
    assert subscription.cursor == Cursor({BTC: 60_000}, ((BTC, 60_000),), life=5)
    assert await read_some(subscription, 4) == [candle(2), revision(1), candle(3), revision(2)]
    assert subscription.cursor == Cursor({BTC: 180_000}, life=5)


async def test_what_an_earlier_feed_did_not_store_is_told_again_as_a_revision() -> None:
    stored = Stored(Cursor({BTC: 180_000}, life=1), [candle(4)])
    subscription = Subscription(None, SubscriberSettings(), replay=stored, life=2)
    subscription.offer(delivery(candle(3), candle(4), candle(5)))
    assert await read_some(subscription, 3) == [candle(4), revision(3), candle(5)]


async def test_a_gap_leaves_out_what_an_earlier_feed_delivered() -> None:
    stored = Stored(Cursor({BTC: 180_000}, life=1))
    subscription = Subscription(None, SubscriberSettings(), replay=stored, life=2)
    subscription.offer(delivery(gap(2, 5), gap(6, 6)))
    assert await read_some(subscription, 2) == [gap(4, 5), gap(6, 6)]


async def test_a_reader_of_an_earlier_feed_is_told_revisions_and_what_was_fetched_anew() -> None:
    frame = BTC.timeframe
    rows = [candle(n).replace(revision=n == 130, received_ms=7 if n == 149 else 3) for n in (20, 130, 149, 150, 151)]

    async def flush() -> None:
        await trio.lowlevel.checkpoint()

    for since, again in (({}, []), ({BTC: 5}, [130, 149])):
        store = RowStore(rows)
        cursor = Cursor({BTC: 150 * 60_000})
        replay = StoredReplay(cast(Any, store), cursor, None, flush, again=since)
        events = [event for _, event in [pair for _ in range(3) for pair in await replay.batch()]]
        assert [e.candle.open_time_ms // frame.nominal_ms for e in events if isinstance(e, Revision)] == again
        assert all(e.candle.revision == 1 for e in events if isinstance(e, Revision))
        assert events[-1] == rows[-1]


async def test_what_an_earlier_feed_told_and_nobody_can_tell_again_is_a_gap() -> None:
    """It could not store it, and nobody watched when the next feed began."""
    earlier = Cursor({BTC: 180_000, ETH: 180_000}, life=1)
    subscription = Subscription(None, SubscriberSettings(), replay=Stored(earlier), life=2)
    subscription.offer(delivery(candle(7), candle(4, ETH), candle(8)))
    assert await read_some(subscription, 4) == [
        Gap(BTC, 240_000, 360_000, GapReason.UNREPAIRED), candle(7), candle(4, ETH), candle(8),
    ]  # fmt: skip


async def test_a_cursor_says_of_which_streams_nothing_new_was_told_since_an_earlier_feed() -> None:
    """What this one fetches again of them may come while nobody reads, or be cut off."""
    earlier = Cursor({BTC: 180_000, ETH: 60_000}, life=1, taken_ms=5)
    subscription = Subscription(
        None, SubscriberSettings(max_pending=3), replay=Stored(earlier), life=2, now_ms=lambda: 9
    )
    subscription.offer(delivery(candle(3), candle(2, ETH)))
    # The third candle was fetched again and waits to be told as a revision.
    assert subscription.cursor == Cursor(earlier.after, ((BTC, 180_000),), life=2, taken_ms=9, again={BTC: 5, ETH: 5})
    assert await read_some(subscription, 2) == [revision(3), candle(2, ETH)]
    assert subscription.cursor == Cursor({BTC: 180_000, ETH: 120_000}, life=2, taken_ms=9, again={BTC: 5})
    later = Subscription(None, SubscriberSettings(), replay=Stored(subscription.cursor), life=2, now_ms=lambda: 9)
    later.offer(delivery(candle(3, ETH)))
    assert await read_some(later, 1) == [candle(3, ETH)]
    assert later.cursor == Cursor({BTC: 180_000, ETH: 180_000}, life=2, taken_ms=9, again={BTC: 5})
    later.offer(delivery(candle(4)))
    assert await read_some(later, 1) == [candle(4)]
    assert later.cursor == Cursor({BTC: 240_000, ETH: 180_000}, life=2, taken_ms=9)


async def test_what_is_written_while_a_replay_reads_leaves_no_hole() -> None:
    """The store is given candle 3 and a gap after it between two reads of the same page."""
    store = RowStore([candle(2)])

    async def gaps(stream: Stream) -> list[Gap]:
        known = [] if len(store.rows) < 2 else [gap(4, 5)]
        store.rows = [candle(2), candle(3)]
        return known

    async def flush() -> None:
        await trio.lowlevel.checkpoint()

    store.gaps = gaps  # type: ignore[method-assign]
    replay = StoredReplay(cast(Any, store), Cursor({BTC: 60_000}), None, flush)
    assert [event for _, event in await replay.batch()] == [candle(2), candle(3), gap(4, 5)]


@pytest.mark.parametrize("resumes_at", [0, 2, 4])
async def test_what_is_not_kept_any_more_is_told_as_a_gap(resumes_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the beginning, and where it goes while the replay is being read. Stored gaps are told as they are."""
    monkeypatch.setattr(replay_module, "PAGE", 2)
    store = RowStore([candle(n) for n in (5, 6, 7, 8, 9, 10)])

    async def gaps(stream: Stream) -> list[Gap]:
        return [gap(4, 4), gap(11, 12)]

    async def flush() -> None:
        await trio.lowlevel.checkpoint()

    store.gaps = gaps  # type: ignore[method-assign]
    replay = StoredReplay(cast(Any, store), Cursor({BTC: resumes_at * 60_000}), None, flush)
    lost = Gap(BTC, (resumes_at + 1) * 60_000, 180_000, GapReason.UNREPAIRED)
    first = {0: [lost, gap(4, 4)], 2: [lost, gap(4, 4)], 4: []}[resumes_at]
    assert [event for _, event in await replay.batch()] == [*first, candle(5), candle(6)]
    del store.rows[:4]
    assert [event for _, event in await replay.batch()] == [
        Gap(BTC, 420_000, 480_000, GapReason.UNREPAIRED),
        candle(9),
        candle(10),
    ]
    assert [event for _, event in await replay.batch()] == [gap(11, 12)]
    assert await replay.batch() == []


async def test_the_end_of_the_feed_breaks_a_replay_off() -> None:
    stored = Stored(Cursor({BTC: 0}), [candle(1)], [candle(2)])
    subscription = Subscription(None, SubscriberSettings(), replay=stored)
    assert await subscription.batch() == [candle(1)]
    subscription.offer(delivery(candle(9)))
    subscription.end()
    with pytest.raises(FeedClosed):
        await subscription.batch()
    assert subscription.cursor == Cursor({BTC: 60_000})


@given(
    sizes=st.lists(st.integers(0, 6), max_size=12),
    reads=st.lists(st.booleans(), min_size=12, max_size=12),
    revise=st.sets(st.integers(0, 40), max_size=6),
)
def test_whoever_is_cut_off_anywhere_resumes_without_loss(
    sizes: list[int], reads: list[bool], revise: set[int]
) -> None:
    """The cursor, and a store that holds everything, make up for what was dropped."""

    async def live() -> None:
        subscription = Subscription(None, SubscriberSettings(max_pending=5))
        got: list[Event] = []
        told: list[Event] = []
        cursor: Cursor | None = None
        n = 0
        for size, reading in zip(sizes, reads, strict=False):
            events: list[Event] = []
            for _ in range(size):
                stream = (BTC, ETH)[n % 2]
                events.append(candle(n // 2, stream))
                if n in revise and n >= 4:
                    events.append(revision(n // 2 - 2, stream))
                n += 1
            told += events
            subscription.offer(delivery(*events))
            try:
                if reading and (subscription.pending or subscription.lagged):
                    got += await subscription.batch()
            except SubscriberLagged as lagged:
                cursor = lagged.cursor
                break
        else:
            subscription.end()
            try:
                got += await read_all(subscription)
            except SubscriberLagged as lagged:
                cursor = lagged.cursor
        if cursor is not None:
            # What a store would replay: everything behind the cursor in its newest form, and the revisions named.
            got += [r for r in told if isinstance(r, Revision) and (r.stream, r.candle.open_time_ms) in cursor.revised]
            got += [c for c in told if isinstance(c, Candle) and c.open_time_ms > cursor.after.get(c.stream, -1)]
        candles = [event for event in got if isinstance(event, Candle)]
        for stream in (BTC, ETH):
            wanted = [c for c in told if isinstance(c, Candle) and c.stream == stream]
            assert [c for c in candles if c.stream == stream] == wanted
        for event in told:
            if isinstance(event, Revision):
                behind = cursor is not None and event.candle.open_time_ms > cursor.after.get(event.stream, -1)
                assert event in got or behind

    trio.run(live)


class Context:
    """A child's context without a supervisor."""

    id = "hub"
    incarnation = 1

    def __init__(self) -> None:
        self.stopping = trio.Event()

    def started(self) -> None:
        pass


async def test_the_hub_fans_out_what_is_left_and_ends_nobody(autojump_clock: object) -> None:
    hub = Hub(SubscriberSettings())
    subscription = hub.subscribe([BTC])
    context = Context()
    context.stopping.set()
    await hub.mailbox.put(delivery(candle(1), candle(1, ETH)))
    await hub.run(context)
    assert await subscription.batch() == [candle(1)]
    assert subscription.live
    hub.end()
    assert await read_all(subscription) == []


async def test_a_hub_that_failed_in_the_middle_cuts_its_readers_off(autojump_clock: object) -> None:
    class Bad(Subscription):
        def offer(self, delivery: Delivery) -> None:
            raise ZeroDivisionError

    hub = Hub(SubscriberSettings())
    readers = [hub.subscribe(None), hub.subscribe([ETH])]
    bad = Bad(None, SubscriberSettings())
    hub._readers.add(bad)
    await hub.mailbox.put(delivery(candle(3)))
    with pytest.raises(BaseExceptionGroup):
        await hub.run(Context())
    hub._readers.discard(bad)
    context = Context()
    context.stopping.set()
    await hub.run(context)
    with pytest.raises(SubscriberLagged) as caught:
        await readers[0].batch()
    assert caught.value.cursor.after == {BTC: 120_000}
    assert readers[1].live, "nothing of it was for this reader"


async def fanned_out(hub: Hub, *events: Event) -> None:
    context = Context()
    context.stopping.set()
    await hub.mailbox.put(delivery(*events))
    await hub.run(context)


async def test_what_is_told_while_a_reader_is_away_is_known(autojump_clock: object) -> None:
    hub = Hub(SubscriberSettings(), life=7)
    await fanned_out(hub, candle(1), candle(2), revision(1))
    reader = hub.subscribe(None)
    await fanned_out(hub, candle(3), revision(2))
    assert await read_some(reader, 2) == [candle(3), revision(2)]
    cursor = reader.cursor
    reader.close()
    assert hub.missed(cursor) == cursor
    await fanned_out(hub, revision(3), revision(3), candle(4), candle(6, ETH), candle(7, ETH), revision(4))
    known = hub.missed(cursor)
    assert known is not None
    assert known.after == {BTC: 180_000, ETH: 300_000}, "a stream that began meanwhile is read from its beginning"
    assert known.revised == ((BTC, 180_000),)


async def test_who_is_cut_off_has_been_told_of_what_came_with_that(autojump_clock: object) -> None:
    hub = Hub(SubscriberSettings(max_pending=2), life=7)
    await fanned_out(hub, candle(1))
    reader = hub.subscribe([BTC])
    context = Context()
    context.stopping.set()
    for each in (delivery(candle(2), candle(3), candle(4)), delivery(revision(1)), delivery(candle(1, ETH))):
        await hub.mailbox.put(each)
    await hub.run(context)
    with pytest.raises(SubscriberLagged) as caught:
        await reader.batch()
    cursor = caught.value.cursor
    assert cursor.after == {BTC: 60_000}
    assert cursor.revised == ((BTC, 60_000),), "what it lost after it was cut off"
    known = hub.missed(cursor)
    assert known is not None
    assert known.after == cursor.after, "a stream that it did not choose"


@pytest.mark.parametrize("streams", [None, [ETH, BTC]])
async def test_who_leaves_before_the_first_candle_of_a_stream_misses_what_follows(
    streams: list[Stream] | None, autojump_clock: object
) -> None:
    hub = Hub(SubscriberSettings(), life=7)
    await fanned_out(hub, candle(1), candle(2), candle(8, ETH))
    reader = hub.subscribe(streams)
    await fanned_out(hub, candle(3))
    assert await read_some(reader, 1) == [candle(3)]
    cursor = reader.cursor
    reader.close()
    await fanned_out(hub, candle(9, ETH))
    known = hub.missed(cursor)
    assert known is not None
    assert known.after == {BTC: 180_000, ETH: 480_000}


async def test_what_another_feed_told_or_long_ago_is_not_known(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("candleactors.actors.hub._REVISIONS", 2)
    hub = Hub(SubscriberSettings(), life=7)
    assert hub.missed(Cursor({BTC: 0}, life=8)) is None
    await fanned_out(hub, candle(1))
    cursor = hub.subscribe(None).cursor
    await fanned_out(hub, revision(1), revision(1))
    assert hub.missed(cursor) is not None
    await fanned_out(hub, revision(1))
    assert hub.missed(cursor) is None
