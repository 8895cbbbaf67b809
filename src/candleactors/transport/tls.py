"""TLS over any stream, reading everything that has arrived at once.

`trio.SSLStream` returns one TLS record, at most 16 KiB, per call. A venue sends each message in a record of its own,
so that is one call for each message, and pausing between reads would throttle instead of batch. This stream decrypts
all that the socket gave before it returns.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from functools import cache

import trio

RECORD_BYTES = 1 << 14
CIPHERTEXT_BYTES = 3 << 16
"""Most bytes read from the transport at once: with what an unfinished record left behind, less than a reader's 256 KiB,
so that no small remainder is returned in a call of its own."""
CLOSE_NOTIFY_S = 1.0
"""Most seconds spent on telling the peer that we close."""


@cache
def default_context() -> ssl.SSLContext:
    """Return the strict context: system authorities, host names checked. Made once, for it reads many files."""
    return ssl.create_default_context()


class TlsStream(trio.abc.Stream):
    """The client side of TLS over `transport`, which it owns. One task may send while another receives."""

    def __init__(self, transport: trio.abc.Stream, context: ssl.SSLContext, host: str) -> None:
        self.transport = transport
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._sending = trio.StrictFIFOLock()
        self._ended = False
        self._closed = False

    @classmethod
    async def handshake(cls, transport: trio.abc.Stream, context: ssl.SSLContext, host: str) -> TlsStream:
        """Return an encrypted stream to `host`, or close `transport` and raise.

        Raises `ssl.SSLError` (`ssl.SSLCertVerificationError` for a bad certificate) or `trio.BrokenResourceError`.
        """
        stream = cls(transport, context, host)
        try:
            await stream._handshake()
        except BaseException:
            await trio.aclose_forcefully(transport)
            raise
        return stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send `data`. Raises `trio.BrokenResourceError`, `trio.ClosedResourceError`."""
        left = memoryview(data)
        async with self._sending:
            try:
                while left:
                    left = left[self._tls.write(left) :]
            except ssl.SSLError as error:
                raise trio.BrokenResourceError(f"TLS failed: {error}") from error
            await self.transport.send_all(self._outgoing.read())

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the transport takes data."""
        async with self._sending:
            await self.transport.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return all plaintext that has arrived, up to `max_bytes`, waiting for the first byte.

        ``b""`` only where the peer announced the end. A transport that ends without that may have been cut by anyone
        and raises `trio.BrokenResourceError`.
        """
        await trio.lowlevel.checkpoint()
        while not (data := self._decrypt(CIPHERTEXT_BYTES if max_bytes is None else max_bytes)):
            if self._outgoing.pending:
                await self._flush()
            if self._ended:
                return b""
            self._feed(await self.transport.receive_some(CIPHERTEXT_BYTES))
        return data

    async def aclose(self) -> None:
        """Tell the peer, in bounded time and without waiting for its answer, and close the transport."""
        if self._closed:
            return
        self._closed = True
        try:
            with trio.move_on_after(CLOSE_NOTIFY_S):
                with suppress(ssl.SSLError):  # it wants the peer's answer, which we do not wait for
                    self._tls.unwrap()
                await self._flush()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await self.transport.aclose()

    async def _handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                self._feed(await self.transport.receive_some(CIPHERTEXT_BYTES))
            except ssl.SSLError:
                with trio.move_on_after(CLOSE_NOTIFY_S):
                    await self._flush()
                raise
            else:
                await self._flush()
                return

    def _decrypt(self, limit: int) -> bytes:
        pieces: list[bytes] = []
        left = limit
        try:
            while left > 0:
                piece = self._tls.read(min(left, RECORD_BYTES))
                if not piece:
                    self._ended = True
                    break
                pieces.append(piece)
                left -= len(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._ended = True
        except ssl.SSLError as error:
            if not pieces:
                raise trio.BrokenResourceError(f"TLS failed: {error}") from error
        return b"".join(pieces)

    def _feed(self, ciphertext: bytes | bytearray) -> None:
        if ciphertext:
            self._incoming.write(ciphertext)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        async with self._sending:
            if self._outgoing.pending:
                await self.transport.send_all(self._outgoing.read())
