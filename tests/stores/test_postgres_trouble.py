"""The PostgreSQL store where the server stops, dies, refuses or hangs, and where strangers are at work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
import trio
from postgres_server import PASSWORD, USER, Database
from stored_candles import STREAM, candle, gap

from candleactors.actors.store_writer import StoreTrouble, StoreWriter
from candleactors.core.backoff import Backoff
from candleactors.errors import ConfigError, StoreUnavailable
from candleactors.model import Candle
from candleactors.settings import BackoffSettings, StoreSettings
from candleactors.stores.merging import Tally
from candleactors.stores.postgres import Patience, PostgresStore, open_postgres

pytest_plugins = ["postgres_fixtures"]

STUBBORN = Patience(lock_s=60)
BATCH = 50


def batch(number: int) -> list[Candle]:
    return [candle(number * BATCH + i) for i in range(BATCH)]


class Context:
    """A child's context without a supervisor."""

    id = "store-writer"
    incarnation = 1

    def __init__(self) -> None:
        self.stopping = trio.Event()

    def started(self) -> None:
        pass


@asynccontextmanager
async def writing(store: PostgresStore) -> AsyncIterator[tuple[StoreWriter, list[StoreTrouble]]]:
    troubles: list[StoreTrouble] = []
    backoff = Backoff(BackoffSettings(initial_s=0.01, max_s=0.05), lambda: 0.0)
    writer = StoreWriter(store, StoreSettings(batch=BATCH, flush_interval_s=0), backoff, troubles.append, lambda: 1_000)
    context = Context()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run, context)
        yield writer, troubles
        context.stopping.set()


async def stuck_backend(database: Database) -> int:
    """Return the process of the server in which a write waits for a lock, once there is one."""
    while True:
        found = database.query(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'candleactors' AND wait_event_type = 'Lock' "
            f"AND datname = '{database.name}'"
        )
        if found:
            return int(found[0][0])
        await trio.lowlevel.checkpoint()


async def durable(writer: StoreWriter) -> None:
    """Return once everything is written, however often that fails."""
    while True:
        try:
            await writer.flush()
        except StoreUnavailable:
            continue
        return


@pytest.mark.parametrize("how", ["fast", "immediate", "kill"])
async def test_a_server_that_goes_in_the_middle_of_a_batch(database: Database, how: str) -> None:
    """Nothing is lost and nothing is doubled, whether it was stopped, crashed, or only our backend was killed."""
    server = database.server
    async with open_postgres(database.url, patience=STUBBORN) as store:
        await store.write([], [gap(0, 20 * BATCH)])
        async with writing(store) as (writer, troubles):
            for number in range(5):
                await writer.mailbox.put([(STREAM, row) for row in batch(number)])
            await writer.flush()
            # Whoever writes has put its candles in by now, and wants the gaps.
            stranger = database.connect()
            stranger.execute("BEGIN; LOCK TABLE market_data.gap IN SHARE MODE")
            for number in range(5, 20):
                await writer.mailbox.put([(STREAM, row) for row in batch(number)])
            backend = await stuck_backend(database)
            if how == "kill":
                os.kill(backend, signal.SIGKILL)
            else:
                await trio.to_thread.run_sync(server.stop, how)
            with pytest.raises(StoreUnavailable, match=r"^postgresql://candle@/test_\d+: "):
                await writer.flush()
            if how != "kill":
                await trio.to_thread.run_sync(server.start)
            stranger.close()
            await durable(writer)
        assert troubles[-1] == StoreTrouble(error=None, pending=0, shed=0)
        assert await store.candles(STREAM) == [row for number in range(20) for row in batch(number)]
        assert await store.gaps(STREAM) == [gap(20 * BATCH, 20 * BATCH)]
        assert (await store.gap_summary(0)).repaired_candles == 20 * BATCH


WRITER = """
import sys

import trio

sys.path.insert(0, sys.argv[2])
from test_postgres_trouble import batch
from candleactors.stores.postgres import open_postgres


async def main():
    async with open_postgres(sys.argv[1]) as store:
        for number in range(int(sys.argv[3]), 1_000_000):
            await store.write(batch(number), [])
            print(number, flush=True)


trio.run(main)
"""


async def test_kill_9_of_the_writer_loses_no_acknowledged_batch_and_leaves_no_half(database: Database) -> None:
    acknowledged = -1
    for after in (1, 7, 40):
        arguments = [database.url, str(Path(__file__).parent), str(acknowledged + 1)]
        writer = subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(after):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.stdout.close()
        assert writer.wait() == -signal.SIGKILL
        acknowledged += after + len(rest)
        # One that writes waits for what the server still does for the dead.
        async with open_postgres(database.url, patience=STUBBORN) as store:
            await store.merge(batch(0)[:1], corrects=False)
            rows = await store.candles(STREAM)
        # One batch more may have been committed and not yet acknowledged.
        assert len(rows) // BATCH - 1 in (acknowledged, acknowledged + 1)
        assert rows == [row for number in range(len(rows) // BATCH) for row in batch(number)]


async def test_a_cancelled_call_returns_at_once_and_lets_go(database: Database) -> None:
    async with open_postgres(database.url, patience=STUBBORN) as store:
        await store.write(batch(0), [gap(BATCH, 9 * BATCH)])
        stranger = database.connect()
        stranger.execute("BEGIN; LOCK TABLE market_data.gap IN SHARE MODE")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.write, batch(1), [])
            backend = await stuck_backend(database)
            nursery.cancel_scope.cancel()
        # The server finds out by itself that nobody waits any more.
        while database.query(f"SELECT FROM pg_stat_activity WHERE pid = {backend}"):
            await trio.lowlevel.checkpoint()
        stranger.close()
        assert await store.candles(STREAM) == batch(0)
        await store.write(batch(2), [])
        assert await store.candles(STREAM) == [*batch(0), *batch(2)]


async def test_a_call_that_waits_for_its_turn_can_be_cancelled(database: Database) -> None:
    """Without harm to the one that is under way."""
    async with open_postgres(database.url, patience=STUBBORN) as store:
        await store.write([], [gap(0, BATCH)])
        stranger = database.connect()
        stranger.execute("BEGIN; LOCK TABLE market_data.gap IN SHARE MODE")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.write, batch(0), [])
            await stuck_backend(database)
            with trio.CancelScope() as waiting:
                waiting.cancel()
                await store.write(batch(1), [])
            assert waiting.cancelled_caught
            stranger.close()
        assert await store.candles(STREAM) == batch(0)


async def test_whatever_the_server_does_a_call_ends(database: Database) -> None:
    async with open_postgres(database.url, patience=Patience(lock_s=60, answer_s=1)) as store:
        await store.write([], [gap(0, BATCH)])
        stranger = database.connect()
        stranger.execute("BEGIN; LOCK TABLE market_data.gap IN SHARE MODE")
        with pytest.raises(StoreUnavailable, match="no answer within 1 s"):
            await store.write(batch(0), [])
        stranger.close()
        await store.write(batch(1), [])


async def test_a_restart_between_two_questions_goes_unnoticed(database: Database) -> None:
    async with open_postgres(database.url) as store:
        await store.write(batch(0), [])
        await trio.to_thread.run_sync(database.server.stop)
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await store.candles(STREAM)
        await trio.to_thread.run_sync(database.server.start)
        assert await store.candles(STREAM) == batch(0)
        await trio.to_thread.run_sync(database.server.stop)
        await trio.to_thread.run_sync(database.server.start)
        assert await store.candles(STREAM) == batch(0)


async def test_another_writer_that_hangs_is_not_waited_for(database: Database) -> None:
    async with open_postgres(database.url, patience=Patience(lock_s=0)) as store:
        stranger = database.connect()
        stranger.execute(f"BEGIN; SELECT pg_advisory_xact_lock({0x63616E64})")
        with pytest.raises(StoreUnavailable, match="another session holds the lock for too long"):
            await store.write([candle(0)], [])
        assert await store.candles(STREAM) == []
        stranger.execute("ROLLBACK")
        stranger.execute("BEGIN; LOCK TABLE market_data.candle")
        with pytest.raises(StoreUnavailable, match="another session holds the lock for too long"):
            await store.candles(STREAM)
        stranger.close()
        await store.write([candle(0)], [])


async def test_a_question_that_takes_too_long_is_given_up(database: Database) -> None:
    async with open_postgres(database.url, patience=Patience(lock_s=60, statement_s=0.05)) as store:
        stranger = database.connect()
        stranger.execute("BEGIN; LOCK TABLE market_data.candle")
        with pytest.raises(StoreUnavailable, match="the statement took too long"):
            await store.candles(STREAM)
        stranger.close()
        assert await store.candles(STREAM) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://candle:{wrong}@/test_1?host={folder}", "password authentication failed"),
        ("postgresql://candle:{password}@/nowhere?host={folder}", 'database "nowhere" does not exist'),
        ("postgresql://candle:{password}@/postgres?host={folder}/absent", "No such file or directory"),
        ("postgresql://candle:{password}@127.0.0.1:1/postgres", "Connection refused"),
    ],
)
@pytest.mark.parametrize("threaded", [True, False])
async def test_who_is_not_let_in_is_told_why(database: Database, url: str, message: str, threaded: bool) -> None:
    wrong = "wr0ng-Pa55"
    full = url.format(folder=database.server.folder, password=PASSWORD, wrong=wrong)
    with pytest.raises(StoreUnavailable, match=message) as caught:
        async with open_postgres(full, threaded=threaded):
            pass
    said = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert PASSWORD not in said.replace(full, "")
    assert wrong not in said
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://candle:s3cret@/postgres?hots=x", "does not understand this URL"),
        ("postgresql://candle:s3%cret@/postgres", "does not understand this URL"),
        ("candle:s3cret@db", "not of the form postgresql://"),
    ],
)
async def test_a_wrong_url_is_not_quoted(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        await PostgresStore.open(url)
    assert "s3" not in str(caught.value)


async def test_a_reader_needs_no_more_than_the_permission_to_read(database: Database) -> None:
    async with open_postgres(database.url) as store:
        await store.write(batch(0), [])
        database.query(f"CREATE ROLE analyst_{database.name} LOGIN PASSWORD '{PASSWORD}'")
        url = database.url.replace(f"//{USER}:", f"//analyst_{database.name}:")
        with pytest.raises(StoreUnavailable, match="a permission is missing"):
            async with open_postgres(url, read_only=True):
                pass
        database.query(
            f"GRANT USAGE ON SCHEMA market_data TO analyst_{database.name}; "
            f"GRANT SELECT ON ALL TABLES IN SCHEMA market_data TO analyst_{database.name}"
        )
        async with open_postgres(url, read_only=True) as reader:
            assert await reader.candles(STREAM) == batch(0)
        async with open_postgres(url) as beginner:
            with pytest.raises(StoreUnavailable, match="a permission is missing"):
                await beginner.write(batch(1), [])


async def test_tables_that_vanish_are_noticed_and_made_anew(database: Database) -> None:
    async with open_postgres(database.url) as store:
        await store.write(batch(0), [])
        database.query("DROP SCHEMA market_data CASCADE")
        with pytest.raises(StoreUnavailable, match="the tables are gone"):
            await store.write(batch(1), [])
        await store.write(batch(1), [])
        assert await store.candles(STREAM) == batch(1)
        assert await store.streams() == [STREAM]


async def test_a_partition_that_vanishes_is_made_anew(database: Database) -> None:
    async with open_postgres(database.url) as store:
        await store.write(batch(0), [])
        database.query("DROP TABLE market_data.candle_2023_11")
        await store.write(batch(1), [gap(-1, -1)])
        assert await store.candles(STREAM) == batch(1)
        database.query("DROP TABLE market_data.candle_2023_11")
        assert await store.merge(batch(2), corrects=True) == {STREAM: Tally(new=BATCH)}
        assert await store.candles(STREAM) == batch(2)
        assert await store.gaps(STREAM) == [gap(-1, -1)]
        database.query("ALTER TABLE market_data.candle DETACH PARTITION market_data.candle_2023_11")
    async with open_postgres(database.url) as store:
        with pytest.raises(StoreUnavailable, match="a partition that was detached is in the way"):
            await store.write(batch(1), [])


async def test_a_damaged_row_is_reported(database: Database) -> None:
    async with open_postgres(database.url) as store:
        await store.write(batch(0), [gap(BATCH, BATCH)])
        first = candle(0)
        database.query("UPDATE market_data.candle SET source = 'rumour' WHERE open_time = '2023-11-14 22:14Z'")
        with pytest.raises(StoreUnavailable, match="a candle of binance-spot:BTCUSDT:1m is damaged"):
            await store.candles(STREAM)
        assert len(await store.candles(STREAM, start_ms=first.open_time_ms + 1)) == BATCH - 1
        database.query("UPDATE market_data.gap SET reason = 'rumour'")
        with pytest.raises(StoreUnavailable, match="a gap of binance-spot:BTCUSDT:1m is damaged"):
            await store.gaps(STREAM)
        database.query("INSERT INTO market_data.stream VALUES ('binance-spot', 'BTCUSDT', 'hourly')")
        with pytest.raises(StoreUnavailable, match="the name of a stream is damaged"):
            await store.streams()


async def test_a_mistake_of_ours_is_not_taken_for_trouble_of_the_server(database: Database) -> None:
    async with open_postgres(database.url) as store:
        with pytest.raises(psycopg.DataError):
            await store.write([candle(0, symbol="BTC\0USDT")], [])
        await store.write([candle(0)], [])
