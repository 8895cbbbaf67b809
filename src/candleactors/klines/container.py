"""What a file is packed in: its bytes, unpacked as they are read."""

from __future__ import annotations

import gzip
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final, Protocol

from candleactors.errors import MalformedFile

_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_DAMAGED: Final = (
    *(EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile, NotImplementedError),
    # What nonsense in an archive's directory can come to inside `zipfile`.
    *(ValueError, LookupError, OverflowError),
)


class _Reads(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Unpacked:
    """The bytes inside a file. Every failure of `read` is a `MalformedFile`."""

    def __init__(self, path: Path, raw: IO[bytes], inner: _Reads, member: str | None) -> None:
        self.path = path
        self.member = member
        """The name of the file inside an archive."""
        self._raw = raw
        self._inner = inner

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size`, none at the end."""
        try:
            return self._inner.read(size)
        except _DAMAGED as error:
            raise MalformedFile(f"the archive is damaged or cut short ({error})", path=str(self.path)) from None
        except OSError as error:
            raise unreadable(self.path, error) from None

    def whole(self) -> IO[bytes]:
        """Return the file itself, to be read in any order; raises `MalformedFile` where it is packed."""
        if self._inner is not self._raw:
            raise MalformedFile("holds Parquet, which has to be unpacked first", path=str(self.path))
        self._raw.seek(0)
        return self._raw

    def position(self) -> int:
        """Return how many bytes of the file itself have been read, packed as they are."""
        return self._raw.tell()

    def identity(self) -> tuple[int, ...]:
        """Return what changes when the file is written to or replaced."""
        status = os.fstat(self._raw.fileno())
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@contextmanager
def unpack(path: Path) -> Iterator[Unpacked]:
    """Open `path`, plain, gzip or a zip archive of one file, told apart by content; raises `MalformedFile`."""
    with ExitStack() as stack:
        try:
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                raise MalformedFile("is a folder, not a file", path=str(path))
            if not stat.S_ISREG(mode):
                raise MalformedFile("is not a regular file; it has to be read twice", path=str(path))
            raw = stack.enter_context(path.open("rb"))
            magic = raw.read(4)
            raw.seek(0)
        except (OSError, ValueError) as error:
            if isinstance(error, MalformedFile):
                raise
            raise unreadable(path, error) from None
        if not magic:
            raise MalformedFile("is empty", path=str(path))
        inner: _Reads = raw
        member = None
        if magic.startswith(_GZIP):
            packed = gzip.GzipFile(fileobj=raw)
            stack.callback(packed.close)
            inner = packed
        elif magic in _ZIP:
            inner, member = _only_member(path, stack, raw)
        yield Unpacked(path, raw, inner, member)


def unreadable(path: Path, error: Exception) -> MalformedFile:
    """Return what to raise where the system cannot read `path`."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return MalformedFile(f"cannot be read: {reason}", path=str(path))


def _only_member(path: Path, stack: ExitStack, raw: IO[bytes]) -> tuple[IO[bytes], str]:
    try:
        archive = stack.enter_context(zipfile.ZipFile(raw))
        names = [m.filename for m in archive.infolist()]
        names = [name for name in names if not name.endswith("/") and not name.startswith("__MACOSX/")]
        if len(names) != 1:
            raise MalformedFile(f"the archive holds {len(names)} files instead of one", path=str(path))
        if archive.getinfo(names[0]).flag_bits & 1:
            raise MalformedFile("the archive is encrypted", path=str(path))
        return stack.enter_context(archive.open(names[0])), names[0]
    except MalformedFile:
        raise
    except _DAMAGED as error:
        raise MalformedFile(f"the archive is damaged or cut short ({error})", path=str(path)) from None
    except OSError as error:
        raise unreadable(path, error) from None
