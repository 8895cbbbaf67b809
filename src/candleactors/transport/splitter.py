"""Splitter: takes whole messages out of a WebSocket's byte stream, fast, and leaves the rest to a library. Sans-IO."""

from __future__ import annotations

from struct import Struct

_TEXT, _BINARY, _CLOSE, _PING = 0x1, 0x2, 0x8, 0x9
_FIN = 0x80
_HEAD = Struct(">HH").unpack_from
_SHORT_TEXT, _MEDIUM_TEXT = 0x8100, 0x817E


class FrameSplitter:
    """Splits what a server sends after the handshake into complete messages and bytes for the protocol library.

    A message in one frame, unmasked, without reserved bits, with a minimal length of at most `max_message_bytes`, is
    taken out: text and binary alike, its UTF-8 not looked at. Everything else, fragments and control frames above all,
    is passed on byte for byte. From the first frame that is not valid or too long, and from a close frame, everything
    is passed on, so that the library sees the violation and answers it.
    """

    def __init__(self, max_message_bytes: int) -> None:
        self.pings = 0
        """Ping frames passed on so far."""
        self.fragmented = 0
        """Fragmented messages passed on so far."""
        self.raw = False
        """Whether nothing is taken out any more."""
        self._max = max_message_bytes
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._need = 0
        self._through = 0
        self._inside = False

    def feed(self, data: bytes) -> tuple[list[bytes | None], bytes]:
        """Return the messages that `data` completes, in order, and the bytes to pass on.

        ``None`` stands for a fragmented message whose last frame has begun among the bytes passed on: it comes out of
        the library, and belongs here.
        """
        if self.raw:
            return [], data
        if self._held:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes < self._need:
                return [], b""
            data = b"".join(self._held)
            self._held.clear()
        return self._split(data)

    def _split(self, data: bytes) -> tuple[list[bytes | None], bytes]:
        messages: list[bytes | None] = []
        take = messages.append
        passed: list[bytes] = []
        end = len(data)
        pos = min(self._through, end)
        if pos:
            passed.append(data[:pos])
            self._through -= pos
        largest, plain, head = self._max, not self._inside, _HEAD
        last = end - 4
        while pos <= last:
            # The two shapes nearly every message has; anything else takes the slow way.
            first, length = head(data, pos)
            if first == _MEDIUM_TEXT and plain and 125 < length <= largest:
                start = pos + 4
                stop = start + length
            elif _SHORT_TEXT <= first < _MEDIUM_TEXT and plain and first - _SHORT_TEXT <= largest:
                start = pos + 2
                stop = start + first - _SHORT_TEXT
            else:
                pos, starved = self._step(data, pos, messages, passed)
                if starved:
                    break
                plain = not self._inside
                continue
            if stop > end:
                self._need = stop - pos
                break
            take(data[start:stop])
            pos = stop
        else:
            while pos < end:
                pos, starved = self._step(data, pos, messages, passed)
                if starved:
                    break
        if pos < end:
            self._held.append(data[pos:])
            self._held_bytes = end - pos
        return messages, b"".join(passed)

    def _step(self, data: bytes, pos: int, messages: list[bytes | None], passed: list[bytes]) -> tuple[int, bool]:
        """Handle the one frame at `pos`. Return where the next begins, and whether `data` holds no more whole one."""
        head = self._parse_head(data, pos)
        if head is None:
            passed.append(data[pos:])
            self.raw = True
            return len(data), True
        opcode, final, start, length = head
        available = len(data) - pos
        if start < 0:
            self._need = available + 1
            return pos, True
        stop = start + length
        if final and opcode in (_TEXT, _BINARY):
            if stop > len(data):
                self._need = stop - pos
                return pos, True
            messages.append(data[start:stop])
            return stop, False
        if opcode < _CLOSE:
            self._inside = not final
            if final:
                messages.append(None)
                self.fragmented += 1
        elif opcode == _CLOSE:
            passed.append(data[pos:])
            self.raw = True
            return len(data), True
        elif opcode == _PING:
            self.pings += 1
        passed.append(data[pos:stop])
        self._through = max(0, stop - len(data))
        return min(stop, len(data)), False

    def _parse_head(self, data: bytes, pos: int) -> tuple[int, bool, int, int] | None:
        """Return opcode, final, start and length of the payload; a negative start if bytes are missing.

        ``None`` for a frame that is not valid here, or too long to be taken out.
        """
        have = len(data) - pos
        first = data[pos]
        opcode, final = first & 0x0F, bool(first & _FIN)
        if first & 0x70 or not self._expected(opcode, final):
            return None
        if have < 2:
            return opcode, final, -1, 0
        length = data[pos + 1]
        if length < 126:
            start = pos + 2
        elif length == 126 and opcode < _CLOSE:
            if have < 4:
                return opcode, final, -1, 0
            start = pos + 4
            length = int.from_bytes(data[pos + 2 : start])
            if length < 126:
                return None
        elif length == 127 and opcode < _CLOSE:
            if have < 10:
                return opcode, final, -1, 0
            start = pos + 10
            length = int.from_bytes(data[pos + 2 : start])
            if length < 1 << 16 or length >> 63:
                return None
        else:
            return None
        if final and opcode in (_TEXT, _BINARY) and length > self._max:
            return None
        return opcode, final, start, length

    def _expected(self, opcode: int, final: bool) -> bool:
        if opcode in (_TEXT, _BINARY):
            return not self._inside
        if opcode == 0:
            return self._inside
        return _CLOSE <= opcode <= 0xA and final
