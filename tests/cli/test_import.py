"""``candleactors import``."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from commands import Shell, with_stderr_on_a_terminal

from candleactors.klines import read_klines
from candleactors.klines.importing import Importer
from candleactors.klines.reader import KlineFile
from candleactors.model import MINUTE_MS, Candle, Gap, GapReason, Source, Stream, Timeframe
from candleactors.stores.merging import Tally
from candleactors.stores.sqlite import SqliteStore, open_sqlite
from recorded import recordings

START_MS = 1_767_225_600_000  # 2026-01-01
STREAM = Stream("binance-spot", "BTCUSDT", Timeframe("1m"))
SPOT = ("--venue", "binance-spot")
STORE = Path("candles.sqlite")


def row(index: int, volume: str = "1.50") -> str:
    open_ms = START_MS + index * MINUTE_MS
    return f"{open_ms},100.10,101,99,100.50,{volume},{open_ms + 59_999},1,1,0,0,0"


def dump(name: str, first: int, count: int, volume: str = "1.50") -> Path:
    path = Path(name)
    path.write_text("".join(row(at, volume) + "\n" for at in range(first, first + count)))
    return path


def stored(path: Path = STORE, stream: Stream = STREAM) -> list[Candle]:
    async def read() -> list[Candle]:
        async with open_sqlite(path, threaded=False, read_only=True) as store:
            return await store.candles(stream)

    return trio.run(read)


def prepare(candles: list[Candle], gaps: list[Gap] | None = None) -> None:
    async def write() -> None:
        async with open_sqlite(STORE, threaded=False) as store:
            await store.write(candles, gaps or [])

    trio.run(write)


def of_ws(index: int, **changes: Any) -> Candle:
    """Return what a feed would have stored of a row of `dump`."""
    path = dump("BTCUSDT-1m-of-ws.csv", index, 1)
    (candle,) = read_klines(path, venue="binance-spot")
    path.unlink()
    return candle.replace(source=Source.WS, received_ms=candle.close_time_ms + 250).replace(**changes)


def test_a_file_into_a_new_store_and_again(candleactors: Shell) -> None:
    path = dump("BTCUSDT-1m-2026.csv", 0, 5_000)
    outcome = candleactors("import", path, *SPOT)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == (
        "binance-spot:BTCUSDT:1m: 5000 rows, 5000 new, 0 changed, 0 unchanged,"
        " 2026-01-01 00:00:00 to 2026-01-04 11:19:00\n"
    )
    assert stored() == list(read_klines(path, venue="binance-spot"))
    before = stored()
    outcome = candleactors("import", path, *SPOT)
    assert "5000 rows, 0 new, 0 changed, 5000 unchanged" in outcome.out
    assert stored() == before
    rows = json.loads(candleactors("history", "BTCUSDT", "1m", "--format", "json", "--limit", "2").out)
    assert [each["open"] for each in rows] == ["100.10", "100.10"]


def test_the_store_of_a_configuration(candleactors: Shell) -> None:
    Path("feed.toml").write_text('[store]\npath = "other.sqlite"')
    path = dump("BTCUSDT-1m-2026.csv", 0, 3)
    assert candleactors("import", path, *SPOT, "--config", "feed.toml").status == 0
    assert len(stored(Path("other.sqlite"))) == 3
    assert candleactors("import", path, *SPOT, "--store", "third.sqlite").status == 0
    assert len(stored(Path("third.sqlite"))) == 3


def test_what_history_and_resample_write_can_be_imported(candleactors: Shell) -> None:
    candleactors("import", dump("BTCUSDT-1m-2026.csv", 0, 20), *SPOT)
    Path("history.csv").write_text(candleactors("history", "BTCUSDT", "1m", "--format", "csv").out)
    candleactors("resample", "history.csv", "--to", "5m,7m", "--out", "derived.csv")
    outcome = candleactors("import", "history.csv", "derived.csv", "--store", "copy.sqlite")
    assert outcome.status == 0
    assert "binance-spot:BTCUSDT:1m: 20 rows, 20 new" in outcome.out
    assert "binance-spot:BTCUSDT:5m: 4 rows, 4 new" in outcome.out
    assert "binance-spot:BTCUSDT:7m: 3 rows, 2 new" in outcome.out
    assert "1 left out, whose interval may not have been over" in outcome.out
    assert stored(Path("copy.sqlite")) == stored()


def test_what_is_stored_has_precedence_except_over_the_venue_s_own_word(candleactors: Shell) -> None:
    prepare([of_ws(0), of_ws(1, volume=2), of_ws(2, volume=2, revision=1), of_ws(3, volume=2, closed=False)])
    path = dump("BTCUSDT-1m-2026.csv", 0, 5)
    outcome = candleactors("import", path, *SPOT)
    assert "5 rows, 1 new, 2 changed, 1 unchanged" in outcome.out
    assert "  1 say otherwise than what is stored, which was kept" in outcome.out
    found = stored()
    assert [(str(each.volume), each.source.value, each.revision) for each in found] == [
        ("1.50", "ws", 0),
        ("1.50", "rest", 1),
        ("2", "ws", 1),
        ("1.50", "rest", 0),
        ("1.50", "rest", 0),
    ]
    assert "5 rows, 0 new, 0 changed, 4 unchanged" in candleactors("import", path, *SPOT).out
    assert stored() == found


def test_other_files_correct_nothing(candleactors: Shell) -> None:
    prepare([of_ws(at) for at in range(3)])
    lines = ["timestamp,open,high,low,close,volume", *(",".join(row(at, "9").split(",")[:6]) for at in range(4))]
    Path("BTCUSDT-1m.csv").write_text("\n".join(lines))
    outcome = candleactors("import", "BTCUSDT-1m.csv", *SPOT)
    assert "4 rows, 0 new, 0 changed, 0 unchanged" in outcome.out
    assert "  3 say otherwise than what is stored, which was kept" in outcome.out
    assert stored() == [of_ws(at) for at in range(3)]


def test_stored_gaps_are_filled(candleactors: Shell) -> None:
    gap = Gap(STREAM, START_MS + MINUTE_MS, START_MS + 4 * MINUTE_MS, GapReason.UNREPAIRED)
    prepare([of_ws(0), of_ws(5)], [gap])
    candleactors("import", dump("BTCUSDT-1m-2026.csv", 0, 3), *SPOT)

    async def left() -> list[Gap]:
        async with open_sqlite(STORE, threaded=False) as store:
            return await store.gaps(STREAM)

    assert trio.run(left) == [Gap(STREAM, START_MS + 3 * MINUTE_MS, START_MS + 4 * MINUTE_MS, GapReason.UNREPAIRED)]


def test_holes_are_told(candleactors: Shell) -> None:
    path = Path("BTCUSDT-1m-2026.csv")
    present = [at for at in range(3_000) if at not in (7, 20, 21, 22, 2_500, 2_600)]
    path.write_text("".join(row(at) + "\n" for at in present))
    outcome = candleactors("import", path, *SPOT)
    assert outcome.out.splitlines()[1] == (
        "  4 holes: 2026-01-01 00:07:00 (1), 2026-01-01 00:20:00 to 2026-01-01 00:22:00 (3), 2026-01-02 17:40:00 (1), …"
    )
    # Another file closes one of them, and a hole between two files is one too.
    outcome = candleactors("import", dump("BTCUSDT-1m-b.csv", 3_060, 5), path, dump("BTCUSDT-1m-c.csv", 7, 1), *SPOT)
    assert outcome.out.splitlines()[1].startswith("  4 holes: 2026-01-01 00:20:00 to 2026-01-01 00:22:00 (3), ")


def test_nothing_of_a_file_with_a_bad_row_is_imported(candleactors: Shell) -> None:
    good = [dump(f"BTCUSDT-1m-{at}.csv", at * 10, 10) for at in range(2)]
    bad = dump("BTCUSDT-1m-2.csv", 20, 5_000)
    bad.write_text(bad.read_text() + row(5_020).replace("100.10", "oops") + "\n")
    after = dump("BTCUSDT-1m-3.csv", 6_000, 10)
    outcome = candleactors("import", *good, bad, after, *SPOT)
    assert outcome.status == 1
    assert outcome.out.startswith("binance-spot:BTCUSDT:1m: 20 rows, 20 new")
    assert outcome.err == (
        'candleactors: BTCUSDT-1m-2.csv: line 5001: open is "oops", not a non-negative number;'
        " nothing of this file was imported, the 2 files before it were, the file after it was not\n"
    )
    assert len(stored()) == 20
    dump("BTCUSDT-1m-2.csv", 20, 5_000)
    outcome = candleactors("import", *good, bad, after, *SPOT)
    assert "5030 rows, 5010 new, 0 changed, 20 unchanged" in outcome.out


@pytest.mark.parametrize(
    ("name", "arguments", "status", "message"),
    [
        ("BTCUSDT-1m.csv", [], 2, "nothing says which venue the rows are of; give it, as in --venue binance-spot;"),
        ("prices.csv", SPOT, 2, "neither its rows nor its name say the symbol; give --symbol BTCUSDT"),
        ("BTCUSDT-1m.csv", [*SPOT, "--timeframe", "5m"], 1, "line 1: opens at 1767225660000, where no interval of 5m"),
        ("BTCUSDT-1m.csv", [*SPOT, "--timeframe", "1"], 2, '"1" is not a timeframe'),
        ("BTCUSDT-1m.csv", ["--venue", "binance-usd"], 2, 'is not a venue; did you mean "binance-usdm"?'),
        ("BTCUSDT-1m.csv", ["--venue", "a:b"], 2, '"a:b" is not a venue'),
        ("BTCUSDT-1m.csv", [*SPOT, "--store", "a", "--config", "b"], 2, "--store and --config exclude each other"),
        ("BTCUSDT-1m.csv", [*SPOT, "--store", "absent/a.sqlite"], 1, "absent/a.sqlite: cannot be opened"),
        ("BTCUSDT-1m.csv", [*SPOT, "--store", "."], 2, 'path: "." names no file'),
        ("absent.csv", SPOT, 1, "absent.csv: cannot be read: No such file or directory;"),
        (".", SPOT, 1, ".: is a folder, not a file;"),
    ],
)
def test_trouble_is_one_line(candleactors: Shell, name: str, arguments: list[str], status: int, message: str) -> None:
    for each in ("BTCUSDT-1m.csv", "prices.csv"):
        dump(each, 1, 20)
    outcome = candleactors("import", name, *arguments)
    assert (outcome.status, outcome.out) == (status, "")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_what_the_command_lacks_is_said_before_anything_is_imported(candleactors: Shell) -> None:
    outcome = candleactors("import", dump("BTCUSDT-1m.csv", 0, 5), dump("prices.csv", 0, 5), *SPOT)
    assert outcome.status == 2
    assert "prices.csv: neither its rows nor its name say the symbol" in outcome.err
    assert outcome.err.endswith("; nothing was imported\n")
    assert not STORE.exists()


def test_candles_of_the_future_are_left_out(candleactors: Shell) -> None:
    far = (4_000_000_000_000 - START_MS) // MINUTE_MS  # in the year 2096
    path = Path("BTCUSDT-1m.csv")
    path.write_text(row(0) + "\n" + row(far) + "\n")
    outcome = candleactors("import", path, *SPOT)
    assert "1 left out, whose interval may not have been over; see --recorded-at" in outcome.out
    assert len(stored()) == 1


def test_a_database_of_another_program_is_left_alone(candleactors: Shell) -> None:
    with closing(sqlite3.connect("other.sqlite")) as connection:
        connection.execute("CREATE TABLE precious (x)")
    outcome = candleactors("import", dump("BTCUSDT-1m.csv", 0, 5), *SPOT, "--store", "other.sqlite")
    assert outcome.status == 2
    assert "other.sqlite is the database of another program" in outcome.err


STOPS_ITSELF = """
import os, signal
from candleactors.cli import main
from candleactors.klines.importing import Importer

merge_batch = Importer._merge_batch

async def merge_and_stop(self, batch, *, corrects):
    await merge_batch(self, batch, corrects=corrects)
    Importer._merge_batch = merge_batch
    os.kill(os.getpid(), signal.SIGSTOP)

Importer._merge_batch = merge_and_stop
main()
"""


@contextmanager
def importing(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the command on `path` and wait until it has stopped itself because some, but not all of it is stored."""
    command = [sys.executable, "-c", STOPS_ITSELF, "import", str(path), *SPOT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), process.communicate()
        yield process


def how_many() -> int:
    if not STORE.exists():
        return 0
    with closing(sqlite3.connect(f"{STORE.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            (count,) = connection.execute("SELECT count(*) FROM candle").fetchone()
        except sqlite3.OperationalError:  # no table yet
            return 0
        return int(count)


ROWS = 30_000


def test_a_killed_import_goes_on(candleactors: Shell) -> None:
    path = dump("BTCUSDT-1m-2026.csv", -ROWS, ROWS)
    with importing(path) as process:
        process.kill()
    assert process.returncode == -signal.SIGKILL
    begun = how_many()
    assert 0 < begun < ROWS
    outcome = candleactors("import", path, *SPOT)
    assert f"{ROWS} rows, {ROWS - begun} new, 0 changed, {begun} unchanged" in outcome.out
    assert stored() == list(read_klines(path, venue="binance-spot"))


def test_an_interrupted_import_says_how_to_go_on(candleactors: Shell) -> None:
    path = dump("BTCUSDT-1m-2026.csv", -ROWS, ROWS)
    with importing(path) as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate()
    assert process.returncode == 130
    assert err.strip() == "candleactors: interrupted; the same command goes on"
    begun = how_many()
    assert 0 < begun < ROWS
    assert out.startswith("binance-spot:BTCUSDT:1m: ")
    assert candleactors("import", path, *SPOT).status == 0
    assert how_many() == ROWS


def test_a_bar_on_the_terminal(candleactors: Shell) -> None:
    outcome = with_stderr_on_a_terminal("import", dump("BTCUSDT-1m-2026.csv", -ROWS, ROWS), *SPOT)
    assert outcome.status == 0
    assert outcome.out.startswith(f"binance-spot:BTCUSDT:1m: {ROWS} rows, {ROWS} new")
    for expected in ("checking BTCUSDT-1m-2026.csv", "importing BTCUSDT-1m-2026.csv", "rows/s", "%"):
        assert expected in outcome.err


def test_a_feed_may_write_to_the_same_store_meanwhile(candleactors: Shell) -> None:
    path = dump("BTCUSDT-1m-2026.csv", -6_000, 6_000)
    command = [sys.executable, "-c", "from candleactors.cli import main; main()", "import", str(path), *SPOT]
    live = [of_ws(at) for at in range(500)]
    written = 0

    async def feed(store: SqliteStore, done: Callable[[], bool]) -> None:
        nonlocal written
        while not done() or written < 10:
            await store.write([live[written % len(live)]], [])
            written += 1

    async def run() -> subprocess.CompletedProcess[bytes]:
        async with open_sqlite(STORE, busy_timeout_s=30) as store, trio.open_nursery() as nursery:
            finished: list[subprocess.CompletedProcess[bytes]] = []
            nursery.start_soon(feed, store, lambda: bool(finished))
            finished.append(await trio.run_process(command, capture_stdout=True, capture_stderr=True))
        return finished[0]

    done = trio.run(run)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"6000 rows, 6000 new" in done.stdout
    assert stored() == [*read_klines(path, venue="binance-spot"), *live[: min(written, len(live))]]


class _Meddler:
    """A store during whose first merge somebody changes the file."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        self._meddle: Callable[[], object] | None = meddle
        self.merged = 0

    async def merge(
        self, candles: list[Candle], *, corrects: bool, repaired_ms: int | None = None
    ) -> dict[Stream, Tally]:
        self.merged += len(candles)
        if self._meddle is not None:
            self._meddle()
            self._meddle = None
        return {}


@pytest.mark.parametrize("spoil", [False, True])
def test_a_file_that_changes_meanwhile(candleactors: Shell, spoil: bool) -> None:
    path = dump("BTCUSDT-1m-2026.csv", 0, 10_000)
    content = path.read_text()

    def meddle() -> None:
        path.write_text(content[: len(content) // 2] + ("?" * len(content) if spoil else ""))

    async def run() -> None:
        importer = Importer(_Meddler(meddle), START_MS * 2, lambda doing, rows: None)  # type: ignore[arg-type]
        await importer.import_file(KlineFile(path, venue="binance-spot"))

    with pytest.raises(Exception, match=r"was changed while it was imported; import it again"):
        trio.run(run)


def test_recorded_days(candleactors: Shell) -> None:
    days = recordings("binance_spot/klines_1m_vision_zip_BTCUSDT/BTCUSDT-1m-2025-05-*.zip")
    outcome = candleactors("import", *days)
    assert outcome.out.splitlines() == [
        "binance-spot:BTCUSDT:1m: 10080 rows, 10080 new, 0 changed, 0 unchanged,"
        " 2025-05-24 00:00:00 to 2025-05-31 23:59:00",
        "  1 hole: 2025-05-30 00:00:00 to 2025-05-30 23:59:00 (1440)",
    ]
    assert stored() == [candle for day in days for candle in read_klines(day)]
