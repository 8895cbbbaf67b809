"""Pages of candles: stored ones and those made on the fly, forwards and backwards, as JSON and CSV."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlencode

import pytest
import trio
from asgi_client import Client
from e2e_world import open_world, spot

from candleactors import read_klines, resample
from candleactors.model import HOUR_MS, MINUTE_MS, Candle, Source, Stream, Timeframe
from candleactors.records import FIELDS, candle_record
from candleactors.settings import RepairSettings
from candleactors.stores.sqlite import SqliteStore
from candleactors.web.history import read_page

EPOCH = 1_699_999_200_000
"""A full hour."""
LITTLE = RepairSettings(history=0)


def minute(n: int, rng: Random) -> Candle:
    low, high = sorted(rng.sample(range(100, 10_000), 2))
    opened, closed = rng.randint(low, high), rng.randint(low, high)
    volume, open_ms = Decimal(rng.randrange(0, 500)) / 100, EPOCH + n * MINUTE_MS
    return Candle(
        venue="binance-spot", symbol="OLDUSDT", timeframe=Timeframe("1m"), open_time_ms=open_ms,
        close_time_ms=open_ms + MINUTE_MS - 1, open=Decimal(opened), high=Decimal(high), low=Decimal(low),
        close=Decimal(closed), volume=volume, quote_volume=volume * 7, trades=rng.randrange(1, 9),
        taker_buy_volume=None, taker_buy_quote_volume=None, closed=True, complete=True, source=Source.REST,
        revision=0, received_ms=5,
    )  # fmt: skip


async def store(path: Path, candles: Iterable[Candle]) -> None:
    stored = await SqliteStore.open(path, threaded=False)
    await stored.write(list(candles), [])
    await stored.aclose()


def target(timeframe: str, **more: Any) -> str:
    return "/api/candles?" + urlencode({"venue": "binance-spot", "symbol": "OLDUSDT", "timeframe": timeframe, **more})


async def pages_forward(client: Client, timeframe: str, limit: int, **more: Any) -> list[dict[str, Any]]:
    """Follow the pages from a start to their end."""
    found: list[dict[str, Any]] = []
    url: str | None = target(timeframe, limit=limit, **more)
    while url is not None:
        answer = await client.get(url)
        page = answer.json()
        assert len(page["candles"]) <= limit
        assert page["previous_end_ms"] is None
        found += page["candles"]
        url = None
        if page["next_start_ms"] is not None:
            assert page["candles"], "an empty page that goes on"
            url, _, rest = answer.headers["link"].removeprefix("<").partition(">")
            assert rest == '; rel="next"'
            assert f"start={page['next_start_ms']}" in url
    return found


async def pages_backward(client: Client, timeframe: str, limit: int, **more: Any) -> list[dict[str, Any]]:
    """Follow the pages from the newest to the oldest."""
    found: list[dict[str, Any]] = []
    url: str | None = target(timeframe, limit=limit, **more)
    while url is not None:
        answer = await client.get(url)
        page = answer.json()
        assert len(page["candles"]) <= limit
        assert page["next_start_ms"] is None
        found = page["candles"] + found
        url = None
        if page["previous_end_ms"] is not None:
            url, _, rest = answer.headers["link"].removeprefix("<").partition(">")
            assert rest == '; rel="prev"'
            assert f"end={page['previous_end_ms']}" in url
    return found


@pytest.mark.parametrize("timeframe", ["1m", "7m", "1h", "4h"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_pages_are_the_whole_however_they_are_cut(
    timeframe: str, seed: int, autojump_clock: object, tmp_path: Path
) -> None:
    rng = Random(seed)
    candles = [minute(n, rng) for n in range(1_500) if rng.random() > 0.02]
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world:
        await store(world.path, candles)
        async with world.feed() as feed:
            client = Client(world.nursery, feed)
            whole = candles if timeframe == "1m" else [c for c in resample(candles, timeframe) if c.closed]
            expected: list[dict[str, Any]] = [dict(candle_record(candle)) for candle in whole]
            for limit in (1 + rng.randrange(300), 5_000):
                start = EPOCH - 4 * HOUR_MS - rng.randrange(HOUR_MS)
                assert await pages_forward(client, timeframe, limit, start=start) == expected
                assert await pages_backward(client, timeframe, limit) == expected
            middle = EPOCH + 400 * MINUTE_MS
            late = [record for record in expected if record["open_time_ms"] >= middle]
            assert await pages_forward(client, timeframe, 97, start=middle) == late
            early = [record for record in expected if record["open_time_ms"] <= middle]
            assert await pages_backward(client, timeframe, 97, end=middle) == early
            both = [record for record in late if record["open_time_ms"] <= middle + HOUR_MS]
            assert await pages_forward(client, timeframe, 20, start=middle, end=middle + HOUR_MS) == both


async def test_what_is_stored_goes_before_what_is_made(autojump_clock: object, tmp_path: Path) -> None:
    """A derived timeframe that was stored for a while only is made from its source before that."""
    rng = Random(3)
    candles = [minute(n, rng) for n in range(600)]
    hours = [c.replace(received_ms=77) for c in resample(candles, "1h") if c.closed]
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world:
        await store(world.path, [*candles, *hours[5:]])
        async with world.feed() as feed:
            client = Client(world.nursery, feed)
            for found in (await pages_forward(client, "1h", 4, start=EPOCH), await pages_backward(client, "1h", 4)):
                assert [record["open_time_ms"] for record in found] == [c.open_time_ms for c in hours]
                assert [record["received_ms"] == 77 for record in found] == [False] * 5 + [True] * 5


async def test_large_candles_are_made_from_the_largest_that_fit(autojump_clock: object, tmp_path: Path) -> None:
    rng = Random(4)
    candles = [minute(n, rng) for n in range(60 * 8)]
    hours = [c for c in resample(candles, "1h") if c.closed]
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world:
        await store(world.path, [*candles, *hours])
        async with world.feed() as feed:
            page = (await Client(world.nursery, feed).get(target("4h"))).json()
            assert page["made_from"] == "1h"
            assert len(page["candles"]) == 2
            assert (await Client(world.nursery, feed).get(target("90m"))).json()["made_from"] == "1m"


async def test_a_page_of_a_source_that_is_too_long_is_shorter(
    autojump_clock: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("candleactors.web.history.MOST_READ", 200)
    rng = Random(4)
    candles = [minute(n, rng) for n in range(60 * 20)]
    hours = [candle_record(c) for c in resample(candles, "1h") if c.closed]
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world:
        await store(world.path, candles)
        async with world.feed() as feed:
            client = Client(world.nursery, feed)
            assert len((await client.get(target("1h"))).json()["candles"]) == 3
            assert await pages_backward(client, "1h", 500) == hours
            assert await pages_forward(client, "1h", 500, start=0) == hours
            assert len((await client.get(target("1d"))).json()["candles"]) in (0, 1)


async def test_csv_is_what_can_be_read_back(autojump_clock: object, tmp_path: Path) -> None:
    rng = Random(6)
    candles = [minute(n, rng) for n in range(1_200)]
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world:
        await store(world.path, candles)
        async with world.feed() as feed:
            answer = await Client(world.nursery, feed).get(
                target("1m", limit=5_000), headers={"accept": "text/csv, */*;q=0.1"}
            )
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["vary"] == "accept"
    assert answer.body.decode().split("\n")[0] == ",".join(FIELDS)
    (tmp_path / "page.csv").write_bytes(answer.body)
    assert list(read_klines(tmp_path / "page.csv")) == candles


async def test_what_is_delivered_is_there_at_once(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1s"]), repair=LITTLE) as world, world.feed() as feed:
        subscription = feed.candles()
        for _ in range(5):
            candle = await anext(subscription)
            assert isinstance(candle, Candle)
            answer = await Client(world.nursery, feed).get(
                "/api/candles?venue=binance-spot&symbol=BTC/USDT&timeframe=1s&limit=1"
            )
            assert answer.json()["candles"] == [candle_record(candle)]


@pytest.mark.parametrize(
    ("more", "status", "code", "parameter"),
    [
        ({"timeframe": "1x"}, 400, "invalid_parameter", "timeframe"),
        ({"timeframe": ""}, 400, "invalid_parameter", "timeframe"),
        ({"timeframe": "1ms"}, 400, "invalid_parameter", "timeframe"),
        ({"venue": "okx"}, 404, "not_found", "venue"),
        ({"symbol": ""}, 400, "invalid_parameter", "symbol"),
        ({"symbol": "btc usdt"}, 404, "not_found", "symbol"),
        ({"symbol": "NONE/USDT"}, 404, "not_found", "symbol"),
        ({"limit": 0}, 400, "invalid_parameter", "limit"),
        ({"limit": 5_001}, 400, "invalid_parameter", "limit"),
        ({"limit": "many"}, 400, "invalid_parameter", "limit"),
        ({"start": "yesterday"}, 400, "invalid_parameter", "start"),
        ({"end": "-1"}, 400, "invalid_parameter", "end"),
        ({"timeframe": "99m@nowhere"}, 404, "not_found", "timeframe"),
        ({"start": "9" * 18}, 400, "invalid_parameter", "start"),
        ({"ends": "5"}, 400, "invalid_parameter", "ends"),
    ],
)
async def test_what_is_refused(
    more: dict[str, Any], status: int, code: str, parameter: str, autojump_clock: object, tmp_path: Path
) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world, world.feed() as feed:
        query = {"venue": "binance-spot", "symbol": "BTCUSDT", "timeframe": "1m", **more}
        answer = await Client(world.nursery, feed).get(f"/api/candles?{urlencode(query)}")
        assert answer.error == (status, code, parameter)


@pytest.mark.parametrize("timeframe", ["1m", "354M", "999M", "1w"])
@pytest.mark.parametrize("instant", ["0", str(1 << 48), "0001-01-01", "9999-12-31T23:59:59Z"])
async def test_instants_far_from_all_candles(
    timeframe: str, instant: str, autojump_clock: object, tmp_path: Path
) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world, world.feed() as feed:
        query = f"/api/candles?venue=binance-spot&symbol=BTCUSDT&timeframe={timeframe}"
        client = Client(world.nursery, feed)
        assert [(await client.get(f"{query}&{name}={instant}")).status for name in ("start", "end")] == [200, 200]


@pytest.mark.parametrize("left_out", ["venue", "symbol", "timeframe"])
async def test_what_is_needed(left_out: str, autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world, world.feed() as feed:
        query = {"venue": "binance-spot", "symbol": "BTCUSDT", "timeframe": "1m"}
        del query[left_out]
        answer = await Client(world.nursery, feed).get(f"/api/candles?{urlencode(query)}")
        assert answer.error == (400, "invalid_parameter", left_out)
        twice = await Client(world.nursery, feed).get(target("1m") + "&limit=3&limit=4")
        assert twice.error == (400, "invalid_parameter", "limit")


async def test_what_nobody_stored_is_an_empty_page(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world, world.feed() as feed:
        for more in ({}, {"start": "0"}, {"start": "5000", "end": "4000"}):
            page = (await Client(world.nursery, feed).get(target("7m", **more))).json()
            assert page["candles"] == []
            assert (page["next_start_ms"], page["previous_end_ms"], page["made_from"]) == (None, None, None)


async def test_making_many_candles_lets_others_have_their_turn(autojump_clock: object, tmp_path: Path) -> None:
    rng = Random(8)
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world:
        await store(world.path, [minute(n, rng) for n in range(5_000)])
        async with world.feed() as feed, trio.open_nursery() as nursery:
            turns = 0

            async def count() -> None:
                nonlocal turns
                while True:
                    await trio.lowlevel.checkpoint()
                    turns += 1

            nursery.start_soon(count)
            page = await read_page(feed, Stream("binance-spot", "OLDUSDT", Timeframe("1h")), EPOCH, None, 80)
            nursery.cancel_scope.cancel()
        assert len(page.candles) == 80
        assert turns >= 5


async def test_a_store_that_cannot_be_read_is_unavailable(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=["1m"]), repair=LITTLE) as world, world.feed() as feed:
        await trio.sleep(2)
        client = Client(world.nursery, feed)
        world.path.rename(tmp_path / "elsewhere.sqlite")
        answer = await client.get(target("1m"))
        assert answer.error == (503, "unavailable", None)
        assert "retry-after" in answer.headers
    assert (await client.get(target("1m"))).error == (503, "unavailable", None)
