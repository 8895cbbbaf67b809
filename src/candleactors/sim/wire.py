"""What every venue puts on the wire: compact JSON, decimals as text, and text frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


def dump(value: Any) -> str:
    """Return `value` as compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def json_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object in `text`; ``None`` where there is none, or none that can be repeated in a reply."""
    try:
        message = json.loads(text, parse_constant=_refuse)
        dump(message).encode()
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _refuse(text: str) -> Any:
    raise ValueError(text)


def decimal_writer(held: int, shown: int) -> Callable[[int], str]:
    """Return what writes integers of 0 and more, of which `held` digits are decimals, with `shown` decimals."""
    zeros = "0" * (shown - held)
    point = f".{zeros}" if shown else ""

    def write_whole(value: int) -> str:
        return f"{value}{point}"

    def write(value: int) -> str:
        digits = str(value).zfill(held + 1)
        return f"{digits[:-held]}.{digits[-held:]}{zeros}"

    return write if held else write_whole


def text_frame(payload: bytes) -> bytes:
    """Return `payload` as one complete, unmasked WebSocket text frame, so that many connections can share it."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload
