"""Growth: how much a feed keeps in memory, by the number of its objects."""

from __future__ import annotations

import gc
from types import (
    BuiltinFunctionType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
)
from typing import Any, Final

_MOST_TIMES: Final = 1.5
_MOST_MORE: Final = 10_000
"""Some memories are bounded, and take days to fill up: of failures, of revisions, of streams that come and go."""
_OPAQUE: Final = (
    type,
    ModuleType,
    FunctionType,
    BuiltinFunctionType,
    MethodType,
    CodeType,
    FrameType,
    CoroutineType,
    GeneratorType,
)
_FOREIGN: Final = ("candleactors.sim", "candleactors.simulation", "random", "structlog", "trio", "weakref")
"""What a feed refers to and does not own, such as the simulation itself."""


class Growth:
    """Compares what each life of a feed keeps with what it kept when it was looked at first."""

    def __init__(self) -> None:
        self._life = 0
        self._objects = 0

    def problem(self, feed: Any, life: int) -> str | None:
        """Return what is wrong, if it is; `life` is the number of the feed's life. Blocks for some ten milliseconds."""
        objects = reachable(feed)
        if life != self._life:
            self._life, self._objects = life, objects
        if objects > _MOST_TIMES * self._objects + _MOST_MORE:
            return f"a feed of {self._objects} objects has grown to {objects}"
        return None


def reachable(root: Any) -> int:
    """Return the number of objects that are kept by `root`, itself included."""
    seen: set[int] = set()
    found: list[Any] = [root]
    while found:
        one = found.pop()
        if id(one) in seen or isinstance(one, _OPAQUE) or _foreign(type(one).__module__):
            continue
        seen.add(id(one))
        found.extend(gc.get_referents(one))
    return len(seen)


def _foreign(module: str) -> bool:
    return module.startswith(_FOREIGN)
