"""Workers: processes that each try one plan at a time."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Final, Self

from attrs import frozen

from candleactors.simulation.outcome import Breach, Outcome
from candleactors.simulation.plan import Plan
from candleactors.simulation.trial import Trial, attempt

_SPAWN: Final = get_context("spawn")  # a forked process would share what the parent has cached


@frozen
class _Worker:
    process: BaseProcess
    pipe: Connection


class Workers:
    """At most `jobs` processes, started when they are needed; a context manager, at whose end they are gone at once.

    Results come in the order in which they arrive. A process that dies fails its plan and is replaced.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._all: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, Plan]] = {}
        # Theirs too: those who are ended at once leave their simulated disks behind.
        self._folder = tempfile.TemporaryDirectory(prefix="candleactors-")

    @property
    def processes(self) -> list[BaseProcess]:
        """Those that were started so far."""
        return [worker.process for worker in self._all]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for worker in self._all:
            worker.process.kill()
        for worker in self._all:
            worker.process.join()
            worker.pipe.close()
        self._folder.cleanup()

    def attempts(self, plans: Iterable[Plan], *, keep: bool = False, explain: bool = True) -> Iterator[Trial]:
        """Yield what becomes of each plan; see `attempt`. Blocks. A plan is asked for when a process is free for it."""
        left = iter(plans)
        while True:
            while len(self._busy) < self._jobs and (plan := next(left, None)) is not None:
                worker = self._idle.pop() if self._idle else self._start()
                worker.pipe.send((plan, keep, explain))
                self._busy[worker.pipe] = worker, plan
            if not self._busy:
                return
            for ready in wait(list(self._busy)):
                assert isinstance(ready, Connection)
                worker, plan = self._busy.pop(ready)
                yield self._received(worker, plan)

    def _received(self, worker: _Worker, plan: Plan) -> Trial:
        try:
            trial: Trial = worker.pipe.recv()
        except (EOFError, ConnectionError):
            worker.process.join()
            problem = f"the process died with status {worker.process.exitcode}"
            return Trial(Outcome(plan.seed, [Breach(0.0, "process", problem, 0)], start_ms=plan.start_ms), 0.0)
        self._idle.append(worker)
        return trial

    def _start(self) -> _Worker:
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_work, args=(theirs, self._folder.name), daemon=True)
        # A terminal sends Ctrl-C to all of them, and only this process is to heed it. They inherit this.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process.start()
        finally:
            signal.signal(signal.SIGINT, before)
        theirs.close()
        worker = _Worker(process, ours)
        self._all.append(worker)
        return worker


def _work(pipe: Connection, folder: str) -> None:
    tempfile.tempdir = folder
    with suppress(EOFError, BrokenPipeError):  # the parent is gone
        while True:
            plan, keep, explain = pipe.recv()
            pipe.send(attempt(plan, keep=keep, explain=explain))
