"""What every format yields: records by line, and what is known of the stream they belong to."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from candleactors.klines.record import Record


@frozen
class Told:
    """What one place says about the stream of a file's rows; ``None`` where it says nothing."""

    venue: str | None = None
    symbol: str | None = None
    timeframe: str | None = None


@frozen
class Records:
    """The rows of a file in a common shape."""

    rows: Iterator[Record]
    told: Told
    """By the file itself."""
    official: bool
    """Whether the rows are all that the exchange gives, in its own shape."""
    sparse: bool
    """Whether rows may lack what not every file gives."""
    last_is_over: bool
    """Whether the last row is as surely closed as those that another follows."""
