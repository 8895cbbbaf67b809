"""What a feed keeps is counted, and does not grow with time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
from attrs import evolve

from candleactors.core.delivered import Delivered, Told, fingerprint
from candleactors.model import Candle, Timeframe
from candleactors.settings import VenueSettings
from candleactors.simulation import Plan, Scale, draw, run
from candleactors.simulation.growth import reachable
from candleactors.simulation.plan import Audience


def quiet() -> Plan:
    """Four symbols in 1s, three times of ten minutes in which nothing goes wrong."""
    plan = draw(1, Scale(streams=4, faults_per_hour=0, calm=frozenset({"delist"})))
    venue = VenueSettings(
        symbols=tuple(spec.symbol for spec in plan.symbols[:4]),
        timeframes=(Timeframe("1s"),),
        websocket_url="ws://binance-spot:80",
        rest_url="http://binance-spot:80",
    )
    troubles = tuple((700.0 * number + 10, 700.0 * number + 600) for number in range(3))
    return evolve(
        plan,
        settings=evolve(plan.settings, venues={"binance-spot": venue}),
        symbols=tuple(evolve(symbol, trades_per_minute=10.0) for symbol in plan.symbols),
        troubles=troubles,
        peace_s=100.0,
        readers=(Audience(),),
    )


@contextmanager
def everything_remembered() -> Iterator[None]:
    """Forget nothing of what was delivered."""

    def note(self: Delivered, candle: Candle) -> None:
        self._told[candle.open_time_ms] = Told(fingerprint(candle), candle.revision, False)

    with patch.object(Delivered, "_note", note):
        yield


def test_a_feed_does_not_grow() -> None:
    run(quiet()).check()


def test_a_leak_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("candleactors.simulation.growth._MOST_MORE", 2_000)  # a leak of hours need not be awaited
    with everything_remembered():
        outcome = run(quiet())
    assert [breach.where for breach in outcome.breaches] == ["memory"]


def test_what_is_kept_is_counted_once() -> None:
    shared = [object()]
    assert reachable([shared, shared]) == 3
    assert reachable([pytest, run]) == 1
