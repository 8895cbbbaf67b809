"""Acts: everything that a plan lets happen to a feed, its venues, its store and its readers. Values only.

`at_s` counts from the start of the simulation. What lasts has ended `duration_s` later.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import field, frozen
from attrs.validators import ge, gt, in_

from candleactors.sim import Fault


@frozen
class Strike:
    """Let `fault` happen at `venue`. Its own `at_s` is without meaning."""

    at_s: float = field(validator=ge(0))
    venue: str
    fault: Fault

    @property
    def name(self) -> str:
        return self.fault.kind.value


@frozen
class Kill:
    """The process dies and is started again `down_s` later.

    With `rounds`, it dies so many rounds of the scheduler after the next candle was closed, if one is within a second.
    """

    at_s: float = field(validator=ge(0))
    down_s: float = field(validator=ge(0))
    rounds: int = field(default=0, validator=ge(0))
    name: str = field(default="kill", init=False)


@frozen
class Restart:
    """The feed is stopped in order and started again `down_s` later."""

    at_s: float = field(validator=ge(0))
    down_s: float = field(validator=ge(0))
    name: str = field(default="restart", init=False)


@frozen
class Crash:
    """The actors of this name fail, and their supervisors restart them; `rounds` as for `Kill`."""

    at_s: float = field(validator=ge(0))
    actor: str
    rounds: int = field(default=0, validator=ge(0))
    name: str = field(default="crash", init=False)


@frozen
class StoreTrouble:
    """The store misbehaves.

    - ``full``: it takes no rows.
    - ``unreadable``: it gives none.
    - ``slow``: every write takes seconds.
    - ``unsure``: it takes rows and then says that it did not.
    """

    at_s: float = field(validator=ge(0))
    duration_s: float = field(validator=gt(0))
    kind: str = field(validator=in_(("full", "unreadable", "slow", "unsure")))

    @property
    def name(self) -> str:
        return f"store-{self.kind}"


@frozen
class ClockStep:
    """Our wall clock is set forwards by `by_s`, or backwards."""

    at_s: float = field(validator=ge(0))
    by_s: float
    name: str = field(default="clock-step", init=False)


@frozen
class Stall:
    """Nothing runs for `duration_s`, as if something had blocked the event loop, or the machine had slept."""

    at_s: float = field(validator=ge(0))
    duration_s: float = field(validator=gt(0))
    name: str = field(default="stall", init=False)


@frozen
class Watch:
    """Somebody takes an interest in `streams`, written ``venue:symbol:timeframe``."""

    at_s: float = field(validator=ge(0))
    streams: tuple[str, ...]
    name: str = field(default="watch", init=False)


@frozen
class Unwatch:
    """That somebody lets go of `streams`."""

    at_s: float = field(validator=ge(0))
    streams: tuple[str, ...]
    name: str = field(default="unwatch", init=False)


@frozen
class Dawdle:
    """The reader of number `reader` reads nothing for `duration_s`."""

    at_s: float = field(validator=ge(0))
    reader: int
    duration_s: float = field(validator=gt(0))
    name: str = field(default="dawdle", init=False)


Use: TypeAlias = Watch | Unwatch | Dawdle | Restart
"""What a feed is used for, and how. Nothing is wrong then."""
Act: TypeAlias = Use | Strike | Kill | Crash | StoreTrouble | ClockStep | Stall
