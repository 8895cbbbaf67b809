"""Latency: how long after the end of their intervals closed candles reach the readers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import define, field

from candleactors.actors.delivery import Delivery
from candleactors.core.histogram import Histogram
from candleactors.core.venue_clock import VenueClock
from candleactors.model import Candle, Source
from candleactors.transport.clock import Clock

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)
RECENT_S = 300.0
"""What is recent is younger than twice as long; of what is younger than this, all is."""


def _histogram() -> Histogram:
    return Histogram(BOUNDS_S)


@define
class _VenueLatency:
    clock: VenueClock
    total: Histogram = field(factory=_histogram)
    last: Histogram = field(factory=_histogram)
    current: Histogram = field(factory=_histogram)
    turn_s: float = 0.0

    def turn(self, now_s: float) -> None:
        """Forget what is not recent any more."""
        while now_s >= self.turn_s:
            self.last, self.current = self.current, _histogram()
            self.turn_s = max(self.turn_s + RECENT_S, now_s - RECENT_S)


class CloseLatency:
    """Measures, on each venue's own clock, from the end of an interval to the fan-out of its closed candle.

    Live closes count: a candle that the socket told of, and what is derived from it in the same step, if its interval
    ended since the feed began. Those that a hole held up are among them. History, repairs over REST, revisions, filled
    candles and what is derived from the store are not, nor is anything while the venue's clock is unknown.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_s = clock.monotonic_s()
        self._venues: dict[str, _VenueLatency] = {}

    def follow(self, venue: str, clock: VenueClock) -> None:
        """Measure a venue by its clock. Before this, what it delivers is not measured."""
        self._venues[venue] = _VenueLatency(clock, turn_s=self._began_s + RECENT_S)

    def on_fanned_out(self, deliveries: Iterable[Delivery]) -> None:
        """Count what was fanned out just now. Costs a look at each event, and a bisection for each end of interval."""
        closing = [delivery for delivery in deliveries if delivery.events]
        if not closing:
            return
        now_s = self._clock.monotonic_s()
        for delivery in closing:
            latency = self._venues.get(delivery.events[0][0].venue)
            if latency is None or (venue_now_ms := latency.clock.now_ms(now_s)) is None:
                continue
            latency.turn(now_s)
            for close_ms, candles in _live(delivery).items():
                # Clocks are known to some milliseconds: a close may seem to come before its time.
                seconds = max(0.0, (venue_now_ms - close_ms - 1) / 1000)
                if seconds <= now_s - self._began_s:
                    latency.total.observe(seconds, candles)
                    latency.current.observe(seconds, candles)

    def total(self, venue: str) -> Histogram:
        """Return everything measured of a venue since the feed began, in seconds."""
        return self._venues[venue].total.copy()

    def recent(self, venue: str) -> Histogram:
        """Return what was measured within the last `RECENT_S` to twice as long, in seconds."""
        latency = self._venues[venue]
        latency.turn(self._clock.monotonic_s())
        recent = latency.last.copy()
        recent.add(latency.current)
        return recent


def _live(delivery: Delivery) -> Mapping[int, int]:
    """Return how many live closes there are, by the last millisecond of their intervals."""
    counts: dict[int, int] = {}
    live = False
    for _, event in delivery.events:
        if not isinstance(event, Candle):
            live = False
            continue
        # What is derived stands behind what it is derived from.
        live = event.source is Source.WS or (live and event.source is Source.DERIVED)
        if live:
            counts[event.close_time_ms] = counts.get(event.close_time_ms, 0) + 1
    return counts
