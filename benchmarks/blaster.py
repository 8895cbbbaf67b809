"""The venue's side: a process that sends pre-encoded klines as fast, or as evenly, as it is told.

``python -m benchmarks.blaster '{"streams": 1000, "messages": 400000, ...}'`` prints its port as one line of JSON,
waits until all streams are subscribed, over however many connections, encodes everything, waits a moment, and sends.
When all is sent it prints ``{"last_write_ns": ...}``. It ends when its standard input does.

Blocking sockets and threads: a writer for each connection, and `sendall` leaves the interpreter alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import select
import socket
import ssl
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from benchmarks.klines import ROUNDS_PER_MINUTE, frame, message

WRITE_BYTES = 1 << 17
SETTLE_S = 0.5
_KEY = re.compile(rb"sec-websocket-key: *([^\r\n]+)", re.IGNORECASE)
_NAMES = re.compile(r"[a-z0-9]+@kline_1m")


class Blaster:
    """Counts subscriptions over all connections, and starts every writer at the same moment."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.streams: int = task["streams"]
        self.rounds: int = -(-task["messages"] // self.streams)
        self.pace: float = task.get("pace", 0)
        self.boundary: bool = task.get("boundary", False)
        self.lock = threading.Lock()
        self.subscribed: set[str] = set()
        self.connections: list[Connection] = []
        self.complete = threading.Event()
        self.encoded: threading.Barrier | None = None

    def subscribe(self, connection: Connection, names: list[str]) -> None:
        with self.lock:
            fresh = [name for name in names if name not in self.subscribed]
            self.subscribed.update(fresh)
            connection.names += fresh
            if len(self.subscribed) == self.streams and not self.complete.is_set():
                writers = [each for each in self.connections if each.names]
                self.encoded = threading.Barrier(len(writers))
                self.complete.set()
                threading.Thread(target=self.report, args=(writers,), daemon=True).start()

    def report(self, writers: list[Connection]) -> None:
        for writer in writers:
            writer.done.wait()
        print(json.dumps({"last_write_ns": max(writer.last_write_ns for writer in writers)}), flush=True)


class Connection:
    """One client: a reader thread for what it asks, a writer thread for the klines."""

    def __init__(self, blaster: Blaster, sock: socket.socket) -> None:
        self.blaster = blaster
        self.sock = sock
        self.names: list[str] = []
        self.done = threading.Event()
        self.last_write_ns = 0
        self.sending = threading.Lock()

    def run(self) -> None:
        try:
            path = self.shake_hands()
            threading.Thread(target=self.write, daemon=True).start()
            if names := _NAMES.findall(path):
                self.blaster.subscribe(self, names)
            self.read()
        except OSError:
            self.done.set()  # the client is gone, as it should be once it has counted everything

    def shake_hands(self) -> str:
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.need(1)
        key = _KEY.search(head)
        if key is None:
            raise OSError("no WebSocket handshake")
        digest = hashlib.sha1(key[1].strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        self.sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )
        return head.split(b" ", 2)[1].decode()

    def read(self) -> None:
        while self.may_read():
            first, second = self.need(2)
            length = second & 0x7F
            if length == 126:
                length = int.from_bytes(self.need(2))
            elif length == 127:
                length = int.from_bytes(self.need(8))
            mask = self.need(4)
            payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.need(length)))
            opcode = first & 0x0F
            if opcode == 1:
                request = json.loads(payload)
                with self.sending:
                    self.sock.sendall(frame(json.dumps({"result": None, "id": request["id"]}).encode()))
                if request["method"] == "SUBSCRIBE":
                    self.blaster.subscribe(self, [name for each in request["params"] for name in _NAMES.findall(each)])
            elif opcode == 8:
                self.sock.shutdown(socket.SHUT_RDWR)
                return
            elif opcode == 9:
                with self.sending:
                    self.sock.sendall(bytes([0x8A, len(payload)]) + payload)

    def may_read(self) -> bool:
        """Say whether to read on. Under TLS only until the sending begins: two threads must not share a TLS socket."""
        if not isinstance(self.sock, ssl.SSLSocket):
            return True
        while not self.blaster.complete.is_set():
            if self.sock.pending() or select.select([self.sock], [], [], SETTLE_S / 10)[0]:
                return True
        return False

    def need(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.sock.recv(count - len(data))
            if not piece:
                raise OSError("the client hung up")
            data += piece
        return data

    def write(self) -> None:
        blaster = self.blaster
        blaster.complete.wait()
        if not self.names or blaster.encoded is None:
            return
        turns = range(blaster.rounds)
        if blaster.boundary:
            turns = range(ROUNDS_PER_MINUTE - 1, blaster.rounds * ROUNDS_PER_MINUTE, ROUNDS_PER_MINUTE)
        frames = [frame(message(name, turn)) for turn in turns for name in self.names]
        pace = blaster.pace * len(self.names) / blaster.streams
        writes = frames if pace else whole_frames(frames)
        blaster.encoded.wait()
        time.sleep(SETTLE_S)
        with suppress(OSError):  # the client may leave early
            self.send(writes, pace)
        self.last_write_ns = time.monotonic_ns()
        self.done.set()

    def send(self, writes: list[bytes], pace: float) -> None:
        start = time.monotonic()
        for number, data in enumerate(writes):
            if pace and (ahead := start + number / pace - time.monotonic()) > 0:
                time.sleep(ahead)
            with self.sending:
                self.sock.sendall(data)


def whole_frames(frames: list[bytes]) -> list[bytes]:
    """Return writes of at most `WRITE_BYTES`, each of which ends where a frame does."""
    count = max(1, WRITE_BYTES // len(frames[0]))
    return [b"".join(frames[i : i + count]) for i in range(0, len(frames), count)]


def main() -> None:
    task = json.loads(sys.argv[1])
    blaster = Blaster(task)
    context: ssl.SSLContext | None = None
    if task.get("certificate"):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(task["certificate"])
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)

    def accept() -> None:
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                connection = Connection(blaster, context.wrap_socket(sock, server_side=True) if context else sock)
            except (OSError, ssl.SSLError):
                continue  # a client that tried something else first
            blaster.connections.append(connection)
            threading.Thread(target=connection.run, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
