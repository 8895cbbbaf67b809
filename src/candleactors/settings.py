"""Settings: every limit a user can adjust, as frozen values with the defaults spelled out.

`candleactors.config` reads them from TOML and the environment; embedding programs construct them directly. Durations
are seconds, counts are counts. A value out of range raises `ConfigError`, which names the field. Nothing here does I/O.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from attrs import Attribute, field, frozen

from candleactors.errors import ConfigError
from candleactors.model import Timeframe
from candleactors.validators import (
    Secret,
    at_least,
    between,
    each,
    each_value,
    host,
    is_loopback,
    not_blank,
    one_of,
    optional,
    origin,
    over,
    secret,
)


@frozen
class BackoffSettings:
    """Waiting between attempts: exponential, capped, jittered, reset after stable uptime."""

    initial_s: float = field(default=0.5, validator=over(0))
    """The first wait."""
    factor: float = field(default=2.0, validator=at_least(1))
    """What each further wait is multiplied by."""
    max_s: float = field(default=60.0, validator=over(0))
    """The longest wait."""
    jitter: float = field(default=0.3, validator=between(0, 1))
    """Share of each wait that is random: a wait of w lies in [w·(1-jitter), w]."""
    stable_after_s: float = field(default=60.0, validator=at_least(0))
    """Uptime after which a failure counts as the first again."""

    def __attrs_post_init__(self) -> None:
        if self.max_s < self.initial_s:
            raise ConfigError(f"{self.max_s:g} is less than initial_s ({self.initial_s:g})", key="max_s")


@frozen
class SupervisionSettings:
    """When supervisors give up and how long a stop may take."""

    max_restarts: int = field(default=5, validator=at_least(0))
    """Unforeseen failures of all children of one supervisor within `restart_window_s` that it tolerates."""
    restart_window_s: float = field(default=60.0, validator=over(0))
    """See `max_restarts`."""
    breaker_failures: int = field(default=8, validator=at_least(1))
    """Failures in a row, without stable uptime between, after which a child rests for `breaker_rest_s`."""
    breaker_rest_s: float = field(default=120.0, validator=over(0))
    """See `breaker_failures`."""
    drain_s: float = field(default=10.0, validator=over(0))
    """Most seconds an orderly stop of the whole feed takes before what remains is cancelled."""


@frozen
class HealthSettings:
    """When a stream is checked over REST, and when its connection is restarted."""

    interval_s: float = field(default=30.0, validator=over(0))
    """Between two looks at every stream."""
    stale_after_s: float = field(default=120.0, validator=over(0))
    """Silence after which a stream is checked over REST."""
    first_data_s: float = field(default=60.0, validator=over(0))
    """Silence after an acknowledged subscription after which a stream is checked over REST."""
    close_grace_s: float = field(default=3.0, validator=over(0))
    """How long after its boundary a closed candle may arrive before REST is asked for it."""
    idle_s: float = field(default=30.0, validator=over(0))
    """Seconds without a single byte after which a connection is probed with a ping; as many again, and it is dead."""
    sick_share: float = field(default=0.5, validator=between(0, 1, exclusive=True))
    """Share of sick streams from which the connection is restarted instead; one is enough where all are silent."""
    audit_interval_s: float = field(default=300.0, validator=over(0))
    """Between two comparisons with the venue's own list of subscriptions, where it has one."""


@frozen
class RepairSettings:
    """How holes are filled over REST."""

    history: int = field(default=200, validator=at_least(0))
    """Closed candles fetched for a stream that the store does not know yet."""
    deadline_s: float = field(default=30.0, validator=over(0))
    """Without progress for so long, a hole is delivered as a `Gap`; its repair follows as `Revision`s."""
    workers: int = field(default=4, validator=at_least(1))
    """Concurrent REST requests per venue."""
    request_timeout_s: float = field(default=10.0, validator=over(0))
    """For a whole REST request."""
    clock_interval_s: float = field(default=300.0, validator=over(0))
    """Between two readings of the venue's clock."""
    verify_interval_s: float = field(default=600.0, validator=at_least(0))
    """Between two comparisons of each stream's last candles with REST, which find the venue's corrections; 0: none."""


@frozen
class VenueSettings:
    """One venue: what to watch and how hard to lean on it. ``None`` means the venue's own documented limit."""

    symbols: tuple[str, ...] = ()
    """In the venue's own spelling (``BTCUSDT``) or in the common one (``BTC/USDT``, perpetuals ``BTC/USDT:USDT``)."""
    timeframes: tuple[Timeframe, ...] = (Timeframe("1m"),)
    """Each symbol is watched in each of them."""
    derived: tuple[Timeframe, ...] = ()
    """Each symbol is delivered in each of them too, made from its 1m candles; ``2m..60m`` stands for all in between."""
    testnet: bool = False
    """Use the venue's test network."""
    websocket_url: str | None = field(default=None, validator=optional(origin("wss", "ws")))
    """``wss://host[:port]`` to use instead of the venue's own, for example a simulator's."""
    rest_url: str | None = field(default=None, validator=optional(origin("https", "http")))
    """``https://host[:port]`` likewise."""
    streams_per_connection: int | None = field(default=None, validator=optional(at_least(1)))
    """``None``: 500, or what the venue allows where that is less."""
    max_connections: int = field(default=20, validator=at_least(1))
    """Streams beyond ``max_connections × streams_per_connection`` wait, lowest priority first."""
    rotate_after_s: float | None = field(default=23 * 3600.0, validator=optional(over(0)))
    """Connections are replaced, make-before-break, at this age; ``None``: only when the venue says so."""
    flowing_timeout_s: float = field(default=60.0, validator=over(0))
    """After so long with every stream acknowledged a replacement counts as carrying also the quiet ones."""
    handshake_timeout_s: float = field(default=15.0, validator=over(0))
    """For TCP, TLS and the WebSocket handshake together."""
    ack_timeout_s: float = field(default=10.0, validator=over(0))
    """Wait for the answer to a subscription before it is asked for again."""
    names_per_request: int | None = field(default=None, validator=optional(at_least(1)))
    """Streams named in one subscription request."""
    messages_per_s: float | None = field(default=None, validator=optional(over(0)))
    """Messages sent on one connection; one of them is kept for pongs."""
    connects: int | None = field(default=None, validator=optional(at_least(1)))
    """Connection attempts within `connects_window_s`."""
    connects_window_s: float | None = field(default=None, validator=optional(over(0)))
    """See `connects`."""
    rest_weight: int | None = field(default=None, validator=optional(at_least(1)))
    """REST weight spent within `rest_window_s`."""
    rest_window_s: float | None = field(default=None, validator=optional(over(0)))
    """See `rest_weight`."""
    coalesce_s: float = field(default=0.005, validator=at_least(0))
    """Pause before each read, so that one wake handles many messages."""
    max_message_bytes: int = field(default=1 << 20, validator=at_least(1024))
    """A longer message ends the connection."""
    unknown_symbols: str = field(default="refuse", validator=one_of("refuse", "park"))
    """At start: end with an error (``refuse``) or go on without them (``park``). At run time they are parked."""


@frozen
class AggregationSettings:
    """How derived candles are kept right."""

    warm_start_minutes: int = field(default=180, validator=at_least(0))
    """At the start the derived candles of so many minutes are there before live ones follow."""
    catch_up_minutes: int = field(default=10_080, validator=at_least(0))
    """What was not derived for a while is made up for, if it is not longer ago; else it is a gap."""
    memory_minutes: int = field(default=20, validator=at_least(1))
    """Corrections of candles so far back are worked in at once; for older ones the store is read."""


_CANDLES: Final = Path("candles.sqlite")
_DATABASE_URL: Final = re.compile(
    r"postgres(?:ql)?://(?:(?P<user>[^:/?#@\s]*)(?::[^:/?#@\s]*)?@)?"
    r"(?P<hosts>(?:\[[0-9A-Fa-f:.]+\]|:[0-9]+(?=[,/?]|$)|[^:/?#@\[\]\s])*)"
    r"(?P<database>/[^/?#@\s]*)?(?:\?[^#\s]*)?"
)


def shown_url(url: str) -> str:
    """Return the URL of a database without the password and the options, which may hold one too.

    Raises `ConfigError`, which quotes nothing of it, for what is no such URL, or one whose password cannot be told from
    the rest.
    """
    shape = _DATABASE_URL.fullmatch(url)
    if shape is not None:
        user = f"{shape['user']}@" if shape["user"] else ""
        return f"postgresql://{user}{shape['hosts']}{shape['database'] or ''}"
    if url.startswith(("postgresql:", "postgres:")) and "@" in url:
        raise ConfigError(
            "this URL cannot be read; in a user name or password, each of / ? # @ : is written as %2F and so on"
        )
    raise ConfigError("not of the form postgresql://user:password@host/database")


@frozen
class StoreSettings:
    """Where closed candles go."""

    path: Path = field(default=_CANDLES, validator=not_blank)
    """The SQLite file; created if it is missing."""
    url: Secret | None = field(default=None, repr=False)
    """``postgresql://user:password@host/database`` to use instead of a file. Best given as a variable."""
    flush_interval_s: float = field(default=0.25, validator=at_least(0))
    """Wait for more rows before a write."""
    batch: int = field(default=5_000, validator=at_least(1))
    """Most rows of one transaction."""
    max_pending: int = field(default=200_000, validator=at_least(1))
    """Rows kept in memory while the store cannot be written."""
    max_rows_per_s: float | None = field(default=None, validator=optional(over(0)))
    """Rows written to the store in a second, at most; further ones wait in order. ``None``: as many as it takes."""
    buffer: Path = field(default=Path("candleactors.buffer.sqlite"), validator=not_blank)
    """The file in which rows wait on disk while the database takes none; each feed needs its own."""
    max_buffered: int = field(default=2_000_000, validator=at_least(0))
    """Rows that may wait there; 0: no such file."""
    start_wait_s: float = field(default=10.0, validator=at_least(0))
    """How long a stream that begins waits for a database that cannot be reached."""

    @url.validator
    def _check_url(self, attribute: Attribute[Any], value: str | None) -> None:
        """Accept the URL of a database, where no `path` is chosen as well."""
        if value is None:
            return
        try:
            shown_url(value)
        except ConfigError as error:
            raise error.at(attribute.name) from None
        if self.path != _CANDLES:
            raise ConfigError("a path is set as well: which of the two?", key=attribute.name)

    @property
    def place(self) -> str:
        """Where the store is, for messages and logs: the path, or the URL without password and options."""
        return str(self.path) if self.url is None else shown_url(self.url)


@frozen
class RetentionSettings:
    """How long candles are kept. A timeframe that `days` does not name is kept for ever."""

    days: dict[Timeframe, float] = field(factory=dict, validator=each_value(over(0)))
    """By timeframe, how many days; older candles are deleted. As a variable: ``1m=90,1h=3650``."""
    interval_s: float = field(default=21_600.0, validator=over(0))
    """Between two times that old candles are looked for."""


@frozen
class HistorySettings:
    """What is done at intervals for the history of the streams that are watched."""

    depth_days: float | None = field(default=None, validator=optional(over(0)))
    """How far back every stream is to reach; ``None``: to where it began. Never further than it is kept."""
    backfill_interval_s: float | None = field(default=900.0, validator=optional(over(0)))
    """Between two times that history is made to reach so far, and new holes in it are mended; ``None``: never."""
    repair_interval_s: float | None = field(default=21_600.0, validator=optional(over(0)))
    """Between two times that all holes are mended, and what is new is compared with the venue; ``None``: never."""


@frozen
class SubscriberSettings:
    """What a subscriber may leave lying."""

    max_pending: int = field(default=100_000, validator=at_least(1))
    """Undelivered closed candles, gaps and revisions at which a subscriber is cut off."""
    conflate_s: float = field(default=0.1, validator=at_least(0))
    """Forming candles of a stream are delivered at most this often; closed ones at once."""


@frozen
class WebSettings:
    """The HTTP API and the dashboard."""

    enabled: bool = False
    """Serve them."""
    host: str = field(default="127.0.0.1", validator=host())
    """Address to listen on. One that is not loopback needs a `token`, or `no_auth`."""
    port: int = field(default=8080, validator=between(0, 65535))
    """TCP port; 0: any that is free, named in the log."""
    token: Secret | None = field(default=None, repr=False, validator=optional(secret(16)))
    """What programs send as ``Authorization: Bearer``; of at least 16 characters. Best given as a variable."""
    no_auth: bool = False
    """Let everybody in who reaches `host`."""
    cors_origins: tuple[str, ...] = field(default=(), validator=each(origin("https", "http")))
    """Origins whose pages may use the API, as ``https://host[:port]``."""
    frame_ancestors: tuple[str, ...] = field(default=(), validator=each(origin("https", "http")))
    """Origins whose pages may embed the chart."""
    max_connections: int = field(default=2_000, validator=at_least(1))
    """TCP connections at a time; further ones are closed at once."""
    max_clients: int = field(default=1_000, validator=at_least(1))
    """Readers of live candles at a time."""
    max_streams_per_client: int = field(default=200, validator=at_least(1))
    """Streams on one connection of live candles."""
    max_pending: int = field(default=10_000, validator=at_least(1))
    """Undelivered closed candles, gaps and revisions at which a reader of live candles is cut off."""
    conflate_s: float = field(default=0.25, validator=at_least(0))
    """Forming candles of a stream are sent at most this often; closed ones at once."""
    heartbeat_s: float = field(default=15.0, validator=over(0))
    """Between two heartbeats to a reader of live candles."""
    linger_s: float = field(default=5.0, validator=at_least(0))
    """How long after its last reader a stream is still watched, so that reconnecting costs the venue nothing."""
    send_timeout_s: float = field(default=10.0, validator=at_least(1))
    """A client that takes no byte for so long is cut off."""
    request_timeout_s: float = field(default=10.0, validator=over(0))
    """For receiving the headers of a request, and then its body."""
    max_body_bytes: int = field(default=1 << 16, validator=at_least(1))
    """A longer request is refused."""

    def __attrs_post_init__(self) -> None:
        if self.token is None and not self.no_auth and not is_loopback(self.host):
            raise ConfigError(
                f'"{self.host}" can be reached from other machines: set a token, or no_auth = true', key="host"
            )
        if self.token is not None and self.no_auth:
            raise ConfigError("a token is set as well: which of the two?", key="no_auth")


@frozen
class LogSettings:
    """Structured logs on stderr."""

    level: str = field(default="info", validator=one_of("debug", "info", "warning", "error"))
    """Of the least important events shown: debug, info, warning or error."""
    format: str = field(default="console", validator=one_of("console", "json"))
    """``console`` for people, ``json`` for programs."""


@frozen
class Settings:
    """Everything a feed needs to know."""

    venues: dict[str, VenueSettings] = field(factory=dict)
    """By venue name, for example ``binance-spot``."""
    store: StoreSettings = StoreSettings()
    health: HealthSettings = HealthSettings()
    repair: RepairSettings = RepairSettings()
    aggregation: AggregationSettings = AggregationSettings()
    retention: RetentionSettings = RetentionSettings()
    backoff: BackoffSettings = BackoffSettings()
    supervision: SupervisionSettings = SupervisionSettings()
    history: HistorySettings = HistorySettings()
    subscriber: SubscriberSettings = SubscriberSettings()
    web: WebSettings = WebSettings()
    log: LogSettings = LogSettings()
    status_socket: Path | None = None
    """Unix socket on which a running daemon answers ``candleactors status``; ``None``: beside the store."""

    @property
    def socket_path(self) -> Path:
        """The Unix socket of ``candleactors status``: `status_socket`, else the store's path with ``.sock`` added.

        With a database instead of a file it is ``candleactors.sock`` in the working directory.
        """
        if self.status_socket is not None:
            return self.status_socket
        if self.store.url is not None:
            return Path("candleactors.sock")
        return self.store.path.with_name(self.store.path.name + ".sock")
