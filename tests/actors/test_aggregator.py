"""What the aggregator adds to each delivery: derived candles, gaps and revisions, and forming candles that are read."""

from __future__ import annotations

from pathlib import Path

import trio
from aggregator_bench import DAY, MINUTE_MS, SPOT, Forming, derived, frames_of, gap, minute, opened, revised, running
from test_subscription import BTC, ETH

from candleactors.actors.delivery import Delivery
from candleactors.actors.subscription import Subscription
from candleactors.model import Candle, Event, Gap, GapReason, Revision, Stream, Timeframe
from candleactors.testing import contract_breaches, reference_resample


async def test_a_derived_candle_comes_in_the_delivery_of_its_last_constituent(
    autojump_clock: object, tmp_path: Path
) -> None:
    async with opened(tmp_path, "2m", "5m", "10m") as bench, running(bench):
        await bench.step(*[minute(n) for n in range(8)])
        bench.deliveries.clear()
        assert frames_of(await bench.step(minute(8))) == ["1m"]
        assert frames_of(await bench.step(minute(9))) == ["1m", "2m", "5m", "10m"]
        assert len(bench.deliveries) == 2
        await bench.assert_right("2m", "5m", "10m")


async def test_the_store_writer_has_it_before_the_hub(autojump_clock: object, tmp_path: Path) -> None:
    async with opened(tmp_path, "2m", hub=1) as bench, running(bench):
        await bench.step(minute(0))
        assert bench.hub.mailbox.offer(Delivery())
        bench.tell(minute(1))
        await trio.sleep(1)
        [written] = bench.writer.mailbox.take_all()
        assert written[0] == (BTC, minute(1))
        assert len(written) == 2
        first, second = bench.hub.mailbox.take_all()
        assert first == Delivery()
        assert second.events == written, "it had to wait"


async def test_what_waits_is_handed_on_as_one(autojump_clock: object, tmp_path: Path) -> None:
    async with opened(tmp_path, "2m", hub=1) as bench, running(bench):
        await bench.step(minute(0))
        assert bench.hub.mailbox.offer(Delivery())
        for n in range(1, 8):
            bench.tell(minute(n))
            await trio.sleep(1)
        await bench.settle()
        bench.deliveries.clear()
        await bench.settle()
        await bench.settle()
        assert [len(delivery.events) for delivery in bench.deliveries] == [6 + 3]
        await bench.assert_right("2m")


async def test_a_boundary_of_five_hundred_symbols_is_one_delivery(autojump_clock: object, tmp_path: Path) -> None:
    sources = [Stream(SPOT, f"S{number}USDT", Timeframe("1m")) for number in range(500)]
    frames = ("2m", "3m", "4m", "5m", "6m", "10m", "12m", "15m", "20m", "30m", "60m", "1h")
    async with opened(tmp_path) as bench:
        for source in sources:
            bench.watch(*frames, source=source)
        async with running(bench):
            await bench.step(*[minute(58, source) for source in sources])
            assert bench.aggregator.cold == 0
            assert bench.aggregator.derived == 500 * len(frames)
            bench.deliveries.clear()
            await bench.step(*[minute(59, source) for source in sources])
            [delivery] = bench.deliveries
            assert len(delivery.events) == 500 * (1 + len(frames))
            assert [stream for stream, _ in delivery.events[: len(frames) + 1]] == [
                sources[0], *(derived(frame, sources[0]) for frame in frames),
            ]  # fmt: skip


async def test_streams_that_nobody_derives_from_pass_untouched(autojump_clock: object, tmp_path: Path) -> None:
    made: list[int] = []
    async with opened(tmp_path, "2m") as bench, running(bench):
        await bench.step(minute(0))
        bench.deliveries.clear()
        events = [minute(n, ETH) for n in range(4)]
        assert await bench.step(*events, forming=[Forming(4, made, ETH)]) == events
        [delivery] = bench.deliveries
        assert list(delivery.forming) == [ETH]
        assert made == []
        assert bench.aggregator.derived == 1


async def test_gaps_make_incomplete_candles_and_derived_gaps(autojump_clock: object, tmp_path: Path) -> None:
    async with opened(tmp_path, "2m", "5m") as bench, running(bench):
        await bench.step(*[minute(n) for n in range(2)])
        told = await bench.step(gap(2, 8))
        assert frames_of(told) == ["1m", "5m", "2m"]
        five = told[1]
        assert isinstance(five, Candle)
        assert (five.missing, five.complete, five.closed) == (3, False, True)
        assert told[2] == Gap(derived("2m"), (DAY + 2) * MINUTE_MS, (DAY + 6) * MINUTE_MS, GapReason.UNREPAIRED)
        await bench.step(minute(9))
        await bench.assert_right("2m", "5m")


async def test_a_late_candle_revises_what_contains_it_and_nothing_else(autojump_clock: object, tmp_path: Path) -> None:
    async with opened(tmp_path, "2m", "3m", "5m") as bench, running(bench):
        await bench.step(*[minute(n) for n in range(6)])
        await bench.step(gap(6, 7), *[minute(n) for n in range(8, 15)])
        told = await bench.step(revised(6))
        assert frames_of(told) == ["1m", "2m", "3m", "5m"]
        assert all(isinstance(event, Revision) and event.candle.revision == 1 for event in told)
        assert [event.candle.missing for event in told if isinstance(event, Revision)] == [0, 1, 1, 1]
        again = Revision(minute(6, corrected=1).replace(revision=2))
        assert await bench.step(again) == [again], "nothing new"
        told = await bench.step(revised(7))
        assert [event.candle.revision for event in told if isinstance(event, Revision)] == [1, 2, 2, 2]
        await bench.assert_right("2m", "3m", "5m")


async def test_a_correction_of_the_open_interval_is_no_revision(autojump_clock: object, tmp_path: Path) -> None:
    async with opened(tmp_path, "5m") as bench, running(bench):
        await bench.step(*[minute(n) for n in range(8)])
        assert frames_of(await bench.step(revised(6))) == ["1m"]
        await bench.step(minute(8), minute(9))
        await bench.assert_right("5m")
        assert not [event for event in bench.of(derived("5m")) if isinstance(event, Revision)]


async def test_a_correction_older_than_memory_is_rebuilt_from_the_store(autojump_clock: object, tmp_path: Path) -> None:
    async with opened(tmp_path, "5m", "1h", memory_minutes=10, warm_start_minutes=30) as bench, running(bench):
        await bench.step(minute(0))
        await bench.step(*[minute(n) for n in range(1, 150)])
        warm_starts = bench.aggregator.counters.warm_starts
        told = await bench.step(revised(3))
        assert frames_of(told) == ["1m", "5m", "1h"]
        assert bench.aggregator.counters.warm_starts == warm_starts + 1
        assert frames_of(await bench.step(*[minute(n) for n in range(150, 155)])) == ["1m"] * 5 + ["5m"]
        assert frames_of(await bench.step(revised(3, corrected=2))) == ["1m", "5m", "1h"]
        await bench.assert_right("5m", "1h")


async def test_several_old_corrections_at_once_in_any_order(autojump_clock: object, tmp_path: Path) -> None:
    """The second is older than what the first one has rebuilt."""
    async with opened(tmp_path, "5m", memory_minutes=10, warm_start_minutes=10) as bench, running(bench):
        await bench.step(minute(0))
        await bench.step(*[minute(n) for n in range(1, 100)])
        await bench.step(revised(60), revised(3), minute(100), revised(31))
        await bench.settle()
        await bench.assert_right("5m")


async def test_revisions_go_on_counting_after_a_rebuild(autojump_clock: object, tmp_path: Path) -> None:
    """The store keeps the higher number: one that counts anew would be forgotten there."""
    async with opened(tmp_path, "5m") as bench:
        async with running(bench):
            await bench.step(*[minute(n) for n in range(10)])
            await bench.step(revised(6))
            await bench.step(revised(7))
        for change in (bench.watch, bench.unwatch):
            async with running(bench):
                await bench.step(revised(6, corrected=2 if change == bench.watch else 4))
                change("7m")
                await bench.settle(1)
                await bench.step(revised(8, corrected=1 if change == bench.watch else 2))
        numbers = [event.candle.revision for event in bench.of(derived("5m")) if isinstance(event, Revision)]
        assert numbers == [1, 2, 3, 4, 5, 6]
        await bench.assert_right("5m")


async def test_a_correction_further_back_than_the_warm_start(autojump_clock: object, tmp_path: Path) -> None:
    """Yet within memory: what was not read from the store is not taken for missing."""
    async with opened(tmp_path, "5m", memory_minutes=20, warm_start_minutes=0) as bench:
        async with running(bench):
            await bench.step(minute(0))
            await bench.step(*[minute(n) for n in range(1, 45)])
        async with running(bench):
            assert frames_of(await bench.step(revised(38))) == ["1m", "5m"]
        await bench.assert_right("5m")


async def read(reader: Subscription) -> list[Event]:
    """Return what is ready: closed candles as they come, then forming ones by length."""
    ready: list[Event] = []
    with trio.move_on_after(1):
        ready = await reader.batch()
    return sorted(ready, key=lambda event: event.stream.timeframe.nominal_ms if is_forming(event) else 0)


def is_forming(event: Event) -> bool:
    return isinstance(event, Candle) and not event.closed


def expected_forming(upto: int, forming: int, frame: str) -> Candle:
    present = [*(minute(n) for n in range(upto)), minute(forming).replace(received_ms=1)]
    last = reference_resample(present, frame)[-1]
    return last.replace(closed=False, complete=False, missing=last.missing + 1)


async def test_forming_candles_are_made_for_who_reads_them_and_when(autojump_clock: object, tmp_path: Path) -> None:
    made: list[int] = []
    async with opened(tmp_path, "2m", "5m", "7m") as bench, running(bench):
        await bench.step(*[minute(n) for n in range(8)], forming=[Forming(8, made)])
        assert [list(each.forming) for each in bench.deliveries] == [[BTC], []], "nobody reads any"
        bench.readers = [bench.hub.subscribe([derived("5m"), derived("7m")], forming=True), bench.hub.subscribe(None)]
        await bench.settle(1)
        await bench.step(forming=[Forming(8, made)])
        assert set(bench.deliveries[-1].forming) == {BTC, derived("5m"), derived("7m")}
        assert made == [], "nobody has read any yet"
        assert await read(bench.readers[0]) == [expected_forming(8, 8, "5m"), expected_forming(8, 8, "7m")]
        assert made == [8], "made once for all that contain it"
        bench.readers[0].close()
        assert await read(bench.readers[1]) == []


async def test_forming_candles_out_of_date_are_dropped(autojump_clock: object, tmp_path: Path) -> None:
    """A constituent has closed since: neither is the old state told, nor anything after the end of the interval."""
    made: list[int] = []
    async with opened(tmp_path, "2m", "5m") as bench, running(bench):
        await bench.step(*[minute(n) for n in range(7)])
        reader = bench.hub.subscribe([derived("2m"), derived("5m")], forming=True)
        bench.readers = [reader]
        await bench.settle(1)
        await bench.step(forming=[Forming(7, made)])
        await bench.step(minute(7))
        [two] = await read(reader)
        assert isinstance(two, Candle)
        assert two.closed
        assert made == []
        await bench.step(forming=[Forming(8, made)])
        assert await read(reader) == [expected_forming(8, 8, "2m"), expected_forming(8, 8, "5m")]
        await bench.step(minute(8), forming=[Forming(9, made)])
        await bench.step(minute(9), forming=[Forming(10, made)])
        told = await read(reader)
        assert [(str(each.stream.timeframe), is_forming(each)) for each in told] == [
            ("2m", False), ("5m", False), ("2m", True), ("5m", True),
        ]  # fmt: skip
        assert told[2:] == [expected_forming(10, 10, "2m"), expected_forming(10, 10, "5m")]


async def test_no_forming_candle_overtakes_or_goes_ahead(autojump_clock: object, tmp_path: Path) -> None:
    """One of an earlier minute in the same wake as later closes, and one behind a minute that is not known yet."""
    async with opened(tmp_path, "2m", "5m", hub=1) as bench, running(bench):
        await bench.step(*[minute(n) for n in range(3)])
        reader = bench.hub.subscribe(None, forming=True)
        bench.readers = [reader]
        await bench.settle(1)
        assert bench.hub.mailbox.offer(Delivery())
        bench.tell(minute(3))
        await trio.sleep(1)  # stuck at the hub
        bench.tell(forming=[Forming(4, [])])
        bench.tell(minute(4), forming=[Forming(6, [])])
        bench.tell(minute(5))
        for _ in range(3):
            await bench.settle()
        told = await read(reader)
        assert contract_breaches([minute(2), *told]) == []
        assert [each for each in told if is_forming(each)] == [
            minute(6).replace(closed=False, complete=False, received_ms=1)
        ]


async def test_forming_candles_stop_with_their_timeframe(autojump_clock: object, tmp_path: Path) -> None:
    async with opened(tmp_path, "2m", "5m") as bench, running(bench):
        await bench.step(*[minute(n) for n in range(3)])
        reader = bench.hub.subscribe(None, forming=True)
        bench.readers = [reader]
        bench.unwatch("5m")
        await bench.settle(1)
        await bench.step(forming=[Forming(3, [])])
        assert frames_of(await read(reader)) == ["1m", "2m"]
        bench.store.refuses = True
        bench.watch("5m")
        await bench.settle(1)
        await bench.step(forming=[Forming(3, [])])
        assert frames_of(await read(reader)) == ["1m"], "while it is cold, nothing is known"
        bench.store.refuses = False
        await bench.settle(2)
        await bench.step(forming=[Forming(3, [])])
        assert frames_of(await read(reader)) == ["1m", "2m", "5m"]
