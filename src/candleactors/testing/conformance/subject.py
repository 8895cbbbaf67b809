"""The subject: the codec to be tested, what its author says about it, and connections to talk to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar

from hypothesis import HealthCheck, settings

from candleactors.model import Stream, Timeframe
from candleactors.sim import Rules
from candleactors.testing.conformance.rule import broken, require
from candleactors.testing.conformance.samples import (
    FOREIGN_TIMEFRAMES,
    Clock,
    Page,
    Refusal,
    Rows,
    Sample,
    Tickers,
    facts,
)
from candleactors.venues.base import Codec, Session

RECEIVED_MS = 1_790_000_000_123
"""Our own clock whenever anything arrives: later than all samples, so that it is never taken from there by chance."""

fuzzing = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
"""How often is left to the profile of whoever runs it."""


class Subject:
    """What a subclass of `VenueConformance` says, and what its tests share."""

    codec: ClassVar[Callable[[], Codec]]
    """Returns the codec, as the entry point does."""
    samples: ClassVar[Sequence[Sample]]
    """Frames and their candles: at least two closed ones, and two open ones of one stream."""
    conversation: ClassVar[Sequence[bytes]] = ()
    """Frames that the venue sends before any candle, where candles make no sense without them."""
    symbols: ClassVar[Sequence[str]] = ()
    """More symbols in the venue's spelling than the samples have; the longest that the venue has among them."""
    no_symbols: ClassVar[Sequence[str]] = ()
    """Texts that cannot be symbols of the venue: those of another case, those of other venues."""
    rows: ClassVar[Sequence[Rows]] = ()
    clocks: ClassVar[Sequence[Clock]] = ()
    pages: ClassVar[Sequence[Page]] = ()
    tickers: ClassVar[Sequence[Tickers]] = ()
    refusals: ClassVar[Sequence[Refusal]] = ()
    simulator: ClassVar[Rules | None] = None
    """The venue's simulator, for the tests that let a feed live on it."""
    live_symbols: ClassVar[Sequence[str]] = ()
    """What to watch there, in the venue's spelling; by default the first, the third and the last three it has."""
    live_minutes: ClassVar[int] = 12

    @classmethod
    def new_codec(cls) -> Codec:
        """Return a new codec."""
        return cls.codec()

    @property
    def streams(self) -> list[Stream]:
        """The streams of all samples, each once."""
        return list(dict.fromkeys(told.stream for sample in self.samples for told in sample.candles))

    def watched(self, codec: Codec) -> dict[str, Stream]:
        """Return the streams of all samples by wire name, as connections hand them to `Session.decode`."""
        return {codec.stream_name(stream): stream for stream in self.streams}

    def known_symbols(self) -> list[str]:
        """Return every symbol that is said to be one."""
        return list(dict.fromkeys((*(stream.symbol for stream in self.streams), *self.symbols)))

    def known_streams(self, codec: Codec) -> list[Stream]:
        """Return every known symbol in every timeframe."""
        rules = codec.rules
        return [Stream(rules.venue, symbol, frame) for symbol in self.known_symbols() for frame in rules.timeframes]

    def known_names(self, codec: Codec) -> dict[Stream, str]:
        """Return the wire name of every known stream."""
        names = {}
        for stream in self.known_streams(codec):
            try:
                names[stream] = codec.stream_name(stream)
            except ValueError as error:
                broken(f"{stream} is said to be a stream, and is refused: {error}", Codec.stream_name)
        return names

    def connected(self, codec: Codec, watched: Mapping[str, Stream] | None = None) -> Session:
        """Return a session that has subscribed to `watched`, by default everything, and heard the conversation."""
        watched = self.watched(codec) if watched is None else watched
        session = codec.session()
        session.opening()
        for number, names in enumerate(batches(list(watched), codec.rules.max_names_per_request), 1):
            session.subscribe(number, names)
        session.decode(list(self.conversation), watched, RECEIVED_MS)
        return session

    def pool(self) -> list[bytes]:
        """Return every frame there is."""
        return [*self.conversation, *(frame for sample in self.samples for frame in sample.frames)]

    def foreign_timeframes(self, codec: Codec) -> list[Timeframe]:
        """Return timeframes that the venue does not have."""
        return [frame for frame in FOREIGN_TIMEFRAMES if frame not in codec.rules.timeframes]

    def test_samples_are_enough(self) -> None:
        told = [facts(one) for sample in self.samples for one in sample.candles]
        closed = {one for one in told if one[3]}
        says = "a suite needs two closed candles, and two open ones of one stream, to tell their order"
        require(len(closed) > 1, "no sample has two different closed candles", Sample, says)
        opened = Counter(one[0] for one in {one for one in told if not one[3]})
        require(max(opened.values(), default=0) > 1, "no two open candles of one stream differ", Sample, says)
        venue = self.new_codec().rules.venue
        require(
            all(stream.venue == venue for stream in self.streams),
            f"a sample's candle is not of \"{venue}\", the codec's",
            Sample,
        )


def batches(names: Sequence[str], most: int) -> Iterator[list[str]]:
    """Yield `names` in lists of at most `most`."""
    for first in range(0, len(names), max(1, most)):
        yield list(names[first : first + max(1, most)])
