"""Failures: what a supervisor does about an exception is decided by its type alone."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from candleactors.errors import ConfigError, LocalProtocolError, TransientError


class FailureClass(StrEnum):
    """How bad the end of a child is, mildest first."""

    TRANSIENT = "transient"
    """Time may cure it: wait and try again, as often as it takes."""
    COUNTED = "counted"
    """Nobody foresaw it: wait and try again, but too many in a while mean that restarting does not help."""
    FATAL = "fatal"
    """A bug or a wrong configuration: trying again can only repeat it."""


_SEVERITY = {severity: rank for rank, severity in enumerate(FailureClass)}


def classify(error: BaseException) -> FailureClass:
    """Return the class of `error`; a group is as bad as its worst member.

    Members that are cancellations (or anything else that is neither an `Exception` nor an interrupt) say nothing about
    the failure and are left out of the judgement.
    """
    return _classify_one(worst(error))


def worst(error: BaseException) -> BaseException:
    """Return the member of `error`, however deeply grouped, that decides its class; `error` itself if it is no group.

    Of several equally bad members the first is returned.
    """
    telling = [leaf for leaf in _leaves(error) if isinstance(leaf, Exception | KeyboardInterrupt | SystemExit)]
    return max(telling, key=lambda leaf: _SEVERITY[_classify_one(leaf)], default=error)


def retry_after_s(error: BaseException) -> float:
    """Return the longest wait in seconds that `error` or a member of it asks for; 0 where none does."""
    waits = [leaf.retry_after_s for leaf in _leaves(error) if isinstance(leaf, TransientError)]
    return max((wait for wait in waits if wait is not None), default=0.0)


def describe(error: BaseException) -> str:
    """Return one line, type first, about the member of `error` that matters most."""
    leaf = worst(error)
    text = " ".join(str(leaf).split())
    return f"{type(leaf).__name__}: {text}" if text else type(leaf).__name__


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _leaves(member)
    else:
        yield error


def _classify_one(error: BaseException) -> FailureClass:
    match error:
        case TransientError():
            return FailureClass.TRANSIENT
        case LocalProtocolError() | ConfigError() | AssertionError() | KeyboardInterrupt() | SystemExit():
            return FailureClass.FATAL
        case _:
            return FailureClass.COUNTED
