"""Fetches: wishes for rows over REST, as values."""

from __future__ import annotations

from enum import IntEnum

from attrs import frozen

from candleactors.model import Stream


class Urgency(IntEnum):
    """Why rows are wanted; lower is served first."""

    HOLE = 0
    START = 1
    OVERDUE = 2
    DOUBT = 3
    GAP = 4
    VERIFY = 5


@frozen
class Fetch:
    """A wish for at most `limit` rows of `stream` from `start_ms` on; the newest ones where it is ``None``."""

    stream: Stream
    start_ms: int | None
    limit: int
    urgency: Urgency
