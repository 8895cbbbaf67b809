"""The example in the documentation runs as it stands."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import trio
from test_sockets import venue

from candleactors.model import Candle

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "embed.py"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    return runpy.run_path(str(EXAMPLE))


@pytest.mark.timeout(60)
async def test_embedding(example: dict[str, Any]) -> None:
    async with venue() as (sim, port):
        urls = f"ws://127.0.0.1:{port}", f"http://127.0.0.1:{port}"
        chosen = example["settings"](*urls)
        first = await example["around_a_block"](chosen, 603)
        await trio.sleep(0.5)
        second = await example["as_a_task"](chosen, 2)
        assert sim.counters.violations == {}
    assert len(first) == 603
    assert {event.stream.symbol for event in first} == {"BTCUSDT", "ETHUSDT"}
    candles = [event for event in [*first, *second] if str(event.stream) == "binance-spot:BTCUSDT:1s"]
    assert all(isinstance(candle, Candle) for candle in candles)
    opens = [candle.open_time_ms for candle in second]
    assert opens == [opens[0], opens[0] + 1_000]
    assert opens[0] > max(candle.open_time_ms for candle in candles[: -len(second)])
