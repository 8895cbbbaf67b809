"""Symbols that come, go, and do not trade for hours: tape, pushes, REST and truth tell one story."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
import trio
from attrs import define, field
from sim_client import START_MS, SYMBOLS, connected, get, run, session, simulator
from wsproto.events import TextMessage

from candleactors.errors import InvalidSymbol
from candleactors.model import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Timeframe
from candleactors.sim import ASTER_RULES, SPOT_RULES, USDM_RULES, BinanceRules, Fault, FaultKind, Market, SymbolSpec
from candleactors.sim.dialect import Session
from candleactors.sim.pusher import Pusher

VENUES = pytest.mark.parametrize(
    ("rules", "route", "gone"),
    [(SPOT_RULES, "", "BREAK"), (USDM_RULES, "/market", "SETTLING"), (ASTER_RULES, "", "SETTLING")],
    ids=["binance-spot", "binance-usdm", "aster"],
)
LISTED_MS = START_MS + 3 * MINUTE_MS + 17_250
NEW = SymbolSpec("NEW", "USDT", "2.5", 4, 1, 30.0, 0.0003, "50", listed_ms=LISTED_MS)
NEW_KLINES = f"klines?symbol=NEWUSDT&interval=1m&startTime={START_MS}"


def minute_of(open_ms: int) -> int:
    return (open_ms - START_MS) // MINUTE_MS


def closed_of(pushes: list[Any], symbol: str) -> list[int]:
    """The minutes that were closed for `symbol`, in the order of arrival."""
    return [minute_of(m["k"]["t"]) for m in pushes if m["s"] == symbol and m["k"]["x"]]


@define(eq=False)
class Listener:
    """A subscriber that keeps the klines it is pushed."""

    session: Session
    klines: list[dict[str, Any]] = field(factory=list)

    def push(self, stream: str, frame: bytes, *, closing: bool) -> None:
        kline = json.loads(frame[frame.index(b"{") :])["k"]
        assert kline["x"] == closing
        self.klines.append(kline)


@pytest.mark.parametrize("symbol_rate", [0.005, 0.0005])
def test_a_symbol_that_hardly_trades_closes_every_minute_and_is_pushed_between_only_when_it_traded(
    symbol_rate: float,
) -> None:
    days = 3
    rare = SymbolSpec("RARE", "USDT", "7.5", 2, 2, symbol_rate, 0.01, "3")
    market = Market(11, START_MS, [rare])
    pusher, listener = Pusher(SPOT_RULES), Listener(session(SPOT_RULES, market))
    pusher.add(listener, "rareusdt@kline_1m", START_MS)
    now_ms, end_ms = START_MS, START_MS + days * DAY_MS
    while (now_ms := pusher.next_due_ms(now_ms)) <= end_ms:
        pusher.push_due(now_ms)
    pusher.push_due(end_ms + SPOT_RULES.close_lag_ms)

    tape = market.tape("RAREUSDT")
    trades = tape.trades(START_MS, end_ms)
    assert days * 1440 * symbol_rate / 4 < len(trades) + 2 < days * 1440 * symbol_rate * 4 + 4
    closed = [kline for kline in listener.klines if kline["x"]]
    assert [kline["t"] for kline in closed] == list(range(START_MS, end_ms, MINUTE_MS))
    traded = {trade.at_ms // MINUTE_MS * MINUTE_MS for trade in trades}
    assert {kline["t"] for kline in closed if kline["n"]} == traded
    running = [kline for kline in listener.klines if not kline["x"]]
    assert {kline["t"] for kline in running} <= traded
    assert len(running) <= len(trades)
    assert all(kline["n"] for kline in running)
    for earlier, later in itertools.pairwise(closed):
        if not later["n"]:
            assert later["o"] == later["h"] == later["l"] == later["c"] == earlier["c"]
            assert (float(later["v"]), later["f"], later["L"]) == (0, -1, -1)
    truth = market.truth("RAREUSDT", Timeframe("1m"), START_MS, end_ms)
    assert [(c.open_time_ms, f"{c.close:.8f}", c.trades) for c in truth] == [(k["t"], k["c"], k["n"]) for k in closed]
    hours = market.truth("RAREUSDT", Timeframe("1h"), START_MS, end_ms)
    assert sum(c.trades or 0 for c in hours) == len([t for t in trades if t.at_ms < hours[-1].close_time_ms])


@VENUES
def test_rest_shows_the_flat_minutes_of_a_symbol_that_hardly_trades(rules: BinanceRules, route: str, gone: str) -> None:
    async def body() -> None:
        rare = SymbolSpec("RARE", "USDT", "7.5", 2, 2, 0.02, 0.01, "3")
        sim = simulator(rules, market=Market(11, START_MS, [rare]))
        async with sim.running(), connected(sim, f"{route}/ws/rareusdt@kline_1m") as client:
            pushes = [m["k"] for m in await client.collect(6 * 3600 + 10)]
            rows = (await get(sim, f"{rules.api}/klines?symbol=RAREUSDT&interval=1m&startTime={START_MS}")).json
        closed = [k for k in pushes if k["x"]]
        assert len(closed) == 360
        assert rows[:360] == [[*(k[key] for key in "tohlcvTqnVQ"), "0"] for k in closed]
        assert 0 < sum(k["n"] > 0 for k in closed) < 60

    run(body)


@VENUES
def test_before_its_listing_a_symbol_is_unknown_and_silent_and_then_pushes_begin(
    rules: BinanceRules, route: str, gone: str
) -> None:
    async def body() -> None:
        sim = simulator(rules, market=Market(7, START_MS, (*SYMBOLS, NEW)))
        async with sim.running(), connected(sim, f"{route}/ws") as client:
            for name in ("newusdt@kline_1m", "newusdt@kline_1h"):
                assert await client.ask("SUBSCRIBE", name) == {"result": None, "id": 1}
            await client.collect(10)
            refused = await get(sim, f"{rules.api}/{NEW_KLINES}")
            assert (refused.status, refused.json["code"]) == (400, -1121)
            assert "NEWUSDT" not in {s["symbol"] for s in (await get(sim, f"{rules.api}/exchangeInfo")).json["symbols"]}
            assert await client.collect(3 * 60 + 7.2) == []

            pushes = await client.collect(400)
            assert {m["k"]["i"] for m in pushes} == {"1m", "1h"}
            first = pushes[0]
            assert first["k"]["f"] == 1
            assert LISTED_MS <= first["E"] <= LISTED_MS + 2 * rules.push_ms
            assert minute_of(first["k"]["t"]) == 3
            assert closed_of([m for m in pushes if m["k"]["i"] == "1m"], "NEWUSDT") == [3, 4, 5, 6, 7, 8]
            rows = (await get(sim, f"{rules.api}/{NEW_KLINES}")).json
            assert [minute_of(row[0]) for row in rows] == [3, 4, 5, 6, 7, 8, 9]
            by_open = {m["k"]["t"]: m["k"] for m in pushes if m["k"]["x"]}
            assert all([by_open[row[0]][key] for key in "tohlcv"] == row[:6] for row in rows[:-1])
            known = (await get(sim, f"{rules.api}/exchangeInfo?symbol=NEWUSDT")).json["symbols"]
            assert "NEWUSDT" in {s["symbol"] for s in known if s["status"] == "TRADING"}

    run(body)


def test_seconds_begin_with_the_listing_too() -> None:
    market = Market(7, START_MS, [NEW])
    pusher, listener = Pusher(SPOT_RULES), Listener(session(SPOT_RULES, market))
    pusher.add(listener, "newusdt@kline_1s", START_MS)
    now_ms = START_MS
    while (now_ms := pusher.next_due_ms(now_ms)) < START_MS + 5 * MINUTE_MS:
        pusher.push_due(now_ms)
    opens = [kline["t"] for kline in listener.klines if kline["x"]]
    assert opens == list(range(LISTED_MS - LISTED_MS % SECOND_MS, START_MS + 5 * MINUTE_MS - SECOND_MS, SECOND_MS))


@VENUES
def test_a_delisted_symbol_keeps_its_history_and_is_silent_for_good(rules: BinanceRules, route: str, gone: str) -> None:
    async def body() -> None:
        sim = simulator(rules)
        async with sim.running(), connected(sim, f"{route}/ws/btcusdt@kline_1m/ethusdt@kline_1m") as client:
            pushes = await client.collect(150.5)
            sim.inject(Fault(FaultKind.DELIST, symbol="BTCUSDT"))
            delisted_ms = sim.now_ms() + 1
            pushes += await client.collect(2 * 3600)
            assert closed_of(pushes, "BTCUSDT") == [0, 1]
            assert max(m["E"] for m in pushes if m["s"] == "BTCUSDT") < delisted_ms
            assert closed_of(pushes, "ETHUSDT") == list(range(122))

            klines = f"{rules.api}/klines?symbol=BTCUSDT&interval=1m"
            rows = (await get(sim, f"{klines}&startTime={START_MS}")).json
            assert [minute_of(row[0]) for row in rows] == [0, 1, 2]
            assert [row[6] for row in rows] == [
                START_MS + MINUTE_MS - 1,
                START_MS + 2 * MINUTE_MS - 1,
                delisted_ms - 1,
            ]
            latest = (await get(sim, f"{klines}&limit=2")).json
            assert latest == rows[-2:]
            assert (await get(sim, f"{klines}&startTime={sim.now_ms() - HOUR_MS}")).json == []
            statuses = {s["symbol"]: s["status"] for s in (await get(sim, f"{rules.api}/exchangeInfo")).json["symbols"]}
            assert statuses["BTCUSDT"] == gone
            assert statuses["ETHUSDT"] == "TRADING"

            assert await client.ask("SUBSCRIBE", "btcusdt@kline_5m") == {"result": None, "id": 1}
            assert not [m for m in await client.collect(1000) if m["s"] == "BTCUSDT"]
            sim.inject(Fault(FaultKind.DELIST, symbol="BTCUSDT"))
            assert sim.counters.faults == {"delist": 1}
        truth = sim.truth("BTCUSDT", Timeframe("1m"), START_MS, sim.now_ms())
        assert [minute_of(c.open_time_ms) for c in truth] == [0, 1, 2]
        assert sim.market.tape("BTCUSDT").trades(delisted_ms, sim.now_ms()) == []

    run(body)


def test_delistings_at_random_leave_one_symbol_and_pass_over_those_not_listed_yet() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES, market=Market(7, START_MS, (*SYMBOLS, NEW)))
        names = "/".join(f"{spec.symbol.lower()}@kline_1m" for spec in SYMBOLS[:3])
        async with sim.running(), connected(sim, f"/ws/{names}") as client:
            for _ in range(20):
                sim.inject(Fault(FaultKind.DELIST))
            now_ms = sim.now_ms()
            assert len(sim.market.trading(now_ms + 1)) == 1
            assert not sim.market.delisted("NEWUSDT", now_ms + 1)
            await client.collect(100)
        assert sim.counters.faults == {"delist": len(SYMBOLS) - 1}

    run(body)


def test_what_is_no_symbol_cannot_be_delisted() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        with pytest.raises(InvalidSymbol):
            sim.inject(Fault(FaultKind.DELIST, symbol="NOPEUSDT"))

    run(body)


def test_a_subscriber_that_leaves_at_once_does_not_end_the_venue() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with sim.running(), connected(sim) as client:
            await client.collect(5)
            both = [{"method": m, "params": ["btcusdt@kline_1m"], "id": 1} for m in ("SUBSCRIBE", "UNSUBSCRIBE")]
            await client.stream.send_all(b"".join(client.ws.send(TextMessage(json.dumps(m))) for m in both))
            assert len(await client.collect(10)) == 2
            await trio.sleep(1)
            await client.ask("SUBSCRIBE", "btcusdt@kline_1m")
            assert await client.collect(10)

    run(body)
