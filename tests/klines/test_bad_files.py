"""Files that are spoilt in one place: file, line and reason are told, and nothing else goes wrong."""

from __future__ import annotations

import gzip
import io
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import kline_files as files
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kline_files import MINUTE_MS, START_MS

from candleactors.errors import CandleactorsError, MalformedFile
from candleactors.klines import read_klines

SECOND = START_MS + MINUTE_MS


def refusal(path: Path) -> MalformedFile:
    with pytest.raises(MalformedFile) as caught:
        list(read_klines(path))
    assert caught.value.path == str(path)
    return caught.value


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        (0, "", 'open_time is "", not a time'),
        (0, "12", 'open_time is "12", not a time'),
        (0, "-1767225660000", 'open_time is "-1767225660000", not a time'),
        (0, "99999999999999999", "99999999999999999 is no time from 2000 to 2099 in s, ms or µs"),
        (0, "9" * 400, f'open_time is "{"9" * 40}…", not a time'),
        (0, str(SECOND + 1), f"opens at {SECOND + 1}, where no interval of 1m does"),
        (0, f"{SECOND}001", f"opens at {SECOND}001 µs, which is not a whole millisecond"),
        (1, "", 'open is "", not a non-negative number'),
        (1, "-1", 'open is "-1", not a non-negative number'),
        (1, "+1", 'open is "+1", not a non-negative number'),
        (1, "abc", 'open is "abc", not a non-negative number'),
        (2, "NaN", 'high is "NaN", not a non-negative number'),
        (2, "inf", 'high is "inf", not a non-negative number'),
        (2, "1_000", 'high is "1_000", not a non-negative number'),
        (2, "١٢٣", 'high is "١٢٣", not a non-negative number'),
        (2, " 102.0", 'high is " 102.0", not a non-negative number'),
        (2, "0x10", 'high is "0x10", not a non-negative number'),
        (2, "1e400", 'high is "1e400", not a non-negative number'),
        (2, "9" * 400, f'high is "{"9" * 40}…", not a non-negative number'),
        (2, "100.5", "open or close lies outside low and high"),
        (3, "0.00000000", "a price is not a positive number"),
        (3, "999.0", "open or close lies outside low and high"),
        (4, "99", "open or close lies outside low and high"),
        (5, "", 'volume is "", not a non-negative number'),
        (5, "-0.1", 'volume is "-0.1", not a non-negative number'),
        (6, "", 'close_time is "", not a time'),
        (6, str(SECOND + 2 * MINUTE_MS - 1), "lasts 120000 ms, not 1m"),
        (6, str(SECOND - 1), "ends before it opens, not 1m"),
        (7, "?", 'quote_volume is "?", not a non-negative number'),
        (8, "1.5", 'count is "1.5", not a count'),
        (8, "-3", 'count is "-3", not a count'),
        (9, "", 'taker_buy_volume is "", not a non-negative number'),
        (10, "nan", 'taker_buy_quote_volume is "nan", not a non-negative number'),
        (11, "0,0", "13 columns instead of 12"),
    ],
)
@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("at", [1, 200])
def test_one_bad_cell(tmp_path: Path, header: bool, at: int, column: int, value: str, problem: str) -> None:
    lines = files.rows(300, start_ms=START_MS - (at - 1) * MINUTE_MS)
    lines[at] = files.changed(lines[at], column, value)
    lines = [files.DUMP_HEADER] * header + lines
    error = refusal(files.write(tmp_path / "BTCUSDT-1m-2026-01-01.csv", lines))
    assert (error.line, error.problem) == (at + 1 + header, problem)
    assert str(error).startswith(f"{tmp_path / 'BTCUSDT-1m-2026-01-01.csv'}: line {at + 1 + header}: ")


@pytest.mark.parametrize(
    ("spoil", "line", "problem"),
    [
        (lambda rows: [*rows[:5], rows[3], *rows[5:]], 6, "opens before the row above it; rows have to ascend by time"),
        (lambda rows: rows[::-1], 2, "opens before the row above it; rows have to ascend by time"),
        (
            lambda rows: [*rows[:5], files.changed(rows[4], 5, "9.99"), *rows[5:]],
            6,
            "another row for the same time says otherwise",
        ),
        (lambda rows: [*rows[:5], rows[5][: len(rows[5]) // 2]], 6, "5 columns instead of 12"),
        (lambda rows: [*rows[:5], "<html>"], 6, "1 columns instead of 12"),
        (lambda rows: [*rows[:5], rows[5].replace(",", ";")], 6, "1 columns instead of 12"),
        (lambda rows: [*rows[:5], "1," * 40_000], 6, "is longer than 65536 characters"),
        (lambda rows: [*rows[:5], "7" * 200_000], 6, "is longer than 65536 characters"),
        (lambda rows: [*rows[:5], rows[5] + "\0"], 6, "holds a NUL byte"),
        (lambda rows: ["\0" * 100], 1, "holds a NUL byte"),
        (lambda rows: ["ORC" + "\x15" * 20], 1, "is neither a header nor a kline"),
    ],
)
def test_bad_lines(tmp_path: Path, spoil: Callable[[list[str]], list[str]], line: int, problem: str) -> None:
    error = refusal(files.write(tmp_path / "BTCUSDT-1m.csv", spoil(files.rows(20))))
    assert (error.line, error.problem) == (line, problem)


def test_a_contradiction_far_into_the_file(tmp_path: Path) -> None:
    # Behind the rows that are looked at beforehand, candles before the bad row have been given out.
    lines = files.rows(300)
    lines[250] = lines[100]
    candles = read_klines(files.write(tmp_path / "BTCUSDT-1m.csv", lines))
    with pytest.raises(MalformedFile, match="line 251: opens before the row above it"):
        for count, _ in enumerate(candles, 1):  # noqa: B007 - needed after the loop
            pass
    assert count == 250


@pytest.mark.parametrize(
    ("encoding", "line", "problem"),
    [
        ("latin-1", 4, "is not UTF-8 text"),
        ("utf-16", None, "is UTF-16 text; save it as UTF-8"),
        ("utf-16-le", 1, "holds a NUL byte"),
    ],
)
def test_other_encodings(tmp_path: Path, encoding: str, line: int | None, problem: str) -> None:
    path = tmp_path / "BTCUSDT-1m.csv"
    last = "é" if encoding == "latin-1" else "e"
    path.write_bytes(files.text_of([*files.rows(3), last]).decode().encode(encoding))
    error = refusal(path)
    assert (error.line, error.problem) == (line, problem)


def test_a_zip_cut_short(tmp_path: Path) -> None:
    whole = files.write_zip(tmp_path / "BTCUSDT-1m.zip", files.rows(2_000)).read_bytes()
    path = tmp_path / "BTCUSDT-1m-cut.zip"
    for length in [*range(4, 60), *range(60, len(whole), 997), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert refusal(path).problem.startswith("the archive is damaged or cut short")


def test_a_gzip_cut_short(tmp_path: Path) -> None:
    whole = files.write_gz(tmp_path / "BTCUSDT-1m.csv.gz", files.rows(2_000)).read_bytes()
    path = tmp_path / "BTCUSDT-1m-cut.csv.gz"
    for length in [*range(2, 40), *range(40, len(whole), 997), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert refusal(path).problem.startswith("the archive is damaged or cut short")


@pytest.mark.parametrize("packing", ["zip", "gz"])
@pytest.mark.parametrize("seed", range(20))
def test_flipped_bits_never_give_a_traceback_or_another_candle(tmp_path: Path, packing: str, seed: int) -> None:
    rng = random.Random(seed)
    lines = files.rows(300)
    path = tmp_path / f"BTCUSDT-1m.{packing}"
    content = bytearray((files.write_zip if packing == "zip" else files.write_gz)(path, lines).read_bytes())
    for _ in range(3):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    truth = list(read_klines(files.write(tmp_path / "BTCUSDT-1m-2026.csv", lines)))
    read, refused = None, None
    try:
        read = list(read_klines(path))
    except CandleactorsError as error:
        refused = str(error)
    assert (refused is not None and str(path) in refused) or read == truth


@given(
    content=st.binary(max_size=400), start=st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b\x08", b"[[", b'{"path":'])
)
def test_noise_is_refused(content: bytes, start: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "BTCUSDT-1m.noise"
    path.write_bytes(start + content)
    with pytest.raises(CandleactorsError) as caught:
        list(read_klines(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([], "the archive holds 0 files instead of one"),
        ([("a.csv", b"1"), ("b.csv", b"2")], "the archive holds 2 files instead of one"),
        ([("folder/", b"")], "the archive holds 0 files instead of one"),
        ([("BTCUSDT-1m.csv", b"")], "holds no text"),
    ],
)
def test_archives_of_other_than_one_file(tmp_path: Path, members: list[tuple[str, bytes]], problem: str) -> None:
    path = tmp_path / "BTCUSDT-1m.zip"
    path.write_bytes(files.zipped(members))
    assert refusal(path).problem == problem


def test_folders_in_an_archive_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-1m.zip"
    content = files.text_of(files.rows(2))
    path.write_bytes(
        files.zipped([("in/", b""), ("in/BTCUSDT-1m.csv", content), ("__MACOSX/in/._BTCUSDT-1m.csv", b"x")])
    )
    assert len(list(read_klines(path))) == 2


def test_an_encrypted_archive(tmp_path: Path) -> None:
    packed = bytearray(files.zipped([("BTCUSDT-1m.csv", files.text_of(files.rows(2)))]))
    packed[6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    path = tmp_path / "BTCUSDT-1m.zip"
    path.write_bytes(packed)
    assert refusal(path).problem == "the archive is encrypted"


def test_an_archive_packed_in_an_unknown_way(tmp_path: Path) -> None:
    packed = bytearray(files.zipped([("BTCUSDT-1m.csv", files.text_of(files.rows(2)))]))
    packed[packed.index(b"PK\x01\x02") + 10] = 97
    packed[8] = 97
    path = tmp_path / "BTCUSDT-1m.zip"
    path.write_bytes(packed)
    assert refusal(path).problem.startswith("the archive is damaged or cut short")


def test_an_archive_whose_file_has_no_name(tmp_path: Path) -> None:
    packed = files.zipped([("a", files.text_of(files.rows(2)))])
    at = packed.rindex(b"PK\x01\x02")
    directory = bytearray(packed[at:])
    directory[28] = 0
    path = tmp_path / "BTCUSDT-1m.zip"
    path.write_bytes(packed[:at] + directory)
    assert refusal(path).problem.startswith("the archive is damaged or cut short")


def test_other_methods_of_packing_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-1m.zip"
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", method) as archive:
            archive.writestr("BTCUSDT-1m.csv", files.text_of(files.rows(500)))
        path.write_bytes(packed.getvalue())
        assert len(list(read_klines(path))) == 500
        path.write_bytes(packed.getvalue()[: len(packed.getvalue()) // 2])
        assert refusal(path).problem.startswith("the archive is damaged or cut short")


def test_an_archive_in_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-1m.csv.gz"
    path.write_bytes(gzip.compress(gzip.compress(files.text_of(files.rows(2)))))
    assert refusal(path).line == 1


def test_what_is_no_file(tmp_path: Path) -> None:
    assert refusal(tmp_path).problem == "is a folder, not a file"
    assert refusal(tmp_path / "absent.csv").problem == "cannot be read: No such file or directory"
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe").problem == "is not a regular file; it has to be read twice"
    (tmp_path / "empty.csv").touch()
    assert refusal(tmp_path / "empty.csv").problem == "is empty"
    (tmp_path / "blank.csv").write_text("\n \n")
    assert refusal(tmp_path / "blank.csv").problem == "holds no text"
    with pytest.raises(MalformedFile, match="cannot be read: embedded null byte"):
        list(read_klines("a\0b"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = files.write(tmp_path / "BTCUSDT-1m.csv", files.rows(2))
    path.chmod(0)
    assert refusal(path).problem == "cannot be read: Permission denied"


def test_the_file_is_closed_when_reading_stops_early(tmp_path: Path) -> None:
    path = files.write(tmp_path / "BTCUSDT-1m.csv", files.rows(2))
    candles = read_klines(path)
    next(candles)
    # A file left open would be a ResourceWarning, and warnings are errors here.
    del candles
    open_files = {
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{fd}")
    }
    assert str(path) not in open_files
