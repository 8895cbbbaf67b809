"""JSON taken at its word: everything that RFC 8259 forbids or leaves open is refused."""

from __future__ import annotations

import json
from typing import Any


def strict_json(raw: bytes) -> Any:
    """Return the parsed JSON; raises `ValueError` for anything RFC 8259 forbids or leaves open, duplicate keys too."""
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
        if b"\\u" in raw:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("half a surrogate pair") from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key occurs twice")
    return members


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
