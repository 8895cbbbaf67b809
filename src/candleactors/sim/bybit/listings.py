"""What Bybit trades of the market, and under which symbol."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from candleactors.sim.bybit.wire import Decimals
from candleactors.sim.market import Market
from candleactors.sim.tape import SymbolSpec

if TYPE_CHECKING:
    from candleactors.sim.bybit.rules import BybitRules

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@frozen
class Listing:
    """One of the venue's symbols. `delivery_ms` is 0 for what is never delivered."""

    symbol: str
    spec: SymbolSpec
    decimals: Decimals
    delivery_ms: int = 0

    def status(self, market: Market, now_ms: int) -> str:
        """Return what the venue says about it at `now_ms`."""
        if market.delisted(self.spec.symbol, now_ms):
            return "Closed"
        return "Trading" if market.listed_ms(self.spec.symbol) <= now_ms else "PreLaunch"

    def describe(self, market: Market, now_ms: int, *, linear: bool, number: int) -> dict[str, Any]:
        """Return the row about it in a list of instruments."""
        status, spec = self.status(market, now_ms), self.spec
        tick, step = _unit(spec.tick), _unit(spec.step)
        if not linear:
            return {
                "symbolId": number,
                "symbol": self.symbol,
                "baseCoin": spec.base,
                "quoteCoin": spec.quote,
                "innovation": "0",
                "status": status,
                "marginTrading": "none",
                "stTag": "0",
                "lotSizeFilter": {
                    "basePrecision": step,
                    "quotePrecision": _unit(spec.tick + spec.step),
                    "minOrderQty": step,
                    "maxOrderQty": "230000000",
                    "minOrderAmt": "5",
                    "maxOrderAmt": "8000000",
                },
                "priceFilter": {"tickSize": tick},
                "riskParameters": {"priceLimitRatioX": "0.005", "priceLimitRatioY": "0.01"},
                "symbolType": "",
                "xstockMultiplier": "1",
            }
        return {
            "symbol": self.symbol,
            "contractType": "LinearFutures" if self.delivery_ms else "LinearPerpetual",
            "status": status,
            "baseCoin": spec.base,
            "quoteCoin": spec.quote,
            "launchTime": str(market.listed_ms(spec.symbol)),
            "deliveryTime": str(self.delivery_ms),
            "deliveryFeeRate": "",
            "priceScale": str(spec.tick),
            "leverageFilter": {"minLeverage": "1", "maxLeverage": "50.00", "leverageStep": "0.01"},
            "priceFilter": {"minPrice": tick, "maxPrice": "1999999.98", "tickSize": tick},
            "lotSizeFilter": {
                "maxOrderQty": "350000.0",
                "minOrderQty": step,
                "qtyStep": step,
                "postOnlyMaxOrderQty": "350000.0",
                "maxMktOrderQty": "70000.0",
                "minNotionalValue": "5",
            },
            "unifiedMarginTrade": True,
            "fundingInterval": 0 if self.delivery_ms else 480,
            "settleCoin": spec.quote,
            "copyTrading": "none",
            "upperFundingRate": "0.005",
            "lowerFundingRate": "-0.005",
            "isPreListing": status == "PreLaunch",
            "preListingInfo": None,
            "riskParameters": {"priceLimitRatioX": "0.15", "priceLimitRatioY": "0.3"},
            "displayName": "",
            "symbolType": "",
            "forbidUplWithdrawal": False,
            "symbolId": number,
        }


def listings(market: Market, rules: BybitRules) -> dict[str, Listing]:
    """Return everything the venue has or will list, by its symbol: perpetuals in USDC have a name of their own."""
    found = []
    for spec in market.specs.values():
        if rules.serves(spec):
            symbol = f"{spec.base}PERP" if rules.linear and spec.quote == "USDC" else spec.symbol
            found.append(Listing(symbol, spec, Decimals(spec)))
    for name, delivery_ms in rules.dated if rules.linear else ():
        spec = market.specs[name]
        day = (_EPOCH + timedelta(milliseconds=delivery_ms)).strftime("%d%b%y").upper()
        found.append(Listing(f"{spec.symbol}-{day}", spec, Decimals(spec), delivery_ms))
    if rules.linear:
        found.sort(key=lambda listing: listing.symbol)
    return {listing.symbol: listing for listing in found}


def _unit(decimals: int) -> str:
    """Return the smallest unit of so many decimals."""
    return f"0.{'0' * (decimals - 1)}1" if decimals else "1"
