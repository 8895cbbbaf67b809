"""REST answers: what is the same at every venue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

import msgspec

from candleactors.errors import MalformedMessage, excerpt
from candleactors.venues.candles import EARLIEST_MS, LATEST_MS

MAX_ROWS_BYTES: Final = 4 << 20  # 1,500 rows take about 0.3 MiB
MAX_LIST_BYTES: Final = 64 << 20  # Binance's list of spot symbols took about 12 MiB in 2026
MAX_ERROR_BYTES: Final = 64 << 10
_MAX_RETRY_AFTER_S: Final = 3 * 24 * 3600  # the longest ban any venue documents
_COUNT: Final = re.compile(r"[0-9]{1,9}", re.ASCII)

_T = TypeVar("_T")


def decode(decoder: msgspec.json.Decoder[_T], body: bytes, limit: int) -> _T:
    """Return the decoded `body`; raises `MalformedMessage` for one of over `limit` bytes, and for another shape."""
    if len(body) > limit:
        raise MalformedMessage(f"an answer of {len(body)} bytes", body)
    try:
        body.decode("utf-8")  # the decoder looks only at the text that it keeps
        return decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(excerpt(str(error)), body) from None


def decode_error(decoder: msgspec.json.Decoder[_T], body: bytes, limit: int = MAX_ERROR_BYTES) -> _T | None:
    """Return what `body` says of an error, ``None`` where it is too long or of another shape."""
    if len(body) > limit:
        return None
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError):
        return None


def count(text: str) -> int | None:
    """Return the number in a header, ``None`` where it is no count."""
    text = text.strip()
    return int(text) if _COUNT.fullmatch(text) else None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After header, ``None`` without one.

    A date, which HTTP allows too, would need a clock to make sense of.
    """
    seconds = count(headers.get("retry-after", ""))
    return None if seconds is None else float(min(seconds, _MAX_RETRY_AFTER_S))


def date_ms(headers: Mapping[str, str]) -> int:
    """Return the instant of the Date header in UTC milliseconds, whole seconds; raises `MalformedMessage`."""
    text = headers.get("date", "")
    try:
        return checked_ms(int(parsedate_to_datetime(text).timestamp() * 1000), text.encode())
    except (ValueError, TypeError, OverflowError):
        raise MalformedMessage("no usable Date header", text) from None


def checked_ms(time_ms: int, raw: bytes) -> int:
    """Return `time_ms` if it is an instant in UTC milliseconds; raises `MalformedMessage`."""
    if not EARLIEST_MS <= time_ms <= LATEST_MS:
        raise MalformedMessage("an absurd server time", raw)
    return time_ms
