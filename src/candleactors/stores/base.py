"""What every store provides: durable closed candles, by upsert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from attrs import frozen

from candleactors.core.stretches import Stretch
from candleactors.model import DAY_MS, Candle, Gap, GapSummary, Stream
from candleactors.stores.merging import Tally

REPAIRS_KEPT_MS = 7 * DAY_MS
"""How long a store remembers at least what was repaired."""


@frozen
class Standing:
    """Where a stream stands in a store: its gaps and its newest closed candles, both ascending."""

    gaps: tuple[Gap, ...] = ()
    candles: tuple[Candle, ...] = ()

    @property
    def last_ms(self) -> int | None:
        """The open time of the last interval told of, be it by a candle or a gap; ``None`` where there is none."""
        told = [gap.last_open_ms for gap in self.gaps[-1:]] + [candle.open_time_ms for candle in self.candles[-1:]]
        return max(told, default=None)


class Store(Protocol):
    """Durable candles and gaps. Every method is a checkpoint and may block its task, never the event loop.

    Every method raises `StoreUnavailable` when the medium cannot be read or written; a failed `write` wrote nothing.
    A store belongs to the feed that opened it and is used by one task at a time per method.
    """

    async def write(self, candles: Sequence[Candle], gaps: Sequence[Gap], *, repaired_ms: int | None = None) -> None:
        """Upsert in one transaction.

        A closed candle replaces an open one, never the other way round; among equals the higher `revision` wins, and
        between equal revisions the later write. A complete candle is never replaced by an incomplete one of the same
        revision. Writing a closed candle removes its interval from the stored gaps, and the same transaction notes that
        it was repaired, at `repaired_ms` by our wall clock; without it, when the newest of the candles was received.
        """
        ...

    async def candles(
        self,
        stream: Stream,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int | None = None,
        *,
        newest: bool = False,
    ) -> list[Candle]:
        """Return the candles opening in [`start_ms`, `end_ms`], ascending, at most `limit`: the oldest ones, or the
        newest ones if `newest`."""
        ...

    async def tails(self, starts_ms: Mapping[Stream, int]) -> dict[Stream, list[Candle]]:
        """Return the closed candles of each stream that open at or after its start, ascending; or else its newest one.

        What has none is left out.
        """
        ...

    async def standing(self, stream: Stream, count: int) -> Standing:
        """Return the gaps of `stream` and its newest closed candles, `count` at most."""
        ...

    async def gaps(self, stream: Stream) -> list[Gap]:
        """Return the gaps of `stream` that no candle has filled, ascending and disjoint."""
        ...

    async def covered(
        self, stream: Stream, start_ms: int | None = None, end_ms: int | None = None, *, complete: bool = False
    ) -> list[Stretch]:
        """Return where closed candles open in [`start_ms`, `end_ms`] without an interval between them, ascending.

        What lies between two of these stretches is a hole. With `complete`, only complete candles count. Reads every
        row in question: about a second for a million.
        """
        ...

    async def gap_summary(self, since_ms: int) -> GapSummary:
        """Return how many gaps are open, of all streams, and what was repaired since `since_ms` by our wall clock.

        Repairs are remembered for `REPAIRS_KEPT_MS`, across restarts.
        """
        ...

    async def streams(self) -> list[Stream]:
        """Return every stream the store knows, sorted by name and length of the timeframe."""
        ...

    async def prune(self, stream: Stream, before_ms: int, *, most: int) -> int:
        """Delete what `stream` has from before `before_ms`, in one transaction; return how many candles that were.

        Candles go by their open time, the oldest first and at most `most`, at least one: fewer were deleted means that
        nothing older is left. Gaps lose what opens before `before_ms`, or before the oldest candle that is left to
        delete. What was repaired is remembered as before, and so is the stream.
        """
        ...

    async def reclaim(self) -> None:
        """Give back the space of what was pruned, as far as that keeps nobody waiting; what is left is for next time.

        To be called when the pruning is done: it may take some seconds itself.
        """
        ...

    async def aclose(self) -> None:
        """Write everything out and release the medium; idempotent."""
        ...


class Archive(Store, Protocol):
    """A store as commands use it, which both that come with this package are."""

    async def merge(
        self, candles: Sequence[Candle], *, corrects: bool, repaired_ms: int | None = None
    ) -> dict[Stream, Tally]:
        """Merge closed candles in one transaction, none twice; return what became of them, see `merging.merged`.

        Merging the same candles again changes nothing. Every candle that is new takes its interval out of the gaps,
        which is noted as in `write`.
        """
        ...
