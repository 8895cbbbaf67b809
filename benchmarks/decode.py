"""CPU time of the codecs per message: ``python benchmarks/decode.py``."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from functools import partial

import msgspec

from candleactors.model import Stream, Timeframe
from candleactors.venues import codec
from candleactors.venues.binance_kline import CombinedKline

STREAMS = 1_000
BATCH = 400
OPEN_MS = 1_681_153_980_000
MESSAGE = (
    '{"stream":"%(name)s","data":{"e":"kline","E":1681154040004,"s":"%(symbol)s","k":{"t":1681153980000,'
    '"T":1681154039999,"s":"%(symbol)s","i":"1m","f":35012468,"L":35012468,"o":"27345.04110000","c":"27345.04110000",'
    '"h":"27345.04110000","l":"27345.04110000","v":"243.00000000","n":1,"x":%(closed)s,"q":"9.98730000",'
    '"V":"243.00000000","Q":"9.98730000","B":"0"}}}'
)


BYBIT = (
    '{"topic":"kline.1.%(symbol)s","data":[{"start":1681153980000,"end":1681154039999,"interval":"1","open":"27345.1",'
    '"close":"27345.2","high":"27345.3","low":"27345.0","volume":"2.081","turnover":"34666.4005","confirm":false,'
    '"timestamp":1681153988882}],"ts":1681153988882,"type":"snapshot"}'
)
OKX = (
    '{"arg":{"channel":"candle1m","instId":"%(symbol)s"},"data":[["1681153980000","27345.1","27345.3","27345.0",'
    '"27345.2","45247","52.5858061","1529.5858061","0"]]}'
)
BITFINEX = "[%(number)d,[1681153980000,27345.1,27345.2,27345.3,27345,0.053312790000000006],1681153988882]"


def others() -> None:
    """Print the best and the median µs of a forming candle of each other venue."""
    for venue, message, symbol in (
        ("bybit-linear", BYBIT, "SYM{}USDT"),
        ("okx", OKX, "SYM{}-USDT"),
        ("bitfinex", BITFINEX, "tSYM{}:UST"),
    ):
        dialect = codec(venue)
        session = dialect.session()
        watched = [Stream(venue, symbol.format(n), Timeframe("1m")) for n in range(STREAMS)]
        streams = {dialect.stream_name(stream): stream for stream in watched}
        if venue == "bitfinex":
            acks = [
                json.dumps({"event": "subscribed", "channel": "candles", "chanId": n, "key": name}).encode()
                for n, name in enumerate(streams)
            ]
            session.decode(acks, streams, OPEN_MS)
        frames = [(message % {"symbol": each.symbol, "number": n}).encode() for n, each in enumerate(watched)]
        assert len(session.decode(frames, streams, OPEN_MS).open) == STREAMS, venue
        decode = partial(session.decode, streams=streams, received_ms=OPEN_MS)
        measure(f"{venue}, forming ({len(frames[0])} bytes)", decode, frames, 100)


def messages(streams: dict[str, Stream], closed: str) -> list[bytes]:
    return [
        (MESSAGE % {"name": name, "symbol": stream.symbol, "closed": closed}).encode()
        for name, stream in streams.items()
    ]


def measure(what: str, decode: Callable[[list[bytes]], object], frames: list[bytes], rounds: int) -> None:
    """Print the best and the median µs a message, in batches of a new order each round."""
    times = []
    for _ in range(rounds):
        random.shuffle(frames)
        batches = [frames[at : at + BATCH] for at in range(0, len(frames), BATCH)]
        began = time.process_time()
        for batch in batches:
            decode(batch)
        times.append((time.process_time() - began) / len(frames) * 1e6)
    times.sort()
    print(f"{what:<32} {times[0]:6.2f} {times[len(times) // 2]:6.2f}")


def main() -> None:
    dialect = codec("binance-spot")
    watched = [Stream("binance-spot", f"SYM{n}USDT", Timeframe("1m")) for n in range(STREAMS)]
    streams = {dialect.stream_name(stream): stream for stream in watched}
    session = dialect.session()
    forming, closed = messages(streams, "false"), messages(streams, "true")
    decoder = msgspec.json.Decoder(CombinedKline)
    forming_candles = session.decode(forming, streams, OPEN_MS).open
    assert len(forming_candles) == len(session.decode(closed, streams, OPEN_MS).closed) == STREAMS

    print(f"{len(forming[0])} bytes, batches of {BATCH}, {STREAMS} streams: best and median µs a message")
    measure("msgspec alone, frame by frame", lambda batch: [decoder.decode(frame) for frame in batch], forming, 300)
    measure("msgspec alone, joined lines", lambda batch: decoder.decode_lines(b"\n".join(batch)), forming, 300)
    measure("codec, forming", lambda batch: session.decode(batch, streams, OPEN_MS), forming, 300)
    measure("codec, closed", lambda batch: session.decode(batch, streams, OPEN_MS), closed, 30)
    measure("codec, truncated", lambda batch: session.decode(batch, streams, 0), [f[:-1] for f in forming], 30)
    began = time.process_time()
    for name, wire in forming_candles.items():
        wire.to_candle(streams[name], OPEN_MS)
    print(f"{'to_candle of a forming candle':<32} {(time.process_time() - began) / STREAMS * 1e6:6.2f}")
    others()


if __name__ == "__main__":
    main()
