"""Messages that are none: counted, bounded, and never a wrong candle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from e2e_world import open_world, spot, usdm

from candleactors.sim.faults import FaultKind
from candleactors.sim.wire import text_frame


@pytest.mark.parametrize(
    ("kind", "more", "survives"),
    [
        (FaultKind.MALFORMED, {}, True),
        (FaultKind.TRUNCATED, {}, True),
        (FaultKind.INVALID_UTF8, {}, True),
        (FaultKind.HUGE, {"count": 200}, True),
        (FaultKind.HUGE, {"count": 10_240}, False),
    ],
    ids=str,
)
async def test_a_bad_frame_is_counted_and_the_stream_goes_on(
    autojump_clock: object, tmp_path: Path, kind: FaultKind, more: Any, survives: bool
) -> None:
    async with open_world(tmp_path) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(30)
            for _ in range(20 if survives else 2):
                world.inject(kind, **more)
                await trio.sleep(5)
            await trio.sleep(60)
            status = feed.status()
            assert status.healthy
        await judge.verdict()
        assert not judge.gaps
        if survives:
            assert status.venues[0].rejected == 20
            assert world.sim.counters.connections == 1
            lines = world.log.named("messages rejected")
            assert 0 < len(lines) <= 20
            assert all(len(str(line["excerpt"])) <= 210 for line in lines)
        else:
            assert world.sim.counters.connections >= 2
            assert status.venues[0].connections[0].last_disconnect is not None
            assert "1009" in status.venues[0].connections[0].last_disconnect


LIES = [
    b'{"stream":"btcusdt@kline_1m","data":{"e":"kline"}}',
    b'{"stream":"btcusdt@kline_1m","data":null}',
    b"[]",
    b"null",
    b"NaN",
    b'"\\ud800"',
    b"",
    b"[" * 100_000,
    b'{"result":null,"id":99999999999999999999999}',
    b'{"result":null,"id":-1}',
    b'{"result":null,"id":1}',
    b'{"id":2,"error":{"code":2,"msg":"no"}}',
    b'{"error":{"code":2,"msg":"no"}}',
    b'{"result":["btcusdt@kline_1m","nonsense"],"id":7}',
]


def kline(open_ms: int, *, closed: bool, price: str = "1.00", close_ms: int | None = None) -> bytes:
    """Return a well-formed kline of BTCUSDT's minute that the venue never had."""
    until = open_ms + 59_999 if close_ms is None else close_ms
    return (
        f'{{"stream":"btcusdt@kline_1m","data":{{"e":"kline","E":{open_ms + 60_001},"s":"BTCUSDT","k":{{"t":{open_ms},'
        f'"T":{until},"s":"BTCUSDT","i":"1m","f":1,"L":2,"o":"{price}","c":"{price}","h":"{price}","l":"{price}",'
        f'"v":"1.0","n":2,"x":{str(closed).lower()},"q":"{price}","V":"0","Q":"0","B":"0"}}}}}}'
    ).encode()


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie[:40].decode("ascii", "replace"))
async def test_lies_change_nothing(autojump_clock: object, tmp_path: Path, lie: bytes) -> None:
    async with open_world(tmp_path, spot("BTCUSDT")) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(20)
            for _ in range(3):
                for connection in world.connections():
                    connection.send_frame(text_frame(lie))
                await trio.sleep(10)
            await trio.sleep(70)
            assert feed.status().healthy
        await judge.verdict()
        assert not judge.gaps


async def test_impossible_candles_are_not_delivered(autojump_clock: object, tmp_path: Path) -> None:
    """Candles from the future, off their grid, from long ago, and contradictions of what was delivered."""
    async with open_world(tmp_path, spot("BTCUSDT", frames=("1m",)), usdm()) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(100)
            opened = world.now_ms() // 60_000 * 60_000
            for frame in (
                kline(opened + 3_600_000, closed=True),
                kline(opened + 3_600_000, closed=False),
                kline(opened, closed=True),  # not over yet
                kline(opened + 1_000, closed=False, close_ms=opened + 60_999),
                kline(opened - 60_000, closed=True),  # contradicts what was delivered
                kline(opened - 6_000_000, closed=True),
                kline(opened - 6_000_000, closed=False),
                kline(-60_000, closed=True),
                kline(opened, closed=False, price="-1.00"),
                kline(opened, closed=False, price="NaN"),
                kline(opened, closed=True, price="1e999999"),
                kline(opened, closed=True, close_ms=opened - 1),
            ):
                for connection in world.connections():
                    connection.send_frame(text_frame(frame))
                await trio.sleep(1)
            await trio.sleep(150)
            assert feed.status().healthy
        await judge.verdict()
        assert not judge.gaps
        assert not judge.revisions
