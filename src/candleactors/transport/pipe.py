"""Pipes: a connected pair of byte streams in memory that behaves like a loopback TCP connection."""

from __future__ import annotations

from operator import index

import trio


def open_pipe(capacity: int) -> tuple[PipeStream, PipeStream]:
    """Return both ends of a pipe that holds at most `capacity` bytes in each direction."""
    there, back = _Channel(capacity), _Channel(capacity)
    return PipeStream(there, back), PipeStream(back, there)


class PipeStream(trio.abc.HalfCloseableStream):
    """One end of a pipe.

    Closing it gives the peer the end of the stream behind what was sent before, and breaks the peer's sends. One task
    may send while another receives.
    """

    def __init__(self, outgoing: _Channel, incoming: _Channel) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._closed = False

    @property
    def readable(self) -> bool:
        """Whether `receive_some` would return at once."""
        return bool(self._incoming.data) or self._incoming.ended

    @property
    def closed(self) -> bool:
        """Whether this end was closed."""
        return self._closed

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`, waiting while the pipe is full. Raises `trio.BrokenResourceError` once the peer is closed."""
        channel, left = self._outgoing, memoryview(data)
        with channel.sending:
            await trio.lowlevel.checkpoint()
            while True:
                self._check_open()
                room = max(0, channel.capacity - len(channel.data))
                channel.data += left[:room]
                left = left[room:]
                channel.changed.unpark_all()
                if not left:
                    return
                await channel.changed.park()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the pipe has room."""
        channel = self._outgoing
        with channel.sending:
            await trio.lowlevel.checkpoint()
            self._check_open()
            while len(channel.data) >= channel.capacity and not channel.deaf:
                await channel.changed.park()
                self._check_open()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what there is, up to `max_bytes`, waiting for the first byte; ``b""`` at the end of the stream."""
        if max_bytes is not None and index(max_bytes) < 1:
            raise ValueError("max_bytes must be at least 1")
        channel = self._incoming
        with channel.receiving:
            await trio.lowlevel.checkpoint()
            while not channel.data and not channel.ended and not self._closed:
                await channel.changed.park()
            if self._closed:
                raise trio.ClosedResourceError
            data = bytes(channel.data[:max_bytes])
            del channel.data[: len(data)]
            channel.changed.unpark_all()
            return data

    async def send_eof(self) -> None:
        """End our direction; the other stays open."""
        with self._outgoing.sending:
            await trio.lowlevel.checkpoint()
            if self._closed:
                raise trio.ClosedResourceError
            self._outgoing.end()

    async def aclose(self) -> None:
        """Close both directions. What the peer has not received yet, it still receives."""
        self.abort()
        await trio.lowlevel.checkpoint()

    def abort(self) -> None:
        """Close both directions, as `aclose` does, without a checkpoint."""
        self._closed = True
        self._outgoing.end()
        self._incoming.deaf = True
        self._incoming.data.clear()
        self._incoming.changed.unpark_all()

    def _check_open(self) -> None:
        if self._closed or self._outgoing.ended:
            raise trio.ClosedResourceError
        if self._outgoing.deaf:
            raise trio.BrokenResourceError


class _Channel:
    """One direction."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.data = bytearray()
        self.ended = False
        """The sender will send no more."""
        self.deaf = False
        """The receiver will take no more."""
        self.sending = _OneAtATime()
        self.receiving = _OneAtATime()
        self.changed = trio.lowlevel.ParkingLot()

    def end(self) -> None:
        self.ended = True
        self.changed.unpark_all()


class _OneAtATime:
    """Refuses a second task, whose bytes would be mixed with the first one's."""

    def __init__(self) -> None:
        self._busy = False

    def __enter__(self) -> None:
        if self._busy:
            raise trio.BusyResourceError("another task is using this end of the pipe")
        self._busy = True

    def __exit__(self, *exception: object) -> None:
        self._busy = False
