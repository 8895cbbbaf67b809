"""What the demo watches, with which settings, and what goes wrong meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from candleactors.model import HOUR_MS, Stream, Timeframe
from candleactors.settings import (
    BackoffSettings,
    HealthSettings,
    RepairSettings,
    Settings,
    StoreSettings,
    SupervisionSettings,
    VenueSettings,
)
from candleactors.sim import SPOT_RULES, USDM_RULES, Fault, FaultKind, FaultScript, Rules, chaos

VENUES: Final = (SPOT_RULES.name, USDM_RULES.name)
"""Watched unless the user says otherwise."""
TIMEFRAMES: Final = tuple(map(Timeframe, ("1s", "1m", "5m", "15m", "1h")))
MARKET_HISTORY_MS: Final = 12 * HOUR_MS
FIRST_HOUR_MS: Final = 8_000
"""How long before the end of an hour the venues' clocks start, so that candles of every timeframe close at once."""
STREAMS_PER_CONNECTION: Final = 20
_FIRST_FAULT_S: Final = 3.0
_REST_FAULTS_PER_HOUR: Final = 240.0


@frozen
class Options:
    """What the user asked for. ``None`` stands for running until told to stop, for forgetting the candles, for no
    dashboard.
    """

    seconds: float | None = None
    seed: int = 7
    symbols: int = 8
    chaos: bool = False
    venues: tuple[str, ...] = VENUES
    store: Path | None = None
    port: int | None = None


@frozen
class Endpoint:
    """Where a simulated venue listens: base URLs without a path."""

    websocket: str
    rest: str


def streams(rules: Rules, symbols: Iterable[str]) -> tuple[Stream, ...]:
    """Return the streams to watch on a venue: each of its `symbols` in every one of `TIMEFRAMES` it has."""
    frames = [timeframe for timeframe in TIMEFRAMES if timeframe in rules.timeframes]
    return tuple(Stream(rules.name, symbol, timeframe) for symbol in symbols for timeframe in frames)


def settings(endpoints: Mapping[str, Endpoint], store: Path) -> Settings:
    """Return the settings of the demo's feed: tightened, so that a run of seconds shows what else takes minutes."""
    return Settings(
        venues={
            name: VenueSettings(
                websocket_url=endpoint.websocket,
                rest_url=endpoint.rest,
                streams_per_connection=STREAMS_PER_CONNECTION,
                handshake_timeout_s=3.0,
                ack_timeout_s=3.0,
            )
            for name, endpoint in endpoints.items()
        },
        store=StoreSettings(path=store),
        health=HealthSettings(interval_s=3.0, stale_after_s=10.0, first_data_s=5.0, close_grace_s=1.0, idle_s=5.0),
        repair=RepairSettings(history=60, request_timeout_s=3.0),
        backoff=BackoffSettings(initial_s=0.2, max_s=3.0, stable_after_s=3.0),
        supervision=SupervisionSettings(breaker_rest_s=3.0),
    )


def faults(seed: int, for_s: float) -> FaultScript:
    """Return what goes wrong on one venue in `for_s` seconds: connections break, fall silent and lag; REST stumbles."""
    sockets = chaos(seed, first_s=_FIRST_FAULT_S, for_s=for_s)
    rest = (
        Fault(FaultKind.REST_ERROR, at_s=_FIRST_FAULT_S, duration_s=1.0, code=503),
        Fault(FaultKind.REST_TRUNCATED, at_s=_FIRST_FAULT_S, duration_s=1.0),
        Fault(FaultKind.REST_LIMIT, at_s=_FIRST_FAULT_S, duration_s=1.0, code=429, delay_s=1.0),
        Fault(FaultKind.REST_TIMEOUT, at_s=_FIRST_FAULT_S, duration_s=0.5),
    )
    rates = tuple((fault, _REST_FAULTS_PER_HOUR) for fault in rest)
    return FaultScript(faults=sockets.faults, rates=rates, seed=seed, for_s=for_s)
