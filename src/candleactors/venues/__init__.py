"""One codec per exchange, sans-IO.

`codec` returns the codec of a venue by name; `candleactors.venues.base` says what every codec provides.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

from candleactors.errors import UnknownVenue
from candleactors.venues import aster, binance
from candleactors.venues.base import Codec, CodecFactory

__all__ = ["codec", "names"]

_CODECS: Final[dict[str, CodecFactory]] = {
    "aster": aster.futures,
    "binance-spot": binance.spot,
    "binance-usdm": binance.usdm,
}


def codec(name: str) -> Codec:
    """Return the codec of the venue `name`; raises `UnknownVenue`, naming the nearest, where there is none."""
    factory = _CODECS.get(name)
    if factory is None:
        near = get_close_matches(name.lower(), _CODECS, n=1, cutoff=0.5)
        raise UnknownVenue(f'"{name}" is not a venue', nearest=near[0] if near else None)
    return factory()


def names() -> tuple[str, ...]:
    """Return the names of all venues, sorted."""
    return tuple(sorted(_CODECS))
