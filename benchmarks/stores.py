"""``python -m benchmarks.stores``: closed candles per second, durable, into each store; prints JSON.

PostgreSQL is measured in the database that ``--postgres URL`` names, without a schema ``market_data``, which is made
and dropped again; or in a server of our own, where its programs are. docs/performance.md explains the keys.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import random
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import trio

from candleactors.model import MINUTE_MS, Candle, Source, Stream, Timeframe
from candleactors.stores.base import Archive
from candleactors.stores.postgres import open_postgres
from candleactors.stores.postgres import rows as postgres_rows
from candleactors.stores.sqlite import open_sqlite, schema

sys.path.append(str(Path(__file__).parents[1] / "tests" / "stores"))
import postgres_server

BATCH = 5_000
"""Rows of one transaction, as by default."""
WRITERS = 2
START_MS = 1_767_225_600_000
STREAMS = 1_000
PATTERNS = {"live": STREAMS, "history": 1}
"""How many streams one batch is of: a few minutes of all, or a stretch of one."""

Batch = list[Candle]


def batches(pattern: str, candles: int) -> Iterator[Batch]:
    """Yield about `candles` closed candles as `BATCH` at a time, with eight digits and more like a venue's."""
    rng = random.Random(pattern)
    minute = Timeframe("1m")
    at_once = PATTERNS[pattern]
    for number in range(candles // BATCH):
        made = []
        for index in range(BATCH):
            symbol = f"{pattern.upper()}{index % at_once if at_once > 1 else number % 5}USDT"
            nth = number * (BATCH // at_once) + index // at_once if at_once > 1 else number // 5 * BATCH + index
            open_ms = START_MS + nth * MINUTE_MS
            price = rng.randrange(10**6, 10**7)
            fields: list[Any] = [open_ms, open_ms + MINUTE_MS - 1]
            fields += [Decimal(price + off).scaleb(-2) for off in (0, 7, -9, 3)]
            fields += [Decimal(rng.randrange(10**9)).scaleb(-5), Decimal(rng.randrange(10**13)).scaleb(-8)]
            fields += [rng.randrange(10_000)]
            fields += [Decimal(rng.randrange(10**8)).scaleb(-5), Decimal(rng.randrange(10**12)).scaleb(-8)]
            fields += [True, True, Source.WS, 0, open_ms + MINUTE_MS + 37]
            made.append(Candle("binance-spot", symbol, minute, *fields))
        yield made


async def into(store: Archive, todo: Sequence[Batch]) -> float:
    """Return how many candles a second `store` takes, each batch durable before the next one."""
    gc.collect()
    spent = 0.0
    for batch in todo:
        begun = time.perf_counter()
        await store.write(batch, [])
        spent += time.perf_counter() - begun
    return sum(map(len, todo)) / spent


async def reading(store: Archive, todo: Sequence[Batch]) -> float:
    """Return how many candles a second come back, of one stream and all its time at once."""
    stream = Stream("binance-spot", todo[0][0].symbol, todo[0][0].timeframe)
    best = 0.0
    for _ in range(3):
        begun = time.perf_counter()
        found = await store.candles(stream)
        best = max(best, len(found) / (time.perf_counter() - begun))
    return best


def bare_sqlite(path: Path, todo: Sequence[Batch]) -> float:
    """Return how many made-up rows a second go into the same table by ``executemany`` alone."""
    connection = sqlite3.connect(path, isolation_level=None)
    schema.prepare(connection, str(path))
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 8000")
    ids: dict[str, int] = {}
    spent = 0.0
    statement = schema.UPSERT.partition("ON CONFLICT")[0]
    for symbol in {candle.symbol for batch in todo for candle in batch}:
        ids[symbol] = len(ids)
        connection.execute("INSERT INTO stream VALUES (?, 'binance-spot', ?, '1m')", (ids[symbol], symbol))
    for batch in todo:
        rows = sorted(schema.to_row(ids[candle.symbol], candle) for candle in batch)
        begun = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(statement, rows)
        connection.execute("COMMIT")
        spent += time.perf_counter() - begun
    connection.close()
    return sum(map(len, todo)) / spent


def bare_postgres(url: str, todo: Sequence[Batch]) -> float:
    """Return how many made-up rows a second go into a plain table with the same key by ``COPY`` alone."""
    spent = 0.0
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE market_data.bare (LIKE market_data.candle INCLUDING ALL)")
        statement = postgres_rows.COPY.replace("pg_temp.incoming", "market_data.bare")
        for batch in todo:
            rows = postgres_rows.to_rows(batch)
            begun = time.perf_counter()
            with connection.transaction(), connection.cursor() as cursor, cursor.copy(statement) as copy:
                copy.set_types(postgres_rows.COPY_TYPES)
                for row in rows:
                    copy.write_row(row)
            spent += time.perf_counter() - begun
        connection.execute("DROP TABLE market_data.bare")
    return sum(map(len, todo)) / spent


def together(url: str, pattern: str, candles: int) -> float:
    """Return how many candles a second two processes write at once, into streams of their own."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(WRITERS + 1)
    writers = [context.Process(target=_one_of, args=(url, pattern, candles, n, ready)) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    ready.wait()
    begun = time.perf_counter()
    ready.wait()
    spent = time.perf_counter() - begun
    for writer in writers:
        writer.join()
    return WRITERS * (candles // BATCH) * BATCH / spent


def _one_of(url: str, pattern: str, candles: int, number: int, ready: Barrier) -> None:
    todo = [[candle.replace(symbol=f"{number}{candle.symbol}") for candle in b] for b in batches(pattern, candles)]

    async def write() -> None:
        async with open_postgres(url) as store:
            ready.wait()
            await into(store, todo)
            ready.wait()

    trio.run(write)


@asynccontextmanager
async def sqlite_place() -> AsyncIterator[tuple[Any, Callable[[Sequence[Batch]], float], Callable[[], int]]]:
    """Give how to open a new SQLite store, how to write without it, and how large it is once it is closed."""
    with TemporaryDirectory(prefix="candleactors-", dir=Path.cwd()) as folder:
        path, bare = Path(folder, "candles.sqlite"), Path(folder, "bare.sqlite")
        yield partial(open_sqlite, path), partial(bare_sqlite, bare), lambda: path.stat().st_size


@asynccontextmanager
async def postgres_place(
    url: str,
) -> AsyncIterator[tuple[Any, Callable[[Sequence[Batch]], float], Callable[[], int]]]:
    """Give the same for the database at `url`, which is left as it was."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT to_regnamespace('market_data') IS NULL").fetchone()
        if row != (True,):
            raise SystemExit("the database has a schema market_data already")

        def size() -> int:
            found = connection.execute(
                "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits "
                "WHERE inhparent = 'market_data.candle'::regclass"
            ).fetchone()
            assert found is not None
            return int(found[0])

        try:
            yield partial(open_postgres, url), partial(bare_postgres, url), size
        finally:
            connection.execute("DROP SCHEMA IF EXISTS market_data CASCADE")


@contextmanager
def database(url: str | None) -> Iterator[str | None]:
    """Give the URL of a database to measure: the one at `url`, or else one of our own, if that is possible."""
    if url is not None or (programs := postgres_server.programs()) is None:
        yield url
        return
    with postgres_server.running(programs, durable=True) as server:
        yield server.database().url


async def measure(place: Any, pattern: str, candles: int, url: str | None = None) -> dict[str, Any]:
    """Return the figures of one store and one pattern; for the database at `url` also that of two writers."""
    todo = list(batches(pattern, candles))
    count = sum(map(len, todo))
    async with place as (opened, bare, size):
        async with opened() as store:
            durable = await into(store, todo)
            again = await into(store, todo[: max(1, len(todo) // 10)])
            read = await reading(store, todo)
        taken = size()
        plain = bare(todo)
        two = {} if url is None else {"two_writers_per_s": round(together(url, pattern, candles // WRITERS))}
    return {
        **two,
        "candles": count,
        "candles_per_s": round(durable),
        "again_per_s": round(again),
        "bare_per_s": round(plain),
        "of_bare": round(durable / plain, 2),
        "read_per_s": round(read),
        "bytes_per_million": round(taken / count * 1_000_000),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stores", description=__doc__)
    parser.add_argument("--postgres", metavar="URL", help="a database without a schema market_data")
    parser.add_argument("--candles", type=int, default=500_000, help="of each pattern (%(default)s)")
    chosen = parser.parse_args()
    results: dict[str, Any] = {}
    with database(chosen.postgres) as url:
        for pattern in PATTERNS:
            places: dict[str, Any] = {"sqlite": sqlite_place()}
            if url is not None:
                places["postgres"] = postgres_place(url)
            for name, place in places.items():
                shared = url if name == "postgres" else None
                results[f"{name} {pattern}"] = trio.run(measure, place, pattern, chosen.candles, shared)
                print(f"  {name} {pattern}: {results[f'{name} {pattern}']}", file=sys.stderr, flush=True)
    if url is None:
        results["postgres"] = {"skipped": "no PostgreSQL here, and no --postgres URL"}
    print(json.dumps(results))


if __name__ == "__main__":
    main()
