"""Live candles: everything that closes, once and in order, whatever becomes of connection, reader or feed."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from asgi_client import Client, Event, Live
from e2e_world import World, open_world, spot

from candleactors.model import MINUTE_MS, Candle, Stream, Timeframe
from candleactors.records import candle_record
from candleactors.settings import HealthSettings, RepairSettings, WebSettings
from candleactors.sim.faults import FaultKind

SECOND = "binance-spot:BTCUSDT:1s"
LITTLE = RepairSettings(history=5)


def query(*streams: str, **more: str) -> str:
    return "&".join([*(f"stream={stream}" for stream in streams), *(f"{name}={text}" for name, text in more.items())])


def closed(events: list[Event]) -> list[Event]:
    return [event for event in events if event.name == "candle_update" and event.data["closed"]]


async def read(live: Live, seconds: float) -> list[Event]:
    """Read for so long."""
    events: list[Event] = []
    with trio.move_on_after(seconds):
        async for event in live:
            events += [event]
    return events


def check(world: World, stream: str, events: list[Event], first_ms: int | None = None) -> None:
    """Check that the closed candles of `stream` are the market's own, without a hole or a repetition."""
    parsed = Stream.parse(stream)
    said = [event.data for event in closed(events) if Stream.parse(stream) == _stream(event)]
    opens = [candle["open_time_ms"] for candle in said]
    assert opens, f"no candle of {stream}"
    assert opens == list(parsed.timeframe.opens(opens[0], opens[-1] + 1)), "a hole, a repetition or disorder"
    if first_ms is not None:
        assert opens[0] == first_ms
    truth = {
        true.open_time_ms: true for true in world.sim.truth(parsed.symbol, parsed.timeframe, opens[0], world.now_ms())
    }
    for candle in said:
        said_values = [Decimal(candle[name]) for name in ("open", "high", "low", "close", "volume")]
        assert said_values == list(truth[candle["open_time_ms"]].values()[:5])


def _stream(event: Event) -> Stream:
    return Stream(event.data["venue"], event.data["symbol"], Timeframe(event.data["timeframe"]))


async def test_what_a_connection_says(autojump_clock: object, tmp_path: Path) -> None:
    async with (
        open_world(tmp_path, spot("BTCUSDT", "ETHUSDT", frames=["1s", "1m"]), repair=LITTLE) as world,
        world.feed() as feed,
    ):
        await trio.sleep(20)
        client = Client(world.nursery, feed)
        async with client.live("venue=binance-spot&symbol=BTC/USDT&timeframe=1s") as live:
            events = await read(live, 40)
    assert live.status == 200
    assert live.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert live.headers["cache-control"] == "no-store"
    first, *rest = events
    assert first.name == "connected"
    assert first.data["resumed"] is False
    assert [state["state"] for state in first.data["streams"]] == ["live"]
    assert first.data["streams"][0]["symbol"] == "BTCUSDT"
    check(world, SECOND, rest)
    assert len(closed(rest)) >= 38
    assert {event.name for event in rest} == {"candle_update", "heartbeat"}
    for event in rest:
        if event.name == "candle_update":
            assert (event.data["symbol"], event.data["timeframe"]) == ("BTCUSDT", "1s"), "a foreign candle"
            assert (event.id is not None) == event.data["closed"]


async def test_forming_candles_are_conflated(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world, world.feed() as feed:
        await trio.sleep(5)
        async with Client(world.nursery, feed, WebSettings(conflate_s=5)).live(
            query("binance-spot:BTCUSDT:1m")
        ) as live:
            events = await read(live, 31)
    forming = [event for event in events if event.name == "candle_update" and not event.data["closed"]]
    assert 2 <= len(forming) <= 7


async def test_a_reader_that_comes_back_misses_nothing_and_is_told_nothing_twice(
    autojump_clock: object, tmp_path: Path
) -> None:
    rng = Random(5)
    streams = (SECOND, "binance-spot:ETHUSDT:1s", "binance-spot:ETHUSDT:1m", "binance-spot:BTCUSDT:7s")
    async with (
        open_world(tmp_path, spot("BTCUSDT", "ETHUSDT", frames=["1s", "1m"]), repair=LITTLE) as world,
        world.feed() as feed,
    ):
        await trio.sleep(30)
        client = Client(world.nursery, feed)
        events: list[Event] = []
        last_id: str | None = None
        for number in range(12):
            by_header = number % 2 == 1
            headers = {"last-event-id": last_id} if last_id is not None and by_header else None
            since = {} if last_id is None or by_header else {"since": last_id}
            async with client.live(query(*streams, **since), headers=headers) as live:
                hello = await anext(live)
                assert hello.data["resumed"] == bool(last_id)
                # Some leave in the middle of what they are given at once.
                for _ in range(rng.randrange(0, 60)):
                    events += [await anext(live)]
            last_id = live.last_id
            await trio.sleep(rng.choice([0.0, 0.5, 20.0, 70.0]))
        keys = [event.key for event in closed(events)]
        assert len(keys) == len(set(keys)), "told twice"
        for stream in streams[:3]:
            check(world, stream, events)
        derived = [event.data["open_time_ms"] for event in closed(events) if event.data["timeframe"] == "7s"]
        frame = Timeframe("7s")
        assert derived == list(frame.opens(derived[0], derived[-1] + 1))


async def test_a_reader_that_had_seen_no_candle_yet_misses_none(autojump_clock: object, tmp_path: Path) -> None:
    stream = "binance-spot:BTCUSDT:1m"
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world, world.feed() as feed:
        client = Client(world.nursery, feed)
        await trio.sleep(30)
        async with client.live(query(stream)) as live:
            await anext(live)
        first_ms = Timeframe("1m").floor(world.now_ms())
        await trio.sleep(200)
        async with client.live(query(stream), headers={"last-event-id": live.last_id or ""}) as live:
            events = await read(live, 10)
        check(world, stream, events, first_ms)
        assert len(closed(events)) == 4


async def test_a_restart_of_the_feed_loses_and_repeats_nothing(autojump_clock: object, tmp_path: Path) -> None:
    streams = (SECOND, "binance-spot:ETHUSDT:1m")
    async with open_world(tmp_path, spot("BTCUSDT", "ETHUSDT", frames=["1s", "1m"]), repair=LITTLE) as world:
        events: list[Event] = []
        last_id: str | None = None
        for _ in range(4):
            async with world.feed() as feed:
                client = Client(world.nursery, feed)
                headers = None if last_id is None else {"last-event-id": last_id}
                async with client.live(query(*streams), headers=headers) as live:
                    events += await read(live, 75)
                    last_id = live.last_id
                await trio.sleep(7)
            await trio.sleep(33)
        keys = [event.key for event in closed(events)]
        assert len(keys) == len(set(keys)), "told twice"
        for stream in streams:
            check(world, stream, events)


@pytest.mark.parametrize("written", [str, lambda ms: "2023-11-14T22:13:50Z"])
async def test_since_an_instant(written: Any, autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1s"]), repair=LITTLE) as world, world.feed() as feed:
        await trio.sleep(60)
        async with Client(world.nursery, feed).live(query(SECOND, since=written(1_700_000_030_000))) as live:
            events = await read(live, 5)
        check(world, SECOND, events, 1_700_000_030_000)
        assert len(closed(events)) >= 33


async def test_reading_watches_and_leaving_lets_go(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world, world.feed() as feed:
        await trio.sleep(5)
        client = Client(world.nursery, feed, WebSettings(linger_s=4))
        assert world.subscribed() == ["btcusdt@kline_1m"]
        async with client.live(query("binance-spot:ETHUSDT:1m", "binance-spot:BTCUSDT:1m")) as one:
            await one.until("candle_update", symbol="ETHUSDT")
            assert world.subscribed() == ["btcusdt@kline_1m", "ethusdt@kline_1m"]
            async with client.live(query("binance-spot:ETHUSDT:1m")) as other:
                await other.until("candle_update", symbol="ETHUSDT")
                owners = {name for status in feed.streams() for name in status.owners}
                assert owners == {"config", "sse:1", "sse:2"}
            await trio.sleep(10)
            assert "ethusdt@kline_1m" in world.subscribed(), "the other one reads it still"
        await trio.sleep(3)
        assert "ethusdt@kline_1m" in world.subscribed(), "who reconnects soon finds it"
        await trio.sleep(5)
        assert world.subscribed() == ["btcusdt@kline_1m"]
        assert feed.status().subscribers == 0
        assert client.readers.count == 0


async def test_a_reader_that_stops_reading_is_cut_off_and_costs_little(autojump_clock: object, tmp_path: Path) -> None:
    settings = WebSettings(max_pending=40)
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1s"]), repair=LITTLE) as world, world.feed() as feed:
        client = Client(world.nursery, feed, settings)
        await trio.sleep(10)
        async with client.live(query(SECOND), buffer=0) as slow, client.live(query(SECOND)) as quick:
            before = [await anext(slow) for _ in range(4)]
            await trio.sleep(90)
            rest = [event async for event in slow]
            assert rest[-1].name == "lagged"
            assert len(rest) < 40, "what it did not read is not kept for it"
            seen = closed(before + rest)
            async with client.live(query(SECOND), headers={"last-event-id": slow.last_id or ""}) as again:
                seen += closed(await read(again, 10))
            check(world, SECOND, seen)
            check(world, SECOND, await read(quick, 1))


async def test_gaps_and_revisions_are_told(autojump_clock: object, tmp_path: Path) -> None:
    stream = "binance-spot:BTCUSDT:1s"
    repair = RepairSettings(history=5, deadline_s=5)
    health = HealthSettings(close_grace_s=1)
    async with (
        open_world(tmp_path, spot("BTCUSDT", frames=["1s"]), repair=repair, health=health) as world,
        world.feed() as feed,
    ):
        await trio.sleep(20)
        async with Client(world.nursery, feed).live(query(stream)) as live:
            await read(live, 5)
            world.inject(FaultKind.REST_ERROR, duration_s=60)
            world.inject(FaultKind.DROP, everyone=True)
            world.unlisten()
            await trio.sleep(8)
            world.listen()
            gap = await live.until("gap")
            assert gap.id is not None
            assert gap.data["reason"] == "unrepaired"
            assert gap.data["count"] >= 1
            revision = await live.until("revision")
            assert revision.id is None
            assert revision.data["revision"] >= 1
            assert gap.data["first_open_ms"] <= revision.data["open_time_ms"] <= gap.data["last_open_ms"]


async def test_heartbeats_say_how_the_streams_are(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world, world.feed() as feed:
        await trio.sleep(5)
        async with Client(world.nursery, feed, WebSettings(heartbeat_s=7)).live(
            query("binance-spot:BTCUSDT:1m", "binance-spot:NOSUCHUSDT:1m")
        ) as live:
            started_s = trio.current_time()
            events = await read(live, 200)
    beats = [event for event in events if event.name == "heartbeat"]
    assert 26 <= len(beats) <= 29, trio.current_time() - started_s
    states = {state["symbol"]: state for state in beats[-1].data["streams"]}
    assert states["BTCUSDT"]["state"] == "live"
    assert states["NOSUCHUSDT"]["state"] == "parked"
    assert states["NOSUCHUSDT"]["reason"]
    assert {event.data["symbol"] for event in closed(events)} == {"BTCUSDT"}, "one bad symbol troubles no other"


async def test_the_end_of_the_server_ends_the_connection(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1s"]), repair=LITTLE) as world, world.feed() as feed:
        client = Client(world.nursery, feed)
        await trio.sleep(5)
        async with client.live(query(SECOND)) as live:
            await anext(live)
            client.readers.stopping.set()
            with trio.fail_after(5):
                assert not [event.name async for event in live if event.name != "candle_update"]


@pytest.mark.parametrize(
    ("text", "status", "parameter"),
    [
        ("", 400, "stream"),
        ("stream=nonsense", 400, "stream"),
        ("stream=binance-spot:BTCUSDT:9x", 400, "stream"),
        ("stream=nowhere:BTCUSDT:1m", 404, "stream"),
        ("stream=binance-spot:BTC/NONE:1m", 404, "stream"),
        ("venue=binance-spot&symbol=BTCUSDT", 400, "timeframe"),
        ("venue=binance-spot&symbol=BTCUSDT&timeframe=1m&stream=binance-spot:BTCUSDT:1m", 400, "stream"),
        ("venue=binance-spot&symbol=BTCUSDT&timeframe=1m&since=yesterday", 400, "since"),
        ("venue=binance-spot&symbol=BTCUSDT&timeframe=1m&since=1~0~0~0~0~0~~", 400, "since"),
        ("&".join(f"stream=binance-spot:S{n}USDT:1m" for n in range(4)), 400, "stream"),
        ("stream=binance-spot:BTCUSDT:1m&streams=2", 400, "streams"),
    ],
)
async def test_what_is_refused(text: str, status: int, parameter: str, autojump_clock: object, tmp_path: Path) -> None:
    async with (
        open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), web=WebSettings(max_streams_per_client=3)) as world,
        world.feed() as feed,
    ):
        client = Client(world.nursery, feed, world.settings.web)
        answer = await client.get(f"/api/candles/stream?{text}")
        assert answer.error[::2] == (status, parameter)
        assert client.readers.count == 0


async def test_no_more_clients_than_there_is_room_for(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"])) as world, world.feed() as feed:
        client = Client(world.nursery, feed, WebSettings(max_clients=1))
        async with client.live(query(SECOND)) as live:
            await anext(live)
            answer = await client.get(f"/api/candles/stream?{query(SECOND)}")
            assert answer.error == (503, "too_many_clients", None)
            assert answer.headers["retry-after"] == "5"
        async with client.live(query(SECOND)) as live:
            assert (await anext(live)).name == "connected"


async def test_a_forming_candle_is_sent_as_the_store_would_have_it(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world, world.feed() as feed:
        await trio.sleep(5)
        subscription = feed.candles(["binance-spot:BTCUSDT:1m"], forming=True)
        async with Client(world.nursery, feed).live(query("binance-spot:BTCUSDT:1m")) as live:
            event = await live.until("candle_update", closed=False)
            told = await anext(subscription)
            assert isinstance(told, Candle)
            assert event.data == candle_record(told)
            assert event.data["close_time_ms"] == event.data["open_time_ms"] + MINUTE_MS - 1
