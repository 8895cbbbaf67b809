"""One codec per exchange, sans-IO.

`codec` returns the codec of a venue by name; `candleactors.venues.base` says what every codec provides. Other packages
add venues under the entry point group ``candleactors.venues``: a name, and a callable that returns its codec.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from candleactors.errors import UnknownVenue
from candleactors.venues import aster, binance, bitfinex, bybit, okx
from candleactors.venues.base import Codec, CodecFactory

__all__ = ["codec", "names"]

ENTRY_POINTS: Final = "candleactors.venues"

_OWN: Final[Mapping[str, CodecFactory]] = {
    "aster": aster.futures,
    "binance-spot": binance.spot,
    "binance-usdm": binance.usdm,
    "bitfinex": bitfinex.bitfinex,
    "bybit-linear": bybit.linear,
    "bybit-spot": bybit.spot,
    "okx": okx.okx,
}


def codec(name: str) -> Codec:
    """Return the codec of the venue `name`; raises `UnknownVenue`, naming the nearest, where there is none.

    Whatever importing another package's codec raises is passed on; one that is named differently is an `UnknownVenue`.
    """
    factory = _OWN.get(name)
    if factory is None:
        factory = _foreign(name)
    if factory is None:
        near = get_close_matches(name.lower(), names(), n=1, cutoff=0.5)
        raise UnknownVenue(f'"{name}" is not a venue', nearest=near[0] if near else None)
    return factory()


def names() -> tuple[str, ...]:
    """Return the names of all venues, sorted."""
    return tuple(sorted({*_OWN, *_entry_points()}))


@cache
def _foreign(name: str) -> CodecFactory | None:
    point = _entry_points().get(name)
    if point is None:
        return None
    factory: CodecFactory = point.load()
    named = factory().rules.venue
    if named != name:
        raise UnknownVenue(f'the entry point "{name}" of {ENTRY_POINTS} is of a venue that calls itself "{named}"')
    return factory


@cache
def _entry_points() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
