"""A venue over REST: its clock, its symbols and its rows, within its budget."""

from __future__ import annotations

import trio
from attrs import define, evolve

from candleactors.actors.budget import VenueBudget
from candleactors.core.fetch import Fetch, Urgency
from candleactors.core.histogram import Histogram
from candleactors.core.venue_clock import VenueClock
from candleactors.errors import CandleactorsError, RateLimited, TransientError
from candleactors.model import Candle
from candleactors.transport.clock import Clock
from candleactors.transport.rest import RestAnswer, RestClient
from candleactors.venues.base import Codec, RestRequest
from candleactors.venues.listing import Listing, read_listing

BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@define
class RestCounters:
    """What happened since the feed began."""

    requests: int = 0
    weight: int = 0
    rate_limited: int = 0
    failed: int = 0
    """Requests without a usable answer."""
    refused: int = 0
    """Requests that the venue refused for what they asked, or answered with what makes no sense."""
    rows: int = 0

    def copy(self) -> RestCounters:
        """Return what is counted by now."""
        return evolve(self)


class VenueRest:
    """Asks a venue over REST. Passive: it runs nothing of its own and may be used by several tasks.

    Every method raises `RateLimited`, `RequestFailed`, `MalformedMessage`, `VenueError` or, where a symbol is named,
    `InvalidSymbol`.
    """

    def __init__(
        self, codec: Codec, client: RestClient, budget: VenueBudget, clock: Clock, venue_clock: VenueClock
    ) -> None:
        self.counters = RestCounters()
        self.answered_s = Histogram(BOUNDS_S)
        """How long answers took, in seconds; waiting for the budget is not included."""
        self._codec = codec
        self._client = client
        self._budget = budget
        self._clock = clock
        self._venue_clock = venue_clock
        self._clock_read = trio.Event()

    async def read_clock(self) -> None:
        """Read the venue's clock into the `VenueClock`."""
        request = self._codec.server_time()
        await self._budget.rest(request.weight, priority=1)
        sent_s = self._clock.monotonic_s()
        answer = await self._answer(request)
        server_ms = self._codec.parse_server_time(answer.headers, answer.body)
        self._venue_clock.observe(server_ms, sent_s, self._clock.monotonic_s())
        self._clock_read.set()

    async def listing(self) -> Listing:
        """Return what the venue trades."""

        async def ask(request: RestRequest) -> bytes:
            await self._budget.rest(request.weight)
            return (await self._answer(request)).body

        return await read_listing(self._codec, ask)

    async def rows(self, fetch: Fetch) -> tuple[list[Candle], int]:
        """Return the rows a fetch wants and the venue's time when they were asked for.

        A row counts as closed only if its interval was over by then, so this waits until the clock has been read.
        """
        await self._clock_read.wait()
        request = self._codec.klines(fetch.stream, fetch.start_ms, None, fetch.limit, self._now_ms())
        leisurely = fetch.urgency is Urgency.VERIFY
        await self._budget.rest(request.weight, priority=-fetch.urgency, leisurely=leisurely)
        venue_now_ms = self._now_ms()
        answer = await self._answer(request)
        rows = self._codec.parse_klines(fetch.stream, answer.body, venue_now_ms, self._clock.wall_ms())
        self.counters.rows += len(rows)
        return rows, venue_now_ms

    def _now_ms(self) -> int:
        venue_now_ms = self._venue_clock.now_ms(self._clock.monotonic_s())
        assert venue_now_ms is not None, "the clock was read"
        return venue_now_ms

    async def _answer(self, request: RestRequest) -> RestAnswer:
        counters = self.counters
        counters.requests += 1
        counters.weight += request.weight
        sent_s = self._clock.monotonic_s()
        try:
            answer = await self._client.get(request)
            self.answered_s.observe(self._clock.monotonic_s() - sent_s)
            self._codec.check_answer(answer.status, answer.headers, answer.body)
        except RateLimited as refusal:
            counters.rate_limited += 1
            self._budget.on_rate_limited(refusal.retry_after_s, refusal.status)
            raise
        except CandleactorsError as error:
            counters.failed += isinstance(error, TransientError)
            counters.refused += not isinstance(error, TransientError)
            raise
        self._budget.on_answer(self._codec.used_weight(answer.headers))
        return answer
