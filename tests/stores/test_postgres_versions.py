"""Versions of the PostgreSQL store's tables, and ``candleactors db``."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
import trio
from attrs import frozen
from postgres_server import Database
from stored_candles import OTHER, STREAM, candle, gap

from candleactors import cli
from candleactors.errors import ConfigError
from candleactors.model import Candle
from candleactors.settings import StoreSettings
from candleactors.stores import open_store
from candleactors.stores.postgres import migrations, open_postgres
from candleactors.validators import Secret

pytest_plugins = ["postgres_fixtures"]


@frozen
class Outcome:
    status: int
    out: str
    err: str


@pytest.fixture
def candleactors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Outcome]:
    """The command line, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Outcome:
        monkeypatch.setattr("sys.argv", ["candleactors", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        captured = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return Outcome(caught.value.code, captured.out, captured.err)

    return call


def with_a_note(connection: object) -> Sequence[str]:
    return (
        "ALTER TABLE market_data.candle ADD COLUMN note text DEFAULT 'none'",
        "CREATE TABLE market_data.note (text text)",
    )


def failing(connection: object) -> Sequence[str]:
    return ("CREATE TABLE market_data.half (x int)", "ALTER TABLE market_data.absent ADD COLUMN x int")


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have later versions than there are."""
    released = migrations.MIGRATIONS

    def add(*more: migrations.Migration) -> None:
        monkeypatch.setattr(migrations, "MIGRATIONS", (*released, *more))

    return add


async def test_an_older_store_is_left_alone_until_it_is_upgraded(
    database: Database, later: Callable[..., None]
) -> None:
    async with open_postgres(database.url) as store:
        await store.write([candle(0)], [gap(1, 2)])
    later(with_a_note)
    for read_only in (True, False):
        with pytest.raises(
            ConfigError, match=r"older candleactors \(schema 1, this one needs 2\); run candleactors db up"
        ):
            async with open_postgres(database.url, read_only=read_only):
                pass
    assert database.query("SELECT max(version) FROM market_data.migration") == [(1,)]
    with database.connect() as connection:
        assert migrations.upgrade(connection, "it") == (1, 2)
        assert migrations.upgrade(connection, "it") == (2, 2)
    async with open_postgres(database.url) as store:
        await store.write([candle(1)], [])
        assert await store.candles(STREAM) == [candle(0), candle(1)]
        assert await store.gaps(STREAM) == [gap(2, 2)]
    assert database.query("SELECT note FROM market_data.candle") == [("none",), ("none",)]


async def test_a_migration_is_done_whole_or_not_at_all(database: Database, later: Callable[..., None]) -> None:
    async with open_postgres(database.url):
        pass
    later(with_a_note, failing)
    with database.connect() as connection:
        for _ in range(2):
            with pytest.raises(Exception, match="absent"):
                migrations.upgrade(connection, "it")
            assert migrations.version(connection, "it") == 2
    assert database.query("SELECT to_regclass('market_data.half')::text") == [(None,)]
    assert database.query("SELECT to_regclass('market_data.note') IS NULL") == [(False,)]


async def test_an_empty_database_gets_the_newest_tables(database: Database, later: Callable[..., None]) -> None:
    with pytest.raises(ConfigError, match="holds no store yet"):
        async with open_postgres(database.url, read_only=True):
            pass
    later(with_a_note)
    # Whoever made the schema may be another than who may use it.
    database.query("CREATE SCHEMA market_data")
    async with open_postgres(database.url) as store:
        await store.write([candle(0)], [])
    assert database.query("SELECT version FROM market_data.migration ORDER BY 1") == [(1,), (2,)]


async def test_newer_and_strange_tables_are_refused(database: Database) -> None:
    async with open_postgres(database.url):
        pass
    database.query("INSERT INTO market_data.migration (version) VALUES (99)")
    for read_only in (True, False):
        with pytest.raises(ConfigError, match=r"newer candleactors \(schema 99"):
            async with open_postgres(database.url, read_only=read_only):
                pass
    database.query("DROP SCHEMA market_data CASCADE; CREATE SCHEMA market_data; CREATE TABLE market_data.mine (x int)")
    with pytest.raises(ConfigError, match="another program"):
        async with open_postgres(database.url):
            pass


def test_the_commands_say_how_the_tables_are_and_bring_them_up_to_date(
    database: Database,
    later: Callable[..., None],
    candleactors: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CANDLEACTORS_STORE__URL", database.url)
    place = f"postgresql://candle@/{database.name}"
    empty = candleactors("db", "status")
    assert (empty.status, empty.err) == (1, "")
    assert "tables  none yet" in empty.out
    assert candleactors("db", "upgrade").out == f"{place}: tables made in version 1\n"
    assert candleactors("db", "upgrade").out == f"{place}: version 1, nothing to do\n"
    current = candleactors("db", "status")
    assert current.status == 0
    store, kind, tables = current.out.splitlines()
    assert store == f"store   {place}"
    assert kind.startswith("kind    PostgreSQL ")
    assert kind.endswith(", partitions by month")
    assert tables == "tables  version 1, up to date"
    later(with_a_note)
    older = candleactors("db", "status")
    assert older.status == 1
    assert "version 1, this candleactors needs 2; run candleactors db upgrade" in older.out
    assert candleactors("db", "upgrade").out == f"{place}: tables brought from version 1 to version 2\n"
    later(with_a_note, failing)
    failed = candleactors("db", "upgrade")
    assert failed.status == 1
    assert failed.err.startswith(f"candleactors: {place}: the tables are gone")


def test_the_commands_say_what_is_wrong(
    database: Database, candleactors: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANDLEACTORS_STORE__URL", database.server.url("nowhere"))
    for command in ("status", "upgrade"):
        failed = candleactors("db", command)
        assert (failed.status, failed.out) == (1, "")
        assert 'database "nowhere" does not exist' in failed.err
    database.query("CREATE SCHEMA market_data; CREATE TABLE market_data.mine (x int)")
    monkeypatch.setenv("CANDLEACTORS_STORE__URL", database.url)
    for command in ("status", "upgrade"):
        failed = candleactors("db", command)
        assert (failed.status, failed.out) == (2, "")
        assert "another program" in failed.err


def test_the_commands_know_files_too(candleactors: Callable[..., Outcome], tmp_path: Path) -> None:
    absent = candleactors("db", "status")
    assert (absent.status, absent.out) == (1, "")
    assert "candles.sqlite: cannot be opened" in absent.err
    assert candleactors("db", "upgrade").out == "candles.sqlite: tables made in version 3\n"
    assert candleactors("db", "status").out == (
        f"store   candles.sqlite\nkind    SQLite {sqlite3.sqlite_version}\ntables  version 3, up to date\n"
    )
    with sqlite3.connect("candles.sqlite") as connection:
        connection.execute("DROP TABLE repair")
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    older = candleactors("db", "status")
    assert older.status == 1
    assert "version 2, this candleactors needs 3" in older.out
    assert candleactors("db", "upgrade").out == "candles.sqlite: tables brought from version 2 to version 3\n"
    assert candleactors("db", "upgrade").out == "candles.sqlite: version 3, nothing to do\n"


def test_history_and_import_use_the_database(
    database: Database, candleactors: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CANDLEACTORS_STORE__URL", database.url)
    (tmp_path / "BTCUSDT-1m.csv").write_text(
        "1767225600000,1.10,2,1,1.5,3,1767225659999,4,5,1,2,0\n1767225660000,1.5,2,1,1.75,3,1767225719999,4,5,1,2,0\n"
    )
    imported = candleactors("import", "BTCUSDT-1m.csv", "--venue", "binance-spot")
    assert (imported.status, imported.err) == (0, "")
    assert "2 new" in imported.out
    assert "2 unchanged" in candleactors("import", "BTCUSDT-1m.csv", "--venue", "binance-spot").out
    shown = candleactors("history", "BTCUSDT", "1m", "--format", "csv")
    assert shown.status == 0
    assert "1.10" in shown.out
    unknown = candleactors("history", "ETHUSDT", "1m")
    assert unknown.status == 1
    assert unknown.err.startswith(f"candleactors: postgresql://candle@/{database.name} has no ETHUSDT 1m")


async def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("candleactors.stores.postgres")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"needs psycopg .* pip install 'candleactors\[postgres\]'"):
        async with open_store(StoreSettings(url=Secret("postgresql://db/market"))):
            pass


def test_candles_that_are_too_old_are_deleted_by_command(
    database: Database, candleactors: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANDLEACTORS_STORE__URL", database.url)
    monkeypatch.setenv("CANDLEACTORS_RETENTION__DAYS", "1m=30")

    async def fill() -> None:
        async with open_postgres(database.url) as store:
            await store.write([candle(0), candle(44_640), candle(89_280)], [gap(1, 9)])

    trio.run(fill)
    done = candleactors("db", "prune")
    assert done == Outcome(0, f"{STREAM}: 2 candles from 2023-11-14 22:14:00 to 2023-12-16 22:14:00 deleted\n", "")
    assert database.query("SELECT count(*) FROM market_data.candle") == [(1,)]
    assert database.query("SELECT count(*) FROM market_data.gap") == [(0,)]
    assert database.query("SELECT to_regclass('market_data.candle_2023_11')") == [(None,)]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_what_is_exported_is_imported_again(
    suffix: str, database: Database, candleactors: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet needs the extra candleactors[parquet]")
    monkeypatch.setenv("CANDLEACTORS_STORE__URL", database.url)
    rows = [candle(at, trades=None if at % 2 else at, revision=at % 3, complete=True) for at in (0, 1, 44_640)]
    others = [candle(at, OTHER, volume=Decimal("1" * 20 + ".5")) for at in range(3)]

    async def fill() -> None:
        async with open_postgres(database.url) as store:
            await store.write([*rows, *others], [gap(2, 9)])

    async def read() -> list[list[Candle]]:
        async with open_postgres(database.url, read_only=True) as store:
            return [await store.candles(stream) for stream in (STREAM, OTHER)]

    trio.run(fill)
    name = f"all.{suffix}"
    assert candleactors("export", "--all", "--output", name).status == 0
    database.query("DROP SCHEMA market_data CASCADE")
    assert candleactors("import", name).status == 0
    assert trio.run(read) == [rows, others]
    # Into a file as well, and the other way round.
    assert candleactors("import", name, "--store", "candles.sqlite").status == 0
    assert candleactors("export", "--all", "--store", "candles.sqlite", "--output", f"again.{suffix}").status == 0
    assert candleactors("import", f"again.{suffix}").out.count(" 0 new, 0 changed, 3 unchanged") == 2
