"""Life: the real feed on the venue's simulator, in virtual time, and every candle compared with the truth."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest import mock
from urllib.parse import urlencode

import pytest
import trio
from attrs import evolve, frozen

from candleactors import venues
from candleactors.demo.judge import Judge
from candleactors.errors import CandleactorsError
from candleactors.feed import Feed, open_feed
from candleactors.model import Candle, Event, Source, Stream, Timeframe
from candleactors.settings import Settings, VenueSettings
from candleactors.sim import Fault, FaultKind, Market, Rules, Simulator, TruthCandle
from candleactors.simulation.scheduler import run_virtual
from candleactors.stores.sqlite import open_sqlite
from candleactors.testing.conformance.rule import broken, require, shown
from candleactors.testing.conformance.subject import RECEIVED_MS, Subject
from candleactors.testing.contract import contract_breaches
from candleactors.transport.clock import VirtualClock
from candleactors.transport.network import MemoryNetwork
from candleactors.venues.base import Closes, Codec, RestRequest, VenueRules

_START_MS: Final = 1_709_163_030_000  # 2024-02-28T23:30:30Z
_SEED: Final = 5
_AMOUNTS: Final = ("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
_COUNTS: Final = ("closed_candles", "lost", "duplicated", "out_of_order", "wrong", "gaps")
_MINUTE: Final = Timeframe("1m")
_SETTLED_S: Final = 40.0
"""A repair over REST takes so long at most, where nothing goes wrong."""


@frozen
class Life:
    """A feed on a simulator, and what it has said so far."""

    feed: Feed
    simulator: Simulator
    heard: list[Event]


class LiveConformance(Subject):
    """Tests on `Subject.simulator`, skipped where there is none."""

    def test_the_simulators_rows(self) -> None:
        """Ask the simulator over REST, without a feed, and compare the rows with the truth."""
        codec, simulator = self.new_codec(), self._simulator(lambda: _START_MS)
        rules, dialect = codec.rules, simulator.dialect
        now_ms = _START_MS + 12_345
        for symbol in self._live_symbols(simulator):
            stream = Stream(rules.venue, symbol, _minute(rules))
            open_ms = stream.timeframe.floor(now_ms)
            for start_ms, end_ms, limit in (
                (None, None, 20),
                (open_ms - 30 * 60_000, None, 10),
                (open_ms - 30 * 60_000, open_ms - 20 * 60_000, 30),
                (open_ms - 5 * 60_000, None, 10),
            ):
                body = _asked(codec, dialect, codec.klines(stream, start_ms, end_ms, limit, now_ms), now_ms)
                rows = codec.parse_klines(stream, body, now_ms, RECEIVED_MS)
                said = f"{stream} start {start_ms} end {end_ms} limit {limit}"
                opens = [row.open_time_ms for row in rows]
                wanted = _wanted(simulator, rules, stream, start_ms, end_ms, limit, now_ms)
                if opens != wanted:
                    broken(f"for {said} came {_minutes(opens)}, due were {_minutes(wanted)}", Codec.klines)
                for row in rows:
                    due = row.next_open_time_ms <= now_ms
                    require(
                        row.closed == due, f"for {said}: {row.open_time_ms} closed={row.closed}", Codec.parse_klines
                    )
                truth = {
                    one.open_time_ms: one for one in _truth(simulator, rules, stream, min(opens, default=0), now_ms)
                }
                for row in rows:
                    if row.closed:
                        _compare(row, truth[row.open_time_ms])

    def test_the_simulators_lists(self) -> None:
        """Ask the simulator for its clock, its instruments and its tickers."""
        codec, simulator = self.new_codec(), self._simulator(lambda: _START_MS)
        dialect, now_ms = simulator.dialect, _START_MS + 12_345
        answer = dialect.answer("GET", _target(codec.server_time()), now_ms)
        headers = {name.lower(): value for name, value in answer.headers}
        codec.check_answer(answer.status, headers, answer.body)
        told_ms = codec.parse_server_time(headers, answer.body)
        require(abs(told_ms - now_ms) <= 1_000, f"the clock says {told_ms}, it is {now_ms}", Codec.parse_server_time)
        symbols: dict[str, bool] = {}
        page: str | None = None
        for _ in range(100):
            read = codec.parse_instruments(_asked(codec, dialect, codec.instruments(page), now_ms), page)
            symbols |= {one.symbol: one.trades for one in read.instruments}
            page = read.next
            if page is None:
                break
        require(page is None, "the list of instruments has no end", Codec.instruments)
        for symbol in self._live_symbols(simulator):
            require(symbols.get(symbol), f"{symbol} trades, and is listed as {symbols.get(symbol)}", Codec.instruments)

    def test_a_symbol_that_does_not_exist(self) -> None:
        codec, simulator = self.new_codec(), self._simulator(lambda: _START_MS)
        known = simulator.dialect.symbols
        symbol = next((one for one in self.known_symbols() if one not in known), None)
        if symbol is None:
            pytest.skip("the simulator has all symbols that are known to be some")
        request = codec.klines(Stream(codec.rules.venue, symbol, _minute(codec.rules)), None, None, 5, _START_MS)
        try:
            body = _asked(codec, simulator.dialect, request, _START_MS)
        except CandleactorsError:
            return
        rows = codec.parse_klines(Stream(codec.rules.venue, symbol, _minute(codec.rules)), body, _START_MS, RECEIVED_MS)
        require(not rows, f"rows of {symbol}, which the simulator does not have: {shown(rows)}", Codec.klines)

    def test_a_life_is_what_the_market_says(self) -> None:
        self._live((), self.live_minutes)

    def test_a_life_with_dropped_connections(self) -> None:
        faults = (Fault(FaultKind.DROP, at_s=100.0), Fault(FaultKind.DROP, at_s=148.5), Fault("shutdown", at_s=290.0))
        self._live(faults, self.live_minutes)

    def test_a_life_with_broken_frames(self) -> None:
        faults = (Fault(FaultKind.MALFORMED, at_s=90.0, count=3), Fault(FaultKind.TRUNCATED, at_s=130.0, count=3))
        self._live(faults, self.live_minutes)

    def _live(self, faults: Sequence[Fault], minutes: int) -> None:
        codec = self.new_codec()
        rules = codec.rules
        if self.simulator is None:
            pytest.skip("no simulator is given")

        async def main() -> AssertionError | None:
            with _registered(codec):
                async with self._life(codec) as life:
                    simulator = life.simulator
                    streams = [Stream(rules.venue, symbol, _minute(rules)) for symbol in self._live_symbols(simulator)]
                    judge = Judge(
                        streams,
                        lambda stream, first_ms, until_ms: _truth(simulator, rules, stream, first_ms, until_ms),
                        simulator.now_ms(),
                    )
                    now_s = trio.current_time()
                    for fault in faults:
                        await trio.sleep_until(now_s + fault.at_s)
                        simulator.inject(fault)
                    await trio.sleep_until(now_s + minutes * 60.0)
                    over_ms = simulator.now_ms()
                    lag_s = rules.close_lag_s
                    await trio.sleep(_SETTLED_S + lag_s)
                    for event in life.heard:
                        judge.take(event)
                    # Raised once everything has ended: nurseries would wrap it in groups.
                    try:
                        self._check_life(codec, judge, life, over_ms)
                    except AssertionError as error:
                        return error
            return None

        problem = run_virtual(main, _SEED)
        if problem is not None:
            raise problem

    def _check_life(self, codec: Codec, judge: Judge, life: Life, over_ms: int) -> None:
        rules, simulator = codec.rules, life.simulator
        verdict = judge.verdict(over_ms, simulator.now_ms())
        breaches = contract_breaches(life.heard)
        status = life.feed.status().venues[0]
        says = f"a feed with this codec, on the simulator of {rules.title}"
        if not (verdict.ok and verdict.gaps == 0 and verdict.closed_candles and not breaches):
            told = "\n".join((*verdict.examples, *breaches[:5]))
            counts = ", ".join(f"{getattr(verdict, name)} {name}" for name in _COUNTS)
            broken(
                f"{says}: {counts}\n{told}\nstatus: {shown(status, 1500)}",
                Codec,
                "every closed candle once, in order, and as the market was; see docs/testing.md",
            )
        violations = dict(simulator.counters.violations)
        if violations:
            broken(f"{says}: the venue's limits were broken: {violations}", VenueRules)
        closed = [event for event in life.heard if isinstance(event, Candle) and event.closed]
        self._check_sources(rules, simulator, closed)

    def _check_sources(self, rules: VenueRules, simulator: Simulator, closed: Sequence[Candle]) -> None:
        sources = {candle.source for candle in closed}
        by_message = Source.WS if rules.closes is Closes.FLAGGED else None
        watched = [candle for candle in closed if candle.open_time_ms > _START_MS]
        if by_message is not None and not any(candle.source is by_message for candle in watched):
            broken(
                f"no closed candle came over the WebSocket, only from {', '.join(sorted(sources))}:"
                " `Session.decode` never closes one, or the subscriptions fail",
                Closes,
            )
        for candle in closed:
            true = simulator.truth(candle.symbol, candle.timeframe, candle.open_time_ms, candle.next_open_time_ms)
            is_empty = not true[0].volume
            says = "`skips_empty`: whether intervals without trades have no candle at all, so that they are filled here"
            if rules.skips_empty and is_empty:
                require(candle.source is Source.FILLED, f"{shown(candle)} has no trades", VenueRules, says)
            else:
                require(candle.source is not Source.FILLED, f"{shown(candle)} was filled", VenueRules, says)

    @asynccontextmanager
    async def _life(self, codec: Codec) -> AsyncIterator[Life]:
        rules = codec.rules
        clock = VirtualClock(_START_MS - round(trio.current_time() * 1000))
        simulator = self._simulator(clock.wall_ms)
        settings = VenueSettings(
            symbols=tuple(self._live_symbols(simulator)),
            timeframes=(_minute(rules),),
            websocket_url="ws://simulator:80",
            rest_url="http://simulator:80",
        )
        heard: list[Event] = []
        with TemporaryDirectory(prefix="candleactors-") as directory:
            async with trio.open_nursery() as nursery:
                network = MemoryNetwork(nursery)
                network.listen(simulator.serve_stream, "simulator", 80)
                await nursery.start(simulator.run)
                async with (
                    open_sqlite(Path(directory) / "candles.sqlite", threaded=False) as store,
                    open_feed(
                        Settings(venues={rules.venue: settings}),
                        store=store,
                        network=network,
                        clock=clock,
                        rng=random.Random(_SEED),
                    ) as feed,
                ):
                    nursery.start_soon(_listen, feed, heard)
                    yield Life(feed, simulator, heard)
                nursery.cancel_scope.cancel()

    def _simulator(self, now_ms: Any) -> Simulator:
        rules: Rules | None = self.simulator
        if rules is None:
            pytest.skip("no simulator is given")
        return Simulator(Market(_SEED, _START_MS), rules, now_ms, seed=_SEED)

    def _live_symbols(self, simulator: Simulator) -> list[str]:
        known = list(simulator.dialect.symbols)
        return list(self.live_symbols) or list(dict.fromkeys((known[0], *known[2:3], *known[-3:])))


async def _listen(feed: Feed, heard: list[Event]) -> None:
    async for event in feed.candles():
        heard.append(event)  # noqa: PERF401 - it is looked at while it grows


@contextmanager
def _registered(codec: Codec) -> Iterator[None]:
    """Have the feed use `codec`, whether or not its package is installed."""
    known = venues.codec

    def find(name: str) -> Codec:
        return codec if name == codec.rules.venue else known(name)

    with mock.patch.object(venues, "codec", find):
        yield


def _minute(rules: VenueRules) -> Timeframe:
    return _MINUTE if _MINUTE in rules.timeframes else rules.timeframes[0]


def _target(request: RestRequest) -> str:
    return f"{request.path}?{urlencode(request.params)}" if request.params else request.path


def _asked(codec: Codec, dialect: Any, request: RestRequest, now_ms: int) -> bytes:
    answer = dialect.answer("GET", _target(request), now_ms)
    headers = {name.lower(): value for name, value in answer.headers}
    codec.check_answer(answer.status, headers, answer.body)
    body: bytes = answer.body
    return body


def _truth(simulator: Simulator, rules: VenueRules, stream: Stream, first_ms: int, until_ms: int) -> list[TruthCandle]:
    """Return what really happened, without what the venue does not give."""
    found = simulator.truth(stream.symbol, stream.timeframe, first_ms, until_ms)
    return [_as_told(one, rules) for one in found]


def _as_told(one: TruthCandle, rules: VenueRules) -> TruthCandle:
    is_filled = rules.skips_empty and not one.volume
    unknown: dict[str, Any] = {name: None for name in _AMOUNTS if is_filled or name not in rules.gives}
    return evolve(one, **unknown)


def _wanted(
    simulator: Simulator,
    rules: VenueRules,
    stream: Stream,
    start_ms: int | None,
    end_ms: int | None,
    limit: int,
    now_ms: int,
) -> list[int]:
    """Return the open times that a request for rows is about."""
    series = simulator.market.series(simulator.dialect.market_symbol(stream.symbol), stream.timeframe)
    flat = not rules.skips_empty
    last_ms = now_ms if end_ms is None else end_ms
    if start_ms is None:
        rows = series.last_rows(last_ms, limit, now_ms, flat=flat)
    else:
        if rules.windowed_klines:
            last_ms = min(last_ms, stream.timeframe.advance(start_ms, limit) - 1)
        rows = series.rows(start_ms, last_ms, limit, now_ms, flat=flat)
    return [row.open_ms for row in rows]


def _compare(row: Candle, true: TruthCandle) -> None:
    require(
        row.values() == true.values(),
        f"{row.stream} {row.open_time_ms} was read as {shown(row.values())}, it was {shown(true.values())}",
        Codec.parse_klines,
    )


def _minutes(opens: Sequence[int]) -> str:
    return json.dumps([(open_ms - _START_MS) // 60_000 for open_ms in opens])
