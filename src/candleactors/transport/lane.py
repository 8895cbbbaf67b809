"""The bulk lane: a stream that keeps whole messages for itself and gives the WebSocket library the rest.

The library reads from a `LaneStream` as from a socket. What it gets is the handshake, control frames, fragments and
whatever is wrong; what it never sees are the messages that `FrameSplitter` takes out, which wait here for `take`.
"""

from __future__ import annotations

import re

import trio

from candleactors.errors import ConnectFailed
from candleactors.transport.splitter import FrameSplitter

MIN_RECEIVE_BYTES = 1 << 16
MAX_RECEIVE_BYTES = 1 << 20
"""Between these a read asks for as much as the traffic gives: the larger a batch, the more of it is conflated away."""
BACKLOG_BYTES = 1 << 16
"""A read of so many bytes, some two hundred klines, is followed by the next at once: a wake is cheap among so many."""
MAX_HANDSHAKE_BYTES = 1 << 16
"""Most bytes of an answer to the handshake, the body of a refusal included."""

_HEADERS_END = re.compile(rb"\n\r?\n")
_STATUS = re.compile(rb"HTTP/\d\.\d (\d{3})\b")


class LaneStream(trio.abc.Stream):
    """The library's end of the lane. Owned by the library once handed over; closing it closes `stream`.

    Before each read it pauses for `coalesce_s`, unless the last one brought `BACKLOG_BYTES`.
    While `max_pending_bytes` wait to be taken, it does not read: the kernel's buffers fill and the peer has to wait.
    Up to there a slow consumer holds up neither pings nor their answers; beyond, they wait unread with everything else.
    """

    def __init__(
        self, stream: trio.abc.Stream, *, coalesce_s: float, max_message_bytes: int, max_pending_bytes: int
    ) -> None:
        self.opening = True
        """Whether the handshake is still going on. Until it is over, an end of the stream is a failure to connect."""
        self.bytes_received = 0
        self.messages_received = 0
        self.last_byte_s = trio.current_time()
        self.paused = False
        """Whether reading is suspended because the consumer is behind."""
        self._stream = stream
        self._splitter = FrameSplitter(max_message_bytes)
        self._splitting = False
        self._coalesce_s = coalesce_s
        self._backlog = True
        self._asking_for = MIN_RECEIVE_BYTES
        self._passing = b""
        self._handshake = b""
        self._messages: list[bytes | None] = []
        self._open_slots = 0
        self._pending_bytes = 0
        self._max_pending_bytes = max_pending_bytes
        self._discarding = False
        self._taken = trio.lowlevel.ParkingLot()
        self._arrived = trio.lowlevel.ParkingLot()

    @property
    def pings_seen(self) -> int:
        """Ping frames passed to the library, which answers each."""
        return self._splitter.pings

    def take(self) -> list[bytes]:
        """Return all messages that are next in order, possibly none. Never blocks."""
        if self._open_slots:
            first = self._messages.index(None)
            batch, self._messages = self._messages[:first], self._messages[first:]
            self._pending_bytes = sum(len(message) for message in self._messages if message)
        else:
            batch, self._messages = self._messages, []
            self._pending_bytes = 0
        if self.paused:
            self._taken.unpark_all()
        return batch  # type: ignore[return-value]  # every slot in front of the first open one is filled

    def fill(self, message: bytes) -> None:
        """Put a message that the library assembled into its place."""
        if self._open_slots:
            self._messages[self._messages.index(None)] = message
            self._open_slots -= 1
        else:
            self._messages.append(message)
        self._pending_bytes += len(message)
        self.messages_received += 1
        self._arrived.unpark_all()

    def finish(self) -> None:
        """Give up the slots that the library will not fill any more, and wake whoever waits."""
        self._messages = [message for message in self._messages if message is not None]
        self._open_slots = 0
        self._arrived.unpark_all()

    def discard(self) -> None:
        """Keep nothing of what is read from now on, so that a closing handshake is not held up by a slow consumer."""
        self._discarding = True
        self._taken.unpark_all()

    async def arrival(self) -> None:
        """Wait for the next bytes, or for `finish`."""
        await self._arrived.park()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the next bytes for the library; ``b""`` at the end of the stream.

        Raises `ConnectFailed` for an end during the handshake.
        """
        while not self._passing:
            data = await self._read()
            if not data:
                return b""
            self._accept(data)
        size = len(self._passing) if max_bytes is None else max_bytes
        data, self._passing = self._passing[:size], self._passing[size:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream. Raises `ConnectFailed` during the handshake: the library closes what it cannot parse."""
        await self._stream.aclose()
        if self.opening:
            raise ConnectFailed("the answer is no WebSocket handshake")

    async def _read(self) -> bytes:
        if not self._backlog and self._coalesce_s:
            await trio.sleep(self._coalesce_s)
        while self._pending_bytes >= self._max_pending_bytes and not self._discarding:
            self.paused = True
            await self._taken.park()
        self.paused = False
        try:
            data = await self._stream.receive_some(self._asking_for)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            if self.opening:
                raise ConnectFailed("the connection broke during the handshake") from None
            raise
        if not data and self.opening:
            raise ConnectFailed("the connection ended during the handshake")
        self._backlog = len(data) >= BACKLOG_BYTES or self.opening
        if len(data) == self._asking_for:
            self._asking_for = min(self._asking_for * 4, MAX_RECEIVE_BYTES)
        elif len(data) < self._asking_for // 16:
            self._asking_for = max(self._asking_for // 2, MIN_RECEIVE_BYTES)
        return bytes(data)

    def _accept(self, data: bytes) -> None:
        self.bytes_received += len(data)
        self.last_byte_s = trio.current_time()
        if not self._splitting:
            data = self._pass_handshake(data)
        if data:
            fragmented = self._splitter.fragmented
            messages, passed = self._splitter.feed(data)
            self._passing += passed
            if messages and not self._discarding:
                slots = self._splitter.fragmented - fragmented
                self._open_slots += slots
                self.messages_received += len(messages) - slots
                self._pending_bytes += len(data)
                self._messages += messages
        self._arrived.unpark_all()

    def _pass_handshake(self, data: bytes) -> bytes:
        """Pass on the answer to the handshake; return what follows it once the protocol is switched."""
        self._handshake += data
        ended = _HEADERS_END.search(self._handshake)
        status = _STATUS.match(self._handshake)
        switched = ended is not None and status is not None and status[1] == b"101"
        if not switched and len(self._handshake) > MAX_HANDSHAKE_BYTES:
            raise ConnectFailed("the answer to the handshake is too long")
        if ended is None or not switched:
            self._passing += data
            return b""
        self._splitting = True
        frames = self._handshake[ended.end() :]
        self._passing += data[: len(data) - len(frames)]
        self._handshake = b""
        return frames
