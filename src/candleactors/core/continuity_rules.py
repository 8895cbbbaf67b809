"""What a `candleactors.core.continuity.Continuity` goes by."""

from __future__ import annotations

from attrs import frozen


@frozen
class ContinuityRules:
    """The settings of a `Continuity`; see `candleactors.settings` for their meaning."""

    history: int = 200
    close_grace_s: float = 3.0
    deadline_s: float = 30.0
    retry_s: float = 1.0
    max_retry_s: float = 30.0
    confirm_s: float = 5.0
    settle_s: float = 1.0
    """A row is final once its interval has been over for so long: until then replicas may still lack trades."""
    replica_lag_s: float = 10.0
    """Absence, or another content, of a row means something once its interval has been over for so long."""
    verify_interval_s: float | None = 600.0
    max_rows: int = 1_000
    max_first_rows: int = 1_000
    """Of the newest rows, with which a stream begins."""
    windowed: bool = False
    """Whether an answer covers only so many intervals from its start on as rows were asked for."""
    fills: bool = False
    """Whether intervals without a row had no trades, and are filled."""
    heartbeats: bool = False
    """Whether the socket tells all the time that the market goes on (`Continuity.on_alive`); nothing is filled else."""
    confirms: bool = False
    """Whether closed candles from the socket were inferred, and are confirmed over REST."""
