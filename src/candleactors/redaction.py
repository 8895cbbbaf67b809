"""Keeping credentials out of what people read: logs, messages, reports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

REDACTED: Final = "[redacted]"
MAX_TEXT: Final = 500
MAX_TRACEBACK: Final = 20_000
MAX_ITEMS: Final = 20
_MAX_DEPTH: Final = 4

_NAME: Final = (
    r"[\w-]*(?:secret|passw|token|api[_-]?key|listen[_-]?key|private[_-]?key|signature|credential|cookie)[\w-]*"
)
_SECRET_NAME: Final = re.compile(rf"(?:{_NAME}|authorization)", re.IGNORECASE)
_RULES: Final = (
    (re.compile(r"://[^\s/?#]+@"), f"://{REDACTED}@"),
    # A password may hold any character but a space, an address and its port is none.
    (re.compile(r"://[^\s/@:]*:(?!\d+(?:[/?#\s]|$))[^\s@]*@"), f"://{REDACTED}@"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(rf"""({_NAME}["']?\s*[=:]\s*["']?)[^\s"'&,;)}}\]]+""", re.IGNORECASE), rf"\1{REDACTED}"),
)


def redact(text: str) -> str:
    """Return `text` without credentials in URLs and without the values of names that look like secrets."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def loggable(key: str, value: Any, *, limit: int = MAX_TEXT, depth: int = 0) -> Any:
    """Return `value` fit for a log: plain, redacted, printable and of bounded size.

    Numbers, booleans and ``None`` stay as they are unless `key` looks like a secret's name; containers keep at most 20
    items and four levels; anything else becomes its text, at most `limit` characters.
    """
    if value is None or isinstance(value, bool):
        return value
    if _SECRET_NAME.fullmatch(key):
        return REDACTED
    if isinstance(value, (int, float)):
        return value
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        items = [
            (str(name), loggable(str(name), item, limit=limit, depth=depth + 1)) for name, item in _first(value.items())
        ]
        return dict(items) | _rest(len(value))
    if depth < _MAX_DEPTH and isinstance(value, (list, tuple, set, frozenset)):
        shown = [loggable("", item, limit=limit, depth=depth + 1) for item in _first(value)]
        return shown + list(_rest(len(value)).values())
    return _bounded(value, limit)


def _first(items: Any) -> list[Any]:
    return [item for item, _ in zip(items, range(MAX_ITEMS), strict=False)]


def _rest(length: int) -> dict[str, str]:
    return {"…": f"{length - MAX_ITEMS} more"} if length > MAX_ITEMS else {}


def _bounded(value: object, limit: int) -> str:
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    # Cut twice: generously before the search for secrets, which must not cost the length of a hostile message.
    text = redact(text[: limit * 4])
    text = "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text[: limit + 1])
    if limit < MAX_TRACEBACK:
        text = text.replace("\n", "\N{SYMBOL FOR NEWLINE}").replace("\t", " ")
    return text if len(text) <= limit else text[: limit - 1] + "…"
