"""Traffic: what the connections of one venue received, and how each of them came about."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from candleactors.errors import ConnectFailed, Disconnected, RemoteProtocolError, StaleStream


class Reason(StrEnum):
    """Why a connection is opened: what became of the one before it."""

    START = "start"
    """There was none: the first of these streams."""
    ROTATION = "rotation"
    """It is replaced in time, before the venue ends it."""
    ANNOUNCED = "announced"
    """The venue announced its end."""
    NORMAL = "normal"
    """It was closed with 1000."""
    GOING_AWAY = "going_away"
    """It was closed with 1001."""
    BROKEN = "broken"
    """It ended without a close frame (1006)."""
    TIMEOUT = "timeout"
    """It was silent, and a ping got no answer."""
    POLICY = "policy"
    """It was closed with 1008."""
    SERVER_ERROR = "server_error"
    """It was closed with 1011 to 1014."""
    APPLICATION = "application"
    """It was closed with a code of the venue's own, 3000 and above."""
    PROTOCOL = "protocol"
    """Somebody broke the protocol; any other close code too."""
    STALE = "stale"
    """Streams were silent on it while REST showed that they should speak."""
    UNANSWERED = "unanswered"
    """The venue did not answer requests on it."""
    REFUSED = "refused"
    """The attempt before was answered, with a status that is no WebSocket."""
    UNREACHABLE = "unreachable"
    """The attempt before failed or took too long before there was an answer."""
    RESTART = "restart"
    """Other actors began anew, and it with them."""
    CRASH = "crash"
    """Something unforeseen ended it."""


class Outcome(StrEnum):
    """What became of an attempt to connect."""

    CONNECTED = "connected"
    FAILED = "failed"


class Meter(Protocol):
    """What an open connection counts of itself."""

    @property
    def bytes_received(self) -> int: ...

    @property
    def messages_received(self) -> int: ...


class Traffic:
    """Counts for the life of the feed: a connection that ends takes nothing with it. Nothing here blocks."""

    def __init__(self) -> None:
        self.attempts = {(reason, outcome): 0 for reason in Reason for outcome in Outcome}
        """Attempts to connect, by why and with what outcome. Those broken off because the feed stops do not count."""
        self._open: list[Meter] = []
        self._bytes = 0
        self._messages = 0

    def connected(self, reason: Reason, connection: Meter) -> None:
        """Take in a connection that was opened because of `reason`."""
        self.attempts[reason, Outcome.CONNECTED] += 1
        self._open.append(connection)

    def failed(self, reason: Reason) -> None:
        """Count an attempt, made because of `reason`, that brought no connection."""
        self.attempts[reason, Outcome.FAILED] += 1

    def ended(self, connection: Meter) -> None:
        """Let go of a connection; it receives nothing more."""
        self._open.remove(connection)
        self._bytes += connection.bytes_received
        self._messages += connection.messages_received

    @property
    def bytes(self) -> int:
        """Bytes received on WebSockets, decrypted, handshakes included."""
        return self._bytes + sum(connection.bytes_received for connection in self._open)

    @property
    def messages(self) -> int:
        """Messages received on WebSockets."""
        return self._messages + sum(connection.messages_received for connection in self._open)

    def reconnects(self) -> dict[str, int]:
        """Return how often a connection took the place of another, by reason; what never happened is left out."""
        made = ((reason, n) for (reason, outcome), n in self.attempts.items() if outcome is Outcome.CONNECTED)
        return {reason.value: n for reason, n in made if n and reason is not Reason.START}


def ended_by(error: BaseException) -> Reason:
    """Return why the next connection will be opened if `error`, of a group its first, ended this one or the attempt."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case Disconnected(code=code):
            return _closed_with(code)
        case StaleStream():
            return Reason.UNANSWERED
        case ConnectFailed(status=status):
            return Reason.UNREACHABLE if status is None else Reason.REFUSED
        case RemoteProtocolError():
            return Reason.PROTOCOL
        case _:
            return Reason.CRASH


def _closed_with(code: int) -> Reason:
    if code >= 3000:
        return Reason.APPLICATION
    return _CODES.get(code, Reason.PROTOCOL)


_CODES = {
    1000: Reason.NORMAL,
    1001: Reason.GOING_AWAY,
    1006: Reason.BROKEN,
    1008: Reason.POLICY,
    **dict.fromkeys((1011, 1012, 1013, 1014), Reason.SERVER_ERROR),
}
