"""What the venue trades: every symbol of the market as a spot pair, as a perpetual swap, or as both.

A swap trades contracts of so much of the base currency, so that its three volumes all differ.
"""

from __future__ import annotations

from typing import Any

from candleactors.model import DAY_MS, MINUTE_MS
from candleactors.sim.candles import Row
from candleactors.sim.market import Market
from candleactors.sim.tape import Bar, SymbolSpec, merge
from candleactors.sim.wire import decimal_writer


class Instrument:
    """One of them: `id` is the venue's spelling, `spec` the market's symbol."""

    def __init__(self, spec: SymbolSpec, *, swap: bool) -> None:
        self.spec = spec
        self.swap = swap
        self.kind = "SWAP" if swap else "SPOT"
        self.id = f"{spec.base}-{spec.quote}" + ("-SWAP" if swap else "")
        # The value of a contract is a power of ten, never 1, whose units the market's quantities have decimals for.
        self._exponent = -(spec.step // 2) if spec.step > 1 else 2 - spec.step
        self._price = decimal_writer(spec.tick, spec.tick)
        self._base = decimal_writer(spec.step, spec.step)
        self._quote = decimal_writer(spec.tick + spec.step, spec.tick + spec.step)
        lots = spec.step + self._exponent
        self._contracts = decimal_writer(lots, lots)

    def columns(self, row: Row, *, closed: bool) -> list[str]:
        """Return the nine elements of a candle."""
        bar, price = row.bar, self._price
        prices = [price(bar.open), price(bar.high), price(bar.low), price(bar.close)]
        return [str(row.open_ms), *prices, *self._volumes(bar), self._quote(bar.quote_volume), "1" if closed else "0"]

    def described(self, market: Market, now_ms: int) -> dict[str, Any]:
        """Return its entry in the list of instruments."""
        spec, lots = self.spec, self.spec.step + self._exponent
        entry = {
            "alias": "",
            "baseCcy": spec.base,
            "category": "1",
            "ctMult": "",
            "ctType": "",
            "ctVal": "",
            "ctValCcy": "",
            "expTime": "",
            "instFamily": "",
            "instId": self.id,
            "instType": self.kind,
            "lever": "10",
            "listTime": str(market.listed_ms(spec.symbol)),
            "lotSz": power_of_ten(-spec.step),
            "minSz": power_of_ten(-spec.step),
            "quoteCcy": spec.quote,
            "settleCcy": "",
            "state": self._state(market, now_ms),
            "tickSz": power_of_ten(-spec.tick),
            "uly": "",
        }
        if self.swap:
            pair = f"{spec.base}-{spec.quote}"
            entry |= {"baseCcy": "", "quoteCcy": "", "settleCcy": spec.quote, "uly": pair, "instFamily": pair}
            entry |= {"ctMult": "1", "ctType": "linear", "ctVal": power_of_ten(self._exponent), "ctValCcy": spec.base}
            entry |= {"lotSz": power_of_ten(-lots), "minSz": power_of_ten(-lots), "lever": "100"}
        return entry

    def ticker(self, market: Market, now_ms: int) -> dict[str, str]:
        """Return what it did in the last 24 hours."""
        tape = market.tape(self.spec.symbol)
        minute = now_ms // MINUTE_MS
        first = max(minute - DAY_MS // MINUTE_MS + 1, tape.first_minute)
        bar = tape.span(max(minute * MINUTE_MS, tape.listed_ms), now_ms + 1)
        for earlier in range(minute - 1, first - 1, -1):
            bar = merge(tape.bar(earlier), bar)
        volume, currency_volume = self._volumes(bar)
        last, least = self._price(bar.close), power_of_ten(-self.spec.step)
        return {
            "instType": self.kind,
            "instId": self.id,
            "last": last,
            "lastSz": least,
            "askPx": self._price(bar.close + 1),
            "askSz": least,
            "bidPx": self._price(bar.close - 1),
            "bidSz": least,
            "open24h": self._price(bar.open),
            "high24h": self._price(bar.high),
            "low24h": self._price(bar.low),
            "volCcy24h": currency_volume,
            "vol24h": volume,
            "ts": str(now_ms),
            "sodUtc0": self._price(bar.open),
            "sodUtc8": self._price(bar.open),
        }

    def _volumes(self, bar: Bar) -> list[str]:
        """Return ``vol`` and ``volCcy``: contracts and base of a swap, base and quote of a pair."""
        if self.swap:
            return [self._contracts(bar.volume), self._base(bar.volume)]
        return [self._base(bar.volume), self._quote(bar.quote_volume)]

    def _state(self, market: Market, now_ms: int) -> str:
        symbol = self.spec.symbol
        if market.listed_ms(symbol) > now_ms:
            return "preopen"
        return "suspend" if market.delisted(symbol, now_ms) or market.halted(symbol, now_ms) else "live"


def all_instruments(market: Market) -> dict[str, Instrument]:
    """Return the instruments of `market` by the venue's spelling."""
    found = [Instrument(spec, swap=False) for spec in market.specs.values() if spec.spot]
    found += [Instrument(spec, swap=True) for spec in market.specs.values() if spec.futures]
    return {instrument.id: instrument for instrument in found}


def power_of_ten(exponent: int) -> str:
    """Return ten to the power of `exponent` as decimal text."""
    return "1" + "0" * exponent if exponent >= 0 else "0." + "1".zfill(-exponent)
