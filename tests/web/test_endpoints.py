"""Streams, gaps, backfill, health: what the other endpoints say and do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from asgi_client import Client
from attrs import asdict
from e2e_world import open_world, spot

from candleactors.model import Gap, GapReason, Stream, Timeframe
from candleactors.settings import RepairSettings, WebSettings
from candleactors.sim.faults import FaultKind
from candleactors.stores.sqlite import SqliteStore

LITTLE = RepairSettings(history=5)
BTC = "binance-spot:BTCUSDT:1m"
ETH = "binance-spot:ETHUSDT:7m"


async def test_what_is_watched(autojump_clock: object, tmp_path: Path) -> None:
    venue = spot("BTCUSDT", "GONEUSDT", frames=["1m"], derived=(Timeframe("5m"),), unknown_symbols="park")
    async with open_world(tmp_path, venue, repair=LITTLE) as world, world.feed() as feed:
        client = Client(world.nursery, feed)
        states = (await client.get("/api/streams")).json()["streams"]
        assert {state["state"] for state in states} <= {"starting", "waiting", "repairing"}
        await trio.sleep(90)
        states = (await client.get("/api/streams")).json()["streams"]
        found = {(state["symbol"], state["timeframe"]): state for state in states}
        assert found.keys() == {(symbol, frame) for symbol in ("BTCUSDT", "GONEUSDT") for frame in ("1m", "5m")}
        live = found["BTCUSDT", "1m"]
        assert (live["state"], live["owners"], live["made_from"]) == ("live", ["config"], None)
        assert live["silent_s"] < 5
        assert live["last_closed_open_ms"] == Timeframe("1m").floor(world.now_ms()) - 60_000
        assert (found["BTCUSDT", "5m"]["state"], found["BTCUSDT", "5m"]["made_from"]) == ("live", "1m")
        assert found["GONEUSDT", "5m"]["state"] == found["GONEUSDT", "1m"]["state"] == "parked"
        assert found["GONEUSDT", "1m"]["reason"]


async def test_watch_and_let_go(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world, world.feed() as feed:
        client = Client(world.nursery, feed)
        body = {"streams": ["binance-spot:ETH/USDT:7m", BTC, BTC]}
        answer = await client.request("PUT", "/api/streams", body=body)
        assert answer.status == 200
        told = {(state["symbol"], state["timeframe"]): state["owners"] for state in answer.json()["streams"]}
        assert told == {("ETHUSDT", "7m"): ["api"], ("BTCUSDT", "1m"): ["config", "api"]}
        await trio.sleep(10)
        assert world.subscribed() == ["btcusdt@kline_1m", "ethusdt@kline_1m"]
        answer = await client.request("DELETE", f"/api/streams?stream={ETH}&stream={BTC}")
        assert [state["owners"] for state in answer.json()["streams"]] == [[], ["config"]]
        await trio.sleep(10)
        assert world.subscribed() == ["btcusdt@kline_1m"]
        again = await client.request("DELETE", f"/api/streams?stream={ETH}")
        assert again.status == 200, "to let go twice is no error"


async def test_interest_ends_in_time(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world, world.feed() as feed:
        body = {"streams": [ETH], "owner": "strategy:7", "expires_after_s": 30, "priority": 5}
        assert (await Client(world.nursery, feed).request("PUT", "/api/streams", body=body)).status == 200
        await trio.sleep(20)
        assert feed.status().owners["strategy:7"] == 1
        await trio.sleep(15)
        assert "strategy:7" not in feed.status().owners


@pytest.mark.parametrize(
    ("body", "code", "parameter"),
    [
        ({"streams": []}, "invalid_body", "streams"),
        ({"streams": ["x"]}, "invalid_body", "streams[0]"),
        ({"streams": [BTC], "owner": "config"}, "invalid_body", "owner"),
        ({"streams": [BTC], "owner": "sse:1"}, "invalid_body", "owner"),
        ({"streams": [BTC], "owner": ""}, "invalid_body", "owner"),
        ({"streams": [BTC], "owner": "x" * 65}, "invalid_body", "owner"),
        ({"streams": [BTC], "expires_after_s": 0}, "invalid_body", "expires_after_s"),
        ({"streams": [BTC], "priority": 10**9}, "invalid_body", "priority"),
        ({"streams": BTC}, "invalid_body", "streams"),
        ({"streams": [5]}, "invalid_body", "streams[0]"),
        ({}, "invalid_body", "streams"),
        ([], "invalid_body", None),
        (None, "invalid_body", None),
        ({"streams": [BTC], "own": "me"}, "invalid_body", "own"),
    ],
)
async def test_what_cannot_be_watched(
    body: Any, code: str, parameter: str | None, autojump_clock: object, tmp_path: Path
) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world, world.feed() as feed:
        before = feed.status().owners
        answer = await Client(world.nursery, feed).request("PUT", "/api/streams", body=body)
        assert answer.error == (400, code, parameter)
        assert feed.status().owners == before


async def test_a_body_that_is_no_json(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world, world.feed() as feed:
        answer = await Client(world.nursery, feed).request("PUT", "/api/streams", raw=[b'{"streams": ', b"["])
        assert answer.error == (400, "invalid_body", None)


async def test_gaps(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world:
        stream = Stream.parse("binance-spot:OLDUSDT:1m")
        stored = await SqliteStore.open(world.path, threaded=False)
        await stored.write([], [Gap(stream, 60_000, 240_000, GapReason.VENUE)])
        await stored.aclose()
        async with world.feed() as feed:
            client = Client(world.nursery, feed)
            answer = await client.get("/api/gaps?venue=binance-spot&symbol=OLDUSDT&timeframe=1m")
            gap = {
                "venue": "binance-spot", "symbol": "OLDUSDT", "timeframe": "1m", "first_open_ms": 60_000,
                "last_open_ms": 240_000, "count": 4, "reason": "venue",
            }  # fmt: skip
            assert answer.json() == {"gaps": [gap]}
            assert (await client.get("/api/gaps/summary")).json() == {
                "open": {"gaps": 1, "candles": 4, "venue": 1, "unrepaired": 0},
                "repaired_24h": {"candles": 0, "streams": 0},
                "oldest": gap,
            }


async def test_backfill(autojump_clock: object, tmp_path: Path) -> None:
    venue = spot("BTCUSDT", "ETHUSDT", frames=["1m"])
    async with open_world(tmp_path, venue, repair=LITTLE) as world, world.feed() as feed:
        client = Client(world.nursery, feed)
        await trio.sleep(30)
        answer = await client.request("POST", "/api/v1/market-data/sync-all")
        assert answer.status == 202
        progress = answer.json()
        assert (progress["state"], progress["streams"], progress["failed"]) == ("running", 2, 0)
        await trio.sleep(60)
        progress = (await client.get(f"/api/v1/market-data/sync/{progress['id']}")).json()
        assert (progress["state"], progress["done"], progress["failed"]) == ("done", 2, 0)
        assert progress["candles"] > 0
        one = await client.request("POST", "/api/v1/market-data/sync?venue=binance-spot&symbol=BTCUSDT&timeframe=7m")
        assert (one.status, one.json()["streams"]) == (202, 1)
        known = (await client.get("/api/v1/market-data/sync")).json()["syncs"]
        assert [sync["id"] for sync in known] == [progress["id"], one.json()["id"]]
        assert (await client.get("/api/v1/market-data/sync/none")).error == (404, "not_found", "sync_id")
        bad = await client.request("POST", "/api/v1/market-data/sync-all?start=now")
        assert bad.error == (400, "invalid_parameter", "start")


async def test_health(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world, world.feed() as feed:
        client = Client(world.nursery, feed)
        early = await client.get("/readyz")
        assert (early.status, early.json()["status"]) == (503, "unready")
        assert early.json()["problems"] == ["binance-spot: 0 of 1 streams are served"]
        await trio.sleep(10)
        assert (await client.get("/readyz")).json() == {"status": "ready", "problems": []}
        assert (await client.get("/healthz")).json() == {"status": "ok", "problems": []}
        status = (await client.get("/system/status")).json()
        assert status["venues"][0]["connections"][0]["connected"] is True
        assert status.keys() == asdict(feed.status()).keys()
        metrics = await client.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        assert b"candleactors_" in metrics.body
        world.unlisten()
        world.inject(FaultKind.DROP, everyone=True)
        await trio.sleep(5)
        assert (await client.get("/readyz")).status == 503
        assert (await client.get("/healthz")).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nope", 404, "not_found"),
        ("GET", "/api/nope", 404, "not_found"),
        ("GET", "/page/../server.py", 404, "not_found"),
        ("GET", "/page/..%2fserver.py", 404, "not_found"),
        ("GET", "/page//etc/passwd", 404, "not_found"),
        ("GET", "/page/nope.js", 404, "not_found"),
        ("POST", "/api/candles", 405, "method_not_allowed"),
        ("DELETE", "/system/status", 405, "method_not_allowed"),
        ("TRACE", "/", 405, "method_not_allowed"),
    ],
)
async def test_what_is_not_there(
    method: str, path: str, status: int, code: str, autojump_clock: object, tmp_path: Path
) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"])) as world, world.feed() as feed:
        answer = await Client(world.nursery, feed).request(method, path)
        assert answer.error == (status, code, None)


async def test_a_mistake_of_ours_tells_nothing(
    autojump_clock: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"])) as world, world.feed() as feed:

        def fail() -> None:
            raise ZeroDivisionError("a secret")

        monkeypatch.setattr(feed, "streams", fail)
        answer = await Client(world.nursery, feed, WebSettings()).get("/api/streams")
        assert answer.error == (500, "error", None)
        assert b"secret" not in answer.body


async def test_pages(autojump_clock: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"])) as world, world.feed() as feed:
        client = Client(world.nursery, feed)
        built = tmp_path / "STAMP"
        built.touch()
        monkeypatch.setattr("candleactors.web.pages._BUILT", built)
        for path in ("/", "/chart", "/docs"):
            answer = await client.get(path)
            assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert answer.body.startswith(b"<!doctype html>")
        script = await client.get("/page/index.js")
        assert (script.status, script.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
        assert script.headers["cache-control"] == "no-cache"
        built.unlink()
        without = await client.get("/")
        assert without.error == (404, "not_found", None)
        assert b"CANDLEACTORS_SKIP_PAGE" in without.body
