"""A second, slow opinion on what a message of Binance says: standard library only, nothing shared with the codec."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
INTERVALS = {"1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"}
TEXTS = ("o", "h", "l", "c", "v", "q", "V", "Q")


@dataclass(frozen=True)
class Said:
    """What a message says about a kline."""

    wrapped: bool
    name: Any
    event: dict[str, Any]
    kline: dict[str, Any]
    ambiguous: bool
    """Some object has a key twice (here its last value counts) or some text holds half a surrogate pair."""

    @property
    def numbers(self) -> list[Decimal]:
        return [Decimal(self.kline[member]) for member in TEXTS]

    @property
    def end(self) -> datetime:
        return following(moment(self.kline["t"]), self.kline["i"])


def read(raw: bytes) -> Said | None:
    """Return what `raw` says about a kline, ``None`` if it is no JSON or not about one. Nothing else is checked."""
    ambiguous = False

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal ambiguous
        ambiguous |= len({key for key, _ in pairs}) < len(pairs)
        return dict(pairs)

    def refuse(text: str) -> Any:
        raise ValueError(text)

    try:
        message = json.loads(str(raw, "utf-8"), object_pairs_hook=members, parse_constant=refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict):
        return None
    wrapped = "stream" in message
    name, event = (message["stream"], message.get("data")) if wrapped else (None, message)
    if not isinstance(event, dict) or event.get("e") != "kline" or not isinstance(event.get("k"), dict):
        return None
    if b"\\u" in raw:
        ambiguous |= any("\ud800" <= character <= "\udfff" for character in json.dumps(message, ensure_ascii=False))
    return Said(wrapped, name, event, event["k"], ambiguous)


def believable(said: Said) -> bool:
    """Whether every value of a kline on a subscribed stream is possible, its numbers left aside."""
    event, kline = said.event, said.kline
    if said.wrapped and not isinstance(said.name, str):
        return False
    if not all(type(kline.get(member)) is int for member in "tTn") or type(event.get("E")) is not int:
        return False
    if not all(type(kline.get(member)) is str for member in ("s", "i", *TEXTS)) or type(kline.get("x")) is not bool:
        return False
    if not all(kline.get(member) is None or type(kline[member]) is int for member in "fL"):
        return False
    if event.get("s") != kline["s"] or kline["i"] not in INTERVALS:
        return False
    if said.wrapped:
        symbol, _, kind = said.name.partition("@")
        if symbol.casefold() != kline["s"].casefold() or kind != "kline_" + kline["i"]:
            return False
    early, late = 946_684_800_000, 4_102_444_800_000
    if not (early <= kline["t"] <= late and early <= event["E"] <= late and kline["t"] - event["E"] <= 1000):
        return False
    opened = moment(kline["t"])
    if opened != start(opened, kline["i"]):
        return False
    lasts_ms = 31 * 86_400_000 if kline["i"] == "1M" else (said.end - opened) // timedelta(milliseconds=1)
    if not kline["t"] <= kline["T"] < kline["t"] + lasts_ms:
        return False
    return not kline["x"] or moment(event["E"]) > said.end - timedelta(milliseconds=1001)


def possible(said: Said) -> bool:
    """Whether the numbers are numbers and make a candle."""
    if not all(plain(said.kline[member]) for member in TEXTS) or not 0 <= said.kline["n"] < 2**53:
        return False
    opened, high, low, close = said.numbers[:4]
    return 0 < low <= min(opened, close) and max(opened, close) <= high


def plain(text: str) -> bool:
    return (
        0 < len(text) <= 64
        and set(text) <= set("0123456789.")
        and text.count(".") <= 1
        and text[0] != "."
        and text[-1] != "."
    )


def moment(at_ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=at_ms)


def start(at: datetime, interval: str) -> datetime:
    """Return the start of the interval; of more than a day only the day counts."""
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    count, unit = int(interval[:-1]), interval[-1]
    if unit in "wM" or (unit == "d" and count > 1):
        return midnight
    return midnight + (at - midnight) // (count * UNITS[unit]) * (count * UNITS[unit])


def following(opened: datetime, interval: str) -> datetime:
    count, unit = int(interval[:-1]), interval[-1]
    if unit == "M":
        year, month = divmod(opened.year * 12 + opened.month - 1 + count, 12)
        return datetime(year, month + 1, 1, tzinfo=UTC)
    return opened + count * (timedelta(weeks=1) if unit == "w" else UNITS[unit])
