"""What a venue's actors say to each other. Facts are named in the past tense, wishes in the imperative."""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from candleactors.actors.delivery import Receipt
from candleactors.actors.mailbox import Mailbox
from candleactors.core.fetch import Fetch
from candleactors.errors import CandleactorsError
from candleactors.model import Candle, Gap, Stream
from candleactors.venues.base import Decoded


@frozen
class Batch:
    """What one connection read at once. To the sequencer."""

    decoded: Decoded
    received_ms: int


@frozen
class Open:
    """Say what the store has of `streams`. To the backfill, which answers `Opened` for each."""

    streams: tuple[Stream, ...]


@frozen
class Opened:
    """What the store has of a stream: the open time of the last interval told of, be it by a closed candle or a gap,
    its gaps, and its last candles. To the sequencer."""

    stream: Stream
    resume_after_ms: int | None
    gaps: tuple[Gap, ...]
    recent: tuple[Candle, ...]


@frozen
class Fetched:
    """The answer to a `Fetch`; `venue_now_ms` is the venue's time when it was asked. To the sequencer."""

    fetch: Fetch
    rows: list[Candle]
    venue_now_ms: int


@frozen
class FetchFailed:
    """There will be no answer to a `Fetch`. To the sequencer."""

    fetch: Fetch
    error: CandleactorsError


@frozen
class Reading:
    """The newest rows of a silent stream, ``None`` where REST did not answer. To a health monitor."""

    stream: Stream
    rows: list[Candle] | None
    venue_now_ms: int


@frozen
class Read:
    """Read the newest rows of a silent stream. To the backfill, which also passes them to the sequencer."""

    stream: Stream
    reply: Mailbox[Reading]


@frozen
class Compared:
    """What a comparison of stored candles of a stream with the venue brought, after a second look. To the sequencer.

    `revisions` were missing or stored otherwise; `history`, of the stream or of what derives from it, is for the store
    alone: from before everything that was stored, or outages of the venue. From `renew_ms` on, where given, is to be
    derived anew.
    """

    stream: Stream
    receipt: Receipt
    revisions: tuple[Candle, ...] = ()
    history: tuple[Candle | Gap, ...] = ()
    renew_ms: int | None = None


SequencerMessage: TypeAlias = Batch | Opened | Fetched | FetchFailed | Compared
Wish: TypeAlias = Fetch | Read | Open
