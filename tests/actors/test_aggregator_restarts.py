"""What the aggregator builds from the store, and what no restart, crash or failing store may change."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import trio
from aggregator_bench import (
    DAY,
    MINUTE_MS,
    SPOT,
    Bench,
    Forming,
    Saboteur,
    derived,
    frames_of,
    gap,
    minute,
    opened,
    revised,
    running,
)
from test_sequencer import Context

from candleactors.actors.delivery import Delivery
from candleactors.model import Candle, Event, Gap, Revision, Stream, Timeframe
from candleactors.testing import contract_breaches


async def test_cancelled_between_store_and_hub(autojump_clock: object, tmp_path: Path) -> None:
    async with opened(tmp_path, "2m", hub=1) as bench:
        with trio.CancelScope() as scope:
            async with running(bench):
                await bench.step(minute(0))
                assert bench.hub.mailbox.offer(Delivery())
                bench.tell(minute(1), minute(2))
                await trio.sleep(1)
                assert len(bench.writer.mailbox) == 1
                bench.tell(minute(3))
                scope.cancel()
                await trio.sleep(1)
        bench.collect()
        async with running(bench):
            await bench.settle()
            assert frames_of(bench.events) == ["1m", "1m", "2m", "1m", "1m", "2m"], "what was under way comes first"
            await bench.step(minute(4), minute(5))
        await bench.assert_right("2m")


PLACES = [
    (name, call, late)
    for name, calls in (
        ("_reconcile", 2), ("_aggregate", 5), ("_derive", 4), ("_add", 3), ("_add_forming", 3), ("_deliver", 3),
        ("_warm_up", 1), ("_build", 1), ("_rows", 1),
    )
    for call in range(calls)
    for late in (False, True)
]  # fmt: skip


@pytest.mark.parametrize(("name", "call", "late"), PLACES)
async def test_a_crash_repeats_nothing_and_loses_nothing(
    autojump_clock: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, call: int, late: bool
) -> None:
    saboteur = Saboteur(monkeypatch, name, call, late=late)
    async with opened(tmp_path, "2m", "5m", "7m") as bench:
        reader = bench.hub.subscribe(None, forming=True)
        async with running(bench):
            await bench.step(*[minute(n) for n in range(5)])
            saboteur.armed = True
            for n in range(5, 15):
                bench.tell(minute(n), forming=[Forming(n + 1, [])])
                if n % 2:
                    await bench.settle()
                if n == 10:
                    bench.watch("4m")
        assert saboteur.struck == 1
        assert reader.live
        await bench.assert_right("2m", "5m", "7m")
        await bench.assert_right("4m", partial=True)


async def test_a_stop_hands_on_what_waits(autojump_clock: object, tmp_path: Path) -> None:
    async with opened(tmp_path, "2m") as bench:
        async with running(bench) as context:
            await bench.step(minute(0))
            bench.tell(minute(1))
            context.stopping.set()
            bench.tell(minute(2), minute(3))
        await bench.assert_right("2m")


async def test_another_process_goes_on_where_the_store_ends(autojump_clock: object, tmp_path: Path) -> None:
    events: list[Event] = []
    for life in range(3):
        async with opened(tmp_path, "2m", "5m", "1h") as bench:
            bench.events = events
            async with running(bench):
                await bench.settle(1)
                for n in range(life * 51, life * 51 + 51):
                    await bench.step(minute(n))
            await bench.assert_right("2m", "5m", "1h")


async def test_a_gap_told_of_before_a_restart_is_not_told_again(autojump_clock: object, tmp_path: Path) -> None:
    """The last that was said is a gap; it has grown since, or was filled in part."""
    async with opened(tmp_path, "2m") as bench:
        async with running(bench):
            await bench.step(*[minute(n) for n in range(4)])
            await bench.step(gap(4, 7))
        async with running(bench):
            await bench.settle(1)
            await bench.step(gap(8, 9))
        bench.store.refuses = True
        async with running(bench):
            await bench.step(gap(10, 11))
            await bench.step(revised(4))
            await bench.step(minute(12), minute(13), gap(14, 17))
            bench.store.refuses = False
            await bench.settle(2)
        async with running(bench):
            await bench.settle(1)
            await bench.step(minute(18), minute(19))
        await bench.assert_right("2m")
        two = [event for event in bench.of(derived("2m")) if isinstance(event, Gap)]
        assert sum(each.count for each in two) == 2 + 1 + 1 + 2


async def test_a_correction_while_nothing_could_be_read(autojump_clock: object, tmp_path: Path) -> None:
    """It lies before the warm start; and the actor fails once more before it can be worked in."""
    async with opened(tmp_path, "5m", warm_start_minutes=20) as bench:
        async with running(bench):
            await bench.step(minute(0))
            await bench.step(*[minute(n) for n in range(1, 100)])
        bench.store.refuses = True
        async with running(bench):
            await bench.step(revised(7))
            bench.watch("10m")
            await bench.step(minute(100), revised(50))
        async with running(bench):
            await bench.step(minute(101))
            bench.unwatch("10m")
            bench.store.refuses = False
            await bench.settle(2)
        await bench.assert_right("5m")
        assert len([event for event in bench.of(derived("5m")) if isinstance(event, Revision)]) == 2


async def test_derived_candles_exist_before_live_ones(autojump_clock: object, tmp_path: Path) -> None:
    """What ended in the last 180 minutes; nothing is said of what ended before."""
    async with opened(tmp_path) as bench, running(bench):
        await bench.step(*[minute(n) for n in range(600)])
        bench.watch("5m", "4h")
        told = await bench.settle(1)
        fives = [event for event in told if event.stream == derived("5m")]
        fours = [event for event in told if event.stream == derived("4h")]
        assert [event.open_time_ms // MINUTE_MS - DAY for event in fours if isinstance(event, Candle)] == [240]
        assert len(fives) == 180 // 5
        await bench.step(*[minute(n) for n in range(600, 605)])
        await bench.assert_right("5m", "4h", partial=True)


async def test_without_a_warm_start_the_first_is_the_running_interval(autojump_clock: object, tmp_path: Path) -> None:
    async with opened(tmp_path, warm_start_minutes=0, memory_minutes=1) as bench, running(bench):
        await bench.step(*[minute(n) for n in range(104)])
        bench.watch("5m", "1h")
        assert frames_of(await bench.settle(1))[:1] != ["1h"]
        told = await bench.step(*[minute(n) for n in range(104, 120)])
        assert frames_of(told).count("1h") == 1
        await bench.assert_right("5m", "1h", partial=True)


async def test_a_store_that_cannot_be_read_is_waited_for(autojump_clock: object, tmp_path: Path) -> None:
    async with opened(tmp_path, "2m", "5m") as bench:
        bench.store.refuses = True
        async with running(bench):
            for n in range(8):
                assert frames_of(await bench.step(minute(n))) == ["1m"], "sources do not wait"
            assert bench.aggregator.cold == 1
            assert "disk is gone" in str(bench.troubles[0])
            tries = len(bench.troubles)
            assert tries <= 4
            bench.store.refuses = False
            told = await bench.settle(1.2)
            assert frames_of(told) == ["2m", "2m", "5m", "2m", "2m"]
            assert bench.aggregator.cold == 0
            await bench.step(minute(8), minute(9))
        assert len(bench.troubles) == tries
        await bench.assert_right("2m", "5m")


async def test_nothing_in_the_store_yet(autojump_clock: object, tmp_path: Path) -> None:
    """A gap may even come first."""
    async with opened(tmp_path, "2m") as bench, running(bench):
        assert await bench.settle(5) == []
        assert bench.writer.flushes <= 2, "asked once, not over and over"
        assert bench.aggregator.cold == 1
        assert frames_of(await bench.step(gap(0, 1))) == ["1m"]
        told = await bench.step(minute(2), minute(3))
        assert frames_of(told) == ["1m", "1m", "2m", "2m"]
        assert bench.aggregator.cold == 0


async def test_timeframes_come_and_go_while_running(autojump_clock: object, tmp_path: Path) -> None:
    async with opened(tmp_path, "2m") as bench, running(bench):
        await bench.step(*[minute(n) for n in range(14)])
        bench.watch("5m", "7m@epoch")
        told = await bench.settle(1)
        assert frames_of(told) == ["5m", "5m", "7m@epoch"]
        await bench.step(*[minute(n) for n in range(14, 20)])
        bench.unwatch("2m")
        await bench.settle(1)
        assert "2m" not in frames_of(await bench.step(*[minute(n) for n in range(20, 31)]))
        bench.watch("2m")
        assert frames_of(await bench.settle(1)) == ["2m"] * 5, "what was not derived meanwhile is made up for"
        await bench.step(*[minute(n) for n in range(31, 40)])
        await bench.assert_right("2m", "5m", "7m@epoch")
        bench.unwatch("2m", "5m", "7m@epoch")
        await bench.settle(1)
        assert bench.aggregator.derived == 0
        assert frames_of(await bench.step(minute(40), minute(41))) == ["1m"] * 2


async def test_what_was_not_derived_for_a_day_is_made_up_for(autojump_clock: object, tmp_path: Path) -> None:
    """Of each timeframe from where it ended, gaps of the source included."""
    async with opened(tmp_path, "2m", "5m", warm_start_minutes=30, memory_minutes=5) as bench, running(bench):
        await bench.step(*[minute(n) for n in range(10)])
        bench.unwatch("2m")
        await bench.settle(1)
        await bench.step(*[minute(n) for n in range(10, 200)])
        bench.unwatch("5m")
        await bench.settle(1)
        await bench.step(*[minute(n) for n in range(200, 900)], gap(900, 904), *[minute(n) for n in range(905, 1445)])
        bench.watch("2m", "5m")
        await bench.settle(1)
        await bench.step(*[minute(n) for n in range(1445, 1450)])
        for frame, count in (("2m", 725), ("5m", 290)):
            events = bench.of(derived(frame))
            gaps = [event for event in events if isinstance(event, Gap)]
            assert sum(each.count for each in gaps) == (2 if frame == "2m" else 1)
            assert sum(isinstance(event, Candle) for event in events) == count - sum(each.count for each in gaps)
        assert contract_breaches(bench.events) == []


async def test_what_was_not_derived_for_long_is_a_gap(autojump_clock: object, tmp_path: Path) -> None:
    """Told of once, also where the first that is made up for is a gap itself."""
    settings = {"warm_start_minutes": 30, "memory_minutes": 5, "catch_up_minutes": 30}
    async with opened(tmp_path, "2m", "5m", **settings) as bench, running(bench):
        await bench.step(*[minute(n) for n in range(10)])
        bench.unwatch("2m", "5m")
        await bench.settle(1)
        await bench.step(*[minute(n) for n in range(10, 171)], gap(171, 176), *[minute(n) for n in range(177, 200)])
        bench.watch("2m", "5m")
        await bench.settle(1)
        for frame in ("2m", "5m"):
            first, *others = [event for event in bench.of(derived(frame)) if isinstance(event, Gap)]
            assert first.first_open_ms == (DAY + 10) * MINUTE_MS
            assert sum(each.count for each in others) == (2 if frame == "2m" else 0)
        assert contract_breaches(bench.events) == []


async def test_many_symbols_are_built_while_others_live(autojump_clock: object, tmp_path: Path) -> None:
    """However long that takes: what comes meanwhile is handed on, and nothing of it is missing in what is built."""
    sources = [Stream(SPOT, f"S{number}USDT", Timeframe("1m")) for number in range(30)]
    async with opened(tmp_path) as bench:
        async with running(bench):
            await bench.step(*[minute(n, source) for source in sources for n in range(5)])
        for source in sources:
            bench.watch("2m", "5m", source=source)
        bench.store.slow_s = 0.05
        async with running(bench):
            for n in range(5, 10):
                cold = bench.aggregator.cold
                assert cold
                told = await bench.step(*[minute(n, source) for source in sources])
                assert frames_of(told).count("1m") == 30
                assert bench.aggregator.cold < cold
            await bench.settle(5)
            assert bench.aggregator.cold == 0
            assert bench.aggregator.counters.warm_starts == 30
        for source in sources[::7]:
            await bench.assert_right("2m", "5m", source=source)


class Teller:
    """A sequencer's tale at random."""

    def __init__(self, bench: Bench, rng: Random) -> None:
        self._bench = bench
        self._rng = rng
        self._next = 0
        self._missing: list[int] = []
        self._corrected: dict[int, int] = {}

    def tell(self) -> None:
        """Go on, pass over some minutes, find one of those, or correct another, however long ago."""
        choice = self._rng.random()
        if choice < 0.65 or not self._next:
            self.go_on()
        elif choice < 0.75:
            until = self._next + self._rng.randrange(1, 9)
            self._bench.tell(gap(self._next, until - 1))
            self._missing += range(self._next, until)
            self._next = until
        else:
            lost = choice < 0.86 and self._missing
            n = self._rng.choice(self._missing if lost else [n for n in range(self._next) if n not in self._missing])
            self._missing = [each for each in self._missing if each != n]
            self._corrected[n] = self._corrected.get(n, 0) + 1
            self._bench.tell(revised(n, corrected=self._corrected[n]))

    def go_on(self) -> None:
        """Tell the next few minutes."""
        first, self._next = self._next, self._next + self._rng.randrange(1, 4)
        self._bench.tell(*[minute(n) for n in range(first, self._next)])


@pytest.mark.parametrize("seed", range(12))
async def test_random_lives(autojump_clock: object, tmp_path: Path, seed: int) -> None:
    """Gaps, corrections near and far, timeframes that come and go, a store that fails, restarts and crashes."""
    rng = Random(seed)
    always, sometimes = ("2m", "5m", "15m"), ("3m", "7m", "1h")
    settings = {"memory_minutes": rng.choice((3, 20)), "warm_start_minutes": rng.choice((10, 60))}
    async with opened(tmp_path, *always, **settings) as bench:
        market = Teller(bench, rng)
        for _ in range(6):
            async with trio.open_nursery() as nursery:
                context = Context()
                nursery.start_soon(bench.aggregator.run, context)
                for _ in range(rng.randrange(3, 30)):
                    choice = rng.random()
                    if choice < 0.06:
                        change = bench.watch if rng.random() < 0.5 else bench.unwatch
                        change(rng.choice(sometimes))
                    elif choice < 0.12:
                        bench.store.refuses = not bench.store.refuses
                    elif choice < 0.88:
                        market.tell()
                    await bench.settle(rng.choice((0.0, 0.1, 1.5)))
                if rng.random() < 0.5:
                    context.stopping.set()
                else:
                    nursery.cancel_scope.cancel()
            bench.collect()
        bench.store.refuses = False
        async with running(bench):
            await bench.settle(5)
            market.go_on()
            await bench.settle()
        await bench.assert_right(*always)
