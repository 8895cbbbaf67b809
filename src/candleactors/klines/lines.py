"""Text files line by line, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

from candleactors.errors import MalformedFile
from candleactors.klines.container import Unpacked

Line: TypeAlias = tuple[int, str]
"""The number of a line, counted from 1, and its text without the line end."""

_BLOCK_BYTES: Final = 1 << 18
_LONGEST_BYTES: Final = 1 << 16
_UTF8_MARK: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


def lines(source: Unpacked, start: bytes = b"") -> Iterator[Line]:
    """Yield the lines that are not blank; `start` are bytes already taken from `source`.

    Line ends are LF or CRLF; a byte order mark is dropped. Raises `MalformedFile` for what is not UTF-8 text.
    """
    path = str(source.path)
    if start.startswith(_UTF16_MARKS):
        raise MalformedFile("is UTF-16 text; save it as UTF-8", path=path)
    number = 1
    rest = start.removeprefix(_UTF8_MARK)
    while True:
        block = source.read(_BLOCK_BYTES)
        whole, newline, rest = (rest + block).rpartition(b"\n") if block else (rest, b"", b"")
        if not block or newline:
            for line in _decode(whole, path, number).split("\n"):
                if len(line) > _LONGEST_BYTES:
                    raise MalformedFile(f"is longer than {_LONGEST_BYTES} characters", path=path, line=number)
                if line and not line.isspace():
                    yield number, line
                number += 1
        elif len(rest) > _LONGEST_BYTES:
            raise MalformedFile(f"is longer than {_LONGEST_BYTES} characters", path=path, line=number)
        if not block:
            return


def _decode(block: bytes, path: str, number: int) -> str:
    """Return the text of `block`, which begins with line `number`, its line ends made ``\\n``."""
    try:
        text = block.decode("utf-8")
    except UnicodeDecodeError as error:
        line = number + block.count(b"\n", 0, error.start)
        raise MalformedFile("is not UTF-8 text", path=path, line=line) from None
    if "\0" in text:
        raise MalformedFile("holds a NUL byte", path=path, line=number + text.count("\n", 0, text.index("\0")))
    if "\r" in text:
        text = text.replace("\r\n", "\n").removesuffix("\r")
    return text
