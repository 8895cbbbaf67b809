"""Timeframes: exact interval arithmetic on UTC epoch milliseconds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import field, frozen

from candleactors.errors import InvalidTimeframe

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
WEEK_MS: Final = 7 * DAY_MS

_UNIT_MS: Final = {"s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS, "w": WEEK_MS}
_FIRST_MONDAY_MS: Final = 4 * DAY_MS  # 1970-01-05; the epoch itself was a Thursday
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SHAPE: Final = re.compile(r"([1-9][0-9]{0,5})([smhdwM])(?:@(.*))?", re.ASCII)
_LOOSE: Final = re.compile(r"\s*([0-9]{0,6})\s*([a-zA-Z]{1,10})\s*", re.ASCII)
_OFFSET: Final = re.compile(r"([+-])([01][0-9]):?([0-5][0-9])", re.ASCII)
_RANGE: Final = re.compile(r"([0-9]+)([a-zA-Z])\.\.([0-9]+)\2(@.*)?", re.ASCII)
_MAX_MONTHS: Final = 1_200
_SPELLINGS: Final = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes", "t"), "m"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
    **dict.fromkeys(("w", "wk", "week", "weeks"), "w"),
    **dict.fromkeys(("mo", "mon", "mth", "month", "months"), "M"),
}


@frozen
class Timeframe:
    """The length of a candle, written ``<n>{s,m,h,d,w,M}``: ``Timeframe("7m")``, ``Timeframe("1M")``.

    Sizes up to a day start anew at 00:00 UTC, so that the last bar of the day is shorter where the size does not
    divide a day. Weeks start on Monday, months on the first. Sizes of several days, weeks or months are counted
    from the epoch (weeks: from the first Monday after it); a venue may use another phase, which is why
    `next_open` and `previous_open` keep the phase of the open time they are given.

    Other grids are written behind an ``@``:

    - ``7m@epoch``: counted from 1970-01-01T00:00Z straight through, never starting anew.
    - ``1d@+0800``: aligned to midnight at this UTC offset instead of UTC; months and weeks likewise.
    - ``3d@2017-08-17``: days or weeks counted from this UTC date, whatever weekday it is.

    An anchor that changes nothing is dropped (``5m@epoch`` is ``5m``), except a date, which stays as it is given.

    All instants are UTC epoch milliseconds. Raises `InvalidTimeframe` for any other text.
    """

    text: str
    count: int = field(init=False, eq=False, repr=False)
    unit: str = field(init=False, eq=False, repr=False)
    duration_ms: int | None = field(init=False, eq=False, repr=False)
    """Length in ms; ``None`` for months. The last bar of a day may be shorter, see `next_open`."""
    anchor: str | None = field(init=False, eq=False, repr=False)
    """What stands behind the ``@``, ``None`` without."""
    _restarts_daily: bool = field(init=False, eq=False, repr=False)
    _origin_ms: int = field(init=False, eq=False, repr=False)
    """A boundary of the grid; where bars restart daily and for months, a midnight they count as the start of a day."""

    def __attrs_post_init__(self) -> None:
        shape = _SHAPE.fullmatch(self.text) if isinstance(self.text, str) else None
        if shape is None:
            raise InvalidTimeframe(f'"{self.text}" is not a timeframe', nearest=_nearest(self.text))
        count, unit, anchor = int(shape[1]), shape[2], shape[3]
        if unit == "M" and count > _MAX_MONTHS:
            raise InvalidTimeframe(f'"{self.text}" is longer than a century')
        duration = None if unit == "M" else count * _UNIT_MS[unit]
        restarts = duration is not None and duration < DAY_MS and DAY_MS % duration != 0
        origin = _FIRST_MONDAY_MS if unit == "w" else 0
        if anchor == "epoch":
            anchor = anchor if restarts else None
            restarts = False
        elif anchor is not None and (offset_ms := _offset_ms(anchor)) is not None:
            step = DAY_MS if duration is None or restarts else duration
            anchor = anchor.replace(":", "") if offset_ms % step else None
            origin -= offset_ms
        elif anchor is not None:
            origin = _date_ms(self.text, unit, anchor)
        values = {
            "text": f"{count}{unit}" + (f"@{anchor}" if anchor else ""),
            "count": count,
            "unit": unit,
            "duration_ms": duration,
            "anchor": anchor,
            "_restarts_daily": restarts,
            "_origin_ms": origin,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def expand(cls, text: str) -> tuple[Timeframe, ...]:
        """Return the timeframes written as ``7m``, as a range ``2m..60m``, or as a list of both, ``2m..60m,2h,1d``.

        Raises `InvalidTimeframe`.
        """
        found: list[Timeframe] = []
        for part in text.split(","):
            if (span := _RANGE.fullmatch(part.strip())) is None:
                found.append(cls(part.strip()))
                continue
            first, last, unit, anchor = int(span[1]), int(span[3]), span[2], span[4] or ""
            if not 0 < first <= last < 10_000:
                raise InvalidTimeframe(f'"{part.strip()}" is not a range of timeframes', nearest="2m..60m")
            found += [cls(f"{count}{unit}{anchor}") for count in range(first, last + 1)]
        return tuple(dict.fromkeys(found))

    def anchored(self, anchor: str) -> Timeframe:
        """Return this size on another grid: ``day`` (the default one), or what may stand behind an ``@``.

        Raises `InvalidTimeframe`.
        """
        plain = f"{self.count}{self.unit}"
        return Timeframe(plain if anchor == "day" else f"{plain}@{anchor}")

    def __str__(self) -> str:
        return self.text

    @property
    def nominal_ms(self) -> int:
        """The length in ms, a month counted as 30 days: for ordering and for time-outs, never for boundaries."""
        return self.duration_ms if self.duration_ms is not None else self.count * 30 * DAY_MS

    def floor(self, at_ms: int) -> int:
        """Return the open time of the interval that contains `at_ms`."""
        duration = self.duration_ms
        if duration is None:
            index = _month_index(at_ms - self._origin_ms)
            return _month_open(index - index % self.count) + self._origin_ms
        if self._restarts_daily:
            return at_ms - (at_ms - self._origin_ms) % DAY_MS % duration
        return at_ms - (at_ms - self._origin_ms) % duration

    def next_open(self, open_ms: int) -> int:
        """Return the open time of the interval after the one that opens at `open_ms`."""
        duration = self.duration_ms
        if duration is None:
            return _month_open(_month_index(open_ms - self._origin_ms) + self.count) + self._origin_ms
        if self._restarts_daily:
            return min(open_ms + duration, open_ms - (open_ms - self._origin_ms) % DAY_MS + DAY_MS)
        return open_ms + duration

    def previous_open(self, open_ms: int) -> int:
        """Return the open time of the interval before the one that opens at `open_ms`."""
        duration = self.duration_ms
        if duration is None:
            return _month_open(_month_index(open_ms - self._origin_ms) - self.count) + self._origin_ms
        if self._restarts_daily:
            return self.floor(open_ms - 1)
        return open_ms - duration

    def advance(self, open_ms: int, count: int) -> int:
        """Return the open time of the interval `count` after the one that opens at `open_ms`, before it if negative."""
        if self.duration_ms is not None and not self._restarts_daily:
            return open_ms + count * self.duration_ms
        step = self.next_open if count > 0 else self.previous_open
        for _ in range(abs(count)):
            open_ms = step(open_ms)
        return open_ms

    def close_ms(self, open_ms: int) -> int:
        """Return the last millisecond of the interval that opens at `open_ms`."""
        return self.next_open(open_ms) - 1

    def opens(self, first_ms: int, until_ms: int) -> Iterator[int]:
        """Yield every open time from `first_ms`, itself an open time, up to but not including `until_ms`."""
        at = first_ms
        while at < until_ms:
            yield at
            at = self.next_open(at)

    def count_between(self, first_ms: int, until_ms: int) -> int:
        """Return how many intervals open in [`first_ms`, `until_ms`); both are open times of one phase."""
        if until_ms <= first_ms:
            return 0
        if self.duration_ms is None:
            origin = self._origin_ms
            return (_month_index(until_ms - origin) - _month_index(first_ms - origin)) // self.count
        if self._restarts_daily:
            return self._index(until_ms) - self._index(first_ms)
        return (until_ms - first_ms) // self.duration_ms

    def tiles(self, other: Timeframe) -> bool:
        """Whether whole intervals of this timeframe make up each interval of `other`."""
        size, larger, apart = self.duration_ms, other.duration_ms, other._origin_ms - self._origin_ms
        if size is None:
            return larger is None and other.count % self.count == 0 and apart == 0
        if self._restarts_daily:
            if other._restarts_daily:
                return larger is not None and larger % size == 0 and apart % DAY_MS == 0
            return (larger is None or larger % DAY_MS == 0) and apart % DAY_MS == 0
        if larger is None or other._restarts_daily:
            return DAY_MS % size == 0 and (larger is None or larger % size == 0) and apart % size == 0
        return larger % size == 0 and apart % size == 0

    def _index(self, open_ms: int) -> int:
        """Count intervals from the origin, for a size that starts anew every day."""
        assert self.duration_ms is not None
        a_day = -(-DAY_MS // self.duration_ms)
        since_ms = open_ms - self._origin_ms
        return since_ms // DAY_MS * a_day + since_ms % DAY_MS // self.duration_ms


def _offset_ms(text: str) -> int | None:
    """Return the UTC offset written as ``+0800`` or ``+08:00``; ``None`` for any other text and beyond 14 hours."""
    shape = _OFFSET.fullmatch(text)
    if shape is None:
        return None
    offset = (int(shape[2]) * 60 + int(shape[3])) * MINUTE_MS
    return (-offset if shape[1] == "-" else offset) if offset <= 14 * HOUR_MS else None


def _date_ms(text: str, unit: str, anchor: str) -> int:
    """Return the instant of a date to count days or weeks from; raises `InvalidTimeframe` about `text`."""
    try:
        date = datetime.strptime(anchor, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InvalidTimeframe(
            f'"{text}" has no anchor: that is epoch, a UTC offset such as +0800, or a date such as 2017-08-17'
        ) from None
    if unit not in "dw":
        raise InvalidTimeframe(f'"{text}" counts from a date, which only days and weeks can')
    return (date - _EPOCH) // timedelta(milliseconds=1)


def _month_index(at_ms: int) -> int:
    moment = _EPOCH + timedelta(milliseconds=at_ms)
    return (moment.year - 1970) * 12 + moment.month - 1


def _month_open(index: int) -> int:
    year, month = divmod(index, 12)
    return (datetime(1970 + year, month + 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


def _nearest(text: object) -> str | None:
    """Guess the timeframe meant by a near miss such as ``1H``, ``5min`` or ``m``."""
    loose = _LOOSE.fullmatch(text) if isinstance(text, str) else None
    if loose is None:
        return None
    unit = _SPELLINGS.get(loose[2].lower())
    count = int(loose[1] or 1)
    most = _MAX_MONTHS if unit == "M" else 999_999
    return f"{count}{unit}" if unit and 0 < count <= most else None
