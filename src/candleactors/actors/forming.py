"""Forming candles, made once however many read them."""

from __future__ import annotations

from candleactors.actors.delivery import Forming
from candleactors.model import Candle, Stream

_MOST = 4_096


class FormingCandles:
    """Remembers the candle last made of each stream, of at most some thousands."""

    def __init__(self) -> None:
        self._made: dict[Stream, tuple[Forming, Candle | None]] = {}

    def to_candle(self, stream: Stream, forming: Forming) -> Candle | None:
        """Return the candle of `forming`, ``None`` if it is out of date; raises `MalformedMessage` where it is
        impossible. The same one for every reader."""
        known = self._made.get(stream)
        if known is not None and known[0] is forming:
            return known[1]
        wire, received_ms = forming
        candle = wire.to_candle(stream, received_ms)
        self._made.pop(stream, None)
        self._made[stream] = (forming, candle)
        if len(self._made) > _MOST:
            del self._made[next(iter(self._made))]
        return candle
