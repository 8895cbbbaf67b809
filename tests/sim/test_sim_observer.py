"""The observer: everything that happens to the venue is told once, in words, and pushes are not."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from attrs import evolve
from sim_client import UPGRADE, Refused, connected, get, run, simulator
from wsproto.events import CloseConnection

from candleactors.sim import SPOT_RULES, USDM_RULES, Fault, FaultKind

KLINES = "/ws/btcusdt@kline_1m/ethusdt@kline_1m"


class Told(list[tuple[str, str]]):
    """What an observer was told, in order."""

    def __call__(self, kind: str, text: str) -> None:
        self.append((kind, text))

    def of(self, kind: str) -> list[str]:
        return [text for each, text in self if each == kind]


def test_connections_control_messages_and_requests_are_told_and_pushes_are_not() -> None:
    told = Told()

    async def body() -> None:
        sim = simulator(SPOT_RULES, observe=told)
        async with sim.running(), connected(sim, KLINES) as client:
            await client.ask("SUBSCRIBE", "quietusdt@kline_1m", "btcusdt@kline_5m", "a@trade", id=7)
            await client.ask("UNSUBSCRIBE", "a@trade", id=8)
            await client.ask("LIST_SUBSCRIPTIONS", id="nine")
            await client.ask("SUBSCRIBE", "nonsense", id=10)
            assert len(await client.collect(100)) > 50
            await get(sim, "/api/v3/klines?symbol=NOPE&interval=1m")
            await get(sim, "/api/v3/time")
            await client.send(CloseConnection(1000))
            while await client.stream.receive_some():
                pass

    run(body)
    assert told == [
        ("accepted", "connection 0 names 2"),
        ("control", "connection 0 SUBSCRIBE 3 names id 7 -> ok"),
        ("control", "connection 0 UNSUBSCRIBE 1 names id 8 -> ok"),
        ("control", "connection 0 LIST_SUBSCRIPTIONS id nine -> ok"),
        ("control", "connection 0 id 10 -> error 2 Invalid request: invalid stream"),
        ("rest", "/api/v3/klines?symbol=NOPE&interval=1m 400"),
        ("rest", "/api/v3/time 200"),
        ("ended", "connection 0 by the client with 1000"),
    ]


@pytest.mark.parametrize(
    ("fault", "how"),
    [
        (Fault(FaultKind.DROP), "by the venue without a close frame"),
        (Fault(FaultKind.RESET), "by the venue with a reset"),
        (Fault(FaultKind.CLOSE, code=1008, reason="why not"), "by the venue with 1008 why not"),
        (Fault(FaultKind.SHUTDOWN, delay_s=10), "by the venue with 1001"),
        (None, "by the client without a close frame"),
    ],
)
def test_the_end_of_a_connection_is_told_with_its_cause(fault: Fault | None, how: str) -> None:
    told = Told()

    async def body() -> None:
        sim = simulator(SPOT_RULES, observe=told)
        async with sim.running():
            async with connected(sim, KLINES) as client:
                if fault is not None:
                    sim.inject(fault)
                    await client.collect(60)
            assert sim.counters.live == 0

    run(body)
    assert told.of("ended") == [f"connection 0 {how}"]
    assert told.of("fault") == ([f"{fault.kind} connection 0"] if fault else [])


def test_connections_that_outlive_the_simulator_and_clients_that_do_not_read_are_told_apart() -> None:
    told = Told()

    async def body() -> None:
        sim = simulator(evolve(SPOT_RULES, send_buffer_bytes=2000), observe=told)
        lazy, theirs = trio.testing.lockstep_stream_pair()  # blocks its writer, as a full socket does
        async with sim.running(), trio.open_nursery() as nursery:
            nursery.start_soon(sim.serve_stream, theirs)
            await lazy.send_all(UPGRADE % KLINES.encode())
            await trio.sleep(60)
            assert told.of("ended") == ["connection 0 by the venue, unread"]
            async with trio.open_nursery() as inner:

                async def stay() -> None:
                    async with connected(sim, KLINES) as client:
                        await client.collect(60)

                inner.start_soon(stay)
                await trio.sleep(1)
                inner.cancel_scope.cancel()
        assert told.of("ended")[1:] == ["connection 1 with the simulator"]

    run(body)


def test_faults_of_a_while_are_told_when_they_begin_and_counted_by_push() -> None:
    told = Told()

    async def body() -> None:
        sim = simulator(SPOT_RULES, observe=told)
        async with sim.running(), connected(sim, KLINES) as client:
            sim.inject(Fault(FaultKind.SILENCE, duration_s=100))
            sim.inject(Fault(FaultKind.STREAM_SILENCE, duration_s=200, stream="ethusdt@kline_1m"))
            await client.collect(150)
            sim.inject(Fault(FaultKind.HALF_OPEN))
            sim.inject(Fault(FaultKind.MALFORMED))
            sim.inject(Fault(FaultKind.DELAY))
        assert sim.counters.faults.keys() == {"silence", "stream-silence", "half-open"}
        assert sim.counters.faults["silence"] > 20

    run(body)
    assert told.of("fault") == [
        "silence connection 0 for 100 s",
        "stream-silence connection 0 ethusdt@kline_1m for 200 s",
        "half-open connection 0",
    ]


def test_faults_of_the_venue_and_its_market_are_told_with_their_victims() -> None:
    told = Told()

    async def body() -> None:
        sim = simulator(SPOT_RULES, observe=told)
        async with sim.running(), connected(sim) as client:
            await client.collect(200)
            sim.inject(Fault(FaultKind.CORRECTION, symbol="BTCUSDT", count=2))
            sim.inject(Fault(FaultKind.HALT, duration_s=60))
            sim.inject(Fault(FaultKind.LATE_ACK, duration_s=1, delay_s=3))
            await client.ask("SUBSCRIBE", "a@trade")
            sim.inject(Fault(FaultKind.LOST_ACK, duration_s=1))
            await client.say({"method": "SUBSCRIBE", "params": ["b@trade"], "id": 2})
            await trio.sleep(2)
            sim.inject(Fault(FaultKind.REST_ERROR, duration_s=1, code=502))
            await get(sim, "/api/v3/time")
            await trio.sleep(1)
            sim.inject(Fault(FaultKind.REST_TIMEOUT, duration_s=1))
            with trio.move_on_after(3):
                await get(sim, "/api/v3/ping")

    run(body)
    assert told[1:-1] == [
        ("fault", "correction BTCUSDT 2 minutes back"),
        ("fault", "halt all symbols for 60 s"),
        ("fault", "late-ack connection 0"),
        ("control", "connection 0 SUBSCRIBE 1 names id 1 -> ok in 3 s"),
        ("fault", "lost-ack connection 0"),
        ("control", "connection 0 SUBSCRIBE 1 names id 2 -> no reply"),
        ("fault", "rest-error /api/v3/time"),
        ("rest", "/api/v3/time 502"),
        ("fault", "rest-timeout /api/v3/ping"),
        ("rest", "/api/v3/ping no answer"),
    ]


def test_refused_attempts_and_violations_are_told_as_often_as_they_are_counted() -> None:
    told = Told()

    async def body() -> None:
        sim = simulator(evolve(USDM_RULES, connects=3, weight_per_minute=1), observe=told)

        async def refused(target: str) -> None:
            with pytest.raises(ExceptionGroup) as caught:
                async with connected(sim, target):
                    pytest.fail("accepted")
            assert caught.group_contains(Refused)

        await refused("/nope")
        await refused("/market/stream?streams=" + "x" * 9000)
        async with connected(sim, "/market/ws") as client:
            for number in range(11):
                await client.say({"method": "LIST_SUBSCRIPTIONS", "id": number})
            await client.collect(1)
        await refused("/market/ws")
        sim.inject(Fault(FaultKind.REFUSE_CONNECT, duration_s=1))
        await refused("/market/ws")
        await trio.sleep(1)
        for _ in range(3):
            await get(sim, "/fapi/v1/ping")
        assert sim.counters.refused == len(told.of("refused"))
        assert sim.counters.violations == Counter(text.split()[0] for text in told.of("violation"))

    run(body)
    assert told.of("refused") == ["404 /nope", "414 /market/stream", "429 connect rate", "refuse-connect"]
    assert told.of("violation") == ["message_rate connection 0", "connect_rate", "weight", "told_to_wait"]
    assert told.of("ended") == ["connection 0 by the venue with 1008 Too many requests"]


def test_nobody_needs_to_observe_and_totals_say_nothing_of_observers() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with connected(sim):
            pass
        assert sim.counters.connections == 1
        assert "observe" not in sim.counters.as_dict()

    run(body)
