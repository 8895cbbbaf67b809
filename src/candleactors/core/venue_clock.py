"""The venue's clock as far as we know it."""

from __future__ import annotations

from attrs import define

SKEW_MS = 2_000
"""How far a venue's clock may be ahead of a fresh reading of it: drift, and several servers of one venue."""
UNREAD_SKEW_MS = 86_400_000
"""The same while the venue's clock was never read and our own wall clock has to do."""


@define
class VenueClock:
    """Follows the venue's clock from readings over REST, carried forward by a monotonic clock.

    Steps of our own wall clock do not touch it. All methods are synchronous and take ``now_s``, monotonic seconds.
    """

    _server_ms: float | None = None
    _read_at_s: float = 0.0
    _error_ms: float = float("inf")
    round_trip_s: float = 0.0
    """Of the newest reading."""

    def observe(self, server_ms: int, sent_s: float, received_s: float) -> None:
        """Take in a reading: the venue said `server_ms` at some time between `sent_s` and `received_s`.

        The newest reading counts, unless the one before says the same more precisely.
        """
        error_ms = (received_s - sent_s) * 500
        middle_s = (sent_s + received_s) / 2
        self.round_trip_s = received_s - sent_s
        if self._server_ms is not None:
            expected_ms = self._server_ms + (middle_s - self._read_at_s) * 1000
            if abs(expected_ms - server_ms) <= error_ms and error_ms > self._error_ms:
                return
        self._server_ms, self._read_at_s, self._error_ms = float(server_ms), middle_s, error_ms

    @property
    def known(self) -> bool:
        """Whether the venue's clock was read at all."""
        return self._server_ms is not None

    def now_ms(self, now_s: float) -> int | None:
        """Return the venue's time in ms, ``None`` while it is unknown."""
        if self._server_ms is None:
            return None
        return int(self._server_ms + (now_s - self._read_at_s) * 1000)

    def horizon_ms(self, now_s: float, wall_ms: int) -> int:
        """Return the latest instant the venue's clock can be at."""
        now_ms = self.now_ms(now_s)
        return wall_ms + UNREAD_SKEW_MS if now_ms is None else now_ms + SKEW_MS

    def offset_ms(self, now_s: float, wall_ms: int) -> int | None:
        """Return how far the venue's clock is ahead of our wall clock, ``None`` while it is unknown."""
        now_ms = self.now_ms(now_s)
        return None if now_ms is None else now_ms - wall_ms
