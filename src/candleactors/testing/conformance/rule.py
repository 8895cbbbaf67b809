"""Rules: where it is stated what a codec has to do, for messages to its author."""

from __future__ import annotations

import inspect
from typing import Any, NoReturn


def broken(problem: str, stated: Any, says: str | None = None) -> NoReturn:
    """Raise `AssertionError` with `problem` and the rule: the docstring of `stated`, an object of `venues.base`.

    `says` replaces the docstring, for what has none of its own.
    """
    place = f"{stated.__module__}.{stated.__qualname__}"
    text = says or " ".join((inspect.getdoc(stated) or "").split())
    raise AssertionError(f"{problem}\nThe rule: {place}: {text}")


def require(condition: object, problem: str, stated: Any, says: str | None = None) -> None:
    """Raise what `broken` raises unless `condition` holds."""
    if not condition:
        broken(problem, stated, says)


def shown(value: object, limit: int = 400) -> str:
    """Return `value` as text that fits a message."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
