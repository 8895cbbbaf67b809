"""Trades: what candles are made of."""

from __future__ import annotations

from decimal import Decimal

import msgspec


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One trade, or several that a venue reports as one (an aggregate trade); immutable.

    Trade ids count up by one per trade of a symbol, where the venue's do: `first_id` to `last_id` are the trades this
    stands for, equal for a single one. `amount` is in the base currency. `time_ms` is the venue's, UTC epoch
    milliseconds. `taker_buy` tells whether the taker bought (the maker sold), ``None`` where the venue does not say.
    """

    venue: str
    symbol: str
    first_id: int
    last_id: int
    price: Decimal
    amount: Decimal
    time_ms: int
    taker_buy: bool | None

    @property
    def count(self) -> int:
        """How many trades this stands for."""
        return self.last_id - self.first_id + 1
