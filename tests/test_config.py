"""Configuration: what is read, and that each mistake is one line with the place, the bad value and the right one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from candleactors.config import check_venues, load
from candleactors.config.structure import structure
from candleactors.errors import ConfigError
from candleactors.model import Timeframe
from candleactors.settings import HealthSettings, Settings, StoreSettings, VenueSettings, WebSettings
from candleactors.validators import Secret

FULL = """
status_socket = "run/status.sock"

[venues.binance-spot]
symbols = ["BTCUSDT", "ETHUSDT", "币安人生USDT"]
timeframes = ["1s", "1m", "1M"]
derived = ["2m..60m", "2h,4h", "7m@epoch", "1d@+0800", "3d@2017-08-17", "7s"]
testnet = true
websocket_url = "ws://127.0.0.1:9443"
rest_url = "http://[::1]:8080/"
rotate_after_s = "none"
messages_per_s = 4

[venues.binance-usdm]
symbols = ["BTCUSDT_260327"]

[health]
stale_after_s = 90

[store]
path = "data/candles.sqlite"

[log]
format = "json"
"""


def loaded(text: str, folder: Path, environ: dict[str, str] | None = None) -> Settings:
    path = folder / "config.toml"
    path.write_bytes(text.encode())
    return load(path, environ or {})


def mistake(text: str, folder: Path, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(text, folder, environ)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{folder}/")


def test_defaults_without_a_file() -> None:
    assert load(None, {}) == Settings()


def test_everything_is_read(tmp_path: Path) -> None:
    settings = loaded(FULL, tmp_path)
    spot = settings.venues["binance-spot"]
    assert spot.symbols == ("BTCUSDT", "ETHUSDT", "币安人生USDT")
    assert spot.timeframes == (Timeframe("1s"), Timeframe("1m"), Timeframe("1M"))
    assert [str(frame) for frame in spot.derived] == [
        *(f"{minutes}m" for minutes in range(2, 61)),
        *("2h", "4h", "7m@epoch", "1d@+0800", "3d@2017-08-17", "7s"),
    ]
    assert (spot.testnet, spot.websocket_url, spot.rest_url) == (True, "ws://127.0.0.1:9443", "http://[::1]:8080/")
    assert spot.rotate_after_s is None
    assert isinstance(spot.messages_per_s, float)
    assert settings.venues["binance-usdm"] == VenueSettings(symbols=("BTCUSDT_260327",))
    assert settings.health == HealthSettings(stale_after_s=90.0)
    assert settings.store.path == Path("data/candles.sqlite")
    assert settings.log.format == "json"
    assert settings.socket_path == Path("run/status.sock")
    assert Settings().socket_path == Path("candles.sqlite.sock")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[venues.binance-spot]\ntimeframes = ["1m", "1min"]',
            'config.toml: venues.binance-spot.timeframes[1]: "1min" is not a timeframe; did you mean "1m"?',
        ),
        (
            '[venues.binance-spot]\ntimeframes = ["7m"]',
            'config.toml: venues.binance-spot.timeframes[0]: "7m" is not a timeframe of Binance Spot (1s, 1m, 3m, 5m,'
            ' 15m, 30m, 1h, 2h, 4h, 6h, 8h, 12h, 1d, 3d, 1w, 1M); did you mean "5m"?',
        ),
        (
            '[venues.binance-usdm]\ntimeframes = ["1s"]',
            'config.toml: venues.binance-usdm.timeframes[0]: "1s" is not a timeframe of Binance USD-M Futures (1m, 3m,'
            ' 5m, 15m, 30m, 1h, 2h, 4h, 6h, 8h, 12h, 1d, 3d, 1w, 1M); did you mean "1m"?',
        ),
        (
            "[venues.binance-spot]\ntimeframes = []",
            "config.toml: venues.binance-spot.timeframes: empty; a stream needs at least one timeframe",
        ),
        (
            '[venues.binance-spot]\ntimeframes = ["1m", "1h", "1m"]',
            'config.toml: venues.binance-spot.timeframes[2]: "1m" is listed twice',
        ),
        (
            '[venues.binance-spot]\nderived = "2m..60m"',
            'config.toml: venues.binance-spot.derived: "2m..60m" is not a list; write ["2m..60m"]',
        ),
        (
            '[venues.binance-spot]\nderived = ["5m", "7min"]',
            'config.toml: venues.binance-spot.derived[1]: "7min" is not a timeframe; did you mean "7m"?',
        ),
        (
            '[venues.binance-spot]\nderived = ["5m", 7]',
            "config.toml: venues.binance-spot.derived[1]: 7 is not a text in quotes",
        ),
        (
            '[venues.binance-spot]\nderived = ["5m@noon"]',
            'config.toml: venues.binance-spot.derived[0]: "5m@noon" has no anchor: that is epoch, a UTC offset such as'
            " +0800, or a date such as 2017-08-17",
        ),
        *(
            (
                f'[venues.binance-spot]\nderived = ["7m", "{text}"]',
                f'config.toml: venues.binance-spot.derived[1]: "{text}" is not a range of timeframes;'
                ' did you mean "2m..60m"?',
            )
            for text in ("60m..2m", "0m..5m", "2m..20000m")
        ),
        (
            '[venues.binance-spot]\ntimeframes = ["1m", "5m"]\nderived = ["2m..5m"]',
            "config.toml: venues.binance-spot.derived: 5m is among the timeframes taken from the venue already",
        ),
        (
            '[venues.binance-spot]\nderived = ["7m", "5m", "7m"]',
            'config.toml: venues.binance-spot.derived[2]: "7m" is listed twice',
        ),
        (
            '[venues.binance-spot]\nderived = ["5m@epoch", "5m"]',
            'config.toml: venues.binance-spot.derived[1]: "5m" is listed twice',
        ),
        *(
            (
                f'[venues.binance-{name}]\nderived = ["2d..4d"]',
                f'config.toml: venues.binance-{name}.derived: "3d" begins on another day for each symbol of {title}, so'
                " it cannot be derived as such; take it as a native timeframe, or name a first day;"
                ' did you mean "3d@2017-08-17"?',
            )
            for name, title in (("spot", "Binance Spot"), ("usdm", "Binance USD-M Futures"))
        ),
        (
            '[venues.binance-usdm]\nderived = ["90s"]',
            'config.toml: venues.binance-usdm.derived: "90s" cannot be made from the candles of Binance USD-M Futures'
            " (1m, 3m, 5m, 15m, 30m, 1h, 2h, 4h, 6h, 8h, 12h, 1d, 3d, 1w, 1M)",
        ),
        ("[aggregation]\nmemory_minutes = 0", "config.toml: aggregation.memory_minutes: 0 is not at least 1"),
        (
            "[aggregation]\nwarm_start_minutes = -1",
            "config.toml: aggregation.warm_start_minutes: -1 is not at least 0",
        ),
        (
            '[venues.binance-spot]\nsymbols = ["BTCUSDT", "BTCUSDT"]',
            'config.toml: venues.binance-spot.symbols[1]: "BTCUSDT" is listed twice',
        ),
        *(
            (
                f'[venues.binance-spot]\nsymbols = ["{symbol}"]',
                f'config.toml: venues.binance-spot.symbols[0]: "{symbol}" is not a symbol of Binance Spot;'
                ' did you mean "BTCUSDT"?',
            )
            for symbol in ("BTC-USDT", "btc-usdt", "btcusdt", " BTCUSDT", "BTC:USDT")
        ),
        (
            '[venues.binance-spot]\nsymbols = "BTCUSDT"',
            'config.toml: venues.binance-spot.symbols: "BTCUSDT" is not a list; write ["BTCUSDT"]',
        ),
        (
            "[venues.binance-spot]\nsymbols = [1]",
            "config.toml: venues.binance-spot.symbols[0]: 1 is not a text in quotes",
        ),
        (
            "[venues.binance-sopt]\n",
            'config.toml: venues.binance-sopt: "binance-sopt" is not a venue; did you mean "binance-spot"?',
        ),
        (
            "[venues.kraken]\n",
            'config.toml: venues.kraken: "kraken" is not a venue; there are aster, binance-spot, binance-usdm,'
            " bitfinex, bybit-linear, bybit-spot, okx",
        ),
        ("venues = []", "config.toml: venues: [] is not a table"),
        ("[venues]\nbinance-spot = 1", "config.toml: venues.binance-spot: 1 is not a table"),
        ("health = 3", "config.toml: health: 3 is not a table"),
        (
            "[health]\nstale_after = 90",
            'config.toml: health.stale_after: unknown key; did you mean "stale_after_s"?',
        ),
        ("[helth]\n", 'config.toml: helth: unknown key; did you mean "health"?'),
        (
            "[store]\nxyz = 1",
            "config.toml: store.xyz: unknown key; here are path, url, flush_interval_s, batch, max_pending,"
            " max_rows_per_s, buffer, max_buffered, start_wait_s",
        ),
        (
            '[venues.binance-spot]\ntimeframe = ["1m"]',
            'config.toml: venues.binance-spot.timeframe: unknown key; did you mean "timeframes"?',
        ),
        (
            '[health]\nstale_after_s = "90"',
            'config.toml: health.stale_after_s: "90" is not a number; write it without quotes',
        ),
        ('[health]\nstale_after_s = "soon"', 'config.toml: health.stale_after_s: "soon" is not a number'),
        ("[health]\nstale_after_s = true", "config.toml: health.stale_after_s: true is not a number"),
        ("[health]\nstale_after_s = 0", "config.toml: health.stale_after_s: 0.0 is not greater than 0"),
        ("[health]\nstale_after_s = nan", "config.toml: health.stale_after_s: nan is not greater than 0"),
        ("[health]\nstale_after_s = inf", "config.toml: health.stale_after_s: inf is not greater than 0"),
        (
            "[health]\nsick_share = 1.5",
            "config.toml: health.sick_share: 1.5 is not greater than 0 and at most 1",
        ),
        ("[backoff]\njitter = -1", "config.toml: backoff.jitter: -1.0 is not from 0 to 1"),
        (
            "[backoff]\ninitial_s = 100",
            "config.toml: backoff.max_s: 60 is less than initial_s (100)",
        ),
        ("[repair]\nworkers = 1.5", "config.toml: repair.workers: 1.5 is not a whole number"),
        ("[repair]\nworkers = 0", "config.toml: repair.workers: 0 is not at least 1"),
        ("[store]\nbatch = 10000000000000000000", "config.toml: store.batch: 10000000000000000000 is too large"),
        ('[store]\npath = ""', 'config.toml: store.path: "." names no file'),
        ("[store]\npath = 7", "config.toml: store.path: 7 is not a text in quotes"),
        (
            '[log]\nlevel = "warn"',
            'config.toml: log.level: "warn" is not one of "debug", "info", "warning", "error"; did you mean "warning"?',
        ),
        (
            '[venues.binance-spot]\ntestnet = "yes"',
            'config.toml: venues.binance-spot.testnet: "yes" is not true or false',
        ),
        (
            '[venues.binance-spot]\nunknown_symbols = "ignore"',
            'config.toml: venues.binance-spot.unknown_symbols: "ignore" is not one of "refuse", "park"',
        ),
        (
            "[venues.binance-spot]\nstreams_per_connection = 2000",
            "config.toml: venues.binance-spot.streams_per_connection: 2000 is more than Binance Spot allows (1024)",
        ),
        (
            "[venues.binance-spot]\nmessages_per_s = 10",
            "config.toml: venues.binance-spot.messages_per_s: 10 is more than Binance Spot allows (5)",
        ),
        (
            "[venues.binance-usdm]\nrotate_after_s = 90000",
            "config.toml: venues.binance-usdm.rotate_after_s: 90000 is more than Binance USD-M Futures allows (86400)",
        ),
        (
            "[venues.binance-spot]\nconnects_window_s = 60",
            "config.toml: venues.binance-spot.connects_window_s: 300 connects in 60 s is more than Binance Spot allows"
            " (300 in 300 s)",
        ),
        (
            '[venues.binance-spot]\nwebsocket_url = "https://127.0.0.1:9443"',
            'config.toml: venues.binance-spot.websocket_url: "https://127.0.0.1:9443" is not of the form'
            ' wss://host[:port] or ws://host[:port]; did you mean "wss://127.0.0.1:9443"?',
        ),
        (
            '[venues.binance-spot]\nwebsocket_url = "ws://localhost:1/stream?apiKey=hunter2"',
            'config.toml: venues.binance-spot.websocket_url: "ws://localhost:1/stream" is not of the form'
            ' wss://host[:port] or ws://host[:port]; did you mean "ws://localhost:1"?',
        ),
        (
            '[venues.binance-spot]\nrest_url = "127.0.0.1"',
            'config.toml: venues.binance-spot.rest_url: "127.0.0.1" is not of the form'
            " https://host[:port] or http://host[:port]",
        ),
        (
            '[venues.binance-spot]\nrest_url = "http://host:99999"',
            'config.toml: venues.binance-spot.rest_url: "http://host:99999" is not of the form'
            " https://host[:port] or http://host[:port]",
        ),
        (
            '[venues.binance-spot]\nrest_url = "http://me:hunter2@host"',
            "config.toml: venues.binance-spot.rest_url: a URL here holds no user name or password;"
            " write https://host[:port] or http://host[:port]",
        ),
    ],
)
def test_mistakes_in_a_file(text: str, message: str, tmp_path: Path) -> None:
    assert mistake(text, tmp_path) == message


@pytest.mark.parametrize(("derived", "twice"), [('["2m..5m", "3m"]', "3m"), ('["2m..5m", "2m..60m"]', "2m")])
def test_what_a_range_repeats_is_reported_with_its_place(derived: str, twice: str, tmp_path: Path) -> None:
    message = f'config.toml: venues.binance-spot.derived[1]: "{twice}" is listed twice'
    assert mistake(f"[venues.binance-spot]\nderived = {derived}", tmp_path) == message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[health]\nx = = 1", "line 2, column 5"),
        ("[health", "end of document"),
        ("[health]\nidle_s = 1\nidle_s = 2\n", "line 3, column 11"),
        ("[health]\nidle_s = 1\n[health]\n", "line 3, column 8"),
    ],
)
def test_what_is_no_toml_is_reported_with_its_place(text: str, place: str, tmp_path: Path) -> None:
    assert re.fullmatch(rf"config\.toml: {place}: \S.*", mistake(text, tmp_path))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read: No such file or directory"):
        load(tmp_path / "absent.toml", {})
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        load(tmp_path, {})
    (tmp_path / "config.toml").write_bytes(b'[log]\nlevel = "\xff"')
    with pytest.raises(ConfigError, match=r"config\.toml: line 2: not UTF-8"):
        load(tmp_path / "config.toml", {})


KEPT = """
[venues.binance-spot]
timeframes = ["1m", "1d"]
derived = ["7m"]
[retention]
interval_s = 3600
[retention.days]
"1m" = 90
"1M" = 36.5
"7m" = 0.5
"""


def test_days_by_timeframe(tmp_path: Path) -> None:
    settings = loaded(KEPT, tmp_path)
    assert settings.retention.interval_s == 3600
    assert settings.retention.days == {Timeframe("1m"): 90.0, Timeframe("1M"): 36.5, Timeframe("7m"): 0.5}
    assert Settings().retention.days == {}
    settings = loaded(KEPT, tmp_path, {"CANDLEACTORS_RETENTION__DAYS": " 1h=3650, 1M = 7.5,"})
    assert settings.retention.days == {Timeframe("1h"): 3650.0, Timeframe("1M"): 7.5}
    assert loaded(KEPT, tmp_path, {"CANDLEACTORS_RETENTION__DAYS": ""}).retention.days == {}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"1m" = 90', '"1min" = 90', 'days.1min: "1min" is not a timeframe; did you mean "1m"?'),
        ('"1m" = 90', '"1m" = "90"', 'days.1m: "90" is not a number; write it without quotes'),
        ('"1m" = 90', '"1m" = 0', "days.1m: 0.0 is not greater than 0"),
        ('"1m" = 90', '"1m" = inf', "days.1m: inf is not greater than 0"),
        ('"1m" = 90', '"1m" = true', "days.1m: true is not a number"),
        (
            '"1m" = 90',
            '"1m" = 6.5',
            "days.1m: 6.5 days are less than the 10080 minutes of aggregation.catch_up_minutes (7 days)",
        ),
        ('"1m" = 90', '"1m" = 0.1', "days.1m: 0.1 days are less than the 200 candles that repair.history fetches"),
        (
            '"1m" = 90',
            '"1d" = 100',
            "days.1d: 100 days are less than the 200 candles that repair.history fetches (200 days)",
        ),
        ("interval_s = 3600", "interval_s = 0", "interval_s: 0.0 is not greater than 0"),
        ("interval_s = 3600", "hours = 6", "hours: unknown key; here are days, interval_s"),
    ],
)
def test_days_that_cannot_be(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert mistake(KEPT.replace(old, new), tmp_path).startswith(f"config.toml: retention.{message}")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DAYS", "1m:90", 'retention.days: "1m:90" is not of the form 1m=90'),
        ("DAYS", "1m=ninety", 'retention.days.1m: "ninety" is not a number'),
        ("DAYS", "1m=3", "retention.days.1m: 3 days are less than the 10080 minutes of aggregation.catch_up_minutes"),
        (
            "DAYS__1M",
            "90",
            "in the name of a variable 1m and 1M are the same; write CANDLEACTORS_RETENTION__DAYS=1m=90,1h=3650",
        ),
        ("DAY", "1m=9", 'no such setting; did you mean "CANDLEACTORS_RETENTION__DAYS"?'),
    ],
)
def test_variables_of_days_that_cannot_be(name: str, value: str, message: str, tmp_path: Path) -> None:
    variable = f"CANDLEACTORS_RETENTION__{name}"
    assert mistake(KEPT, tmp_path, {variable: value}).startswith(f"{variable}: {message}")


def test_variables_override_the_file(tmp_path: Path) -> None:
    settings = loaded(
        FULL,
        tmp_path,
        {
            "CANDLEACTORS_HEALTH__STALE_AFTER_S": "75.5",
            "CANDLEACTORS_VENUES__BINANCE_SPOT__SYMBOLS": "SOLUSDT, XRPUSDT",
            "CANDLEACTORS_VENUES__BINANCE_SPOT__DERIVED": "2m..4m, 7m@epoch",
            "CANDLEACTORS_VENUES__BINANCE_SPOT__TESTNET": "false",
            "CANDLEACTORS_VENUES__BINANCE_SPOT__ROTATE_AFTER_S": "3600",
            "CANDLEACTORS_VENUES__BINANCE_SPOT__REST_URL": "none",
            "CANDLEACTORS_REPAIR__WORKERS": "2",
            "CANDLEACTORS_STATUS_SOCKET": "other.sock",
            "CANDLEACTORS_RECORDED": "/somewhere",
            "_CANDLEACTORS_COMPLETE": "bash_source",
            "PATH": "/bin",
        },
    )
    spot = settings.venues["binance-spot"]
    assert spot.symbols == ("SOLUSDT", "XRPUSDT")
    assert (spot.testnet, spot.rotate_after_s, spot.rest_url) == (False, 3600.0, None)
    assert spot.timeframes[0] == Timeframe("1s")
    assert spot.derived == Timeframe.expand("2m..4m,7m@epoch")
    assert settings.health.stale_after_s == 75.5
    assert settings.repair.workers == 2
    assert settings.socket_path == Path("other.sock")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "CANDLEACTORS_HEALTH__STALE_AFTER_S",
            "soon",
            'CANDLEACTORS_HEALTH__STALE_AFTER_S: health.stale_after_s: "soon" is not a number',
        ),
        (
            "CANDLEACTORS_HEALTH__STALE_AFTER_S",
            "-1",
            "CANDLEACTORS_HEALTH__STALE_AFTER_S: health.stale_after_s: -1.0 is not greater than 0",
        ),
        (
            "CANDLEACTORS_VENUES__BINANCE_SPOT__SYMBOLS",
            "BTCUSDT,eth/usdt",
            'CANDLEACTORS_VENUES__BINANCE_SPOT__SYMBOLS: venues.binance-spot.symbols[1]: "eth/usdt" is not a symbol;'
            ' did you mean "ETH/USDT"?',
        ),
        (
            "CANDLEACTORS_HEALTH__STALE",
            "1",
            'CANDLEACTORS_HEALTH__STALE: no such setting; did you mean "CANDLEACTORS_HEALTH__STALE_AFTER_S"?',
        ),
        (
            "CANDLEACTORS_HEALTH_STALE_AFTER_S",
            "1",
            'CANDLEACTORS_HEALTH_STALE_AFTER_S: no such setting; did you mean "CANDLEACTORS_HEALTH__STALE_AFTER_S"?',
        ),
        ("CANDLEACTORS_QQQ__X", "1", "CANDLEACTORS_QQQ__X: qqq: unknown key"),
        ("CANDLEACTORS_HEALTH__IDLE_S__X", "1", "CANDLEACTORS_HEALTH__IDLE_S__X: health.idle_s.x: unknown key"),
        ("CANDLEACTORS_HEALTH", "1", "CANDLEACTORS_HEALTH: health is a table; add __ and one of its keys"),
        (
            "CANDLEACTORS_VENUES__BINANCE_SOPT__SYMBOLS",
            "BTCUSDT",
            'venues.binance-sopt: "binance-sopt" is not a venue; did you mean "binance-spot"?',
        ),
    ],
)
def test_mistakes_in_variables(name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {name: value})
    assert str(caught.value) == message


def test_a_variable_does_not_hide_a_file_of_the_wrong_shape(tmp_path: Path) -> None:
    assert mistake("health = 3", tmp_path, {"CANDLEACTORS_HEALTH__IDLE_S": "1"}) == (
        "config.toml: health: 3 is not a table"
    )


def test_settings_made_by_hand_are_checked_as_well() -> None:
    with pytest.raises(ConfigError, match=r"^interval_s: 0 is not greater than 0$"):
        HealthSettings(interval_s=0)
    with pytest.raises(ConfigError, match="binance-sopt"):
        check_venues(Settings(venues={"binance-sopt": VenueSettings()}))


toml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(
    ["venues", "binance-spot", "symbols", "timeframes", "derived", "rest_url", "health", "idle_s", "log", "store"]
)


@given(
    st.dictionaries(
        keys, toml_values | st.dictionaries(keys, toml_values | st.dictionaries(keys, toml_values)), max_size=3
    )
)
def test_anything_is_either_settings_or_one_line(table: dict[str, object]) -> None:
    caught: ConfigError | None = None
    try:
        check_venues(structure(table))
    except ConfigError as error:
        caught = error
    if caught is not None:
        assert caught.key
        assert re.fullmatch(r"[^\n]+", str(caught))


def test_a_limit_that_the_venue_does_not_document_may_be_exceeded(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        "[venues.binance-spot]\nnames_per_request = 500\n"
        "[venues.binance-usdm]\nnames_per_request = 500\nconnects = 1000\nconnects_window_s = 60\n"
    )
    assert load(file, {}).venues["binance-usdm"].connects == 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[venues.bitfinex]\nrest_weight = 31",
            "config.toml: venues.bitfinex.rest_weight: 31 is more than Bitfinex allows (30)",
        ),
        (
            "[venues.bitfinex]\nrest_window_s = 59",
            "config.toml: venues.bitfinex.rest_window_s: 30 of REST weight in 59 s is more than Bitfinex allows"
            " (30 in 60 s)",
        ),
        (
            "[venues.bitfinex]\nrest_weight = 20\nrest_window_s = 39",
            "config.toml: venues.bitfinex.rest_window_s: 20 of REST weight in 39 s is more than Bitfinex allows"
            " (30 in 60 s)",
        ),
        (
            "[venues.bitfinex]\nconnects = 10\nconnects_window_s = 29",
            "config.toml: venues.bitfinex.connects_window_s: 10 connects in 29 s is more than Bitfinex allows"
            " (20 in 60 s)",
        ),
        (
            "[venues.bitfinex]\nstreams_per_connection = 26",
            "config.toml: venues.bitfinex.streams_per_connection: 26 is more than Bitfinex allows (25)",
        ),
        (
            "[venues.bybit-spot]\nnames_per_request = 11",
            "config.toml: venues.bybit-spot.names_per_request: 11 is more than Bybit Spot allows (10)",
        ),
        (
            "[venues.bitfinex]\ntestnet = true",
            "config.toml: venues.bitfinex.testnet: Bitfinex has no test network",
        ),
        (
            "[venues.bitfinex]\nrest_window_s = 0",
            "config.toml: venues.bitfinex.rest_window_s: 0.0 is not greater than 0",
        ),
        (
            "[venues.bitfinex]\nstreams_per_connection = 0",
            "config.toml: venues.bitfinex.streams_per_connection: 0 is not at least 1",
        ),
    ],
)
def test_limits_of_a_venue(text: str, message: str, tmp_path: Path) -> None:
    assert mistake(text, tmp_path) == message


@pytest.mark.parametrize(
    "text",
    [
        "[venues.bitfinex]\nrest_weight = 30\nrest_window_s = 60",
        "[venues.bitfinex]\nrest_weight = 15\nrest_window_s = 30",
        "[venues.bitfinex]\nrest_window_s = 120",
        "[venues.bitfinex]\nconnects = 1\nconnects_window_s = 3",
        "[venues.bitfinex]\nstreams_per_connection = 25",
        "[venues.bybit-linear]\nnames_per_request = 200",
        "[venues.bybit-spot]\ntestnet = true\nrotate_after_s = 1000000",
    ],
)
def test_limits_that_are_kept_or_not_documented(text: str, tmp_path: Path) -> None:
    assert loaded(text, tmp_path).venues


def test_without_a_number_a_connection_carries_what_its_venue_allows(tmp_path: Path) -> None:
    assert loaded("[venues.bitfinex]", tmp_path).venues["bitfinex"].streams_per_connection is None
    assert VenueSettings().streams_per_connection is None


def web(text: str) -> WebSettings:
    return structure(tomllib.loads(f"[web]\n{text}")).web


def test_a_server_that_others_can_reach_needs_a_token_or_an_explicit_word() -> None:
    for text in ('host = "0.0.0.0"', 'host = "::"', 'host = "192.0.2.7"', 'host = "feed.example"'):
        with pytest.raises(ConfigError, match=r"^web.host: .* set a token, or no_auth = true$"):
            web(text)
        assert web(f"{text}\nno_auth = true").token is None
        assert web(f'{text}\ntoken = "0123456789abcdef"').token == "0123456789abcdef"
    for loopback in ("127.0.0.1", "127.8.9.1", "::1", "localhost"):
        assert web(f'host = "{loopback}"').host == loopback
    with pytest.raises(ConfigError, match="which of the two"):
        web('token = "0123456789abcdef"\nno_auth = true')


@pytest.mark.parametrize("bad", ['"s3cret"', '"s3cret s3cret s3cret"', '["s3cret"]', "{ s3cret = 1 }"])
def test_no_message_quotes_the_token(bad: str) -> None:
    with pytest.raises(ConfigError) as caught:
        web(f"token = {bad}")
    assert "s3cret" not in str(caught.value)
    assert caught.value.key == "web.token"


def test_the_token_can_be_a_variable_and_is_not_shown() -> None:
    settings = load(None, {"CANDLEACTORS_WEB__TOKEN": "a-long-enough-s3cret"})
    assert settings.web.token == "a-long-enough-s3cret"
    assert "s3cret" not in repr(settings)
    with pytest.raises(ConfigError) as caught:
        load(None, {"CANDLEACTORS_WEB__TOKEN": "s3cret"})
    assert "s3cret" not in str(caught.value)
    assert "CANDLEACTORS_WEB__TOKEN" in str(caught.value)


def test_origins_are_origins_and_not_listed_twice() -> None:
    assert web('cors_origins = ["https://a.example"]').cors_origins == ("https://a.example",)
    with pytest.raises(ConfigError, match=r"web.cors_origins\[1\]"):
        web('cors_origins = ["https://a.example", "a.example"]')
    with pytest.raises(ConfigError, match="listed twice"):
        web('frame_ancestors = ["https://a.example", "https://a.example"]')


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://candle:s3cret@db.example:5433/market", "postgresql://candle@db.example:5433/market"),
        ("postgres://candle:s3cret%2F%40@db/market?sslmode=require", "postgresql://candle@db/market"),
        ("postgresql://db/market?user=candle&password=s3cret", "postgresql://db/market"),
        ("postgresql:///market?host=/run/postgresql", "postgresql:///market"),
        (
            "postgresql://candle:s3cret@[2001:db8::1]:5432,b:5433/market",
            "postgresql://candle@[2001:db8::1]:5432,b:5433/market",
        ),
        ("postgresql://candle@db", "postgresql://candle@db"),
        ("postgresql://", "postgresql://"),
    ],
)
def test_the_store_can_be_a_database(url: str, place: str) -> None:
    settings = load(None, {"CANDLEACTORS_STORE__URL": url})
    assert (settings.store.url, settings.store.place) == (url, place)
    assert "s3cret" not in repr(settings)
    assert settings.socket_path == Path("candleactors.sock")
    assert evolve(settings, status_socket=Path("a.sock")).socket_path == Path("a.sock")
    assert StoreSettings(path=Path("data/a.sqlite")).place == "data/a.sqlite"


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("mysql://candle:s3cret@db/market", "not of the form postgresql://"),
        ("candle:s3cret@db", "not of the form postgresql://"),
        ("postgresql:s3cret", "not of the form postgresql://"),
        ("", "not of the form postgresql://"),
        ("postgresql://candle:s3cret/x@db/market", "is written as %2F"),
        ("postgresql://candle:s3cret#x@db/market", "is written as %2F"),
        ("postgresql://candle:s3:cret@db/market", "is written as %2F"),
        ("postgresql://candle:s3cret@x@db/market", "is written as %2F"),
        ("postgresql://candle:s3cret/market", "not of the form postgresql://"),
        ("postgresql://candle:s3cret@db/mar ket", "is written as %2F"),
    ],
)
def test_no_message_quotes_the_url_of_the_store(bad: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        load(None, {"CANDLEACTORS_STORE__URL": bad})
    assert str(caught.value).startswith("CANDLEACTORS_STORE__URL: store.url: ")
    assert not any(part in str(caught.value) for part in ("s3cret", "s3", "market"))


def test_a_store_is_a_file_or_a_database(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[store]\npath = "a.sqlite"')
    with pytest.raises(ConfigError, match=r"^CANDLEACTORS_STORE__URL: store.url: a path is set as well: which of the"):
        load(tmp_path / "config.toml", {"CANDLEACTORS_STORE__URL": "postgresql://db/market"})
    assert load(None, {"CANDLEACTORS_STORE__URL": "none"}).store == StoreSettings()


def test_a_few_short_variables_stand_in_for_a_file() -> None:
    url = "postgresql://candle:s3cret@db/market"
    environ = {"ASSETS": "BTC, eth,SOL/EUR", "INTERVAL": "1h", "LONG_INTERVAL": "4h,5h", "DATABASE_URL": url}
    settings = load(None, environ)
    (spot,) = settings.venues.values()
    assert [*settings.venues] == ["binance-spot"]
    assert spot.symbols == ("BTC/USDT", "ETH/USDT", "SOL/EUR")
    assert (spot.timeframes, spot.derived) == ((Timeframe("1h"), Timeframe("4h")), (Timeframe("5h"),))
    assert settings.store.url == url


@pytest.mark.parametrize(
    ("environ", "venue", "symbols", "timeframes", "derived"),
    [
        ({"ASSETS": "BTC"}, "binance-spot", ("BTC/USDT",), "1m", ""),
        ({"ASSETS": "1000PEPE", "VENUE": "bybit-linear"}, "bybit-linear", ("1000PEPE/USDT:USDT",), "1m", ""),
        ({"ASSETS": "BTC", "VENUE": "okx", "QUOTE": "usdc"}, "okx", ("BTC/USDC",), "1m", ""),
        ({"ASSETS": "BTC", "INTERVAL": "1h", "LONG_INTERVAL": "1h"}, "binance-spot", ("BTC/USDT",), "1h", ""),
        ({"ASSETS": "BTC", "INTERVAL": "7m", "LONG_INTERVAL": ""}, "binance-spot", ("BTC/USDT",), "1m", "7m"),
    ],
)
def test_what_short_variables_mean(
    environ: dict[str, str], venue: str, symbols: tuple[str, ...], timeframes: str, derived: str
) -> None:
    settings = load(None, environ)
    table = VenueSettings(
        symbols=symbols,
        timeframes=Timeframe.expand(timeframes),
        derived=Timeframe.expand(derived) if derived else (),
    )
    assert settings == Settings(venues={venue: table})


@pytest.mark.parametrize(
    ("url", "store"),
    [
        ("postgres+psycopg://db/market", StoreSettings(url=Secret("postgres://db/market"))),
        ("postgresql+asyncpg://db/market", StoreSettings(url=Secret("postgresql://db/market"))),
        ("sqlite:///data/a.sqlite", StoreSettings(path=Path("data/a.sqlite"))),
        ("sqlite+aiosqlite:////var/a.sqlite", StoreSettings(path=Path("/var/a.sqlite"))),
        (" ", StoreSettings()),
    ],
)
def test_databases_as_other_libraries_write_them(url: str, store: StoreSettings) -> None:
    assert load(None, {"ASSETS": "BTC", "DATABASE_URL": url}).store == store


def test_short_variables_are_read_together_and_only_where_there_is_no_file(tmp_path: Path) -> None:
    environ = {"ASSETS": "BTC", "INTERVAL": "1h", "DATABASE_URL": "mysql://db/of-another-program"}
    assert not loaded("", tmp_path, environ).venues
    del environ["ASSETS"]
    assert load(None, environ) == Settings()


def test_long_variables_go_before_short_ones() -> None:
    environ = {"ASSETS": "BTC", "CANDLEACTORS_VENUES__BINANCE_SPOT__SYMBOLS": "ETHUSDT"}
    assert load(None, environ).venues["binance-spot"].symbols == ("ETHUSDT",)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"ASSETS": "BTCUSDT"}, 'ASSETS: "BTCUSDT" is not an asset; write BTC/USDT'),
        ({"ASSETS": "btc-usdt", "VENUE": "aster"}, 'ASSETS: "BTC-USDT" is not an asset; write BTC/USDT:USDT'),
        ({"ASSETS": "B C"}, 'ASSETS: "B C" is not an asset; write BTC or BTC/USDT'),
        ({"ASSETS": "BTC,BTC"}, 'ASSETS: venues.binance-spot.symbols[1]: "BTC/USDT" is listed twice'),
        ({"ASSETS": "BTC", "VENUE": "okxx"}, 'VENUE: "okxx" is not a venue; did you mean "okx"?'),
        ({"ASSETS": "BTC", "INTERVAL": "1H"}, 'INTERVAL: "1H" is not a timeframe; did you mean "1h"?'),
        ({"ASSETS": "BTC", "LONG_INTERVAL": "4x"}, 'LONG_INTERVAL: "4x" is not a timeframe'),
        (
            {"ASSETS": "BTC", "DATABASE_URL": "mysql://candle:s3cret@db/market"},
            "DATABASE_URL: store.url: not of the form postgresql://user:password@host/database",
        ),
    ],
)
def test_mistakes_in_short_variables(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, environ)
    assert str(caught.value) == message


def test_a_mistake_in_a_derived_interval_names_its_variable() -> None:
    with pytest.raises(ConfigError, match=r"^LONG_INTERVAL: venues.bybit-linear.derived: "):
        load(None, {"ASSETS": "BTC", "VENUE": "bybit-linear", "LONG_INTERVAL": "90s"})
