"""Material: bytes to try a parser with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from hypothesis import strategies as st

NASTY_FRAMES: Final = (
    b"",
    b" ",
    b"null",
    b"true",
    b"0",
    b"-1",
    b'""',
    b"[]",
    b"{}",
    b"[[]]",
    b"[{}]",
    b'[0,"hb"]',
    b"NaN",
    b"ping",
    b"pong",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b'"\\ud800"',
    b"\xef\xbb\xbf{}",
    b"\x00",
    b"1e999999999",
    b"9" * 5_000,
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"[" * 200 + b"]" * 200,
    b'{"a":1,"a":2}',
    b" " * 3_000_000,
    b'"' + b"x" * 3_000_000 + b'"',
)
"""Frames and answers that have broken parsers before."""
_HUGE: Final = "@huge@"
"""Stands for an integer of more digits than Python itself is willing to write."""
_NASTY_VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    -1,
    0,
    1 << 70,
    1.5,
    1e300,
    -0.0,
    _HUGE,
    float("nan"),
    float("inf"),
    "",
    " ",
    "-1",
    "0",
    "-0",
    "NaN",
    "Infinity",
    "1e400",
    "1e999999999",
    "1_000",
    " 1",
    "１",
    "0x10",
    "9" * 5_000,
    "\ud800",
    "\x00",
    [],
    {},
    [[]],
    [None],
)

json_values: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=25,
)


def dumped(value: Any) -> bytes:
    """Return `value` as JSON, also what JSON forbids."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace(f'"{_HUGE}"', "9" * 5_000).encode("utf-8", "surrogatepass")


def mutations(samples: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return a strategy for samples with something wrong in them: cut, bytes changed, parts of other samples."""
    return st.one_of(
        st.sampled_from(samples).flatmap(_cut),
        st.sampled_from(samples).flatmap(_changed),
        st.tuples(st.sampled_from(samples), st.integers(0, 1_000), json_values).map(_replaced_leaf),
        st.tuples(st.sampled_from(samples), st.sampled_from(samples), st.integers(0, 400)).map(
            lambda drawn: drawn[0][: drawn[2]] + drawn[1][drawn[2] :]
        ),
    )


def anything(samples: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return a strategy for arbitrary bytes, arbitrary JSON, nasty ones, samples and broken samples."""
    return st.one_of(
        st.binary(max_size=60),
        json_values.map(dumped),
        st.sampled_from(NASTY_FRAMES[:-2]),
        *([st.sampled_from(samples), mutations(samples)] if samples else []),
    )


def nasty(sample: bytes) -> Iterator[bytes]:
    """Yield `sample`, JSON, with each of its values replaced by each nasty one; nothing where it is not JSON."""
    try:
        value = json.loads(sample)
    except ValueError:
        return
    for path in list(_paths(value))[:80]:
        for bad in _NASTY_VALUES:
            yield dumped(_with(value, path, bad))
        if path:
            yield dumped(_without(value, path))


def tokens(body: bytes, text: str) -> int:
    """Return how often the number `text` stands in `body`."""
    return len(_token(text).findall(body))


def rewritten(body: bytes, text: str, other: str) -> bytes:
    """Return `body` with every number `text` replaced by `other`."""
    return _token(text).sub(other.encode(), body)


def _token(text: str) -> re.Pattern[bytes]:
    return re.compile(rb"(?<![\w.+-])" + re.escape(text.encode()) + rb"(?![\w.])")


def _cut(sample: bytes) -> st.SearchStrategy[bytes]:
    return st.integers(0, len(sample)).map(lambda size: sample[:size])


def _changed(sample: bytes) -> st.SearchStrategy[bytes]:
    def change(edits: list[tuple[int, bytes, int]]) -> bytes:
        changed = bytearray(sample)
        for at, put, drop in edits:
            first = at % (len(changed) + 1)
            changed[first : first + drop] = put
        return bytes(changed)

    edit = st.tuples(st.integers(0, 10_000), st.binary(max_size=3), st.integers(0, 4))
    return st.lists(edit, min_size=1, max_size=3).map(change)


def _replaced_leaf(drawn: tuple[bytes, int, Any]) -> bytes:
    sample, number, other = drawn
    try:
        value = json.loads(sample)
    except ValueError:
        return sample
    paths = list(_paths(value))
    return dumped(_with(value, paths[number % len(paths)], other))


def _paths(value: Any) -> Iterator[tuple[Any, ...]]:
    yield ()
    items: Iterator[tuple[Any, Any]] = iter(())
    if isinstance(value, dict):
        items = iter(value.items())
    elif isinstance(value, list):
        items = iter(enumerate(value))
    for key, inner in items:
        for path in _paths(inner):
            yield (key, *path)


def _with(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    if not path:
        return other
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _with(value[path[0]], path[1:], other)
    return copy


def _without(value: Any, path: tuple[Any, ...]) -> Any:
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = _without(value[path[0]], path[1:])
    return copy
