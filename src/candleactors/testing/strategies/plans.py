"""Small simulations: a few minutes of a few streams, and a handful of things that go wrong."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

from candleactors.model import Timeframe
from candleactors.settings import RepairSettings, Settings, SubscriberSettings, SupervisionSettings, VenueSettings
from candleactors.sim import Fault, FaultKind, SymbolSpec
from candleactors.simulation.acts import Act, ClockStep, Crash, Dawdle, Kill, Restart, Stall, StoreTrouble, Strike
from candleactors.simulation.crash import ACTORS
from candleactors.simulation.plan import Audience, Plan

VENUE: Final = "binance-spot"
SYMBOLS: Final = (
    SymbolSpec(base="A", quote="USDT", price="64000", trades_per_minute=6),
    SymbolSpec(base="B", quote="USDT", price="3", tick=5, step=0, trades_per_minute=0.5),
)
"""One that trades in nearly every minute, and one that mostly does not."""
WARM_S: Final = 15.0
LONGEST_S: Final = 40.0
_START_MS: Final = 1_709_163_030_000  # half an hour before a leap day
_LEFT_OUT: Final = frozenset((FaultKind.DELIST, FaultKind.REFUSE_SUBSCRIBE))
"""What takes longer to come right than a small simulation has."""
_CODES: Final = {
    FaultKind.REJECT_HANDSHAKE: (503, 403),
    FaultKind.REST_LIMIT: (429,),
    FaultKind.REST_ERROR: (500, 503),
    FaultKind.CLOSE: (1001, 1008),
}


def acts(*, until_s: float = 300.0) -> st.SearchStrategy[Act]:
    """Return a strategy for one thing that goes wrong with a plan of `plans`, and is over at `until_s`.

    Shrinks towards faults of the venue before anything else, towards early and short ones.
    """
    at_s = _seconds(WARM_S, until_s - LONGEST_S)
    duration_s = _seconds(0.5, LONGEST_S)
    return st.one_of(
        *(_strikes(at_s, duration_s) for _ in range(4)),  # of so many kinds, and nearly all that there is
        st.builds(StoreTrouble, at_s, duration_s, st.sampled_from(("full", "unreadable", "slow", "unsure"))),
        st.builds(Dawdle, at_s, st.just(1), duration_s),
        st.builds(Stall, at_s, duration_s),
        st.builds(ClockStep, at_s, st.sampled_from((0.5, -0.5, 5.0, -5.0, 90.0, -90.0))),
        st.builds(Crash, at_s, st.sampled_from(ACTORS), st.integers(0, 60)),
        st.builds(Restart, at_s, _seconds(0, LONGEST_S)),
        st.builds(Kill, at_s, _seconds(0, LONGEST_S), st.integers(0, 60)),
    )


@st.composite
def plans(draw: st.DrawFn, *, most_acts: int = 8, trouble_s: float = 300.0, peace_s: float = 500.0) -> Plan:
    """Return a small simulation for `candleactors.simulation.run`: two symbols on one venue, two readers.

    At most `most_acts` things go wrong within `trouble_s`, and `peace_s` later everything has to have come right: in
    less than 500 seconds it need not. Running one takes about half a second. Shrinks towards no acts.
    """
    chosen = draw(st.lists(acts(until_s=trouble_s), max_size=most_acts))
    seed = draw(st.integers(0, 1 << 16))
    start_ms = _START_MS + draw(st.integers(0, 59)) * 1000
    venue = VenueSettings(
        symbols=tuple(spec.symbol for spec in SYMBOLS),
        derived=(Timeframe("3m"),),
        websocket_url=f"ws://{VENUE}:80",
        rest_url=f"http://{VENUE}:80",
        streams_per_connection=draw(st.sampled_from((200, 1))),
        flowing_timeout_s=10.0,
        unknown_symbols="park",
    )
    settings = Settings(
        venues={VENUE: venue},
        repair=RepairSettings(verify_interval_s=120.0, history=draw(st.sampled_from((0, 5))), deadline_s=10.0),
        subscriber=SubscriberSettings(max_pending=draw(st.sampled_from((10_000, 3)))),
        supervision=SupervisionSettings(drain_s=5.0, max_restarts=20),
    )
    return Plan(
        seed,
        start_ms,
        settings,
        SYMBOLS,
        tuple(sorted(chosen, key=lambda act: act.at_s)),
        troubles=((WARM_S, trouble_s),),
        peace_s=peace_s,
        readers=(Audience(), Audience((f"{VENUE}:AUSDT:1m", f"{VENUE}:AUSDT:3m"), forming=True)),
    )


@st.composite
def _strikes(draw: st.DrawFn, at_s: st.SearchStrategy[float], duration_s: st.SearchStrategy[float]) -> Strike:
    kind = draw(st.sampled_from([each for each in FaultKind if each not in _LEFT_OUT]))
    fault = Fault(
        kind,
        duration_s=draw(duration_s),
        delay_s=draw(_seconds(0, 6)),
        everyone=draw(st.booleans()),
        code=draw(st.sampled_from(_CODES.get(kind, (0,)))),
        symbol=draw(st.sampled_from(SYMBOLS)).symbol if kind in (FaultKind.CORRECTION, FaultKind.HALT) else None,
    )
    return Strike(draw(at_s), VENUE, fault)


def _seconds(least: float, most: float) -> st.SearchStrategy[float]:
    """Return a strategy for seconds in tenths, which read better than floats and shrink as well."""
    return st.integers(round(least * 10), round(most * 10)).map(lambda tenths: tenths / 10)
