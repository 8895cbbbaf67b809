"""Quiet is not sick."""

from __future__ import annotations

from decimal import Decimal

from candleactors.core.health import HealthRules, Remedy, ShardHealth, StreamState
from candleactors.model import Candle, Source, Timeframe

ROW = Candle(
    venue="binance-spot", symbol="BTCUSDT", timeframe=Timeframe("1h"), open_time_ms=0, close_time_ms=3_599_999,
    open=Decimal(1), high=Decimal(1), low=Decimal(1), close=Decimal(1), volume=Decimal(5), quote_volume=Decimal(5),
    trades=5, taker_buy_volume=Decimal(1), taker_buy_quote_volume=Decimal(1), closed=False, complete=True,
    source=Source.REST, revision=0, received_ms=0,
)  # fmt: skip
FLAT = ROW.replace(open_time_ms=3_600_000, volume=Decimal(0), trades=0)
NOW = 1e6  # long after every answer was due
SINCE_MS = 60_000  # the silence began within the row's interval


def health() -> ShardHealth:
    return ShardHealth(HealthRules(interval_s=30.0, sick_share=0.5, readings_per_look=3))


def read(subject: ShardHealth, name: str, rows: list[Candle], now_s: float, since_ms: int = SINCE_MS) -> None:
    subject.on_rows(name, rows, since_ms, now_s)


def test_a_silent_stream_is_read_and_unchanged_readings_mean_quiet() -> None:
    subject = health()
    assert subject.look({"a": 0.0}, 120.0) == ["a"]
    read(subject, "a", [ROW], 121.0)
    assert subject.look({"a": 0.0}, 130.0) == []
    assert subject.look({"a": 0.0}, 151.0) == ["a"]
    read(subject, "a", [ROW, FLAT], 151.0)
    assert subject.named(StreamState.QUIET) == ("a",)
    assert subject.remedy(streams=1, now_s=NOW) == Remedy()


def test_a_quiet_stream_is_read_ever_less_often() -> None:
    subject = health()
    readings = 0
    for now in range(120, 3_720, 30):
        for name in subject.look({"a": 0.0}, float(now)):
            read(subject, name, [FLAT], float(now))
            readings += 1
    assert readings < 12


def test_trades_between_two_readings_of_one_silence_mean_sick() -> None:
    subject = health()
    subject.look({"a": 0.0}, 120.0)
    read(subject, "a", [ROW], 121.0)
    read(subject, "a", [ROW.replace(volume=Decimal(6))], 151.0)
    assert subject.named(StreamState.SICK) == ("a",)


def test_trades_in_an_interval_that_opened_after_the_silence_began_mean_sick_at_once() -> None:
    subject = health()
    subject.look({"a": 0.0}, 120.0)
    read(subject, "a", [ROW.replace(open_time_ms=SINCE_MS + 1)], 121.0)
    assert subject.named(StreamState.SICK) == ("a",)


def test_one_sick_stream_of_many_is_subscribed_anew_twice_and_then_left_to_rest() -> None:
    subject = health()
    remedies = []
    for now in (120.0, 150.0, 180.0, 210.0):
        for name in subject.look({"a": 0.0}, now):
            read(subject, name, [ROW.replace(open_time_ms=int(now) * 1_000)], now)
        remedies.append(subject.remedy(streams=100, now_s=NOW))
    assert remedies == [Remedy(resubscribe=("a",)), Remedy(resubscribe=("a",)), Remedy(), Remedy()]


def test_a_stream_that_spoke_in_between_gets_its_chances_back() -> None:
    subject = health()
    renewals = 0
    for now in range(120, 600, 60):
        for name in subject.look({"a": float(now)}, float(now)):
            read(subject, name, [ROW.replace(open_time_ms=now * 1_000)], float(now), since_ms=0)
        renewals += len(subject.remedy(streams=100, now_s=NOW).resubscribe)
        subject.look({}, now + 30.0)
    assert renewals == 8


def test_a_mute_stream_is_not_subscribed_anew_for_ever() -> None:
    subject = health()
    renewals = 0
    for now in range(120, 1_800, 60):
        for name in subject.look({"a": float(now)}, float(now)):
            read(subject, name, [ROW.replace(open_time_ms=now * 1_000)], float(now), since_ms=0)
        renewals += len(subject.remedy(streams=100, now_s=NOW).resubscribe)
        assert subject.look({}, now + 30.0, unheard=("a",)) == []
    assert renewals == 2


def test_a_reading_on_its_way_is_not_asked_for_again() -> None:
    subject = health()
    assert subject.look({"a": 0.0}, 120.0) == ["a"]
    assert subject.look({"a": 0.0}, 150.0) == []
    assert subject.look({"a": 0.0}, 270.0) == ["a"]


def test_a_whole_silent_socket_is_given_up_after_a_sample() -> None:
    subject = health()
    silent = {f"s{n}": 0.0 for n in range(100)}
    sample = subject.look(silent, 120.0)
    assert len(sample) == 3
    for name in sample[:2]:
        read(subject, name, [ROW.replace(open_time_ms=SINCE_MS + 1)], 121.0)
    read(subject, sample[2], [FLAT], 121.0)
    assert subject.remedy(streams=100, now_s=NOW).restart is not None


def test_where_every_stream_is_silent_one_sick_one_is_enough() -> None:
    """Slow timeframes are not found out by one reading; the fast one beside them speaks for all."""
    subject = health()
    for name in subject.look({"1m": 0.0, "1h": 0.0, "4h": 0.0}, 120.0):
        read(subject, name, [ROW.replace(open_time_ms=SINCE_MS + (1 if name == "1m" else -1))], 121.0)
    assert subject.remedy(streams=4, now_s=121.0) == Remedy(resubscribe=("1m",))
    subject = health()
    for name in subject.look({"1m": 0.0, "1h": 0.0, "4h": 0.0}, 120.0):
        read(subject, name, [ROW.replace(open_time_ms=SINCE_MS + (1 if name == "1m" else -1))], 121.0)
    assert subject.remedy(streams=3, now_s=121.0).restart is not None


def test_nothing_is_done_before_the_readings_of_a_look_are_in() -> None:
    """Otherwise the first answer would have its stream subscribed anew, and so each in turn, on a dead socket."""
    subject = health()
    subject.look({"a": 0.0, "b": 0.0}, 120.0)
    read(subject, "a", [ROW.replace(open_time_ms=SINCE_MS + 1)], 121.0)
    assert subject.remedy(streams=100, now_s=121.0) == Remedy()
    subject.on_unread("b", 122.0)
    assert subject.remedy(streams=100, now_s=122.0) == Remedy(resubscribe=("a",))


def test_a_stream_that_speaks_is_forgotten() -> None:
    subject = health()
    subject.look({"a": 0.0}, 120.0)
    read(subject, "a", [ROW.replace(open_time_ms=SINCE_MS + 1)], 121.0)
    assert subject.look({}, 150.0) == []
    assert subject.remedy(streams=1, now_s=NOW) == Remedy()


def test_an_unanswered_reading_is_no_verdict() -> None:
    subject = health()
    subject.look({"a": 0.0}, 120.0)
    subject.on_unread("a", 121.0)
    assert subject.remedy(streams=1, now_s=NOW) == Remedy()
    assert subject.look({"a": 0.0}, 151.0) == ["a"]
