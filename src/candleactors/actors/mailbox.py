"""Mailboxes: bounded queues between actors."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A bounded memory channel with both of its ends in one place, owned by whoever outlives the reader.

    A reader that is restarted goes on with the same mailbox; what it had taken out is lost with it, what was still
    inside is not. `put` waits while the mailbox is full, which is how a slow reader slows its senders down; `offer`
    never waits. One task reads.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._peak = 0
        self._send, self._receive = trio.open_memory_channel[T](capacity)
        self._waiting: trio.CancelScope | None = None
        self._interrupted = False

    def __len__(self) -> int:
        return self._send.statistics().current_buffer_used

    @property
    def peak(self) -> int:
        """How many messages waited at most so far, those of senders in line included."""
        return max(self._peak, len(self))

    async def put(self, message: T) -> None:
        """Append `message`, waiting in line while the mailbox is full. A checkpoint."""
        await self._send.send(message)

    def offer(self, message: T) -> bool:
        """Append `message` if there is room and say whether there was."""
        try:
            self._send.send_nowait(message)
        except trio.WouldBlock:
            return False
        return True

    async def drain(self, until_s: float = math.inf) -> list[T]:
        """Remove and return everything there is, waiting for the first message: a burst costs one wake.

        Returns an empty list at `until_s` on Trio's clock, and after `interrupt`.
        """
        if self._interrupted:
            self._interrupted = False
            await trio.lowlevel.checkpoint()
            return self.take_all()
        with trio.CancelScope(deadline=until_s) as self._waiting:
            first = await self._receive.receive()
            messages = [first, *self.take_all()]
            # Nobody but the reader takes anything out, so it is now that most are waiting.
            if len(messages) > self._peak:
                self._peak = len(messages)
            return messages
        self._interrupted = False
        return []

    def take_all(self) -> list[T]:
        """Remove and return everything there is now, without waiting; possibly nothing."""
        messages: list[T] = []
        try:
            while True:
                messages.append(self._receive.receive_nowait())
        except trio.WouldBlock:
            if len(messages) > self._peak:
                self._peak = len(messages)
            return messages

    def interrupt(self) -> None:
        """Make the reader's current `drain`, or its next one, return at once."""
        self._interrupted = True
        if self._waiting is not None:
            self._waiting.cancel()

    @asynccontextmanager
    async def attended(self, stopping: trio.Event) -> AsyncIterator[None]:
        """Interrupt the reader, which is the body, when `stopping` is set."""

        async def watch() -> None:
            await stopping.wait()
            self.interrupt()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            yield
            nursery.cancel_scope.cancel()
