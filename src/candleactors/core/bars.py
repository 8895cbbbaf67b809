"""Bar builders: derived candles from candles or trades, one at a time.

::

    builder = BarBuilder("5m", "1h")
    for candle in candles:                  # closed 1m candles of one market
        for event in builder.add(candle):   # what has just become complete, or has to be corrected
            ...
"""

from __future__ import annotations

from candleactors.core.cascade import cascade
from candleactors.core.derivation import Derivation, Derived
from candleactors.core.trade_bars import TradeBars
from candleactors.errors import InvalidTimeframe, UnorderedCandles
from candleactors.model import Candle, Event, Gap, Revision, Stream, Timeframe, Trade


class BarBuilder:
    """Derives candles of `timeframes` from those of one market in `source`, or from its trades.

    `anchor` applies to the timeframes written without one: ``day``, or what may stand behind a timeframe's ``@``. The
    first item decides which market this is. A timeframe equal to `source` passes the source's own candles on.
    `memory` is how many source intervals back a late or corrected item may lie; memory use is bounded by it and by the
    longest timeframe. With `contiguous` false trade ids need only differ, and `interrupted` tells of lost ones. Never
    blocks; belongs to one task.

    Raises `InvalidTimeframe` where a timeframe is not made of whole source intervals.
    """

    def __init__(
        self,
        *timeframes: Timeframe | str,
        source: Timeframe | str = "1m",
        anchor: str = "day",
        memory: int = 180,
        contiguous: bool = True,
    ) -> None:
        self.source = Timeframe(source) if isinstance(source, str) else source
        self.timeframes = targets(timeframes, anchor)
        self._made = tuple(timeframe for timeframe in self.timeframes if timeframe != self.source)
        self._cascade = cascade(self.source, self._made)
        self._echoes = self.source in self.timeframes
        self._memory = memory
        self._contiguous = contiguous
        self._derivation: Derivation | None = None
        self._trades: TradeBars | None = None

    @property
    def expected_ms(self) -> int | None:
        """Open time of the next source candle in order, ``None`` before the first."""
        return None if self._derivation is None else self._derivation.expected_ms

    def add(self, item: Candle | Gap | Revision | Trade) -> list[Event]:
        """Return what `item` makes deliverable: candles, gaps and revisions, in order for each timeframe.

        A closed candle that opens later than expected makes what it skipped count as absent; one that opens earlier,
        and a revision, corrects what was said. A candle that is not closed does nothing, see `forming`.

        Raises `UnorderedCandles` for an item of another market or timeframe, off the grid, or further back than is
        remembered.
        """
        if isinstance(item, Trade):
            return self._on_trade(item)
        if isinstance(item, Gap):
            return self._events(item, self._derivation_of(item.stream).on_gap(item))
        candle = item.candle if isinstance(item, Revision) else item
        derivation = self._derivation
        if derivation is None or not _belongs(candle, derivation.source):
            derivation = self._derivation_of(candle.stream)
        if not candle.closed:
            return []
        if candle.open_time_ms != derivation.expected_ms:
            if self.source.floor(candle.open_time_ms) != candle.open_time_ms:
                raise UnorderedCandles(f"a candle of {candle.stream} opens at {candle.open_time_ms}, off its grid")
            if derivation.knows(candle):
                return []
        return self._events(item, derivation.on_candle(candle))

    def knows(self, candle: Candle) -> bool:
        """Whether a candle of the same values was added before and is still remembered."""
        return self._derivation is not None and self._derivation.knows(candle)

    def interrupted(self) -> None:
        """Take notice that trades may have been lost since the last one, as by a new connection.

        The candles they may belong to become incomplete. Without effect where trade ids are contiguous, since they
        tell, and where candles are added.
        """
        if self._trades is not None:
            self._trades.interrupted()

    def advance(self, now_ms: int) -> list[Event]:
        """Return what trades have come to by the venue's time `now_ms`, without waiting for the next trade."""
        if self._trades is None:
            return []
        return [event for candle in self._trades.advance(now_ms) for event in self.add(candle)]

    def forming(self, candle: Candle | None = None) -> list[Candle]:
        """Return the open derived candles as they stand, `candle` being the source's open candle where it is known.

        They are neither closed nor complete; one that nothing is known of yet is left out.
        """
        derivation = self._derivation
        if derivation is None:
            return []
        formed = derivation.forming(candle)
        return [formed[number] for number in sorted(formed)]

    def _on_trade(self, trade: Trade) -> list[Event]:
        if self._trades is None:
            stream = Stream(trade.venue, trade.symbol, self.source)
            self._trades = TradeBars(stream, self._memory, contiguous=self._contiguous)
        return [event for candle in self._trades.add(trade) for event in self.add(candle)]

    def _derivation_of(self, stream: Stream) -> Derivation:
        derivation = self._derivation
        if derivation is None:
            if stream.timeframe != self.source:
                raise UnorderedCandles(f"{stream} is no source of {self.source} candles")
            derivation = self._derivation = Derivation(stream, self._cascade, self._memory)
        elif stream != derivation.source:
            raise UnorderedCandles(f"{stream} does not belong to {derivation.source}")
        return derivation

    def _events(self, item: Event, derived: list[Derived]) -> list[Event]:
        events = [event for _, event in derived]
        return [item, *events] if self._echoes else events


def _belongs(candle: Candle, source: Stream) -> bool:
    # Without a new `Stream` for each candle.
    return candle.symbol == source.symbol and candle.venue == source.venue and candle.timeframe == source.timeframe


def targets(timeframes: tuple[Timeframe | str, ...], anchor: str) -> tuple[Timeframe, ...]:
    """Return `timeframes` as values, on the grid of `anchor` where they name none; raises `InvalidTimeframe`."""
    found: list[Timeframe] = []
    for timeframe in timeframes:
        several = Timeframe.expand(timeframe) if isinstance(timeframe, str) else (timeframe,)
        found += [one if one.anchor is not None or anchor == "day" else one.anchored(anchor) for one in several]
    if not found:
        raise InvalidTimeframe("there is no timeframe to derive", nearest="5m")
    return tuple(dict.fromkeys(found))
