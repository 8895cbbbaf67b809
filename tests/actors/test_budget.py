"""Budgets in virtual time."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from candleactors.actors.budget import JITTER_MARGIN_S, MessageBudget, VenueBudget

CONNECTS_WINDOW_S = 300 - JITTER_MARGIN_S
REST_WINDOW_S = 60 - JITTER_MARGIN_S


def budget(connects: int = 3, rest_weight: int = 100) -> VenueBudget:
    """Return a budget whose windows, with the margin, are five minutes and one minute."""
    return VenueBudget(
        connects=connects, connects_window_s=CONNECTS_WINDOW_S, rest_weight=rest_weight, rest_window_s=REST_WINDOW_S
    )


async def test_what_arrives_bunched_is_still_within_the_venues_windows(autojump_clock: MockClock) -> None:
    venue = VenueBudget(connects=1, connects_window_s=10, rest_weight=1, rest_window_s=2)
    for _ in range(2):
        await venue.rest(1)
    assert trio.current_time() == pytest.approx(2 + JITTER_MARGIN_S)
    await venue.connect()
    before_s = trio.current_time()
    await venue.connect()
    assert trio.current_time() - before_s == pytest.approx(10 + JITTER_MARGIN_S)


async def test_connects_are_metered_and_first_come_first_served(autojump_clock: MockClock) -> None:
    venue, order = budget(), []

    async def connect(number: int) -> None:
        await venue.connect()
        order.append((number, trio.current_time()))

    async with trio.open_nursery() as nursery:
        for number in range(7):
            nursery.start_soon(connect, number)
            await trio.testing.wait_all_tasks_blocked(0.001)
        assert venue.status().connects_waiting == 4
    assert order == [(0, 0), (1, 0), (2, 0), (3, 300), (4, 300), (5, 300), (6, 600)]


async def test_higher_priority_goes_first_and_a_cheap_request_does_not_overtake(autojump_clock: MockClock) -> None:
    venue, order = budget(), []

    async def rest(name: str, weight: int, priority: int) -> None:
        await venue.rest(weight, priority)
        order.append(name)

    await venue.rest(100)
    async with trio.open_nursery() as nursery:
        for name, weight, priority in (("heavy", 90, 0), ("cheap", 1, 0), ("urgent", 50, 5)):
            nursery.start_soon(rest, name, weight, priority)
            await trio.testing.wait_all_tasks_blocked(0.001)
    assert order == ["urgent", "heavy", "cheap"]
    assert trio.current_time() == 120


async def test_a_cancelled_waiter_leaves_no_trace(autojump_clock: MockClock) -> None:
    venue = budget()
    await venue.rest(100)
    with trio.move_on_after(10):
        await venue.rest(100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(venue.rest, 100)
        await trio.testing.wait_all_tasks_blocked(0.001)
        with trio.move_on_after(1):
            await venue.rest(1, 7)
    assert trio.current_time() == 60
    assert venue.status().rest_waiting == 0
    assert venue.status().rest_used == 100


async def test_believes_the_venues_higher_count(autojump_clock: MockClock) -> None:
    venue = budget()
    await venue.rest(10)
    venue.on_answer(5)
    assert venue.status().rest_used == 10
    venue.on_answer(95)
    assert venue.status().rest_used == 95
    await venue.rest(10)
    assert trio.current_time() == 60


async def test_retry_after_is_honoured(autojump_clock: MockClock) -> None:
    venue = budget()
    venue.on_rate_limited(7.0)
    assert venue.status().rest_blocked_s == 7
    await venue.rest(1)
    assert trio.current_time() == 7
    await venue.connect()
    assert trio.current_time() == 7


async def test_without_retry_after_waits_double_until_an_answer(autojump_clock: MockClock) -> None:
    venue, waits = budget(), []
    for status in (429, 429, 418):
        venue.on_rate_limited(None, status)
        venue.on_rate_limited(None, status)  # was under way at the same time
        start = trio.current_time()
        await venue.rest(1)
        waits.append(trio.current_time() - start)
    venue.on_answer(None)
    venue.on_rate_limited(0.0, 418)
    waits.append(venue.status().rest_blocked_s)
    assert waits == [60, 120, 480, 120]


async def test_a_block_that_comes_while_someone_waits_holds_for_him(autojump_clock: MockClock) -> None:
    venue = budget()
    await venue.rest(100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(venue.rest, 1)
        await trio.sleep(59)
        venue.on_rate_limited(30.0)
    assert trio.current_time() == 89


async def test_a_weight_beyond_the_limit_is_an_error_and_frees_the_line(autojump_clock: MockClock) -> None:
    venue = budget()
    with pytest.raises(ValueError, match="never fits"):
        await venue.rest(101)
    await venue.rest(100)


async def test_messages_leave_room_for_pongs(autojump_clock: MockClock) -> None:
    messages, window_s = MessageBudget(5.0), 1.0 + JITTER_MARGIN_S
    for _ in range(4):
        await messages.send_slot()
    assert trio.current_time() == 0
    await messages.send_slot()
    assert trio.current_time() == pytest.approx(window_s)
    messages.note_pong(3)
    await messages.send_slot()
    assert trio.current_time() == pytest.approx(2 * window_s)


async def test_one_message_a_second_is_still_one(autojump_clock: MockClock) -> None:
    messages = MessageBudget(1.0)
    await messages.send_slot()
    assert trio.current_time() == 0


async def test_what_is_leisurely_leaves_a_third_to_what_is_not(autojump_clock: MockClock) -> None:
    venue = budget()
    await venue.rest(60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(venue.rest, 8, leisurely=True))
        await trio.sleep(0.5)
        nursery.start_soon(partial(venue.rest, 7, leisurely=True))
        await trio.sleep(0.5)
        assert venue.status().rest_used == 60, "more would be more than two thirds, and nobody overtakes"
        await venue.rest(30, 1)
        assert (trio.current_time(), venue.status().rest_used) == (1, 90)
    assert trio.current_time() == 60


async def test_what_fits_beside_the_third_goes_at_once(autojump_clock: MockClock) -> None:
    venue = budget()
    await venue.rest(60)
    await venue.rest(7, leisurely=True)
    assert trio.current_time() == 0
    await venue.rest(33)
    assert trio.current_time() == 0


@pytest.mark.parametrize("weight", [1, 67, 90, 100])
async def test_even_a_heavy_request_finds_its_leisure(autojump_clock: MockClock, weight: int) -> None:
    venue = budget()
    await venue.rest(1)
    await venue.rest(weight, leisurely=True)
    assert trio.current_time() == (0 if weight == 1 else 60 if weight > 66 else 0)


async def test_names_are_counted_beside_messages(autojump_clock: MockClock) -> None:
    messages = MessageBudget(100.0, names=5, names_window_s=3600.0)
    assert messages.names_left == 5
    await messages.names_slot()
    assert messages.names_left == 5, "asking counts nothing"
    messages.note_names(3)
    assert messages.names_left == 2
    await messages.names_slot()
    assert trio.current_time() == 0
    await trio.sleep(10)
    messages.note_names(2)
    assert messages.names_left == 0
    await messages.names_slot()
    assert trio.current_time() == 3600
    assert messages.names_left == 3, "the other two are remembered ten seconds longer"


@given(offsets=st.lists(st.floats(0.001, 0.9), min_size=1, max_size=8), window_s=st.floats(0.1, 100.0))
def test_behind_a_names_slot_there_is_room_for_a_name(offsets: list[float], window_s: float) -> None:
    """Whatever rounding makes of instants: a request that finds none would carry too many."""

    async def main() -> None:
        messages = MessageBudget(100.0, names=1, names_window_s=window_s)
        for offset in offsets:
            await messages.names_slot()
            assert messages.names_left == 1
            messages.note_names(1)
            await trio.sleep(offset * window_s)

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_where_nobody_counts_names_there_is_no_wait(autojump_clock: MockClock) -> None:
    messages = MessageBudget(100.0)
    messages.note_names(10_000)
    await messages.names_slot()
    assert messages.names_left is None
    assert trio.current_time() == 0
