"""The venue's description of itself: symbols, filters and limits, complete enough for real clients."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from candleactors.sim.market import Market
from candleactors.sim.tape import SymbolSpec

if TYPE_CHECKING:
    from candleactors.sim.binance.rules import BinanceRules

_PERPETUAL_DELIVERY_MS = 4_133_404_800_000
_ORDER_TYPES = ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]
_FUTURES_ORDER_TYPES = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"]


def exchange_info(market: Market, rules: BinanceRules, specs: list[SymbolSpec], now_ms: int) -> dict[str, Any]:
    """Return the body of ``exchangeInfo`` with `specs` in it."""
    describe = _contract if rules.futures else _pair
    info: dict[str, Any] = {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": _rate_limits(rules),
        "exchangeFilters": [],
        "symbols": [describe(spec, market, now_ms) for spec in specs],
    }
    if rules.futures:
        quotes = dict.fromkeys(spec.quote for spec in specs)
        info["futuresType"] = "U_MARGINED"
        info["assets"] = [{"asset": q, "marginAvailable": True, "autoAssetExchange": "-10000"} for q in quotes]
    return info


def _rate_limits(rules: BinanceRules) -> list[dict[str, Any]]:
    def limit(kind: str, interval: str, number: int, most: int) -> dict[str, Any]:
        return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": most}

    weight = limit("REQUEST_WEIGHT", "MINUTE", 1, rules.weight_per_minute)
    if rules.futures:
        return [weight, limit("ORDERS", "MINUTE", 1, 1200), limit("ORDERS", "SECOND", 10, 300)]
    return [
        weight,
        limit("ORDERS", "SECOND", 10, 100),
        limit("ORDERS", "DAY", 1, 200_000),
        limit("RAW_REQUESTS", "MINUTE", 5, 300_000),
    ]


def _pair(spec: SymbolSpec, market: Market, now_ms: int) -> dict[str, Any]:
    tick, step = _unit(spec.tick, 8), _unit(spec.step, 8)
    return {
        "symbol": spec.symbol,
        "status": _status(spec, market, now_ms, halted="HALT", delisted="BREAK"),
        "baseAsset": spec.base,
        "baseAssetPrecision": 8,
        "quoteAsset": spec.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": _ORDER_TYPES,
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000000.00000000", "stepSize": step},
            {"filterType": "ICEBERG_PARTS", "limit": 10},
            {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": "100000.00000000", "stepSize": step},
            {"filterType": "TRAILING_DELTA", "minTrailingAboveDelta": 10, "maxTrailingAboveDelta": 2000,
             "minTrailingBelowDelta": 10, "maxTrailingBelowDelta": 2000},
            {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True,
             "maxNotional": "9000000.00000000", "applyMaxToMarket": False, "avgPriceMins": 5},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }  # fmt: skip


def _contract(spec: SymbolSpec, market: Market, now_ms: int) -> dict[str, Any]:
    tick, step = _unit(spec.tick, spec.tick), _unit(spec.step, spec.step)
    return {
        "symbol": spec.symbol,
        "pair": spec.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": _PERPETUAL_DELIVERY_MS,
        "onboardDate": market.listed_ms(spec.symbol),
        "status": _status(spec, market, now_ms, halted="BREAK", delisted="SETTLING"),
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": spec.base,
        "quoteAsset": spec.quote,
        "marginAsset": spec.quote,
        "pricePrecision": spec.tick,
        "quantityPrecision": spec.step,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10_000,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "4529764", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "10000000", "stepSize": step},
            {"filterType": "MARKET_LOT_SIZE", "minQty": step, "maxQty": "100000", "stepSize": step},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
            {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500",
             "multiplierDecimal": "4"},
        ],
        "orderTypes": _FUTURES_ORDER_TYPES,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }  # fmt: skip


def _status(spec: SymbolSpec, market: Market, now_ms: int, *, halted: str, delisted: str) -> str:
    if market.delisted(spec.symbol, now_ms):
        return delisted
    return halted if market.halted(spec.symbol, now_ms) else "TRADING"


def _unit(decimals: int, shown: int) -> str:
    """Return the smallest unit of so many decimals, written with `shown` of them."""
    return f"{Decimal(1).scaleb(-decimals):.{shown}f}"
