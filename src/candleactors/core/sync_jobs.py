"""Sync jobs: what was asked for at once, told as one progress."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from candleactors.core.errands import Errand
from candleactors.model import SyncState, SyncStatus

MOST_JOBS = 100
"""Known at a time; of more, the oldest that has ended is forgotten, or else the oldest."""
_MOST_ERRORS = 20


@frozen
class _Job:
    id: str
    errands: tuple[Errand, ...]
    started_ms: int

    def status(self) -> SyncStatus:
        failed = [errand for errand in self.errands if errand.error is not None]
        ends = [errand.ended_ms for errand in self.errands if errand.ended_ms is not None]
        running = len(ends) < len(self.errands)
        return SyncStatus(
            id=self.id,
            state=SyncState.RUNNING if running else SyncState.FAILED if failed else SyncState.DONE,
            streams=len(self.errands),
            done=len(ends) - len(failed),
            failed=len(failed),
            candles=sum(errand.candles for errand in self.errands),
            repaired=sum(errand.repaired for errand in self.errands),
            errors=tuple(f"{errand.stream}: {errand.error}" for errand in failed[:_MOST_ERRORS]),
            started_ms=self.started_ms,
            ended_ms=None if running else max(ends, default=self.started_ms),
        )


class SyncJobs:
    """The syncs of a feed, the last `MOST_JOBS` of them. Synchronous."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Job] = {}
        self._last = 0

    def open(self, errands: Iterable[Errand], now_ms: int) -> SyncStatus:
        """Return the sync that is done with `errands`: a new one, or one that runs and has the very same ones."""
        wanted = tuple(errands)
        for job in self._jobs.values():
            if wanted and set(job.errands) == set(wanted) and job.status().state is SyncState.RUNNING:
                return job.status()
        self._last += 1
        job = self._jobs[str(self._last)] = _Job(str(self._last), wanted, now_ms)
        if len(self._jobs) > MOST_JOBS:
            ended = (id for id, job in self._jobs.items() if job.status().state is not SyncState.RUNNING)
            del self._jobs[next(ended, next(iter(self._jobs)))]
        return job.status()

    def status(self, id: str) -> SyncStatus | None:
        """Return how the sync `id` is; ``None`` where it is not known (any more)."""
        job = self._jobs.get(id)
        return None if job is None else job.status()

    def statuses(self) -> tuple[SyncStatus, ...]:
        """Return every sync that is known, the oldest first."""
        return tuple(job.status() for job in self._jobs.values())
