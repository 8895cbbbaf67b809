"""Trades as venues sent them, and the candles they sent beside them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from candleactors.model import Trade
from recorded import lines

_BITFINEX: Final = "bitfinex"


def trade_streams(root: Path) -> dict[tuple[str, str], list[Path]]:
    """Return the files ``MARKET_DATE.trades.jsonl.gz`` under `root`, by venue and market, in order of time."""
    streams: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(root.glob("*/**/*.trades.jsonl.gz")):
        venue, market = path.relative_to(root).parts[0], path.name.split("_")[0].upper()
        streams.setdefault((venue, market), []).append(path)
    return streams


def streamed(venue: str, paths: Iterable[Path]) -> Iterator[Trade]:
    """Yield the trades of recorded ``@trade`` streams; each line is a time of receipt and a message."""
    for path in paths:
        for line in lines(path):
            message = json.loads(line.split(" ", 1)[1])["data"]
            yield _trade(venue, message["s"], message["t"], message["t"], message)


def aggregate(venue: str, market: str, message: Mapping[str, Any]) -> Trade:
    """Return the trades that one of Binance's aggregate trades stands for, of a stream or of a REST answer."""
    return _trade(venue, market, message["f"], message["l"], message)


def _trade(venue: str, market: str, first_id: int, last_id: int, message: Mapping[str, Any]) -> Trade:
    price, amount = Decimal(message["p"]), Decimal(message["q"])
    return Trade(venue, market, first_id, last_id, price, amount, message["T"], not message["m"])


def listed(venue: str, market: str, path: Path) -> list[Trade]:
    """Return the trades of an answer that lists them one by one, as Aster's and Binance's ``trades`` does."""
    return [
        Trade(
            venue,
            market,
            row["id"],
            row["id"],
            Decimal(row["price"]),
            Decimal(row["qty"]),
            row["time"],
            not row["isBuyerMaker"],
        )
        for row in json.loads(path.read_text())
    ]


def messages(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the stream messages of a raw recording: JSON behind a time of receipt, among other lines."""
    for line in lines(path):
        _, brace, rest = line.partition("{")
        if brace and '"stream"' in line:
            yield json.loads(brace + rest)["data"]


@frozen
class BitfinexTrade:
    """A trade as Bitfinex tells of it: ``te`` when executed, ``tu`` once it has its final form, or in a snapshot."""

    kind: str
    trade: Trade


def bitfinex_trades(path: Path) -> Iterator[BitfinexTrade]:
    """Yield what a recorded trades channel told, in the order in which it did. An amount below zero is a sale."""
    with gzip.open(path, "rt") as file:
        for line in file:
            message = json.loads(line, parse_float=Decimal, parse_int=Decimal)
            if isinstance(message, dict) or message[1] == "hb":
                continue
            kind, rows = ("snapshot", message[1]) if isinstance(message[1], list) else (message[1], [message[2]])
            for number, time_ms, amount, price in rows:
                ids = int(number), int(number)
                trade = Trade(_BITFINEX, "tBTCUSD", *ids, price, abs(amount), int(time_ms), amount > 0)
                yield BitfinexTrade(kind, trade)
