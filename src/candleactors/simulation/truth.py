"""The truth: what a venue's candles really are, and what they were before it corrected them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, TypeAlias

from attrs import frozen

from candleactors.model import MINUTE_MS, Stream, Timeframe
from candleactors.sim import Market, Simulator, TruthCandle

Values: TypeAlias = tuple[Decimal | int | None, ...]
"""As `Candle.values` returns them."""

MINUTE: Final = Timeframe("1m")
"""What is derived is made of these."""
_REMEMBERED: Final = 50_000


@frozen
class Expected:
    """What a closed candle has to be."""

    values: Values
    missing: int = 0


class Truth:
    """Asks the simulated venues. Derives by itself, in the most obvious way, so that aggregation is judged too."""

    def __init__(self, simulators: Mapping[str, Simulator]) -> None:
        self._simulators = simulators
        self._before: dict[tuple[str, Timeframe, int], list[TruthCandle]] = {}
        self._known: OrderedDict[tuple[Stream, int, int], tuple[int, Expected | None]] = OrderedDict()

    def native(self, stream: Stream, first_ms: int, until_ms: int) -> list[TruthCandle]:
        """Return the venue's own candles that open from `first_ms` on and are over at `until_ms`, ascending.

        Without those behind the last trade of a delisted symbol, where intervals without trades have no candle: only
        who was connected then can know them.
        """
        rows = self._all(stream, first_ms, until_ms)
        simulator = self._simulators[stream.venue]
        if not simulator.rules.flat_rows and simulator.market.delisted(self.symbol(stream), until_ms):
            while rows and not rows[-1].volume:
                rows.pop()
        return rows

    def _all(self, stream: Stream, first_ms: int, until_ms: int) -> list[TruthCandle]:
        return self._simulators[stream.venue].truth(stream.symbol, stream.timeframe, first_ms, until_ms)

    def symbol(self, stream: Stream) -> str:
        """Return what the market calls the stream's symbol."""
        return self._simulators[stream.venue].dialect.market_symbol(stream.symbol)

    def candle(self, stream: Stream, open_ms: int) -> Expected | None:
        """Return the venue's candle of one interval that is over; ``None`` where it has none."""
        known = self._recalled(stream, open_ms, 0)
        if known is None:
            found = self._all(stream, open_ms, stream.timeframe.next_open(open_ms))
            known = self._known[stream, open_ms, 0] = (
                self._revision(stream),
                Expected(found[0].values()) if found else None,
            )
        return known[1]

    def derived(self, stream: Stream, open_ms: int, since_ms: int) -> Expected | None:
        """Return what one interval is when made of the minutes from `since_ms` on; ``None`` where there are none."""
        first_ms = max(open_ms, since_ms)
        known = self._recalled(stream, open_ms, first_ms)
        if known is None:
            next_ms = stream.timeframe.next_open(open_ms)
            minutes = self._all(Stream(stream.venue, stream.symbol, MINUTE), first_ms, next_ms)
            missing = (next_ms - open_ms) // MINUTE_MS - len(minutes)
            known = self._known[stream, open_ms, first_ms] = (
                self._revision(stream),
                Expected(_folded(minutes), missing) if minutes else None,
            )
        return known[1]

    def _recalled(self, stream: Stream, open_ms: int, since_ms: int) -> tuple[int, Expected | None] | None:
        """Return what was found before, unless the symbol has been corrected since."""
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        known = self._known.get((stream, open_ms, since_ms))
        is_current = known is not None and known[0] == self._revision(stream)
        return known if is_current else None

    def _revision(self, stream: Stream) -> int:
        return self._simulators[stream.venue].market.tape(self.symbol(stream)).revision

    def note_correction(
        self, market: Market, symbol: str, at_ms: int, frames: Iterable[Timeframe], now_ms: int
    ) -> None:
        """Remember what candles of the instant `at_ms` are before the market corrects them."""
        for frame in frames:
            open_ms = frame.floor(at_ms)
            rows = market.truth(symbol, frame, open_ms, min(now_ms, frame.next_open(open_ms)), halted=True)
            self._before.setdefault((symbol, frame, open_ms), []).extend(rows)

    def was(self, stream: Stream, open_ms: int, values: Values) -> bool:
        """Whether the venue's candle had these values before it was corrected."""
        gives = self._simulators[stream.venue].rules.gives
        before = self._before.get((self.symbol(stream), stream.timeframe, open_ms), ())
        return any(row.as_given(gives).values() == values for row in before)


def _folded(minutes: Sequence[TruthCandle]) -> Values:
    traded = [minute for minute in minutes if minute.volume] or minutes[-1:]
    return (
        traded[0].open,
        max(minute.high for minute in traded),
        min(minute.low for minute in traded),
        traded[-1].close,
        sum((minute.volume for minute in minutes), Decimal(0)),
        _sum([minute.quote_volume for minute in minutes]),
        None if minutes[0].trades is None else sum(minute.trades or 0 for minute in minutes),
        _sum([minute.taker_buy_volume for minute in minutes]),
        _sum([minute.taker_buy_quote_volume for minute in minutes]),
    )


def _sum(amounts: Sequence[Decimal | None]) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if len(known) == len(amounts) else None
