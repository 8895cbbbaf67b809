"""Toy Exchange's codec fulfils what every codec has to."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import toy_exchange
from toy_exchange_sim import RULES

from candleactors.errors import InvalidSymbol, RateLimited, RequestFailed, VenueError
from candleactors.model import Stream, Ticker
from candleactors.testing import VenueConformance, candle
from candleactors.testing.venue_conformance import Clock, Page, Refusal, Rows, Sample, Tickers
from candleactors.venues.base import Instrument, InstrumentPage

BTC: Final = "toy-exchange:BTC-USD:1m"
ETH: Final = "toy-exchange:ETH-USD:5m"
NOON_MS: Final = 1_700_000_100_000
PRICES: Final = ("36001.5", "36010.0", "35999.0", "36002.25")

CLOSED: Final = (
    b'{"channel":"BTC-USD@1m","sent":1700000160004,"candle":{"at":1700000100000,"open":"36001.5","high":"36010.0",'
    b'"low":"35999.0","close":"36002.25","volume":"3.70","trades":41},"final":true}'
)
OPEN: Final = CLOSED.replace(b"true", b"false").replace(b"1700000160004", b"1700000107000")
LATER: Final = CLOSED.replace(b"3.70", b"0.25").replace(b"1700000100000", b"1700000160000")
LATER_OPEN: Final = LATER.replace(b"true", b"false").replace(b"1700000160004", b"1700000167000")
OTHER: Final = (
    b'{"channel":"ETH-USD@5m","sent":1700000107000,"candle":{"at":1700000100000,"open":"1990","high":"1991.5",'
    b'"low":"1989","close":"1990.5","volume":"12.5","trades":7},"final":false}'
)
ROWS: Final = (
    b'{"candles":[{"at":1700000100000,"open":"36001.5","high":"36010.0","low":"35999.0","close":"36002.25",'
    b'"volume":"3.70","trades":41},{"at":1700000220000,"open":"36003","high":"36003","low":"36001","close":"36002",'
    b'"volume":"0.5","trades":2},{"at":1700000280000,"open":"36002","high":"36004","low":"36002","close":"36004",'
    b'"volume":"1.25","trades":3}]}'
)


class TestToyExchange(VenueConformance):
    """Everything that is set here is said in the exchange's documentation, or was recorded."""

    codec = toy_exchange.codec
    samples = (
        Sample(CLOSED, [candle(BTC, NOON_MS, PRICES, "3.70", trades=41)]),
        Sample(OPEN, [candle(BTC, NOON_MS, PRICES, "3.70", trades=41, closed=False)]),
        Sample(LATER, [candle(BTC, NOON_MS + 60_000, PRICES, "0.25", trades=41)]),
        Sample(LATER_OPEN, [candle(BTC, NOON_MS + 60_000, PRICES, "0.25", trades=41, closed=False)]),
        Sample(OTHER, [candle(ETH, NOON_MS, ("1990", "1991.5", "1989", "1990.5"), "12.5", trades=7, closed=False)]),
        Sample(b'{"pong":1700000107000}', []),
    )
    conversation = (b'{"id":1,"ok":true}',)
    symbols = ("1000000BABYDOGE-USDTX", "SOL-USD")
    no_symbols = ("btc-usd", "BTCUSD", "BTC_USD")
    rows = (
        Rows(
            Stream.parse(BTC),
            ROWS,
            [
                candle(BTC, NOON_MS, PRICES, "3.70", trades=41),
                candle(BTC, 1_700_000_220_000, ("36003", "36003", "36001", "36002"), "0.5", trades=2),
                candle(BTC, 1_700_000_280_000, ("36002", "36004", "36002", "36004"), "1.25", trades=3, closed=False),
            ],
            now_ms=1_700_000_339_999,
        ),
    )
    clocks = (Clock(b'{"now":1700000107123}', 1_700_000_107_123),)
    pages = (
        Page(
            b'{"markets":[{"symbol":"BTC-USD","base":"BTC","quote":"USD","trades":true}]}',
            InstrumentPage((Instrument("BTC-USD", "BTC/USD", True),)),
        ),
    )
    tickers = (
        Tickers(
            b'{"tickers":[{"symbol":"BTC-USD","last":"36002.25","volume":"812.5"}]}',
            [Ticker("toy-exchange", "BTC-USD", Decimal("36002.25"), None, Decimal("812.5"), None)],
        ),
    )
    refusals = (
        Refusal(429, b'{"code":2,"message":"too fast"}', RateLimited, (("retry-after", "7"),)),
        Refusal(404, b'{"code":7,"message":"no such symbol"}', InvalidSymbol),
        Refusal(404, b'{"code":1,"message":"no such page"}', VenueError),
        Refusal(503, b"", RequestFailed),
    )
    simulator = RULES
    live_symbols = ("BTC-USDT", "SOL-USDT", "QUICK-USDT", "PERP-USDT")
