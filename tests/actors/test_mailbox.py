"""Mailboxes: bounded, drained in one wake, interrupted without losing anything."""

from __future__ import annotations

import pytest
import trio

from candleactors.actors.mailbox import Mailbox


async def test_a_burst_costs_one_wake() -> None:
    mailbox: Mailbox[int] = Mailbox(10)
    for n in range(5):
        assert mailbox.offer(n)
    assert await mailbox.drain() == [0, 1, 2, 3, 4]
    assert mailbox.take_all() == []


async def test_a_full_mailbox_slows_its_senders_down_in_order(autojump_clock: object) -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    async with trio.open_nursery() as nursery:

        async def send(first: int) -> None:
            for n in range(first, first + 3):
                await mailbox.put(n)

        nursery.start_soon(send, 0)
        await trio.testing.wait_all_tasks_blocked()
        assert len(mailbox) == 2
        assert not mailbox.offer(99)
        received: list[int] = []
        while len(received) < 3:
            received += await mailbox.drain()
    assert received == [0, 1, 2]


async def test_a_drain_ends_at_its_deadline(autojump_clock: trio.testing.MockClock) -> None:
    mailbox: Mailbox[int] = Mailbox(1)
    before_s = trio.current_time()
    assert await mailbox.drain(before_s + 5) == []
    assert trio.current_time() == before_s + 5


@pytest.mark.parametrize("early", [True, False])
async def test_an_interrupt_ends_one_drain_and_loses_nothing(autojump_clock: object, early: bool) -> None:
    mailbox: Mailbox[int] = Mailbox(5)
    async with trio.open_nursery() as nursery:
        if early:
            mailbox.interrupt()
        else:
            nursery.start_soon(_later, mailbox.interrupt)
        assert await mailbox.drain() == []
        nursery.start_soon(_later, lambda: mailbox.offer(1))
        assert await mailbox.drain() == [1]
    mailbox.offer(2)
    mailbox.interrupt()
    assert await mailbox.drain() == [2]


async def test_a_cancelled_reader_leaves_everything_inside(autojump_clock: object) -> None:
    mailbox: Mailbox[int] = Mailbox(5)
    with trio.move_on_after(1):
        await mailbox.drain()
    mailbox.offer(1)
    assert await mailbox.drain() == [1]


async def test_attended_interrupts_the_reader_when_the_child_is_to_stop(autojump_clock: object) -> None:
    mailbox: Mailbox[int] = Mailbox(5)
    stopping = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_later, stopping.set)
        async with mailbox.attended(stopping):
            while not stopping.is_set():
                assert await mailbox.drain() == []
    mailbox.offer(3)
    assert mailbox.take_all() == [3]


async def _later(act: object) -> None:
    await trio.sleep(1)
    assert callable(act)
    act()


async def test_the_peak_is_what_waited_at_most_and_stays(autojump_clock: object) -> None:
    mailbox: Mailbox[int] = Mailbox(3)
    assert mailbox.peak == 0
    for n in range(2):
        assert mailbox.offer(n)
    assert mailbox.peak == 2  # although nobody has read yet
    await mailbox.drain()
    assert mailbox.offer(0)
    await mailbox.drain()
    assert mailbox.peak == 2
    async with trio.open_nursery() as nursery:
        for n in range(5):
            nursery.start_soon(mailbox.put, n)
        await trio.testing.wait_all_tasks_blocked()
        assert len(mailbox.take_all()) == 5
    assert mailbox.peak == 5  # two stood in line
