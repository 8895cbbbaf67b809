"""The splitter against wsproto: with whatever bytes, together they say what wsproto alone says."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from candleactors.transport.splitter import FrameSplitter

MAX_MESSAGE_BYTES = 1 << 22


class Reference:
    """wsproto alone, its fragments joined."""

    def __init__(self) -> None:
        self.connection = Connection(ConnectionType.CLIENT)
        self.messages: list[bytes] = []
        self.controls: list[tuple[str, object]] = []
        self.parts: list[bytes] = []
        self.closed = False

    def feed(self, data: bytes) -> list[bytes]:
        before = len(self.messages)
        if self.connection.state is ConnectionState.OPEN and not self.closed:
            self.connection.receive_data(data)
            for event in self.connection.events():
                if isinstance(event, TextMessage | BytesMessage):
                    self.parts.append(event.data.encode() if isinstance(event.data, str) else bytes(event.data))
                    if event.message_finished:
                        self.messages.append(b"".join(self.parts))
                        self.parts.clear()
                elif isinstance(event, Ping | Pong):
                    self.controls.append((type(event).__name__, bytes(event.payload)))
                elif isinstance(event, CloseConnection):
                    self.closed = True
                    self.controls.append(("Close", (int(event.code), event.reason)))
        return self.messages[before:]


def compare(pieces: list[bytes]) -> Reference:
    alone, behind = Reference(), Reference()
    splitter = FrameSplitter(MAX_MESSAGE_BYTES)
    merged: list[bytes | None] = []
    for piece in pieces:
        alone.feed(piece)
        messages, passed = splitter.feed(piece)
        merged += messages
        for message in behind.feed(passed):
            merged[merged.index(None)] = message
    assert [message for message in merged if message is not None] == alone.messages
    assert None not in merged[:-1] or behind.closed  # the last may be a fragment cut off by the end of the stream
    assert behind.controls == alone.controls
    assert splitter.pings >= sum(kind == "Ping" for kind, _ in alone.controls)
    return alone


def frame(first: int, payload: bytes, mask: bool = False, form: int = 0) -> bytes:
    length, bit = len(payload), 0x80 if mask else 0
    if form == 127 or (not form and length >= 1 << 16):
        head = bytes([first, bit | 127]) + struct.pack(">Q", length)
    elif form == 126 or (not form and length > 125):
        head = bytes([first, bit | 126]) + struct.pack(">H", length)
    else:
        head = bytes([first, bit | length])
    return head + (b"abcd" if mask else b"") + payload


def random_stream(rng: random.Random) -> bytes:
    """A stream of mostly valid frames; about one in three has a violation somewhere."""
    frames: list[bytes] = []
    inside = False
    for _ in range(rng.randint(1, 12)):
        size = rng.choice((0, 1, 2, 3, 60, 124, 125, 126, 127, 128, 366, 366, 1000))
        if rng.random() < 0.02:
            size = rng.choice((65534, 65535, 65536, 70000))
        text = "".join(rng.choice("ab{}€") for _ in range(min(size, 5))).encode().ljust(size, b".")[: max(size, 0)]
        text = text.decode(errors="ignore").encode().ljust(size, b".")
        roll = rng.random()
        if roll < 0.15:
            frames.append(frame(rng.choice((0x89, 0x8A)), text[:125]))
        elif inside:
            inside = rng.random() < 0.6
            frames.append(frame(0x00 if inside else 0x80, text))
        elif roll < 0.35:
            inside = True
            frames.append(frame(rng.choice((0x01, 0x02)), text))
        else:
            frames.append(frame(rng.choice((0x81, 0x81, 0x81, 0x82)), text))
        if rng.random() < 0.03:
            close = rng.choice((b"", struct.pack(">H", 1008) + b"Too many requests", b"\x03", struct.pack(">H", 5)))
            frames.append(frame(0x88, close))
        if rng.random() < 0.03:
            frames.append(
                frame(
                    rng.choice((0x80, 0x81, 0x91, 0xA1, 0xC1, 0x83, 0x8B, 0x09, 0x01, 0x00)),
                    text[:100],
                    mask=rng.random() < 0.3,
                    form=rng.choice((0, 126, 127)),
                )
            )
    stream = b"".join(frames)
    if rng.random() < 0.1 and stream:
        stream = stream[: rng.randrange(len(stream))]
    return stream


def cut(rng: random.Random, stream: bytes) -> list[bytes]:
    roll = rng.random()
    if roll < 0.1 and len(stream) < 3000:
        return [stream[i : i + 1] for i in range(len(stream))]
    cuts = sorted(rng.randrange(len(stream) + 1) for _ in range(rng.randint(0, 12)))
    return [
        piece for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True) if (piece := stream[start:stop])
    ]


@pytest.mark.parametrize("block", range(10))
def test_agrees_with_wsproto_on_random_streams(block: int) -> None:
    for seed in range(block * 1000, (block + 1) * 1000):
        rng = random.Random(seed)
        pieces = cut(rng, random_stream(rng))
        try:
            compare(pieces)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {pieces}") from error


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
def test_agrees_with_wsproto_on_noise(pieces: list[bytes]) -> None:
    alone, behind = Reference(), Reference()
    splitter = FrameSplitter(MAX_MESSAGE_BYTES)
    merged: list[bytes | None] = []
    for piece in pieces:
        alone.feed(piece)
        messages, passed = splitter.feed(piece)
        merged += messages
        for message in behind.feed(passed):
            merged[merged.index(None)] = message
    # Noise is rarely UTF-8, which the splitter leaves alone: then wsproto alone stops earlier.
    if not any(kind == "Close" and "utf-8" in str(what) for kind, what in alone.controls):
        assert [message for message in merged if message is not None] == alone.messages
        assert behind.controls == alone.controls


def test_takes_the_common_case_out_entirely() -> None:
    messages = [b'{"k":%d}' % number * 30 for number in range(1000)]
    taken, passed = FrameSplitter(MAX_MESSAGE_BYTES).feed(b"".join(frame(0x81, message) for message in messages))
    assert taken == messages
    assert passed == b""


def test_a_large_message_in_small_pieces_takes_linear_time_and_space() -> None:
    message = b"x" * (1 << 22)
    stream = frame(0x82, message) + frame(0x81, b"next")
    splitter = FrameSplitter(MAX_MESSAGE_BYTES)
    taken = [m for i in range(0, len(stream), 1000) for m in splitter.feed(stream[i : i + 1000])[0]]
    assert taken == [message, b"next"]


def test_a_message_over_the_bound_is_passed_on_as_it_comes() -> None:
    splitter = FrameSplitter(1000)
    stream = frame(0x81, b"x" * 1000) + frame(0x81, b"y" * 1001)
    taken, passed = splitter.feed(stream[:1500])
    assert taken == [b"x" * 1000]
    assert passed == stream[1004:1500]
    assert splitter.raw
    assert splitter.feed(stream[1500:]) == ([], stream[1500:])


def test_nothing_is_taken_out_after_a_close_frame() -> None:
    splitter = FrameSplitter(1000)
    tail = frame(0x88, b"") + frame(0x81, b"late")
    assert splitter.feed(frame(0x81, b"one") + tail) == ([b"one"], tail)
