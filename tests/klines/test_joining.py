"""Several files joined into one sequence."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import kline_files as files
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kline_files import MINUTE_MS, START_MS

import candleactors
from candleactors.errors import MalformedFile
from candleactors.klines import read_klines
from candleactors.klines.joining import Joined
from candleactors.klines.reader import KlineFile
from candleactors.klines.writers import replacing, write_csv
from candleactors.model import Candle

LINES = files.rows(60)


def joined(paths: Sequence[Path], symbol: str | None = None) -> list[Candle]:
    return list(Joined([KlineFile(path, symbol=symbol) for path in paths]).candles())


def opens(candles: list[Candle]) -> list[int]:
    return [(candle.open_time_ms - START_MS) // MINUTE_MS for candle in candles]


@settings(max_examples=50)
@given(spans=st.lists(st.tuples(st.integers(0, 59), st.integers(1, 30)), min_size=1, max_size=6))
def test_overlapping_files_in_any_order_are_one_sequence(
    spans: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("files")
    paths = [
        files.write(folder / f"BTCUSDT-1m-{number}.csv", LINES[first : first + count])
        for number, (first, count) in enumerate(spans)
    ]
    present = {at for first, count in spans for at in range(first, min(first + count, 60))}
    assert opens(joined(paths)) == sorted(present)


def test_several_symbols_at_once(tmp_path: Path) -> None:
    paths = [
        files.write(tmp_path / f"{symbol}-1m-{part}.csv", LINES[part * 5 : part * 5 + 7])
        for part in (1, 0)
        for symbol in ("ETHUSDT", "BTCUSDT")
    ]
    found = joined(paths)
    for symbol in ("ETHUSDT", "BTCUSDT"):
        assert opens([candle for candle in found if candle.symbol == symbol]) == list(range(12))


def test_a_contradiction_names_both_places(tmp_path: Path) -> None:
    first = files.write(tmp_path / "BTCUSDT-1m-a.csv", LINES[:10])
    spoilt = [*LINES[5:8], files.changed(LINES[8], 5, "9.99"), *LINES[9:12]]
    second = files.write(tmp_path / "BTCUSDT-1m-b.csv", spoilt)
    for paths in ([first, second], [second, first]):
        with pytest.raises(MalformedFile) as caught:
            joined(paths)
        lines = {str(first): 9, str(second): 4}
        other = str(first) if caught.value.path == str(second) else str(second)
        assert caught.value.line == lines[caught.value.path]
        assert caught.value.problem == f"says otherwise than {other}, line {lines[other]}"


def test_a_bad_row_ends_it_and_closes_the_files(tmp_path: Path) -> None:
    good = files.write(tmp_path / "BTCUSDT-1m-a.csv", LINES)
    bad = files.write(tmp_path / "BTCUSDT-1m-b.csv", [*LINES[:30], "?", *LINES[31:]])
    with pytest.raises(MalformedFile, match="line 31: 1 columns instead of 12"):
        joined([good, bad])
    assert not open_files(tmp_path)


def test_no_more_files_are_open_than_overlap(tmp_path: Path) -> None:
    paths = [files.write(tmp_path / f"BTCUSDT-1m-{at:02}.csv", LINES[at * 4 : at * 4 + 5]) for at in range(15)]
    most = 0
    with closing(Joined([KlineFile(path) for path in reversed(paths)]).candles()) as candles:
        for _ in candles:
            most = max(most, len(open_files(tmp_path)))
    assert 1 <= most <= 2


def open_files(folder: Path) -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            name = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue
        found += [name] if name.startswith(str(folder)) else []
    return found


def test_last_rows_of_answers_are_left_out_unless_another_file_has_them(tmp_path: Path) -> None:
    rows = files.rest_rows(20)
    unfinished = [*rows[:9], [*rows[9][:5], "0.01000000", *rows[9][6:]]]
    first = files.write_json(tmp_path / "BTCUSDT-1m-a.json", unfinished)
    second = files.write_json(tmp_path / "BTCUSDT-1m-b.json", rows[9:15])
    third = files.write_json(tmp_path / "BTCUSDT-1m-c.json", rows[15:])
    for paths in ([first, second, third], [third, second, first]):
        together = Joined([KlineFile(path) for path in paths])
        # The tenth row is finished in the second file; the fifteenth is the second's last and nobody else's.
        assert opens(list(together.candles())) == [at for at in range(19) if at != 14]
        assert [(place.file.path, place.line) for place in together.left_out] == [(second, 6), (third, 5)]
        assert str(together.left_out[0]) == f"{second}, line 6"


def test_derived_candles_of_several_sizes_can_be_joined(tmp_path: Path) -> None:
    # In one file each timeframe ascends, but not all of them together.
    whole = list(candleactors.resample(read_klines(files.write(tmp_path / "BTCUSDT-1m.csv", LINES)), "7m,30m,1h"))
    parts = []
    for name, keep in (("odd", range(0, len(whole), 2)), ("all", range(len(whole)))):
        path = tmp_path / f"{name}.csv"
        with replacing(path) as out:
            write_csv([whole[at] for at in keep], out)
        parts.append(path)
    found = joined(parts)
    for size in ("7m", "30m", "1h"):
        expected = [candle for candle in whole if candle.timeframe.text == size and candle.closed]
        assert [candle for candle in found if candle.timeframe.text == size] == expected


def test_rows_that_cannot_be_ordered(tmp_path: Path) -> None:
    header, *own = (tmp_path / "own.csv", *files.rows(3))
    one = read_klines(files.write(tmp_path / "BTCUSDT-1m.csv", own))
    two = read_klines(files.write(tmp_path / "ETHUSDT-1m.csv", own))
    mixed = [*two, *one]  # a whole stream after another, as `cat` makes it
    with replacing(header) as out:
        write_csv(mixed, out)
    assert joined([header]) == mixed
    overlapping = files.write(tmp_path / "BTCUSDT-1m-b.csv", files.rows(6)[1:])
    with pytest.raises(MalformedFile, match=r"opens before .*BTCUSDT-1m-b.csv, line \d, which had to be read first"):
        joined([header, overlapping])


def test_no_rows_at_all(tmp_path: Path) -> None:
    assert joined([files.write(tmp_path / "a.csv", [files.DUMP_HEADER])]) == []
    assert joined([]) == []


def test_the_position_grows_to_the_size_of_all_files(tmp_path: Path) -> None:
    paths = [files.write(tmp_path / f"BTCUSDT-1m-{at}.csv", LINES[at * 20 : at * 20 + 20]) for at in range(3)]
    opened = [KlineFile(path) for path in paths]
    together = Joined(opened)
    positions = [together.position() for _ in together.candles()]
    assert positions == sorted(positions)
    assert together.position() == sum(file.size for file in opened)
