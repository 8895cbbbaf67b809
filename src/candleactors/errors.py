"""Every exception this package raises on purpose.

::

    CandleactorsError
    ├── ConfigError                 the user's configuration is wrong; exit status 2
    │   ├── InvalidTimeframe        (also ValueError)
    │   ├── InvalidSymbol           (also ValueError)
    │   └── UnknownVenue            (also ValueError)
    ├── TransientError              the world misbehaved; try again, never counted
    │   ├── ConnectFailed           no TCP, TLS or WebSocket handshake
    │   ├── Disconnected            a live WebSocket ended
    │   ├── StaleStream             a live WebSocket stopped telling the truth
    │   ├── RequestFailed           a REST request got no usable answer
    │   ├── RateLimited             the venue told us to wait (429, 418)
    │   └── StoreUnavailable        the disk is full, locked or gone; rows are kept and retried
    │       └── StoreRefused        the database is there and does not let us in
    ├── RemoteProtocolError         the venue broke its own protocol; counted
    │   ├── MalformedMessage        bytes that are no valid message of the venue
    │   └── VenueError              the venue refused a request with a code
    ├── LocalProtocolError          we broke a rule; a bug, never retried
    ├── RestartIntensityExceeded    a supervisor gave up
    ├── MalformedFile               a file of candles has a row that is none (also ValueError)
    ├── UnorderedCandles            candles in an order that cannot be aggregated (also ValueError)
    ├── SubscriberLagged            a reader was cut off; carries the cursor to resume from
    └── FeedClosed                  the feed is not running (any more)

The supervisor's reaction to each branch is decided in `candleactors.core.failure`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from candleactors.model import Cursor


class CandleactorsError(Exception):
    """Base of everything this package raises on purpose."""


class ConfigError(CandleactorsError):
    """A configuration value is wrong.

    The message is one line that names the source (a file or a variable), the key, the bad value and, where one is
    near, the right one.
    """

    def __init__(
        self, problem: str, *, key: str | None = None, nearest: str | None = None, source: str | None = None
    ) -> None:
        self.problem = problem
        self.key = key
        self.nearest = nearest
        self.source = source
        hint = f'; did you mean "{nearest}"?' if nearest else ""
        super().__init__(": ".join([part for part in (source, key) if part] + [problem]) + hint)

    def at(self, key: str) -> ConfigError:
        """Return the same error, naming `key` as the place of the bad value."""
        return ConfigError(self.problem, key=key, nearest=self.nearest, source=self.source)

    def within(self, source: str) -> ConfigError:
        """Return the same error, naming `source` as the file or variable that holds the bad value."""
        return ConfigError(self.problem, key=self.key, nearest=self.nearest, source=source)


class InvalidTimeframe(ConfigError, ValueError):
    """A text is no timeframe, or a venue does not have it."""


class InvalidSymbol(ConfigError, ValueError):
    """A text is no symbol, or a venue does not trade it."""


class UnknownVenue(ConfigError, ValueError):
    """No codec is registered under this name."""


class TransientError(CandleactorsError):
    """Something outside failed in a way that time may cure."""

    retry_after_s: float | None = None
    """Seconds the other side asked us to wait, where it did."""


class ConnectFailed(TransientError):
    """No connection: name lookup, TCP, TLS or the WebSocket handshake failed or took too long."""

    def __init__(self, message: str, *, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class Disconnected(TransientError):
    """A WebSocket that had been open ended. `code` is its close code, 1006 where no close frame came."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"disconnected with {code}{f' ({reason})' if reason else ''}")
        self.code = code
        self.reason = reason


class StaleStream(TransientError):
    """Streams stay silent on a live connection while REST shows that they should speak."""


class RequestFailed(TransientError):
    """A REST request ended without a usable answer: time-out, broken connection, 5xx, truncated body."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class RateLimited(TransientError):
    """The venue refused a request because of its rate: HTTP 429, or 418 once it has banned the address."""

    def __init__(self, status: int, retry_after_s: float | None, message: str = "") -> None:
        wait = f", wait {retry_after_s:g} s" if retry_after_s is not None else ""
        super().__init__(f"rate limited with {status}{wait}{f': {message}' if message else ''}")
        self.status = status
        self.retry_after_s = retry_after_s


class StoreUnavailable(TransientError):
    """The store cannot be read or written now. Nothing was written by the failed call."""


class StoreRefused(StoreUnavailable):
    """The database asked for a password and then let nobody in: the login is wrong, or there is no such database."""


class RemoteProtocolError(CandleactorsError):
    """The venue sent something its protocol does not allow."""


class MalformedMessage(RemoteProtocolError):
    """Bytes that are not a valid message of the venue. `excerpt` holds at most 200 characters of them."""

    def __init__(self, problem: str, raw: bytes | str = b"") -> None:
        self.problem = problem
        self.excerpt = excerpt(raw)
        super().__init__(f"{problem}: {self.excerpt}" if self.excerpt else problem)


class VenueError(RemoteProtocolError):
    """The venue refused a request with its own error code."""

    def __init__(self, code: int, message: str, *, status: int | None = None) -> None:
        super().__init__(f"{message} (code {code})")
        self.code = code
        self.status = status


class LocalProtocolError(CandleactorsError):
    """Our own side broke a rule of a protocol or an interface: a bug, never worth a retry."""


class RestartIntensityExceeded(CandleactorsError):
    """A supervisor saw more failures than its intensity allows and stopped its subtree in order."""


class MalformedFile(CandleactorsError, ValueError):
    """A file does not hold the candles it should. The message names the file, the line where there is one, the reason.

    `line` counts from 1; for a JSON document it is the number of the row.
    """

    def __init__(self, problem: str, *, path: str, line: int | None = None) -> None:
        super().__init__(": ".join([path, *([f"line {line}"] if line is not None else []), problem]))
        self.problem = problem
        self.path = path
        self.line = line


class UnorderedCandles(CandleactorsError, ValueError):
    """Candles came in an order, or from a source, that whoever was to aggregate them cannot take."""


class SubscriberLagged(CandleactorsError):
    """A subscriber fell behind its bound and was cut off.

    Nothing is lost: pass `cursor` as ``after=`` to ``feed.candles`` to go on from the store.
    """

    def __init__(self, message: str, cursor: Cursor) -> None:
        super().__init__(message)
        self.cursor = cursor


class FeedClosed(CandleactorsError):
    """The feed has stopped or was never started."""


def excerpt(raw: bytes | str, limit: int = 200) -> str:
    """Return at most `limit` printable characters of `raw`, for logs and messages."""
    text = raw[: limit * 4].decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
    text = text[:limit]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "�" for c in text)
    return text + "…" if len(raw) > limit else text
