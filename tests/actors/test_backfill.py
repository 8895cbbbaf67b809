"""The backfill before a venue of its own: who is served first, what waits, and what a restart keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from candleactors.actors.backfill import Backfill, RestTrouble
from candleactors.actors.budget import VenueBudget
from candleactors.actors.interest import Interest
from candleactors.actors.mailbox import Mailbox
from candleactors.actors.messages import Fetched, FetchFailed, Open, Opened, Read, Reading, SequencerMessage, Wish
from candleactors.actors.rest import VenueRest
from candleactors.core.backoff import Backoff
from candleactors.core.fetch import Fetch, Urgency
from candleactors.core.sharding import ShardLimits
from candleactors.core.venue_clock import VenueClock
from candleactors.errors import RequestFailed, StoreUnavailable
from candleactors.model import Stream, Timeframe
from candleactors.settings import BackoffSettings, RepairSettings
from candleactors.stores.base import Standing, Store
from candleactors.transport.clock import VirtualClock
from candleactors.transport.rest import RestAnswer, RestClient
from candleactors.venues import codec
from candleactors.venues.base import RestRequest

WINDOW_S = 60


def stream(symbol: str) -> Stream:
    return Stream("binance-spot", symbol, Timeframe("1m"))


def compare(symbol: str, start_ms: int = 0) -> Fetch:
    return Fetch(stream(symbol), start_ms, 10, Urgency.VERIFY)


def hole(symbol: str) -> Fetch:
    return Fetch(stream(symbol), 0, 10, Urgency.HOLE)


class Context:
    """A child's context without a supervisor."""

    id = "backfill"
    incarnation = 1

    def __init__(self) -> None:
        self.stopping = trio.Event()

    def started(self) -> None:
        pass


class Client:
    """A venue without rows. Notes who asked when; takes its time, fails, or breaks where told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []
        self.slow_s: dict[str, float] = {}
        self.fails: set[str] = set()
        self.breaks: set[str] = set()

    async def get(self, request: RestRequest) -> RestAnswer:
        await trio.lowlevel.checkpoint()
        params = dict(request.params)
        if "symbol" not in params:
            return RestAnswer(200, {}, b'{"serverTime":1700000000000}')
        symbol = params["symbol"]
        self.asked.append((symbol, trio.current_time()))
        if symbol in self.breaks:
            raise RuntimeError("a bug")
        await trio.sleep(self.slow_s.get(symbol, 0.0))
        if symbol in self.fails:
            raise RequestFailed("no answer")
        return RestAnswer(200, {}, b"[]")


class EmptyStore:
    """A store that knows nothing, or cannot be read."""

    broken = False

    async def standing(self, of: Stream, count: int) -> Standing:
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise StoreUnavailable("busy")
        return Standing()


class Bench:
    """A backfill with its neighbours played by the test. A request for rows weighs 2."""

    def __init__(self, *, weight: int = 1_000, workers: int = 4) -> None:
        clock = VirtualClock(1_700_000_000_000)
        binance = codec("binance-spot")
        self.client = Client()
        self.store = EmptyStore()
        self.budget = VenueBudget(connects=1, connects_window_s=1, rest_weight=weight, rest_window_s=WINDOW_S)
        self.wishes: Mailbox[Wish] = Mailbox(100)
        self.answers: Mailbox[SequencerMessage] = Mailbox(100)
        self.troubles: list[RestTrouble] = []
        self.interest = Interest({"binance-spot": ShardLimits(10, 1)}, clock)
        self.backfill = Backfill(
            VenueRest(binance, cast(RestClient, self.client), self.budget, clock, VenueClock()),
            cast(Store, self.store),
            self.interest,
            RepairSettings(workers=workers, clock_interval_s=1e6),
            wishes=self.wishes,
            answers=self.answers,
            backoff=Backoff(BackoffSettings(), lambda: 0.0),
            on_trouble=self.troubles.append,
        )

    async def wish(self, *wishes: Wish) -> None:
        """Put `wishes` into the mailbox and give the actor a moment of no time."""
        for wish in wishes:
            await self.wishes.put(wish)
        await trio.testing.wait_all_tasks_blocked()

    def answered(self) -> list[SequencerMessage]:
        return self.answers.take_all()

    def symbols(self) -> list[str]:
        return [symbol for symbol, _ in self.client.asked]


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[None]:
    """Run the backfill around the body, then stop it in order."""
    context = Context()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.backfill.run, context)
        await trio.testing.wait_all_tasks_blocked()
        yield
        context.stopping.set()


async def test_a_hole_is_served_while_comparisons_wait_for_the_budget(autojump_clock: MockClock) -> None:
    bench = Bench(weight=30)
    async with running(bench):
        await bench.wish(*(compare(f"C{n}USDT") for n in range(20)))
        served = len(bench.client.asked)
        assert served == 9, "a third of the budget is kept"
        await bench.wish(*(hole(f"H{n}USDT") for n in range(5)))
        assert sorted(bench.client.asked[served:]) == [(f"H{n}USDT", 0.0) for n in range(5)]
        await trio.sleep(3 * WINDOW_S)
    assert {f"C{n}USDT" for n in range(20)} <= set(bench.symbols()), "late, not never"
    assert len(bench.answered()) == 25


async def test_a_slow_comparison_keeps_no_worker(autojump_clock: MockClock) -> None:
    bench = Bench(workers=1)
    bench.client.slow_s["SLOWUSDT"] = 50.0
    async with running(bench):
        await bench.wish(compare("SLOWUSDT"), hole("AUSDT"))
        assert sorted(bench.client.asked) == [("AUSDT", 0.0), ("SLOWUSDT", 0.0)]


async def test_readings_wait_at_no_ones_leisure(autojump_clock: MockClock) -> None:
    """Readings that waited for the third that comparisons leave would keep all workers from the hole."""
    bench = Bench(weight=30)
    readings: Mailbox[Reading] = Mailbox(10)
    async with running(bench):
        await bench.wish(*(compare(f"C{n}USDT") for n in range(20)))
        await bench.wish(*(Read(stream(f"R{n}USDT"), readings) for n in range(4)))
        await bench.wish(hole("HUSDT"))
        assert bench.client.asked[-1] == ("HUSDT", 0.0)
        assert len(readings.take_all()) == 4


async def test_the_most_urgent_goes_first(autojump_clock: MockClock) -> None:
    bench = Bench(workers=1)
    bench.client.slow_s["FIRSTUSDT"] = 1.0
    async with running(bench):
        await bench.wish(hole("FIRSTUSDT"))
        for urgency in (Urgency.GAP, Urgency.DOUBT, Urgency.OVERDUE, Urgency.START, Urgency.HOLE):
            await bench.wish(Fetch(stream(f"{urgency.name}USDT"), 0, 10, urgency))
        await trio.sleep(2.0)
    assert bench.symbols() == [f"{name}USDT" for name in ("FIRST", "HOLE", "START", "OVERDUE", "DOUBT", "GAP")]


async def test_of_each_stream_the_last_comparison_wished_for_waits(autojump_clock: MockClock) -> None:
    bench = Bench()
    bench.client.slow_s["AUSDT"] = 1.0
    async with running(bench):
        first, last = compare("AUSDT", 1), compare("AUSDT", 6)
        await bench.wish(first)
        await bench.wish(*(compare("AUSDT", n) for n in range(2, 6)), compare("BUSDT"), last)
        await trio.sleep(10.0)
    assert sorted(bench.symbols()) == ["AUSDT", "AUSDT", "BUSDT"]
    fetches = [answer.fetch for answer in bench.answered() if isinstance(answer, Fetched)]
    assert fetches[0] is first
    assert [fetch for fetch in fetches if fetch.stream == stream("AUSDT")][-1] is last


async def test_a_comparison_without_answer_is_answered_ill(autojump_clock: MockClock) -> None:
    bench = Bench()
    bench.client.fails.add("AUSDT")
    async with running(bench):
        await bench.wish(compare("AUSDT"), compare("BUSDT"))
    assert [type(answer) for answer in bench.answered()] == [FetchFailed, Fetched]
    assert [trouble.stream for trouble in bench.troubles] == [stream("AUSDT")]


@pytest.mark.parametrize("urgency", [Urgency.VERIFY, Urgency.HOLE])
async def test_a_wish_the_actor_fails_at_is_not_tried_in_its_next_life(
    autojump_clock: MockClock, urgency: Urgency
) -> None:
    bench = Bench()
    bench.client.breaks.add("AUSDT")
    poison = Fetch(stream("AUSDT"), 0, 10, urgency)
    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="a bug"), flatten_subgroups=True):
        async with running(bench):
            await bench.wish(poison, compare("BUSDT"))
    async with running(bench):
        await bench.wish(compare("CUSDT"), hole("DUSDT"))
    answers = bench.answered()
    assert poison in [answer.fetch for answer in answers if isinstance(answer, FetchFailed)]
    assert bench.symbols().count("AUSDT") == 1
    fetches = [answer.fetch for answer in answers if isinstance(answer, Fetched | FetchFailed)]
    assert sorted(fetch.stream.symbol for fetch in fetches) == ["AUSDT", "BUSDT", "CUSDT", "DUSDT"]


async def test_an_orderly_stop_and_a_new_start_go_on_serving(autojump_clock: MockClock) -> None:
    bench = Bench()
    bench.client.slow_s["AUSDT"] = 100.0
    async with running(bench):
        await bench.wish(compare("AUSDT"), compare("BUSDT"))
    assert bench.answered() == []
    async with running(bench):
        pass
    assert [type(answer) for answer in bench.answered()] == [FetchFailed, Fetched]


async def test_what_the_store_has_is_told_and_silence_where_it_cannot_be_read(autojump_clock: MockClock) -> None:
    bench = Bench()
    async with running(bench):
        await bench.wish(Open((stream("AUSDT"), stream("BUSDT"))))
        assert bench.answered() == [Opened(stream(f"{name}USDT"), None, (), ()) for name in "AB"]
        bench.store.broken = True
        await bench.wish(Open((stream("AUSDT"),)))
        assert bench.answered() == []
        assert len(bench.troubles) == 1
