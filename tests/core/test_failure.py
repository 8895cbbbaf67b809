from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from candleactors.core.failure import FailureClass, classify, describe, retry_after_s, worst
from candleactors.errors import (
    ConfigError,
    ConnectFailed,
    Disconnected,
    InvalidSymbol,
    LocalProtocolError,
    MalformedMessage,
    RateLimited,
    RestartIntensityExceeded,
    StaleStream,
    StoreUnavailable,
    VenueError,
)

TRANSIENT = [Disconnected(1006), ConnectFailed("no"), StaleStream(), RateLimited(429, 7.0), StoreUnavailable()]
COUNTED = [
    ValueError("x"),
    MalformedMessage("bad"),
    VenueError(-1, "no"),
    RestartIntensityExceeded(),
    OSError(),
    KeyError("k"),
]
FATAL = [
    LocalProtocolError(),
    AssertionError(),
    ConfigError("no"),
    InvalidSymbol("no"),
    KeyboardInterrupt(),
    SystemExit(),
]


@pytest.mark.parametrize(
    ("error", "expected"),
    [(error, FailureClass.TRANSIENT) for error in TRANSIENT]
    + [(error, FailureClass.COUNTED) for error in COUNTED]
    + [(error, FailureClass.FATAL) for error in FATAL],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_class_follows_from_the_type(error: BaseException, expected: FailureClass) -> None:
    assert classify(error) is expected


def test_class_does_not_depend_on_the_cause() -> None:
    error = RestartIntensityExceeded()
    error.__cause__ = LocalProtocolError()
    assert classify(error) is FailureClass.COUNTED


leaves = st.sampled_from([*TRANSIENT, *COUNTED, *FATAL])
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda m: BaseExceptionGroup("g", m))
)


def flatten(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for member in error.exceptions for leaf in flatten(member)]
    return [error]


@given(trees)
def test_a_group_is_as_bad_as_its_worst_member(tree: BaseException) -> None:
    ranks = list(FailureClass)
    expected = max((classify(leaf) for leaf in flatten(tree)), key=ranks.index)
    assert classify(tree) is expected
    assert classify(worst(tree)) is expected
    assert worst(tree) in flatten(tree)


def cancelled() -> BaseException:
    caught: list[BaseException] = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as error:
                caught.append(error)
                raise

    trio.run(main)
    return caught[0]


def test_cancellations_in_a_group_are_no_failures() -> None:
    assert classify(BaseExceptionGroup("g", [cancelled(), Disconnected(1000)])) is FailureClass.TRANSIENT
    assert classify(BaseExceptionGroup("g", [AssertionError(), cancelled()])) is FailureClass.FATAL
    assert classify(BaseExceptionGroup("g", [cancelled()])) is FailureClass.COUNTED


def test_the_longest_wait_that_was_asked_for_counts() -> None:
    assert retry_after_s(RateLimited(429, 7.0)) == 7.0
    assert retry_after_s(RateLimited(429, None)) == 0
    assert retry_after_s(ValueError()) == 0
    assert retry_after_s(ExceptionGroup("g", [RateLimited(429, 7.0), RateLimited(418, 120.0), ValueError()])) == 120.0


def test_a_description_is_one_line_about_the_worst_member() -> None:
    assert describe(ExceptionGroup("g", [Disconnected(1006), ValueError("two\nlines")])) == "ValueError: two lines"
    assert describe(KeyError()) == "KeyError"
