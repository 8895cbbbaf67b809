"""The hub: fans out what the sequencers deliver. A slow reader hurts only itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from attrs import evolve

from candleactors.actors.child import ChildContext
from candleactors.actors.delivery import Delivery
from candleactors.actors.forming import FormingCandles
from candleactors.actors.mailbox import Mailbox
from candleactors.actors.readers import Readers
from candleactors.actors.subscription import Replay, Subscription
from candleactors.model import Cursor, Gap, Revision, Stream
from candleactors.settings import SubscriberSettings

CAPACITY = 256
"""Deliveries waiting at most. The hub never waits for a reader, so it is only ever a few behind."""
_REVISIONS = 10_000
"""So many revisions back it is known what was told; readers who were away for longer are told more than they need."""


class Hub:
    """Subscribers and the mailbox that feeds them.

    The hub does not keep a reader alive: one that was forgotten is dropped. The object outlives the actor: a restart
    ends no subscription. What was being fanned out when the actor failed may have reached some readers and not others,
    so they are cut off and resume from the store.
    """

    def __init__(
        self,
        settings: SubscriberSettings,
        life: int = 0,
        now_ms: Callable[[], int] = lambda: 0,
        on_fanned_out: Callable[[Sequence[Delivery]], None] = lambda deliveries: None,
    ) -> None:
        """`life` is what the readers' cursors say of the feed they are from, another one for each feed, and `now_ms`
        when they were taken. `on_fanned_out` is told what every reader was offered.
        """
        self.life = life
        self.mailbox: Mailbox[Delivery] = Mailbox(CAPACITY)
        self._settings = settings
        self._now_ms = now_ms
        self._on_fanned_out = on_fanned_out
        self._readers = Readers()
        self._forming = FormingCandles()
        self._in_hand: list[Delivery] = []
        self.forming_version = 0
        """Grows whenever there may be new readers of forming candles."""
        self.lagged = 0
        """Readers cut off so far."""
        # What whoever was away has to be told of candles that the cursor stands behind, or of streams it does not name.
        self._news = 0
        self._revised: deque[tuple[int, Stream, int]] = deque(maxlen=_REVISIONS)
        self._begun: dict[Stream, tuple[int, int]] = {}
        self._positions: dict[Stream, int] = {}

    async def run(self, context: ChildContext) -> None:
        """Fan out until asked to stop, then what is left in the mailbox."""
        if self._in_hand:
            for reader in self._readers:
                reader.cut_off(self._in_hand)
            self._in_hand = []
        async with self.mailbox.attended(context.stopping):
            context.started()
            while not context.stopping.is_set():
                self._in_hand = await self.mailbox.drain()
                self._fan_out()
        self._in_hand = self.mailbox.take_all()
        self._fan_out()

    def subscribe(
        self,
        streams: Iterable[Stream] | None,
        *,
        forming: bool = False,
        replay: Replay | None = None,
        limits: SubscriberSettings | None = None,
    ) -> Subscription:
        """Return a subscription that receives everything delivered from now on, within other `limits` if given."""
        chosen = None if streams is None else dict.fromkeys(streams)
        known = self._positions
        positions = known if chosen is None else {stream: known[stream] for stream in chosen if stream in known}
        subscription = Subscription(
            chosen,
            limits or self._settings,
            forming=forming,
            replay=replay,
            positions=positions,
            life=self.life,
            now_ms=self._now_ms,
            to_candle=self._forming.to_candle,
        )
        subscription.news = self._news
        self._readers.add(subscription)
        self.forming_version += forming
        return subscription

    def position(self, stream: Stream) -> int | None:
        """Return the open time (ms) of the last closed candle or gap of `stream`; ``None`` before the first."""
        return self._positions.get(stream)

    def missed(self, cursor: Cursor) -> Cursor | None:
        """Return `cursor` with everything that was told since it was taken; ``None`` where that is not known."""
        forgotten = self._revised[0][0] - 1 if len(self._revised) == _REVISIONS else 0
        if cursor.life != self.life or cursor.news < forgotten:
            return None
        after = dict(cursor.after)
        for stream, (number, first_ms) in self._begun.items():
            if number > cursor.news:
                after.setdefault(stream, stream.timeframe.previous_open(first_ms))
        # What opened later is read as it is by then.
        revised = [
            (stream, open_ms)
            for number, stream, open_ms in self._revised
            if number > cursor.news and open_ms <= after.get(stream, -1)
        ]
        return evolve(cursor, after=after, revised=tuple(dict.fromkeys((*cursor.revised, *revised))))

    def spell(self, stream: Stream, own: Stream) -> None:
        """Let readers that chose `stream` in the unified spelling have `own`, which is the venue's."""
        self._readers.spell(stream, own)
        self.forming_version += 1

    def wants_forming(self, stream: Stream) -> bool:
        """Whether somebody reads the forming candles of `stream`."""
        return any(reader.wants_forming(stream) for reader in self._readers.of(stream))

    def end(self) -> None:
        """End every subscription, once the actor has ended for good: readers get what is left, then the end."""
        for reader in self._readers:
            reader.end()

    @property
    def subscribers(self) -> int:
        """How many readers there are."""
        return sum(reader.live for reader in self._readers)

    @property
    def furthest_behind(self) -> int:
        """How many events wait for the reader that has left most of them lying."""
        return max((reader.pending for reader in self._readers), default=0)

    @property
    def fullest(self) -> float:
        """Share of what may wait for a reader that waits, of the reader that is nearest to being cut off."""
        return max((reader.fullness for reader in self._readers), default=0.0)

    def _fan_out(self) -> None:
        known = self._news
        for delivery in self._in_hand:
            self._note(delivery)
        told: dict[Subscription, None] = {}
        for delivery in self._in_hand:
            for reader in self._readers.concerned(delivery):
                # Also one that was cut off a moment ago: what it loses of the rest is in its cursor then.
                reader.offer(delivery)
                told[reader] = None
        if self._news != known:
            for reader in self._readers:
                reader.news = self._news
        for reader in told:
            if not reader.live:
                self._readers.discard(reader)
                self.lagged += reader.lagged
        self._on_fanned_out(self._in_hand)
        self._in_hand = []

    def _note(self, delivery: Delivery) -> None:
        for stream, event in delivery.events:
            if isinstance(event, Revision):
                self._news += 1
                self._revised.append((self._news, stream, event.candle.open_time_ms))
                continue
            first_ms, last_ms = (
                (event.first_open_ms, event.last_open_ms)
                if isinstance(event, Gap)
                else (event.open_time_ms, event.open_time_ms)
            )
            self._positions[stream] = last_ms
            if stream not in self._begun:
                self._news += 1
                self._begun[stream] = (self._news, first_ms)
