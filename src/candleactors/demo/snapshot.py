"""Snapshots: everything a screen shows, copied at one moment, so that it can be drawn in another thread."""

from __future__ import annotations

from collections import deque
from typing import Final

import trio
from attrs import frozen

from candleactors import venues
from candleactors.actors.status import FeedStatus
from candleactors.demo.judge import Verdict
from candleactors.demo.run import Demo
from candleactors.demo.tally import Note
from candleactors.model import Candle, Stream

_LATE_MS: Final = 1_500
_RATE_OVER_S: Final = 3.0


@frozen
class StreamLine:
    """One stream as shown. `age_s` counts from the close of its last candle, by the venue's clock."""

    stream: Stream
    last: Candle | None
    closes: tuple[float, ...]
    age_s: float | None
    state: str
    """``live``, ``late``, ``sick``, ``parked``, or ``waiting`` for its first candle."""


@frozen
class Snapshot:
    """A run at one moment."""

    phase: str
    seed: int
    chaos: bool
    address: str | None
    elapsed_s: float
    seconds: float | None
    venue_ms: int
    status: FeedStatus
    verdict: Verdict
    messages: int
    messages_per_s: float
    closed_candles: int
    history: int
    rest_repairs: int
    connections: int
    reconnects: int
    gaps: int
    revisions: int
    lines: tuple[StreamLine, ...]
    notes: tuple[Note, ...]


class Camera:
    """Takes snapshots of one run."""

    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        self._names = {stream: venues.codec(stream.venue).stream_name(stream) for stream in demo.world.streams}
        self._lags_ms = {name: round(venues.codec(name).rules.close_lag_s * 1000) for name in demo.options.venues}
        self._seen: deque[tuple[float, int]] = deque()

    def take(self) -> Snapshot:
        """Return how the run is now. Does not block."""
        demo, tally = self._demo, self._demo.tally
        status, venue_ms = demo.status(), demo.world.time.now_ms()
        return Snapshot(
            phase=demo.phase.value,
            seed=demo.options.seed,
            chaos=demo.options.chaos,
            address=demo.address,
            elapsed_s=demo.elapsed_s,
            seconds=demo.options.seconds,
            venue_ms=venue_ms,
            status=status,
            verdict=demo.verdict,
            messages=demo.messages,
            messages_per_s=self._rate(demo.messages),
            closed_candles=tally.closed_candles,
            history=tally.history,
            rest_repairs=tally.rest_repairs,
            connections=demo.connections,
            reconnects=demo.reconnects,
            gaps=tally.gaps,
            revisions=tally.revisions,
            lines=self._lines(status, venue_ms),
            notes=tuple(tally.notes),
        )

    def _rate(self, messages: int) -> float:
        now_s = trio.current_time()
        self._seen.append((now_s, messages))
        while self._seen[0][0] < now_s - _RATE_OVER_S:
            self._seen.popleft()
        since_s, before = self._seen[0]
        return (messages - before) / (now_s - since_s) if now_s > since_s else 0.0

    def _lines(self, status: FeedStatus, venue_ms: int) -> tuple[StreamLine, ...]:
        sick = {(venue.venue, name) for venue in status.venues for shard in venue.connections for name in shard.sick}
        parked = {name for venue in status.venues for name in venue.parked}
        found = []
        for stream, line in self._demo.tally.lines.items():
            last = line.last
            if str(stream) in parked:
                state = "parked"
            elif (stream.venue, self._names[stream]) in sick:
                state = "sick"
            elif last is None:
                state = "waiting"
            else:
                due_ms = stream.timeframe.next_open(last.next_open_time_ms) + self._lags_ms[stream.venue]
                state = "late" if venue_ms > due_ms + _LATE_MS else "live"
            age_s = None if last is None else max(0, venue_ms - last.next_open_time_ms) / 1000
            found.append(StreamLine(stream, last, tuple(line.closes), age_s, state))
        return tuple(found)
