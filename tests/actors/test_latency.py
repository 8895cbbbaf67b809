"""Latency: live closes count, on the venue's clock, and nothing else does."""

from __future__ import annotations

import pytest
import trio
from test_subscription import BTC, candle

from candleactors.actors.delivery import Delivery
from candleactors.actors.latency import RECENT_S, CloseLatency
from candleactors.core.venue_clock import VenueClock
from candleactors.model import Candle, Event, Gap, GapReason, Revision, Source
from candleactors.transport.clock import VirtualClock

VENUE = "binance-spot"
AHEAD_MS = 5_000


def came(n: int, source: Source) -> Candle:
    """Return the candle that ends `n` minutes past the epoch."""
    return candle(n - 1).replace(source=source)


async def latency_at(minutes: float, *, read: bool = True) -> CloseLatency:
    """Return a latency that began `minutes` ago, with the venue's clock ahead of ours."""
    clock, venue_clock = VirtualClock(0), VenueClock()
    latency = CloseLatency(clock)
    latency.follow(VENUE, venue_clock)
    if read:
        venue_clock.observe(clock.wall_ms() + AHEAD_MS, clock.monotonic_s(), clock.monotonic_s())
    await trio.sleep(minutes * 60 - AHEAD_MS / 1000)
    return latency


def told(*events: Event) -> list[Delivery]:
    return [Delivery([(BTC, event) for event in events])]


@pytest.mark.parametrize(
    ("events", "counted"),
    [
        ((came(3, Source.WS),), 1),
        ((came(3, Source.WS), came(3, Source.DERIVED), came(3, Source.DERIVED)), 3),
        ((came(2, Source.WS), came(3, Source.WS)), 2),
        ((came(3, Source.REST),), 0),
        ((came(3, Source.FILLED), came(3, Source.DERIVED)), 0),
        ((came(3, Source.DERIVED),), 0),  # from the store
        ((came(2, Source.WS), came(3, Source.REST), came(3, Source.DERIVED)), 1),
        ((came(2, Source.WS), Gap(BTC, 120_000, 120_000, GapReason.VENUE), came(3, Source.DERIVED)), 1),
        ((Revision(came(3, Source.WS)), came(3, Source.DERIVED)), 0),
        ((), 0),
    ],
)
async def test_what_counts(autojump_clock: object, events: tuple[Event, ...], counted: int) -> None:
    latency = await latency_at(3)
    latency.on_fanned_out(told(*events))
    assert latency.total(VENUE).count == counted


async def test_it_is_measured_on_the_clock_of_the_venue(autojump_clock: object) -> None:
    latency = await latency_at(3.5)
    latency.on_fanned_out(told(came(2, Source.WS), came(3, Source.WS)))
    assert latency.total(VENUE).total == pytest.approx(90 + 30)


async def test_a_close_before_its_time_took_no_time(autojump_clock: object) -> None:
    latency = await latency_at(2.99)
    latency.on_fanned_out(told(came(3, Source.WS)))
    assert (latency.total(VENUE).count, latency.total(VENUE).total) == (1, 0.0)


async def test_what_ended_before_the_feed_began_does_not_count(autojump_clock: object) -> None:
    latency = await latency_at(3)
    latency.on_fanned_out(told(came(-5, Source.WS), came(1, Source.WS)))
    assert latency.total(VENUE).count == 1


async def test_nothing_is_measured_while_the_clock_is_unknown(autojump_clock: object) -> None:
    latency = await latency_at(3, read=False)
    latency.on_fanned_out(told(came(3, Source.WS)))
    assert latency.total(VENUE).count == 0


async def test_what_is_recent_passes(autojump_clock: object) -> None:
    latency = await latency_at(3)
    latency.on_fanned_out(told(came(3, Source.WS)))
    assert latency.recent(VENUE).count == 1
    await trio.sleep(RECENT_S)
    assert latency.recent(VENUE).count == 1
    await trio.sleep(RECENT_S)
    assert latency.recent(VENUE).count == 0
    await trio.sleep(100 * RECENT_S)
    latency.on_fanned_out(told(came(3, Source.WS)))
    assert (latency.recent(VENUE).count, latency.total(VENUE).count) == (1, 2)
