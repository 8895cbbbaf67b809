"""Listings: everything a venue trades, found by its own spelling or by the unified one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Final

from candleactors.venues.base import Codec, Instrument, RestRequest
from candleactors.venues.unified import is_unified

_SEPARATORS: Final = str.maketrans("", "", "/-_:. ")


class Listing:
    """The instruments of one venue, as it listed them; immutable.

    Where several share a unified symbol, one that trades now comes before one that does not, then the first listed.
    """

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._own: dict[str, Instrument] = {}
        self._unified: dict[str, Instrument] = {}
        for instrument in instruments:
            self._own.setdefault(instrument.symbol, instrument)
            known = self._unified.get(instrument.unified)
            if known is None or (instrument.trades and not known.trades):
                self._unified[instrument.unified] = instrument

    def __len__(self) -> int:
        return len(self._own)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._own.values())

    def find(self, symbol: str) -> Instrument | None:
        """Return the instrument that the venue, or the field, calls `symbol`; ``None`` where there is none."""
        return (self._unified if is_unified(symbol) else self._own).get(symbol)

    def nearest(self, symbol: str) -> str | None:
        """Return the symbol most like `symbol`, in the same kind of spelling, among those that trade now."""
        instruments = [instrument for instrument in self if instrument.trades]
        if is_unified(symbol):
            alike = get_close_matches(symbol.upper(), [one.unified for one in instruments], n=1)
            return alike[0] if alike else None
        joined = symbol.translate(_SEPARATORS).upper()
        same = [one.symbol for one in instruments if one.symbol.translate(_SEPARATORS).upper() == joined]
        near = same or get_close_matches(symbol.upper(), [one.symbol for one in instruments], n=1)
        return near[0] if near else None


async def read_listing(codec: Codec, ask: Callable[[RestRequest], Awaitable[bytes]]) -> Listing:
    """Return what a venue trades, page after page; `ask` returns the body of an answer that is not a refusal.

    Raises what `ask` raises, and `MalformedMessage`.
    """
    instruments: list[Instrument] = []
    page: str | None = None
    while True:
        read = codec.parse_instruments(await ask(codec.instruments(page)), page)
        instruments += read.instruments
        if read.next is None:
            return Listing(instruments)
        page = read.next
