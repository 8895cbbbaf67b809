"""Settings: every limit a user can adjust, as frozen values with the defaults spelled out.

`candleactors.config` reads them from TOML and the environment; embedding programs construct them directly. Durations
are seconds, counts are counts. Nothing here does I/O.
"""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen
from attrs.validators import ge, gt, in_, le

from candleactors.model import Timeframe


@frozen
class BackoffSettings:
    """Waiting between attempts: exponential, capped, jittered, reset after stable uptime."""

    initial_s: float = field(default=0.5, validator=gt(0))
    factor: float = field(default=2.0, validator=ge(1))
    max_s: float = field(default=60.0, validator=gt(0))
    jitter: float = field(default=0.3, validator=[ge(0), le(1)])
    """Share of each wait that is random: a wait of w lies in [w·(1-jitter), w]."""
    stable_after_s: float = field(default=60.0, validator=ge(0))
    """Uptime after which a failure counts as the first again."""


@frozen
class SupervisionSettings:
    """When supervisors give up and how long a stop may take."""

    max_restarts: int = field(default=10, validator=ge(0))
    restart_window_s: float = field(default=60.0, validator=gt(0))
    breaker_failures: int = field(default=8, validator=ge(1))
    """Failures in a row, without stable uptime between, after which a child rests for `breaker_rest_s`."""
    breaker_rest_s: float = field(default=120.0, validator=gt(0))
    drain_s: float = field(default=10.0, validator=gt(0))
    """Most seconds an orderly stop of the whole feed takes before what remains is cancelled."""


@frozen
class HealthSettings:
    """When a stream is checked over REST, and when its connection is restarted."""

    interval_s: float = field(default=30.0, validator=gt(0))
    """Between two looks at every stream."""
    stale_after_s: float = field(default=120.0, validator=gt(0))
    """Silence after which a stream is checked over REST."""
    first_data_s: float = field(default=60.0, validator=gt(0))
    """Silence after an acknowledged subscription after which a stream is checked over REST."""
    close_grace_s: float = field(default=3.0, validator=gt(0))
    """How long after its boundary a closed candle may arrive before REST is asked for it."""
    idle_s: float = field(default=30.0, validator=gt(0))
    """Seconds without a single byte after which a connection is probed with a ping; as many again, and it is dead."""
    sick_share: float = field(default=0.5, validator=[gt(0), le(1)])
    """Share of sick streams from which the whole connection is restarted instead of resubscribing them."""
    audit_interval_s: float = field(default=300.0, validator=gt(0))
    """Between two comparisons with the venue's own list of subscriptions, where it has one."""


@frozen
class RepairSettings:
    """How holes are filled over REST."""

    history: int = field(default=200, validator=ge(0))
    """Closed candles fetched for a stream that the store does not know yet."""
    deadline_s: float = field(default=30.0, validator=gt(0))
    """Without progress for so long, a hole is delivered as a `Gap`; its repair follows as `Revision`s."""
    workers: int = field(default=4, validator=ge(1))
    """Concurrent REST requests per venue."""
    request_timeout_s: float = field(default=10.0, validator=gt(0))
    clock_interval_s: float = field(default=300.0, validator=gt(0))
    """Between two readings of the venue's clock."""


@frozen
class VenueSettings:
    """One venue: what to watch and how hard to lean on it. ``None`` means the venue's own documented limit."""

    symbols: tuple[str, ...] = ()
    timeframes: tuple[Timeframe, ...] = (Timeframe("1m"),)
    testnet: bool = False
    websocket_url: str | None = None
    rest_url: str | None = None
    streams_per_connection: int = field(default=500, validator=ge(1))
    max_connections: int = field(default=20, validator=ge(1))
    """Streams beyond ``max_connections × streams_per_connection`` wait, lowest priority first."""
    rotate_after_s: float | None = field(default=23 * 3600.0)
    """Connections are replaced, make-before-break, at this age; ``None``: only when the venue says so."""
    flowing_timeout_s: float = field(default=60.0, validator=gt(0))
    """How long a replacement may take to carry every stream before the old connection is closed anyway."""
    handshake_timeout_s: float = field(default=15.0, validator=gt(0))
    ack_timeout_s: float = field(default=10.0, validator=gt(0))
    names_per_request: int | None = None
    messages_per_s: float | None = None
    connects: int | None = None
    connects_window_s: float | None = None
    rest_weight_per_minute: int | None = None
    coalesce_s: float = field(default=0.005, validator=ge(0))
    """Pause before each read, so that one wake handles many messages."""
    max_message_bytes: int = field(default=1 << 20, validator=ge(1024))
    unknown_symbols: str = field(default="refuse", validator=in_(("refuse", "park")))
    """At start: end with an error (``refuse``) or go on without them (``park``). At run time they are parked."""


@frozen
class StoreSettings:
    """Where closed candles go."""

    path: Path = Path("candles.sqlite")
    flush_interval_s: float = field(default=0.25, validator=ge(0))
    batch: int = field(default=5_000, validator=ge(1))
    """Most rows of one transaction."""
    max_pending: int = field(default=200_000, validator=ge(1))
    """Rows kept in memory while the store cannot be written."""


@frozen
class SubscriberSettings:
    """What a subscriber may leave lying."""

    max_pending: int = field(default=100_000, validator=ge(1))
    """Undelivered closed candles, gaps and revisions at which a subscriber is cut off."""
    conflate_s: float = field(default=0.1, validator=ge(0))
    """Forming candles of a stream are delivered at most this often; closed ones at once."""


@frozen
class LogSettings:
    """Structured logs on stderr."""

    level: str = field(default="info", validator=in_(("debug", "info", "warning", "error")))
    format: str = field(default="console", validator=in_(("console", "json")))


@frozen
class Settings:
    """Everything a feed needs to know."""

    venues: dict[str, VenueSettings] = field(factory=dict)
    """By venue name, for example ``binance-spot``."""
    store: StoreSettings = StoreSettings()
    health: HealthSettings = HealthSettings()
    repair: RepairSettings = RepairSettings()
    backoff: BackoffSettings = BackoffSettings()
    supervision: SupervisionSettings = SupervisionSettings()
    subscriber: SubscriberSettings = SubscriberSettings()
    log: LogSettings = LogSettings()
    status_socket: Path | None = None
    """Unix socket on which a running daemon answers ``candleactors status``; ``None``: beside the store."""
