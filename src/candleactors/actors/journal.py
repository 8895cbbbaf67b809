"""The journal: turns the actors' facts into log lines, few enough to be read."""

from __future__ import annotations

import traceback

from attrs import define
from structlog.typing import FilteringBoundLogger

from candleactors.actors.store_writer import StoreTrouble
from candleactors.core.failure import FailureClass, describe
from candleactors.core.lifecycle import (
    BreakerOpened,
    ChildEnded,
    ChildFailed,
    ChildOverdue,
    ChildStarted,
    ChildStopped,
    GaveUp,
    SupervisorEvent,
)
from candleactors.core.retention import Pruned
from candleactors.core.upkeep import Upheld
from candleactors.errors import TransientError
from candleactors.model import Stream
from candleactors.stores.buffered import Outage
from candleactors.transport.clock import Clock

REPEAT_S = 10.0
"""Lines that say the same about the same thing come at most so often; the next one says how many were left out."""


@define
class _Repeat:
    logged_at_s: float
    left_out: int = 0


class Journal:
    """Logs what happens. Synchronous; made to be called from anywhere."""

    def __init__(self, log: FilteringBoundLogger, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._repeats: dict[tuple[object, ...], _Repeat] = {}

    def note(self, level: str, event: str, about: str, **values: object) -> None:
        """Log that `event` happened to `about`, unless the same was logged a moment ago."""
        now_s = self._clock.monotonic_s()
        repeat = self._repeats.get((event, about))
        if repeat is not None and now_s < repeat.logged_at_s + REPEAT_S:
            repeat.left_out += 1
            return
        if repeat is not None and repeat.left_out:
            values["left_out"] = repeat.left_out
        self._repeats[event, about] = _Repeat(now_s)
        getattr(self._log, level)(event, about=about, **values)

    def parked(self, stream: Stream, reason: str) -> None:
        """Log that a stream was taken out of service."""
        self._log.warning("stream parked", about=str(stream), reason=reason)

    def store(self, trouble: StoreTrouble) -> None:
        """Log that the store cannot be written, or can again."""
        values: dict[str, object] = {"pending": trouble.pending, "shed": trouble.shed}
        if trouble.error is None:
            self._log.info("store takes rows again", about="store", **values)
        else:
            self.note("error", "store trouble", "store", error=trouble.error, **values)

    def outage(self, outage: Outage) -> None:
        """Log how an outage of the database stands."""
        values: dict[str, object] = {"buffered": outage.buffered, "drained": outage.drained}
        if outage.error is not None:
            self.note("error", "the database takes no rows", "store", error=outage.error, **values)
        elif outage.buffered:
            self._log.info("rows wait on disk for the database", about="store", **values)
        else:
            self._log.info("the database has everything again", about="store", **values)

    def pruned(self, pruned: Pruned) -> None:
        """Log what was deleted because it was too old."""
        self._log.info(
            "old candles deleted", about="store", candles=pruned.candles, streams=pruned.streams, left=pruned.left
        )

    def upheld(self, what: str, done: Upheld) -> None:
        """Log what a round of ``backfill`` or ``repair`` did, if there was something to do."""
        if done.errors:
            values = {"streams": done.streams, "candles": done.candles, "failed": len(done.errors)}
            self._log.warning("history not whole", about=what, **values, error=done.errors[0])
        elif done.candles or done.outages:
            values = {"streams": done.streams, "candles": done.candles, "outages": done.outages}
            self._log.info("history mended", about=what, **values)

    def trouble(self, about: str, error: TransientError) -> None:
        """Log that what is done at intervals could not be done, and will be tried again."""
        self.note("warning", "put off", about, error=str(error))

    def left_on_disk(self, rows: int) -> None:
        """Log that rows wait on disk for the next feed."""
        self._log.warning("rows stay on disk for the next feed", about="store", buffered=rows)

    def supervision(self, event: SupervisorEvent) -> None:
        """Log a fact about a supervised child. Starts and stops are for debugging, failures are not."""
        about = f"{event.supervisor}/{event.child}"
        match event:
            case ChildStarted(incarnation=incarnation):
                self._log.debug("child started", about=about, incarnation=incarnation)
            case ChildStopped(error=error):
                self._log.debug("child stopped", about=about, error=_described(error))
            case ChildEnded(wait_s=wait_s):
                self._log.warning("child ended by itself", about=about, again_in_s=_rounded(wait_s))
            case ChildFailed(failure=failure, error=error, wait_s=wait_s):
                level = "warning" if failure is FailureClass.TRANSIENT else "error"
                values: dict[str, object] = {"error": describe(error), "again_in_s": _rounded(wait_s)}
                if failure is not FailureClass.TRANSIENT:
                    values["exception"] = "".join(traceback.format_exception(error))
                self.note(level, "child failed", about, **values)
            case ChildOverdue(overdue_s=overdue_s):
                self._log.error("child does not stop", about=about, overdue_s=_rounded(overdue_s))
            case BreakerOpened(failures=failures, rest_s=rest_s):
                self._log.warning("too many failures in a row", about=about, failures=failures, rest_s=rest_s)
            case GaveUp(cause=cause):
                self._log.error("supervisor gave up", about=about, cause=describe(cause))


def _described(error: BaseException | None) -> str | None:
    return None if error is None else describe(error)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
