"""Timelines: traces as people read them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from attrs import fields

from candleactors.simulation.acts import Act, Strike

_INSTANT: Final = re.compile(r"(?<!\d)(?<!\d\.)1[67]\d{11}(?!\d|\.\d)")
"""Milliseconds since 1970, as the traces have them: 2020 to 2033."""
_RANGE: Final = re.compile(r"(\d{13})\.\.(\d{13})")
_STREAM: Final = re.compile(r"[a-z]+-[a-z]+:[^\s:]+:[^\s:,]+")
_FIRST: Final = 3
_LAST: Final = 6
_ACTS: Final = 5


def spelled(text: str) -> str:
    """Return `text` with its UTC milliseconds written out as dates."""
    return _INSTANT.sub(lambda found: utc(int(found.group())), text)


def utc(instant_ms: int) -> str:
    """Return an instant as ``2024-02-28T23:30Z``, with seconds and milliseconds where there are any."""
    moment = datetime.fromtimestamp(instant_ms // 1000, UTC).replace(microsecond=instant_ms % 1000 * 1000)
    text = moment.replace(tzinfo=None).isoformat(timespec="milliseconds")
    return text.removesuffix(":00.000").removesuffix(".000") + "Z"


def clock(at_s: float) -> str:
    """Return seconds as ``hh:mm:ss.mmm``."""
    minutes, ms = divmod(round(at_s * 1000), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{ms // 1000:02d}.{ms % 1000:03d}"


def readable(line: str, start_ms: int) -> str:
    """Return a line of a trace with its time since `start_ms`, its time in UTC, and its instants as dates."""
    at, kind, *text = line.split(maxsplit=2)
    at_s = float(at)
    moment = datetime.fromtimestamp(start_ms / 1000 + at_s, UTC)
    return f"{clock(at_s)}  {moment:%m-%d %H:%M:%S}Z  {kind:<10} {spelled(''.join(text))}".rstrip()


def described(act: Act) -> str:
    """Return what an act is, without when it happens and what is as always."""
    words = [act.name]
    values: list[Any] = [act]
    if isinstance(act, Strike):
        words.append(act.venue)
        values.append(act.fault)
    for value in values:
        for each in fields(type(value)):
            said = getattr(value, each.name)
            if each.name not in ("at_s", "name", "kind", "venue", "fault") and said != each.default:
                words.append(f"{each.name}={round(said, 3) if isinstance(said, float) else said}")
    return " ".join(words)


def course(lines: Sequence[str], place: int) -> tuple[str, ...]:
    """Return those of `lines`, ascending, that tell how the breach came about whose own line is ``lines[place]``.

    These are the last lines about its stream, for the reader that it concerns; before them the first ones about
    the very candle, if the breach names one; and the last acts before all these. Without a stream: the last lines.
    """
    breach = lines[place].split(maxsplit=2)[-1]
    found = _STREAM.search(breach)
    if found is None:
        return tuple(lines[max(0, place - _LAST) : place + 1])
    stream = found.group()
    instants = [int(each.group()) for each in _INSTANT.finditer(breach)]
    reader = re.search(r"reader-\d+", breach)
    about = [
        number
        for number, line in enumerate(lines[:place])
        if stream in line.split() and _told_to(line) in (None, reader and reader.group())
    ]
    very = [number for number in about if instants and _touches(lines[number], instants[0])]
    chosen = {*very[:_FIRST], *about[-_LAST:], place}
    acts = [number for number in range(min(chosen)) if lines[number].split(maxsplit=2)[1] == "act"]
    return tuple(lines[number] for number in sorted({*acts[-_ACTS:], *chosen}))


def _told_to(line: str) -> str | None:
    kind = line.split(maxsplit=2)[1]
    return kind if kind.startswith("reader-") else None


def _touches(line: str, instant_ms: int) -> bool:
    """Whether a line names a candle, alone or within a gap."""
    return str(instant_ms) in line or any(int(first) <= instant_ms <= int(last) for first, last in _RANGE.findall(line))
