"""One connection to Bitfinex: its channels, its replies, and what its frames mean.

Protocol: https://docs.bitfinex.com/docs/ws-general (events, flags, error codes) and
https://docs.bitfinex.com/docs/ws-public (channels, heartbeats).

Frames of a channel carry nothing but the number that the server chose for it on this connection, so the session keeps
the numbers. It asks for the server's clock at the end of every frame (the flag ``TIMESTAMP``), from which
`candleactors.venues.bitfinex_closing` infers what is closed; where the server gives none, it does with less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from candleactors.core.filling import flat_candle
from candleactors.errors import MalformedMessage
from candleactors.model import Candle, Source, Stream
from candleactors.venues.base import Decoded
from candleactors.venues.bitfinex_candle import Flat, Row, Update, candle_of, is_instant, problem_of
from candleactors.venues.bitfinex_channels import Channels
from candleactors.venues.bitfinex_closing import Closing, Inferred
from candleactors.venues.strict_json import strict_json

MAX_FRAME_BYTES: Final = 256 << 10
"""Longer frames are refused unread. A row takes up to 100 bytes; how many a snapshot has is documented nowhere."""

_TIMESTAMP: Final = 32_768
_HEARTBEAT: Final = b'"hb"'

_update: Final = msgspec.json.Decoder(Update).decode
_parts: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_integer: Final = msgspec.json.Decoder(int).decode
_row: Final = msgspec.json.Decoder(Row).decode
_rows: Final = msgspec.json.Decoder(list[Row]).decode


class BitfinexSession:
    """See the module's description, and `candleactors.venues.base.Session`."""

    def __init__(self) -> None:
        self._channels = Channels()

    def opening(self) -> Sequence[bytes]:
        """Return the request for the server's clock at the end of every frame."""
        return (msgspec.json.encode({"event": "conf", "flags": _TIMESTAMP}),)

    def subscribe(self, request_id: int, names: Sequence[str]) -> bytes:
        """Return the text frame that subscribes `names`, which is one."""
        (name,) = names
        return msgspec.json.encode(self._channels.subscribe(request_id, name))

    def unsubscribe(self, request_id: int, names: Sequence[str]) -> bytes | None:
        """Return the text frame that unsubscribes `names`, which is one; ``None`` where it has no channel here."""
        (name,) = names
        message = self._channels.unsubscribe(request_id, name)
        return None if message is None else msgspec.json.encode(message)

    def list_subscriptions(self, request_id: int) -> None:
        """Return ``None``: the venue cannot list."""

    def ping(self) -> bytes:
        """Return the text frame that the venue answers with a pong."""
        return b'{"event":"ping"}'

    def decode(self, frames: Sequence[bytes], streams: Mapping[str, Stream], received_ms: int) -> Decoded:
        """Return what `frames` say about `streams`; never raises, see `candleactors.venues.base.Session.decode`.

        Of a candle that closes more than once, only the last version is among the closed ones, in the place of the
        first. Prices of forming candles are checked by `to_candle`, and once they close: one that is conflated away
        costs no more than its place.
        """
        decoded = Decoded(messages=len(frames))
        for frame in frames:
            try:
                if len(frame) > MAX_FRAME_BYTES:
                    raise ValueError(f"a frame of {len(frame)} bytes")
                _ = frame.isascii() or frame.decode()  # msgspec checks only the text that it keeps
                try:
                    update = _update(frame)
                except msgspec.ValidationError:
                    self._decode_other(frame, streams, received_ms, decoded)
                else:
                    if is_instant(update.event_time_ms):
                        self._add([update], update.channel, update.event_time_ms, streams, received_ms, decoded)
                    else:  # a counter, perhaps
                        self._decode_array(frame, streams, received_ms, decoded)
            except RecursionError:
                decoded.reject(ValueError("nested too deeply"), frame)
            except (MalformedMessage, ValueError) as error:
                decoded.reject(error, frame)
        if len(decoded.closed) > 1:
            # The row that closes a candle late and the previous one, once more, arrive together: the latter counts.
            last = {(name, candle.open_time_ms): candle for name, candle in decoded.closed}
            if len(last) < len(decoded.closed):
                decoded.closed = [(name, candle) for (name, _), candle in last.items()]
        return decoded

    def _decode_other(self, frame: bytes, streams: Mapping[str, Stream], received_ms: int, decoded: Decoded) -> None:
        if frame.lstrip(b" \t\r\n").startswith(b"["):
            self._decode_array(frame, streams, received_ms, decoded)
            return
        message = strict_json(frame)
        if not isinstance(message, dict):
            raise ValueError("neither an event nor a channel's frame")  # noqa: TRY004 - the caller knows one kind
        self._channels.on_event(message, decoded)

    def _decode_array(self, frame: bytes, streams: Mapping[str, Stream], received_ms: int, decoded: Decoded) -> None:
        """Take notice of any frame of a channel: a snapshot, a heartbeat, a row without the server's clock."""
        parts = _parts(frame)
        if len(parts) < 2:
            raise ValueError("a channel's frame without content")
        number = _integer(parts[0])
        content = bytes(parts[1])
        sent_ms = _instant(parts[-1]) if len(parts) > 2 else None
        if not content.startswith(b"["):
            if content == _HEARTBEAT:
                self._add(None, number, sent_ms, streams, received_ms, decoded)
            elif content.startswith(b'"'):
                decoded.ignored += 1  # another kind of update
            else:
                raise ValueError("neither rows nor a heartbeat")
            return
        if self._channels.get(number) is None:
            decoded.ignored += 1
            return
        is_snapshot = content[1:].lstrip(b" \t\r\n")[:1] in (b"[", b"]")
        rows = _rows(content) if is_snapshot else [_row(content)]
        rows.sort(key=_open_time_ms)
        if any(one.open_time_ms == other.open_time_ms for one, other in pairwise(rows)):
            raise ValueError("a snapshot with two rows of one interval")
        updates = [Update(number, row, row.open_time_ms if sent_ms is None else sent_ms) for row in rows]
        self._add(updates, number, sent_ms, streams, received_ms, decoded)

    def _add(
        self,
        rows: Sequence[Update] | None,
        number: int,
        sent_ms: int | None,
        streams: Mapping[str, Stream],
        received_ms: int,
        decoded: Decoded,
    ) -> None:
        """Add to `decoded` what `rows` of a channel mean, ``None`` being a heartbeat."""
        channel = self._channels.get(number)
        if channel is None:
            decoded.ignored += 1
            return
        stream = streams.get(channel.name)
        if stream is None:
            channel.closing = None  # what is not listened to has to begin anew
            decoded.ignored += 1
            return
        for update in rows or ():
            problem = problem_of(update.row, stream.timeframe, sent_ms)
            if problem is not None:
                raise ValueError(problem)
        closing = channel.closing
        if closing is None:
            closing = channel.closing = Closing(stream.timeframe, beats=self._channels.beats)
        if rows is not None:
            inferred = closing.on_rows(rows, sent_ms)
            if not inferred.closed and inferred.forming is None:
                decoded.ignored += 1
        elif sent_ms is not None:
            inferred = closing.on_instant(sent_ms)
            if closing.beats and not self._channels.beats:
                self._channels.on_beats()
        else:
            inferred = Inferred([], None)
        _tell(inferred, channel.name, stream, received_ms, decoded)


def _tell(inferred: Inferred, name: str, stream: Stream, received_ms: int, decoded: Decoded) -> None:
    """Add to `decoded` what was inferred. A row that is no candle is rejected, and no flat one follows it."""
    before: Candle | None = None
    source: Update | None = None
    for told in inferred.closed:
        row = told.after if isinstance(told, Flat) else told
        try:
            if row is not source:
                before, source = None, row
                before = candle_of(row.row, stream, received_ms, closed=True, source=Source.WS)
        except MalformedMessage as error:
            if told is row:  # else it was rejected before
                decoded.rejected.append(error)
        if before is not None:
            candle = before
            if isinstance(told, Flat):
                candle = flat_candle(stream, told.open_time_ms, before.close, received_ms)
            decoded.closed.append((name, candle))
    forming = inferred.forming
    if forming is None:
        if not inferred.closed:
            decoded.alive[name] = None
        return
    known = decoded.open.get(name)
    if known is None or (known.open_time_ms, known.event_time_ms) <= (forming.open_time_ms, forming.event_time_ms):
        decoded.open[name] = forming


def _open_time_ms(row: Row) -> int:
    return row.open_time_ms


def _instant(raw: msgspec.Raw) -> int | None:
    """Return the server's clock at the end of a frame, ``None`` where that is something else."""
    try:
        at_ms = _integer(raw)
    except msgspec.DecodeError:
        return None
    return at_ms if is_instant(at_ms) else None
