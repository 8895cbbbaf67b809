"""Over real loopback sockets, plain and encrypted: the same feed, the same promises."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme

from candleactors import open_feed
from candleactors.model import Candle, Stream, Timeframe
from candleactors.settings import RepairSettings, Settings, StoreSettings, VenueSettings
from candleactors.sim import SPOT_RULES, Fault, FaultKind, Market, Simulator

SECOND = Timeframe("1s")
SYMBOLS = ("BTCUSDT", "ETHUSDT")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def venue(context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Simulator, int]]:
    """Run a spot simulator on a free port around the body."""
    sim = Simulator(Market(7, now_ms()), SPOT_RULES, now_ms, seed=1)
    async with trio.open_nursery() as nursery:
        await nursery.start(sim.run)

        async def serve(*, task_status: trio.TaskStatus[tuple[str, int]]) -> None:
            await sim.serve_tcp(ssl_context=context, task_status=task_status)

        _, port = await nursery.start(serve)
        yield sim, port
        nursery.cancel_scope.cancel()


@pytest.mark.timeout(60)
async def test_feeds_over_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    for module in ("candleactors.transport.websocket", "candleactors.transport.rest"):
        monkeypatch.setattr(f"{module}.default_context", lambda: trusting)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(live, tmp_path / "plain.sqlite", None)
        nursery.start_soon(live, tmp_path / "encrypted.sqlite", context)


async def live(store: Path, context: ssl.SSLContext | None) -> None:
    """Run a feed against a simulator until it has come back from a lost connection; compare with the truth."""
    async with venue(context) as (sim, port):
        secure = "s" if context else ""
        settings = Settings(
            venues={
                "binance-spot": VenueSettings(
                    symbols=SYMBOLS,
                    timeframes=(SECOND,),
                    websocket_url=f"ws{secure}://127.0.0.1:{port}",
                    rest_url=f"http{secure}://127.0.0.1:{port}",
                )
            },
            store=StoreSettings(path=store),
            repair=RepairSettings(history=20),
        )
        said: dict[Stream, list[Candle]] = {}
        async with open_feed(settings) as feed:
            dropped = False
            async for event in feed.candles():
                assert isinstance(event, Candle)
                said.setdefault(event.stream, []).append(event)
                live = min((sum(c.source == "ws" for c in candles) for candles in said.values()), default=0)
                if len(said) == len(SYMBOLS) and live >= 2 and not dropped:
                    dropped = True
                    sim.inject(Fault(FaultKind.DROP))
                if dropped and sim.counters.connections == 2 and live >= 4:
                    break
            stored = {stream: await feed.history(stream) for stream in said}
        for stream, candles in said.items():
            first, last = candles[0].open_time_ms, candles[-1].open_time_ms
            truth = sim.truth(stream.symbol, SECOND, first, last + 1_000)
            assert [c.values() for c in candles] == [t.values() for t in truth]
            assert stored[stream][: len(candles)] == candles
        assert sim.counters.violations == {}
