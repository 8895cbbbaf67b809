"""What Bitfinex trades of the market, and how it spells it.

Three letters for each currency, run together, or more of them with a colon between; Tether's dollar is ``UST``.
Perpetuals trade currencies of their own, which end in ``F0``.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import field, frozen

from candleactors.sim.bitfinex.wire import Numbers
from candleactors.sim.market import Market
from candleactors.sim.tape import SymbolSpec

CURRENCIES: Final = {"USDT": ("UST", "USDt"), "USDC": ("UDC", "USDC"), "ALGO": ("ALG", "ALGO")}
"""Currencies with another name at the venue: that name, and what the venue's own map says of it."""

_CURRENCY: Final = re.compile(r"[A-Z0-9]{1,16}", re.ASCII)


@frozen
class Listing:
    """One of the venue's pairs."""

    pair: str
    """Without the ``t`` in front."""
    spec: SymbolSpec
    perpetual: bool
    numbers: Numbers = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "numbers", Numbers(self.spec))

    @property
    def symbol(self) -> str:
        """The pair as channels and paths spell it."""
        return f"t{self.pair}"

    def trades(self, market: Market, now_ms: int) -> bool:
        """Whether it is listed at `now_ms` and not delisted."""
        symbol = self.spec.symbol
        return market.listed_ms(symbol) <= now_ms and not market.delisted(symbol, now_ms)


def is_spellable(spec: SymbolSpec) -> bool:
    """Whether the venue has letters for it."""
    return _CURRENCY.fullmatch(spec.base) is not None and _CURRENCY.fullmatch(spec.quote) is not None


def listings(market: Market) -> dict[str, Listing]:
    """Return everything the venue has or will list, by its symbol."""
    found = []
    for spec in market.specs.values():
        if not is_spellable(spec):
            continue
        base, quote = _own(spec.base), _own(spec.quote)
        if spec.spot:
            pair = f"{base}{quote}" if len(base) == len(quote) == 3 else f"{base}:{quote}"
            found.append(Listing(pair, spec, perpetual=False))
        if spec.futures:
            found.append(Listing(f"{base}F0:{quote}F0", spec, perpetual=True))
    return {listing.symbol: listing for listing in found}


def _own(currency: str) -> str:
    return CURRENCIES.get(currency, (currency,))[0]
