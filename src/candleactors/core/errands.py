"""Errands: which streams of one venue are to be compared with it, one at a time, in the order they were asked for.

An errand is shared by everybody who asked for what it covers, and remembers how far it has come, so that whoever does
it can be restarted in the middle.
"""

from __future__ import annotations

from attrs import define

from candleactors.model import Stream


@define(eq=False)
class Errand:
    """The comparison of one stream, from `start_ms` on; ``None``: its most recent candles and its holes."""

    stream: Stream
    start_ms: int | None
    lacking: bool = False
    """Only what is not stored is asked for; without `start_ms`, only what lies in holes."""
    candles: int = 0
    repaired: int = 0
    """See `candleactors.model.SyncStatus`."""
    outages: int = 0
    """Intervals that the venue was found to have nothing for."""
    error: str | None = None
    """Why it was given up."""
    ended_ms: int | None = None
    """By our wall clock; ``None`` as long as it is not done."""
    lives: int = 0
    """How many lives of the actor have worked on it."""
    resume_ms: int | None = None
    """What opens from here on was compared."""
    oldest_ms: int | None = None
    """From where on something was stored when it began."""
    extended_ms: int | None = None
    """From where on something is stored because of it."""
    derived_since_ms: dict[Stream, int] | None = None
    """From where on something that derives from the stream was stored then."""

    def covers(self, stream: Stream, start_ms: int | None, lacking: bool = False) -> bool:
        """Whether it compares what another one would."""
        if self.stream != stream or self.lacking != lacking:
            return False
        if self.start_ms is None or start_ms is None:
            return self.start_ms is start_ms
        return self.start_ms <= start_ms


class Errands:
    """See the module's description. Synchronous."""

    def __init__(self) -> None:
        self.current: Errand | None = None
        """The one that is being done."""
        self._waiting: list[Errand] = []

    def ask(self, stream: Stream, start_ms: int | None, lacking: bool = False) -> Errand:
        """Return the errand that compares `stream` from `start_ms` on: one that does so already, or a new one.

        With `lacking` it asks only for what is not stored. One that waits for its turn is made longer; one that is
        being done is waited for.
        """
        for errand in [*([self.current] if self.current else []), *self._waiting]:
            if errand.covers(stream, start_ms, lacking):
                return errand
        for errand in self._waiting:
            alike = errand.stream == stream and errand.lacking == lacking
            if alike and errand.start_ms is not None and start_ms is not None:
                errand.start_ms = start_ms  # earlier, or it would be covered
                return errand
        errand = Errand(stream, start_ms, lacking)
        self._waiting.append(errand)
        return errand

    def begin(self, errand: Errand) -> None:
        """Let it be the turn of `errand`, which waits, or had its turn already."""
        if errand is not self.current:
            self._waiting.remove(errand)
            self.current = errand

    def end(self, errand: Errand, now_ms: int, error: str | None = None) -> None:
        """Take notice that `errand` is done, or was given up because of `error`."""
        errand.ended_ms, errand.error = now_ms, error
        if errand is self.current:
            self.current = None
        else:
            self._waiting.remove(errand)

    @property
    def waiting(self) -> tuple[Errand, ...]:
        """Those that wait for their turn, in order."""
        return tuple(self._waiting)
