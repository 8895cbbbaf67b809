"""The hub: fans out what the sequencers deliver. A slow reader hurts only itself."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakSet

from candleactors.actors.child import ChildContext
from candleactors.actors.delivery import Delivery
from candleactors.actors.mailbox import Mailbox
from candleactors.actors.subscription import Replay, Subscription
from candleactors.model import Stream
from candleactors.settings import SubscriberSettings

CAPACITY = 256
"""Deliveries waiting at most. The hub never waits for a reader, so it is only ever a few behind."""


class Hub:
    """Subscribers and the mailbox that feeds them.

    The hub does not keep a reader alive: one that was forgotten is dropped. The object outlives the actor: a restart
    ends no subscription. What was being fanned out when the actor failed may have reached some readers and not others,
    so they are cut off and resume from the store.
    """

    def __init__(self, settings: SubscriberSettings, life: int = 0) -> None:
        """`life` is what the readers' cursors say of the feed they are from; another one for each feed."""
        self.life = life
        self.mailbox: Mailbox[Delivery] = Mailbox(CAPACITY)
        self._settings = settings
        self._subscriptions: WeakSet[Subscription] = WeakSet()
        self._in_hand: list[Delivery] = []
        self.forming_version = 0
        """Grows whenever there may be new readers of forming candles."""
        self.lagged = 0
        """Readers cut off so far."""

    async def run(self, context: ChildContext) -> None:
        """Fan out until asked to stop, then what is left in the mailbox."""
        if self._in_hand:
            for subscription in list(self._subscriptions):
                subscription.cut_off(self._in_hand)
            self._in_hand = []
        async with self.mailbox.attended(context.stopping):
            context.started()
            while not context.stopping.is_set():
                self._in_hand = await self.mailbox.drain()
                self._fan_out()
        self._in_hand = self.mailbox.take_all()
        self._fan_out()

    def subscribe(
        self, streams: Iterable[Stream] | None, *, forming: bool = False, replay: Replay | None = None
    ) -> Subscription:
        """Return a subscription that receives everything delivered from now on."""
        subscription = Subscription(streams, self._settings, forming=forming, replay=replay, life=self.life)
        self._subscriptions.add(subscription)
        self.forming_version += forming
        return subscription

    def wants_forming(self, stream: Stream) -> bool:
        """Whether somebody reads the forming candles of `stream`."""
        return any(subscription.wants_forming(stream) for subscription in self._subscriptions)

    def end(self) -> None:
        """End every subscription, once the actor has ended for good: readers get what is left, then the end."""
        for subscription in list(self._subscriptions):
            subscription.end()

    @property
    def subscribers(self) -> int:
        """How many readers there are."""
        return sum(subscription.live for subscription in self._subscriptions)

    def _fan_out(self) -> None:
        for subscription in list(self._subscriptions):
            for delivery in self._in_hand:
                subscription.offer(delivery)
            if not subscription.live:
                self._subscriptions.discard(subscription)
                self.lagged += subscription.lagged
        self._in_hand = []
