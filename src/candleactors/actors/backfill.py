"""Backfill: fetches what is missing over REST, most urgent first, and keeps the venue's clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

import trio
from attrs import frozen

from candleactors.actors.child import ChildContext
from candleactors.actors.interest import Interest
from candleactors.actors.mailbox import Mailbox
from candleactors.actors.messages import Fetched, FetchFailed, Open, Opened, Read, Reading, SequencerMessage, Wish
from candleactors.actors.rest import VenueRest
from candleactors.core.backoff import Backoff
from candleactors.core.delivered import remembered
from candleactors.core.fetch import Fetch, Urgency
from candleactors.errors import (
    CandleactorsError,
    InvalidSymbol,
    RemoteProtocolError,
    RequestFailed,
    TransientError,
)
from candleactors.model import Candle, Stream
from candleactors.settings import RepairSettings
from candleactors.stores.base import Store

CAPACITY = 4_096
"""Wishes waiting at most. What finds no room is wished again a moment later."""
_READING_ROWS = 3


@frozen
class RestTrouble:
    """A REST request failed: `error` says how, `stream` whose it was, ``None`` for the venue's clock."""

    stream: Stream | None
    error: CandleactorsError


class Backfill:
    """Serves wishes of the sequencer and of the health monitors.

    Every wish for rows is answered, well or ill; what the actor had in hand when it failed, by its next life. An `Open`
    that cannot be answered is not: who wished must be ready to wish again. A stream whose symbol the venue does not
    know is parked.
    """

    def __init__(
        self,
        rest: VenueRest,
        store: Store,
        interest: Interest,
        settings: RepairSettings,
        *,
        wishes: Mailbox[Wish],
        answers: Mailbox[SequencerMessage],
        backoff: Backoff,
        on_trouble: Callable[[RestTrouble], None],
    ) -> None:
        self._rest = rest
        self._store = store
        self._interest = interest
        self._settings = settings
        self._wishes = wishes
        self._answers = answers
        self._backoff = backoff
        self._on_trouble = on_trouble
        self._owed: dict[int, Fetch | Read] = {}
        self._numbers = count()
        self._comparisons: dict[Stream, Fetch] = {}  # of each stream the last one wished for
        self._comparing: Fetch | None = None
        self._compare = trio.Event()

    async def run(self, context: ChildContext) -> None:
        """Serve until asked to stop; what waits then is dropped, since its askers are stopping too."""
        queue: list[tuple[int, int, int, Fetch | Read]] = []
        waiting = trio.Semaphore(0)
        for number in list(self._owed):
            await self._fail(number, RequestFailed("whoever asked the venue was restarted"))
        if self._comparing is not None:  # not again: it may be what the actor failed at
            await self._compared(FetchFailed(self._comparing, RequestFailed("whoever asked the venue was restarted")))
        async with self._wishes.attended(context.stopping), trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_clock)
            nursery.start_soon(self._work_at_leisure)
            for _ in range(self._settings.workers):
                nursery.start_soon(self._work, queue, waiting)
            context.started()
            while not context.stopping.is_set():
                for wish in await self._wishes.drain():
                    if isinstance(wish, Open):
                        await self._open(wish)
                    elif isinstance(wish, Fetch) and wish.urgency is Urgency.VERIFY:
                        self._comparisons[wish.stream] = wish
                        self._compare.set()
                    else:
                        urgency = wish.urgency if isinstance(wish, Fetch) else Urgency.DOUBT
                        rank = (urgency, -self._interest.priority(wish.stream), next(self._numbers))
                        self._owed[rank[-1]] = wish
                        heapq.heappush(queue, (*rank, wish))
                        waiting.release()
            nursery.cancel_scope.cancel()

    async def _keep_clock(self) -> None:
        """Read the venue's clock now and then; nothing may be called closed before it was read once."""
        while True:
            try:
                await self._rest.read_clock()
            except (TransientError, RemoteProtocolError) as error:
                self._on_trouble(RestTrouble(None, error))
                await trio.sleep(self._backoff.failed())
            else:
                self._backoff.reset()
                await trio.sleep(self._settings.clock_interval_s)

    async def _open(self, wish: Open) -> None:
        """Answer what the store has. Where it cannot be read, there is no answer, and the wish comes again."""
        try:
            for stream in wish.streams:
                stood = await self._store.standing(stream, remembered(stream.timeframe))
                await self._answers.put(Opened(stream, stood.last_ms, stood.gaps, stood.candles))
        except TransientError as error:
            self._on_trouble(RestTrouble(None, error))

    async def _work(self, queue: list[tuple[int, int, int, Fetch | Read]], waiting: trio.Semaphore) -> None:
        while True:
            await waiting.acquire()
            _, _, number, wish = heapq.heappop(queue)
            # A reading is no comparison: one that waits at leisure would keep a worker from what is urgent.
            fetch = wish if isinstance(wish, Fetch) else Fetch(wish.stream, None, _READING_ROWS, Urgency.DOUBT)
            try:
                rows, venue_now_ms = await self._rows(fetch)
            except CandleactorsError as error:
                await self._fail(number, error)
            else:
                if isinstance(wish, Read):
                    wish.reply.offer(Reading(wish.stream, rows, venue_now_ms))
                await self._answers.put(Fetched(fetch, rows, venue_now_ms))
                del self._owed[number]

    async def _work_at_leisure(self) -> None:
        """Serve what can wait, one after the other, so that it never keeps what is urgent from being served."""
        while True:
            while not self._comparisons:
                self._compare = trio.Event()
                await self._compare.wait()
            fetch = self._comparing = next(iter(self._comparisons.values()))
            try:
                rows, venue_now_ms = await self._rows(fetch)
            except CandleactorsError as error:
                await self._compared(FetchFailed(fetch, error))
            else:
                await self._compared(Fetched(fetch, rows, venue_now_ms))

    async def _compared(self, answer: Fetched | FetchFailed) -> None:
        await self._answers.put(answer)
        self._comparing = None
        if self._comparisons.get(answer.fetch.stream) is answer.fetch:
            del self._comparisons[answer.fetch.stream]

    async def _fail(self, number: int, error: CandleactorsError) -> None:
        wish = self._owed[number]
        if isinstance(wish, Fetch):
            await self._answers.put(FetchFailed(wish, error))
        else:
            wish.reply.offer(Reading(wish.stream, None, 0))
        del self._owed[number]

    async def _rows(self, fetch: Fetch) -> tuple[list[Candle], int]:
        try:
            return await self._rest.rows(fetch)
        except InvalidSymbol as error:
            self._interest.park(fetch.stream, str(error))
            raise
        except (TransientError, RemoteProtocolError) as error:
            self._on_trouble(RestTrouble(fetch.stream, error))
            raise
