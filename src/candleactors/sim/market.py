"""The simulated market: seeded symbols of every liquidity, their trades and their candles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from candleactors.errors import ConfigError, InvalidSymbol
from candleactors.model import HOUR_MS, MINUTE_MS, Timeframe
from candleactors.sim.candles import Series, TruthCandle, truth_candle
from candleactors.sim.tape import Outage, SymbolSpec, Tape

# base, price, price decimals, quantity decimals, trades a minute, volatility, mean quantity
_PLAUSIBLE: Final = (
    ("BTC", "67250.00", 2, 5, 90.0, 0.00005, "0.02"),
    ("ETH", "3120.00", 2, 4, 70.0, 0.00006, "0.4"),
    ("SOL", "171.50", 2, 3, 50.0, 0.00012, "6"),
    ("BNB", "602.00", 2, 3, 30.0, 0.00007, "1"),
    ("XRP", "0.6210", 4, 1, 40.0, 0.0002, "900"),
    ("DOGE", "0.15800", 5, 0, 35.0, 0.00015, "4000"),
    ("ADA", "0.4520", 4, 1, 20.0, 0.0002, "800"),
    ("AVAX", "35.60", 2, 2, 20.0, 0.0003, "20"),
    ("LINK", "17.210", 3, 2, 18.0, 0.0002, "30"),
    ("DOT", "6.810", 3, 2, 14.0, 0.0002, "60"),
    ("LTC", "82.40", 2, 3, 12.0, 0.0002, "5"),
    ("TRX", "0.12100", 5, 1, 12.0, 0.0001, "2500"),
    ("ATOM", "8.120", 3, 2, 9.0, 0.0002, "25"),
    ("NEAR", "6.930", 3, 1, 8.0, 0.0003, "40"),
    ("APT", "9.050", 3, 2, 6.0, 0.0003, "20"),
    ("FIL", "5.780", 3, 2, 4.0, 0.0003, "30"),
    ("ZEN", "9.910", 3, 2, 1.0, 0.0005, "8"),
    ("QUICK", "0.04720", 5, 0, 0.3, 0.0005, "900"),
    ("PERP", "1.0310", 4, 1, 0.1, 0.0005, "120"),
)


def default_symbols(count: int | None = None) -> tuple[SymbolSpec, ...]:
    """Return `count` plausible symbols, the most liquid first; by default 19 and a spot-only non-ASCII one."""
    specs = [
        SymbolSpec(base, "USDT", price, tick, step, rate, volatility, quantity)
        for base, price, tick, step, rate, volatility, quantity in _PLAUSIBLE
    ]
    specs.append(SymbolSpec("币安人生", "USDT", "0.2410", 4, 1, 5.0, 0.0004, "300", futures=False))
    while count is not None and len(specs) < count:
        base = f"SIM{len(specs):04d}"
        specs.append(SymbolSpec(base, "USDT", "10.000", 3, 2, 2.0, 0.0003, "10"))
    return tuple(specs[:count])


class Market:
    """A seeded market. Nothing happens by itself: every question names its instant and is answered exactly.

    `start_ms` is the instant the simulation starts; the history reaches `history_ms` back from there. Symbols are
    generated lazily, each on its first use. A market may serve several simulators.
    """

    def __init__(
        self,
        seed: int,
        start_ms: int,
        symbols: Sequence[SymbolSpec] | None = None,
        *,
        history_ms: int = 6 * HOUR_MS,
        outages: Sequence[Outage] = (),
    ) -> None:
        self.seed = seed
        self.start_ms = start_ms
        self.specs: dict[str, SymbolSpec] = {}
        for spec in default_symbols() if symbols is None else symbols:
            if spec.symbol in self.specs:
                raise ConfigError(f"the symbol {spec.symbol} is listed twice")
            self.specs[spec.symbol] = spec
        self._first_ms = (start_ms - history_ms) // MINUTE_MS * MINUTE_MS
        self._outages = list(outages)
        self._tapes: dict[str, Tape] = {}
        self._series: dict[tuple[str, str], Series] = {}

    def listed_ms(self, symbol: str) -> int:
        """Return the instant of the symbol's first trade."""
        listed = self._spec(symbol).listed_ms
        return self._first_ms if listed is None else listed

    def halted(self, symbol: str, now_ms: int) -> bool:
        """Whether an outage of `symbol` is going on."""
        return any(o.start_ms <= now_ms < o.end_ms for o in self.tape(symbol).outages)

    def delisted(self, symbol: str, now_ms: int) -> bool:
        """Whether `symbol` is delisted."""
        delisted_ms = self.tape(symbol).delisted_ms
        return delisted_ms is not None and delisted_ms <= now_ms

    def trading(self, now_ms: int) -> list[str]:
        """Return the symbols that are listed and not delisted, halted or not."""
        return [s for s in self.specs if self.listed_ms(s) <= now_ms and not self.delisted(s, now_ms)]

    def tape(self, symbol: str) -> Tape:
        """Return the trades of `symbol`; raises `InvalidSymbol`."""
        tape = self._tapes.get(symbol)
        if tape is None:
            tape = self._tapes[symbol] = Tape(self._spec(symbol), self.seed, self.listed_ms(symbol))
            for outage in self._outages:
                tape.add_outage(outage)
        return tape

    def series(self, symbol: str, timeframe: Timeframe) -> Series:
        """Return the candles of `symbol` in `timeframe`; raises `InvalidSymbol`."""
        key = (symbol, timeframe.text)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series(self.tape(symbol), timeframe)
        return series

    def halt(self, symbol: str | None, start_ms: int, end_ms: int) -> None:
        """Stop `symbol`, or all, in [`start_ms`, `end_ms`); `start_ms` must not lie in the past."""
        outage = Outage(start_ms, end_ms)
        if symbol is None:
            self._outages.append(outage)
            for tape in self._tapes.values():
                tape.add_outage(outage)
        else:
            self.tape(symbol).add_outage(outage)

    def delist(self, symbol: str, at_ms: int) -> bool:
        """End `symbol` for good at `at_ms`, which must not lie in the past: no trades, rows or pushes from then on.

        Returns whether it did: not if `symbol` is not trading then, or is the last one that is. Raises `InvalidSymbol`.
        """
        tape, trading = self.tape(symbol), self.trading(at_ms)
        if symbol not in trading or len(trading) == 1:
            return False
        tape.delist(at_ms)
        return True

    def correct(self, symbol: str, at_ms: int, now_ms: int) -> bool:
        """Change the past: add a trade above the high to the finished minute that contains `at_ms`.

        Every candle that contains the minute changes with it. Returns whether there was such a minute to change.
        """
        tape = self.tape(symbol)
        minute = at_ms // MINUTE_MS
        if minute < tape.first_minute or (minute + 1) * MINUTE_MS > now_ms:
            return False
        if self.series(symbol, Timeframe("1m")).row(minute * MINUTE_MS, now_ms) is None:
            return False
        tape.add_late_trade(at_ms, quantity=max(1, tape.spec.steps(tape.spec.mean_quantity)), ticks_above_high=1)
        return True

    def truth(
        self, symbol: str, timeframe: Timeframe, first_open_ms: int, until_ms: int, *, halted: bool = False
    ) -> list[TruthCandle]:
        """Return every candle that opens at or after `first_open_ms` and is over at `until_ms`, ascending.

        Corrections are included. Intervals for which the venue has no row are missing, unless `halted` makes those of
        outages flat.
        """
        series = self.series(symbol, timeframe)
        spec = series.tape.spec
        found: list[TruthCandle] = []
        for row in series.rows(first_open_ms, until_ms, 1 << 62, until_ms, halted=halted):
            next_ms = series.next_open(row.open_ms)
            if next_ms <= until_ms:
                found.append(truth_candle(spec, timeframe, row, next_ms))
        return found

    def _spec(self, symbol: str) -> SymbolSpec:
        try:
            return self.specs[symbol]
        except KeyError:
            raise InvalidSymbol(f'"{symbol}" is not a symbol of the simulated market') from None
