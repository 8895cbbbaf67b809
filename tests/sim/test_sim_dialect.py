"""What the simulator does for a venue that is nothing like Binance."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
import trio
from attrs import define, evolve, field
from sim_client import START_MS, SYMBOLS, Refused, connected, get, run, simulator
from toy_venue import MINUTE, TOY_RULES, ToyDialect, ToyRules
from wsproto.events import Ping

from candleactors.model import MINUTE_MS, Timeframe
from candleactors.sim import SPOT_RULES, Counters, Fault, FaultKind, Market
from candleactors.sim.candles import Series
from candleactors.sim.dialect import Close, Session
from candleactors.sim.pusher import Pusher
from candleactors.sim.rules import Idleness

QUIET = Market(7, START_MS, SYMBOLS).series("QUIETUSDT", MINUTE)
"""The same as in every other market here: some minutes have no trades."""


@define(eq=False)
class Listener:
    """A subscriber that keeps what it is pushed, with when and whether it was a closing push."""

    session: Session
    now_ms: int = START_MS
    heard: list[tuple[int, bool, list[Any]]] = field(factory=list)

    def push(self, stream: str, frame: bytes, *, closing: bool) -> None:
        self.heard.append((self.now_ms - START_MS, closing, json.loads(frame[frame.index(b"[") :])))

    @property
    def rows(self) -> list[list[Any]]:
        """The rows it was pushed, without what only this session knows."""
        return [message[1:] for _, _, message in self.heard if len(message) == 5]


def listen(rules: ToyRules, for_ms: int, name: str = "quiet-usdt/1m") -> Listener:
    """Return what a subscriber of `name` hears."""
    dialect = rules.dialect(Market(7, START_MS, SYMBOLS), Counters())
    session = dialect.open("/toy", 0)
    assert session is not None
    listener, pusher = Listener(session), Pusher(rules)
    pusher.add(listener, name, START_MS)
    while (due_ms := pusher.next_due_ms(listener.now_ms)) < START_MS + for_ms:
        listener.now_ms = due_ms
        pusher.push_due(due_ms)
    return listener


def traded(minutes: int, series: Series = QUIET) -> list[int]:
    rows = series.rows(START_MS, START_MS + minutes * MINUTE_MS - 1, minutes, START_MS + (minutes + 1) * MINUTE_MS)
    return [row.open_ms for row in rows if row.bar.trades]


def test_greeting_a_reply_for_each_name_a_snapshot_and_rows_for_each_connection() -> None:
    async def body() -> None:
        sim = simulator(TOY_RULES)
        async with sim.running(), connected(sim, "/toy") as first, connected(sim, "/toy") as second:
            assert [await first.receive(), await second.receive()] == [["hello", 0], ["hello", 1]]
            await second.say(["subscribe", "btc-usdt!/1m"])
            await first.say(["subscribe", "btc-usdt/1m", "nope/1m", "btc-usdt!/1m"])
            replies = [await first.receive() for _ in range(3)]
            assert [reply[:2] for reply in replies] == [
                ["ok", "btc-usdt/1m"],
                ["no", "nope/1m"],
                ["ok", "btc-usdt!/1m"],
            ]
            snapshots = [await first.receive() for _ in range(2)]
            assert [s[0] for s in snapshots] == ["0:btc-usdt/1m", "0:btc-usdt!/1m"]
            assert [len(s[1]) for s in snapshots] == [3, 3]
            pushes = await first.collect(30)
            assert {push[0] for push in pushes} == {"0:btc-usdt/1m", "0:btc-usdt!/1m"}
            spot = [push[1:] for push in pushes if push[0] == "0:btc-usdt/1m"]
            assert spot == [push[1:] for push in pushes if push[0] == "0:btc-usdt!/1m"]
            assert {push[0] for push in (await second.collect(1))[2:]} == {"1:btc-usdt!/1m"}

            await first.say(["unsubscribe", "btc-usdt!/1m"])
            await first.say(["ping"])
            later = await first.collect(30)
            after = later[later.index(["bye", "btc-usdt!/1m"]) + 1 :]
            assert after[0][0] == "pong"
            assert {message[0] for message in after[1:]} == {"0:btc-usdt/1m"}
            assert sim.connections[0].names == ("btc-usdt/1m",)

    run(body)


def test_messages_that_are_ignored_and_messages_that_end_the_connection() -> None:
    async def body() -> None:
        told: list[tuple[str, str]] = []
        sim = simulator(TOY_RULES, observe=lambda kind, text: told.append((kind, text)))
        async with sim.running(), connected(sim, "/toy") as client:
            await client.say("no list")
            await client.say(["nonsense"])
            assert await client.collect(5) == [["hello", 0], ["what?", "nonsense"]]
            assert client.ending == (4002, "nonsense")
        said = [text for kind, text in told if kind == "control"]
        assert said == ["connection 0 id None -> ignored", "connection 0 id None -> nonsense"]
        with pytest.raises((Refused, ExceptionGroup)):
            async with connected(sim, "/ws"):
                pass
        assert sim.counters.refused == 1

    run(body)


def test_a_venue_without_pings_lifetime_or_message_limit() -> None:
    async def body() -> None:
        sim = simulator(TOY_RULES)
        async with sim.running(), connected(sim, "/toy") as client:
            for _ in range(100):
                await client.send(Ping(b"x"))
                await client.say(["ping"])
            assert len(await client.collect(30 * 3600)) == 101
            assert (client.close, client.pings) == (None, [])

    run(body)


def test_heartbeats_fill_the_silence_of_each_channel() -> None:
    heard = listen(evolve(TOY_RULES, heartbeat_s=15.0), 10 * MINUTE_MS).heard
    beats = [index for index, (_, _, message) in enumerate(heard) if message[1] == "beat"]
    assert len(beats) > 10
    times = [at for at, _, _ in heard]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(gaps) == 15_000
    assert all(gaps[index - 1] == 15_000 for index in beats)


@pytest.mark.parametrize(
    ("idleness", "says", "subscribes", "ends_s", "close"),
    [
        (Idleness(after_s=60), False, False, 60, None),
        (Idleness(after_s=60), True, False, 100, None),
        (Idleness(after_s=60), False, True, 61, None),
        (Idleness(after_s=60, unless_subscribed=True), False, True, None, None),
        (Idleness(after_s=60, unless_subscribed=True), True, False, 100, None),
        (Idleness(after_s=60, received=False, sent=True, close=Close(4004, "No data")), False, False, 60, 4004),
        (Idleness(after_s=60, received=False, sent=True, close=Close(4004, "No data")), True, False, 100, 4004),
        (Idleness(after_s=60, received=False, sent=True, close=Close(4004, "No data")), False, True, None, None),
        (Idleness(after_s=60, sent=True), False, True, None, None),
    ],
)
def test_idle_connections_end(
    idleness: Idleness, says: bool, subscribes: bool, ends_s: float | None, close: int | None
) -> None:
    async def body() -> None:
        sim = simulator(evolve(TOY_RULES, idleness=idleness))
        async with sim.running(), connected(sim, "/toy") as client:
            if subscribes:
                await trio.sleep(1)
                await client.say(["subscribe", "btc-usdt/1m"])
            if says:
                await trio.sleep(40)
                await client.say(["ping"])
            await client.collect(1000)
            assert trio.current_time() == pytest.approx(1001 if ends_s is None and subscribes else ends_s or 1000)
            assert (client.ending[0] if client.ending else None) == close
            assert sim.counters.violations == ({} if ends_s is None else {"idle": 1})

    run(body)


def test_a_connection_is_idle_from_its_last_unsubscription_on() -> None:
    async def body() -> None:
        sim = simulator(evolve(TOY_RULES, idleness=Idleness(after_s=60, unless_subscribed=True)))
        async with sim.running(), connected(sim, "/toy") as client:
            await client.say(["subscribe", "btc-usdt/1m"])
            await client.collect(300)
            await client.say(["unsubscribe", "btc-usdt/1m"])
            await client.collect(300)
            assert trio.current_time() == pytest.approx(360)

    run(body)


def test_without_closing_pushes_the_last_update_comes_after_the_end_if_it_was_not_pushed_before() -> None:
    rules = evolve(TOY_RULES, closing_push=False, flat_pushes=False, push_ms=7_000, close_lag_ms=40)
    heard = [(at, closing, m[1:]) for at, closing, m in listen(rules, 30 * MINUTE_MS, "btc-usdt/1m").heard[1:]]
    rows = [row for _, _, row in heard]
    assert len({(open_ms, trades) for open_ms, _, trades, _ in rows}) == len(rows)
    last = {open_ms: (price, trades) for open_ms, price, trades, _ in rows}
    truth = Market(7, START_MS, SYMBOLS).series("BTCUSDT", MINUTE)
    for row in truth.rows(START_MS, START_MS + 29 * MINUTE_MS - 1, 100, START_MS + 30 * MINUTE_MS):
        assert last[row.open_ms] == (row.bar.close, row.bar.trades)
    assert all(closing == (at % MINUTE_MS == 40) for at, closing, _ in heard)
    assert sum(closing for _, closing, _ in heard) > 20


def test_intervals_without_trades_are_not_pushed_where_the_venue_skips_them() -> None:
    skipping = listen(evolve(TOY_RULES, flat_pushes=False), 30 * MINUTE_MS)
    usual = listen(TOY_RULES, 30 * MINUTE_MS)
    assert [row[0] for row in skipping.rows if row[3]] == traded(29)
    assert [row[0] for row in usual.rows if row[3]] == [START_MS + n * MINUTE_MS for n in range(29)]
    assert len(traded(29)) < 29


def test_rows_without_trades_can_be_left_out_of_rest() -> None:
    now_ms = START_MS + 30 * MINUTE_MS
    expected = traded(29)
    assert [row.open_ms for row in QUIET.rows(START_MS, now_ms - 1, 3, now_ms, flat=False)] == expected[:3]
    last = QUIET.last_rows(START_MS + 29 * MINUTE_MS - 1, 3, now_ms, flat=False)
    assert [row.open_ms for row in last] == expected[-3:]


def test_the_previous_candle_again() -> None:
    rows = listen(evolve(TOY_RULES, closing_push=False, previous_again=2), 3 * MINUTE_MS, "btc-usdt/1m").rows
    opens = [(row[0] - START_MS) // MINUTE_MS for row in rows]
    first = opens.index(1)
    assert opens[first : first + 5] == [1, 0, 1, 0, 1]
    assert opens.count(0) == first + 2


def test_an_unchanged_candle_is_repeated() -> None:
    rules = evolve(TOY_RULES, repeat_s=20.0)
    heard = [(at, m) for at, _, m in listen(rules, 10 * MINUTE_MS).heard if len(m) == 5]
    times = [at for at, _ in heard]
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) <= 21_000
    assert any(trades == 0 and not closed for _, (_, _, _, trades, closed) in heard)


def test_faults_speak_the_language_of_the_venue() -> None:
    async def body() -> None:
        sim = simulator(evolve(TOY_RULES, lifetime_close=None))
        async with sim.running(), connected(sim, "/toy") as client:
            await client.receive()
            sim.inject(Fault(FaultKind.REFUSE_SUBSCRIBE, duration_s=5))
            await client.say(["subscribe", "btc-usdt/1m", "eth-usdt/1m"])
            assert await client.collect(6) == [["no", "btc-usdt/1m", None], ["no", "eth-usdt/1m", None]]
            sim.inject(Fault(FaultKind.ACK_WITHOUT_DATA, duration_s=5))
            await client.say(["subscribe", "btc-usdt/1m"])
            assert await client.collect(100) == [["ok", "btc-usdt/1m", "0:btc-usdt/1m"]]
            sim.inject(Fault(FaultKind.LOST_ACK, duration_s=5))
            await client.say(["subscribe", "eth-usdt/1m"])
            assert all(message[0] == "0:eth-usdt/1m" for message in await client.collect(20))
            sim.inject(Fault(FaultKind.STREAM_SILENCE, stream="eth-usdt/1m", duration_s=100))
            sim.inject(Fault(FaultKind.LATE_ACK, duration_s=5, delay_s=3))
            await client.say(["unsubscribe", "btc-usdt/1m"])
            await client.say(["ping"])
            assert [message[0] for message in await client.collect(20)] == ["pong", "bye"]
            for kind, text in ((FaultKind.MALFORMED, '["x",'), (FaultKind.TRUNCATED, '["x",17')):
                sim.inject(Fault(kind))
                assert await client.receive_text() == text
            sim.inject(Fault(FaultKind.SHUTDOWN, delay_s=2))
            assert await client.collect(5) == [["leave"]]
            assert client.ending is None
        sim.inject(Fault(FaultKind.REST_LIMIT, delay_s=9))
        limited = await get(sim, "/x")
        assert (limited.status, limited.json) == (403, ["too often", 9])

    run(body)


def test_symbols_may_be_spelled_as_the_venue_does() -> None:
    async def body() -> None:
        sim = simulator(TOY_RULES)
        async with sim.running():
            await trio.sleep(300)
            for name in ("btc-usdt", "btc-usdt!", "BTCUSDT"):
                truth = sim.truth(name, Timeframe("1m"), START_MS, sim.now_ms())
                assert [candle.symbol for candle in truth] == ["BTCUSDT"] * 5
            sim.inject(Fault(FaultKind.HALT, symbol="btc-usdt!", duration_s=9))
            await trio.sleep(1)
            assert sim.market.halted("BTCUSDT", sim.now_ms())
            assert not sim.market.halted("ETHUSDT", sim.now_ms())
            sim.inject(Fault(FaultKind.CORRECTION, symbol="eth-usdt"))
            assert sim.market.tape("ETHUSDT").revision
            sim.inject(Fault(FaultKind.DELIST, symbol="quiet-usdt"))
            assert sim.market.delisted("QUIETUSDT", sim.now_ms() + 1)

    run(body)


def test_binance_has_none_of_it() -> None:
    rules = SPOT_RULES
    assert (rules.closing_push, rules.flat_pushes, rules.previous_again) == (True, True, 0)
    assert (rules.repeat_s, rules.heartbeat_s, rules.idleness) == (None, None, None)
    assert isinstance(simulator(TOY_RULES).dialect, ToyDialect)
