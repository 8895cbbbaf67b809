"""Plans: one simulation, whole, as a value drawn from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any, Final

from attrs import Factory, evolve, field, frozen
from attrs.validators import ge, gt

from candleactors.model import DAY_MS, HOUR_MS, MINUTE_MS, Stream, Timeframe
from candleactors.settings import (
    HistorySettings,
    RepairSettings,
    Settings,
    SubscriberSettings,
    SupervisionSettings,
    VenueSettings,
)
from candleactors.sim import RULES, BinanceRules, Counters, Fault, FaultKind, Market, Rules, SymbolSpec
from candleactors.sim.dialect import Close
from candleactors.simulation.acts import (
    Act,
    ClockStep,
    Crash,
    Dawdle,
    Kill,
    Restart,
    Stall,
    StoreTrouble,
    Strike,
    Unwatch,
    Watch,
)
from candleactors.simulation.crash import ACTORS
from candleactors.venues import codec

TROUBLE_S: Final = 7_200.0
"""How long things go wrong before peace."""
PEACE_S: Final = 2_400.0
"""How long they then go right, at most: by its end everything must have converged.

A gap is looked for again after 5, 15, 60, 300 and 900 seconds, and a stream that the venue refused after half an hour.
"""
CYCLE_S: Final = TROUBLE_S + PEACE_S
_WARM_S: Final = 90.0
"""At the start nothing goes wrong for so long."""
_WITH_SECONDS: Final = 4
"""So many symbols, where they are watched in 1s: these cost sixty times as much."""
_LONGEST_S: Final = 240.0
"""No trouble lasts longer. So everything that is corrected is looked at again: the last hour of candles is."""
_ASTER_SHARE: Final = 0.3
"""Of the plans with futures; the others have those of Binance."""
_TIGHT: Final[dict[str, Any]] = {"connects": 12, "connects_window_s": 60.0}
_TIGHT_WEIGHT: Final = 200
"""Limits that are reached, at some venues: the real ones hardly ever are."""
_STARTS_MS: Final = (
    1_709_163_030_000,  # half an hour before a leap day
    1_719_785_000_000,  # before a Monday that begins a month and a quarter
    1_735_682_400_000,  # the last evening of a year
    1_700_000_000_000,
)
_DERIVED: Final = Timeframe.expand("2m,3m,4m,5m,7m,10m,15m,30m,1h,90m,2h,7m@epoch,1h@+0530")
_CODES: Final = {
    FaultKind.REJECT_HANDSHAKE: (503, 502, 403, 400),
    FaultKind.REST_LIMIT: (429, 429, 418),
    FaultKind.REST_ERROR: (500, 502, 503, 504),
    FaultKind.CLOSE: (1001, 1001, 1008, 1011, 1000),
}
_BOTH: Final = (True, False)
_BYBIT: Final = {"echoes_errors": _BOTH, "oldest_first_from_start": _BOTH, "end_included": _BOTH}
_EITHER: Final[dict[str, dict[str, tuple[Any, ...]]]] = {
    "bybit-linear": _BYBIT,
    "bybit-spot": _BYBIT,
    "okx": {
        "each_channel_counts": _BOTH,
        "too_frequent_close": (None, Close(4002, "Too frequent")),
        "history_has_forming": _BOTH,
    },
    "bitfinex": {
        "week": ("1W", "7D"),
        "echoes_request": _BOTH,
        "stamps": (True, True, False),
        "empty_if_unknown": _BOTH,
        "max_channels": (25, 30, 36),
    },
}
"""What is known of these venues from observation only, or not at all: a seed draws one of the answers."""
_NAMES_A_SYMBOL: Final = frozenset((FaultKind.CORRECTION, FaultKind.HALT))


@frozen
class Audience:
    """What a reader reads."""

    streams: tuple[str, ...] | None = None
    """Written ``venue:symbol:timeframe``; ``None`` for all."""
    forming: bool = False


@frozen
class Plan:
    """Everything that a simulation does not decide for itself: equal plans give equal runs, event for event."""

    seed: int
    """Of the market, and of all that the feed and the venues draw at random."""
    start_ms: int
    """When it begins, UTC milliseconds."""
    settings: Settings
    """The feed's; its URLs are led to the simulators."""
    symbols: tuple[SymbolSpec, ...]
    """The market."""
    acts: tuple[Act, ...] = ()
    """Ascending by `at_s`."""
    troubles: tuple[tuple[float, float], ...] = ((0.0, TROUBLE_S),)
    """When trouble begins and ends, in seconds; each is followed by `peace_s`, and then all is compared."""
    peace_s: float = field(default=PEACE_S, validator=gt(0))
    readers: tuple[Audience, ...] = Factory(lambda: (Audience(),))
    """The first one reads everything and is never slow by itself."""
    rules: Mapping[str, Rules] = Factory(lambda: RULES)
    """The venues', by name; the feed is told of other limits by its settings."""

    @property
    def span_s(self) -> float:
        """How long the simulation takes, in its own seconds."""
        return self.troubles[-1][1] + self.peace_s

    @property
    def streams(self) -> list[Stream]:
        """What is watched all the time."""
        return [
            Stream(name, symbol, frame)
            for name, venue in self.settings.venues.items()
            for symbol in venue.symbols
            for frame in (*venue.timeframes, *venue.derived)
        ]

    def only(self, acts: tuple[Act, ...]) -> Plan:
        """Return the same simulation with other acts."""
        return evolve(self, acts=acts)


@frozen
class Scale:
    """How much is drawn."""

    days: float = field(default=CYCLE_S / 86_400, validator=gt(0))
    """Rounded to whole cycles of trouble and peace, at least one."""
    streams: int = field(default=20, validator=ge(1))
    """Symbols watched in 1m all the time; others come and go."""
    faults_per_hour: float = field(default=200.0, validator=ge(0))
    """While there is trouble."""
    calm: frozenset[str] = Factory(frozenset)
    """Names of acts that are left out."""
    venues: tuple[str, ...] = ()
    """Every one of these and no other; without any, one or two of Binance's and Aster's, as the seed draws them."""


def draw(seed: int, scale: Scale | None = None) -> Plan:
    """Return the plan of `seed`: a market, a configuration and two hours of trouble after the other.

    Each seed has its own kinds of trouble, some often, some never, so that rare combinations become likely somewhere.
    """
    scale = scale or Scale()
    rng = Random(seed)
    start_ms = rng.choice(_STARTS_MS) + rng.randrange(HOUR_MS)
    symbols = _market(rng, scale.streams, start_ms)
    futures = "aster" if Random(f"{seed} futures").random() < _ASTER_SHARE else "binance-usdm"
    drawn = rng.choice((("binance-spot",), (futures,), ("binance-spot", futures)))
    venues = _venues(rng, symbols, scale.streams, scale.venues or drawn)
    rules, venues = _limits(Random(f"{seed} limits"), venues)
    rules = _manners(Random(f"{seed} manners"), rules)
    settings = Settings(
        venues=venues,
        # A second line of defence, which would mend behind the judge's back what the first one loses.
        history=HistorySettings(backfill_interval_s=None, repair_interval_s=None),
        repair=RepairSettings(
            verify_interval_s=240.0, history=rng.choice((0, 5, 8, 200)), deadline_s=rng.choice((10.0, 30.0, 150.0))
        ),
        subscriber=SubscriberSettings(max_pending=rng.choice((3 * scale.streams, 300, 100_000))),
        supervision=SupervisionSettings(drain_s=5.0, max_restarts=50),
    )
    cycles = max(1, round(scale.days * 86_400 / CYCLE_S))
    troubles = tuple((cycle * CYCLE_S + _WARM_S, cycle * CYCLE_S + TROUBLE_S) for cycle in range(cycles))
    streams = _streams(venues)
    readers = (Audience(), Audience(), Audience(tuple(rng.sample(streams, min(5, len(streams)))), forming=True))
    acts = _Drawer(rng, venues, symbols, len(readers), scale, start_ms).acts(troubles)
    return Plan(seed, start_ms, settings, symbols, acts, troubles, PEACE_S, readers, rules)


def _streams(venues: dict[str, VenueSettings]) -> list[str]:
    return [
        f"{name}:{symbol}:{frame}"
        for name, venue in venues.items()
        for symbol in venue.symbols
        for frame in (*venue.timeframes, *venue.derived)
    ]


def _market(rng: Random, count: int, start_ms: int) -> tuple[SymbolSpec, ...]:
    """Draw symbols of every liquidity: three out of four change all the time, some rest for hours.

    The last three are for those who come and go; of these one is listed while the simulation runs.
    """
    specs = []
    for number in range(count + 3):
        tick, step = rng.choice(((2, 5), (4, 2), (5, 0), (0, 8), (3, 3)))
        busy = rng.uniform(40, 90) if rng.random() < 0.75 else rng.choice((8.0, 1.0, 0.2, 0.01))
        listed_ms = start_ms + rng.randrange(5 * MINUTE_MS, DAY_MS // 12) if number == count + 2 else None
        specs.append(
            SymbolSpec(
                base=f"S{number:02d}",
                quote="USDT",
                price=str(rng.choice((3, 70, 1_250, 64_000))),
                tick=tick,
                step=step,
                trades_per_minute=busy,
                volatility=rng.choice((0.0, 0.0001, 0.001)),
                mean_quantity=str(rng.choice((1, 7, 400))),
                listed_ms=listed_ms,
            )
        )
    return tuple(specs)


def _venues(
    rng: Random, symbols: tuple[SymbolSpec, ...], count: int, shape: tuple[str, ...]
) -> dict[str, VenueSettings]:
    venues = {}
    for number, venue in enumerate(shape):
        spelled = list(_spelled(venue, symbols[:count]))
        chosen = spelled[number :: len(shape)] or spelled[:1]
        derived = rng.sample(_DERIVED, rng.randrange(1, 6))
        natives = (Timeframe("1m"), *(Timeframe("5m"),) * (rng.random() < 0.2))
        if Timeframe("1s") in RULES[venue].timeframes and rng.random() < 0.15:
            natives, chosen = (Timeframe("1s"), *natives), chosen[:_WITH_SECONDS]
        venues[venue] = VenueSettings(
            symbols=tuple(chosen),
            timeframes=natives,
            derived=tuple(frame for frame in derived if frame not in natives),
            websocket_url=f"ws://{venue}:80",
            rest_url=f"http://{venue}:80",
            streams_per_connection=min(rng.choice((4, 10, 200)), codec(venue).rules.max_streams_per_connection),
            rotate_after_s=rng.choice((600.0, 3_000.0, None)),
            flowing_timeout_s=10.0,
            coalesce_s=rng.choice((0.0, 0.005)),
            unknown_symbols="park",
        )
    return venues


def _spelled(venue: str, symbols: tuple[SymbolSpec, ...]) -> dict[str, str]:
    """Return what `venue` calls `symbols`, in their order, to what the market does; some have several names there."""
    own = RULES[venue].dialect(Market(0, 0, symbols), Counters()).symbols
    order = [spec.symbol for spec in symbols]
    return {name: own[name] for name in sorted(own, key=lambda name: order.index(own[name]))}


def _limits(rng: Random, venues: dict[str, VenueSettings]) -> tuple[dict[str, Rules], dict[str, VenueSettings]]:
    """Draw how much each venue allows; return that, and settings that say so."""
    rules = dict(RULES)
    settings = dict(venues)
    for name in venues:
        if rng.random() < 0.3 and rules[name].connects >= _TIGHT["connects"]:
            rules[name] = evolve(rules[name], **_TIGHT)
            settings[name] = evolve(settings[name], **_TIGHT)
        tight, own = rng.random() < 0.3, rules[name]
        if tight and isinstance(own, BinanceRules):
            rules[name] = evolve(own, weight_per_minute=_TIGHT_WEIGHT)
            settings[name] = evolve(settings[name], rest_weight=_TIGHT_WEIGHT)
    return rules, settings


def _manners(rng: Random, rules: dict[str, Rules]) -> dict[str, Rules]:
    """Draw how the venues behave where nobody knows for certain."""
    return {
        name: evolve(own, **{key: rng.choice(either) for key, either in _EITHER.get(name, {}).items()})
        for name, own in rules.items()
    }


class _Drawer:
    """Draws acts."""

    def __init__(
        self,
        rng: Random,
        venues: dict[str, VenueSettings],
        symbols: tuple[SymbolSpec, ...],
        readers: int,
        scale: Scale,
        start_ms: int,
    ) -> None:
        self._rng = rng
        self._minute_s = -start_ms % MINUTE_MS / 1_000  # the first minute that begins
        self._venues = venues
        self._extras = [f"{name}:{symbol}" for name in venues for symbol in _spelled(name, symbols[-3:])]
        self._market_names = {own: name for venue in venues for own, name in _spelled(venue, symbols).items()}
        self._readers = readers
        self._scale = scale
        self._makers = {
            **{kind.value: 1.0 for kind in FaultKind if kind not in (FaultKind.DELIST, FaultKind.MAINTENANCE)},
            **dict.fromkeys(("store-full", "store-unreadable", "store-slow", "store-unsure"), 1.5),
            **dict.fromkeys(("kill", "restart", "crash"), 1.0),
            **dict.fromkeys(("clock-step", "stall"), 1.0),
            **dict.fromkeys(("watch", "unwatch"), 3.0),
            "dawdle": 3.0,
        }
        if "bitfinex" in venues:
            self._makers[FaultKind.MAINTENANCE.value] = 1.0
        if any(Timeframe("1s") in venue.timeframes for venue in venues.values()):
            del self._makers["correction"]  # of seconds, only those of the last three minutes are looked at again

    def acts(self, troubles: tuple[tuple[float, float], ...]) -> tuple[Act, ...]:
        """Return the acts of all `troubles`, ascending."""
        rng = self._rng
        weights = {
            name: weight * rng.choice((0.0, 0.3, 1.0, 1.0, 3.0))
            for name, weight in self._makers.items()
            if name not in self._scale.calm
        }
        names, mean_s = list(weights), 3_600.0 / max(self._scale.faults_per_hour, 1e-9)
        acts: list[Act] = []
        for first_s, until_s in troubles:
            at_s = first_s
            while any(weights.values()) and (at_s := at_s + rng.expovariate(1 / mean_s)) < until_s - _LONGEST_S:
                name = rng.choices(names, list(weights.values()))[0]
                acts.append(self._act(name, at_s))
        if "delist" not in self._scale.calm and rng.random() < 0.3:
            delisted = rng.choice(self._extras).partition(":")[2]
            fault = Fault(FaultKind.DELIST, symbol=self._market_names[delisted])
            acts.append(Strike(rng.uniform(*troubles[-1]), rng.choice(list(self._venues)), fault))
        return tuple(sorted(acts, key=lambda act: act.at_s))

    def _act(self, name: str, at_s: float) -> Act:
        rng = self._rng
        duration_s = min(rng.choice((rng.uniform(0.1, 5), rng.uniform(1, 40), rng.uniform(30, 150))), _LONGEST_S)
        if rng.random() < 0.3:  # at the turn of a minute, where candles close
            at_s = self._minute_s + 60 * round((at_s - self._minute_s) / 60) + rng.uniform(-1, 2)
        if name in ("kill", "crash") and rng.random() < 0.7:  # else nothing is under way
            at_s = self._minute_s + 60 * round((at_s - self._minute_s) / 60) - 0.5
        match name:
            case "kill":
                return Kill(at_s, rng.choice((0.0, 3.0, rng.uniform(0, 200))), rng.randrange(16))
            case "restart":
                return Restart(at_s, rng.choice((0.0, rng.uniform(0, 200))))
            case "crash":
                return Crash(at_s, rng.choice(ACTORS), rng.randrange(16))
            case "clock-step":
                return ClockStep(at_s, rng.choice((-1, 1)) * rng.choice((0.5, 5.0, 90.0, 4_000.0)))
            case "stall":
                return Stall(at_s, min(duration_s, 40.0))
            case "watch" | "unwatch":
                frames = rng.sample(("1m", "5m", "7m", "15m"), rng.randrange(1, 3))
                streams = tuple(f"{rng.choice(self._extras)}:{frame}" for frame in frames)
                return Watch(at_s, streams) if name == "watch" else Unwatch(at_s, streams)
            case "dawdle":
                return Dawdle(at_s, rng.randrange(1, self._readers), duration_s)
            case _ if name.startswith("store-"):
                return StoreTrouble(at_s, duration_s, name.removeprefix("store-"))
        return Strike(at_s, rng.choice(list(self._venues)), self._fault(FaultKind(name), duration_s))

    def _fault(self, kind: FaultKind, duration_s: float) -> Fault:
        rng = self._rng
        delay_s = rng.choice((rng.uniform(0, 2), rng.uniform(0, 6)))
        if kind is FaultKind.LATE_CLOSE:
            delay_s = rng.uniform(0, 30)
        count = {FaultKind.HUGE: rng.choice((10, 2_000)), FaultKind.PING_STORM: rng.choice((3, 40))}.get(kind, 1)
        symbol = rng.choice(sorted({symbol for venue in self._venues.values() for symbol in venue.symbols}))
        if kind is FaultKind.CORRECTION:
            count = rng.choice((1, 1, 2, 5))
        return Fault(
            kind,
            duration_s=duration_s,
            delay_s=delay_s,
            everyone=rng.random() < 0.4,
            code=rng.choice(_CODES.get(kind, (0,))),
            count=count,
            symbol=self._market_names[symbol] if kind in _NAMES_A_SYMBOL and rng.random() < 0.9 else None,
        )
