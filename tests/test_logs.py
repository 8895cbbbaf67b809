"""Logs: what is in them, and what is not."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from candleactors import logs
from candleactors.model import Stream, Timeframe
from candleactors.redaction import loggable, redact
from candleactors.settings import LogSettings


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def json_lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_hold_plain_bounded_values() -> None:
    stream = io.StringIO()
    logs.set_up(LogSettings(format="json"), stream)
    log = structlog.get_logger()
    log.info(
        "stream stale",
        stream=Stream("binance-spot", "BTCUSDT", Timeframe("1m")),
        raw=b"\xff{" + b"x" * 10_000,
        names=[str(i) for i in range(30)],
        api_key="hunter2",
        url="wss://me:hunter2@host/stream?streams=btcusdt@kline_1m",
        nested={"headers": {"Authorization": "Bearer hunter2"}},
        share=0.5,
        missing=None,
    )
    log.debug("not at this level")
    [line] = json_lines(stream)
    assert "hunter2" not in stream.getvalue()
    assert line["event"] == "stream stale"
    assert line["level"] == "info"
    assert line["stream"] == "binance-spot:BTCUSDT:1m"
    assert str(line["raw"]).startswith("\\xff{xxx")
    assert len(str(line["raw"])) == 500
    assert isinstance(line["names"], list)
    assert line["names"][-1] == "10 more"
    assert line["url"] == "wss://[redacted]@host/stream?streams=btcusdt@kline_1m"
    assert (line["share"], line["missing"]) == (0.5, None)


def test_exceptions_are_logged_whole_and_redacted() -> None:
    stream = io.StringIO()
    logs.set_up(LogSettings(format="json"), stream)
    try:
        raise RuntimeError("cannot reach https://me:hunter2@host/")
    except RuntimeError:
        structlog.get_logger().exception("lost")
    [line] = json_lines(stream)
    assert "Traceback" in str(line["exception"])
    assert "https://[redacted]@host/" in str(line["exception"])
    assert "hunter2" not in stream.getvalue()


def test_the_console_prints_one_line_an_event_whatever_is_in_it() -> None:
    stream = io.StringIO()
    logs.set_up(LogSettings(), stream)
    structlog.get_logger().warning("odd\nevent", text="a\nb\x1b[31m", password="hunter2")
    [line] = stream.getvalue().splitlines()
    assert "\x1b" not in line
    assert "hunter2" not in line


def test_warnings_of_libraries_come_along_and_their_chatter_does_not() -> None:
    stream = io.StringIO()
    logs.set_up(LogSettings(level="debug", format="json"), stream)
    logging.getLogger("httpx").info("GET https://host/?signature=hunter2")
    logging.getLogger("trio-websocket").warning("odd %s", "frame")
    [line] = json_lines(stream)
    assert (line["event"], line["library"], line["level"]) == ("odd frame", "trio-websocket", "warning")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://me:hunter2@host/path", "https://[redacted]@host/path"),
        ("https://hunter2@host", "https://[redacted]@host"),
        ("https://me:hun/ter2@host/", "https://[redacted]@host/"),
        ("https://me:hun@ter2@host/", "https://[redacted]@host/"),
        ("GET /?symbol=A&signature=hunter2&x=1", "GET /?symbol=A&signature=[redacted]&x=1"),
        ('{"apiKey": "hunter2", "a": 1}', '{"apiKey": "[redacted]", "a": 1}'),
        ("listenKey=hunter2", "listenKey=[redacted]"),
        ("Authorization: Bearer hunter2hunter2", "Authorization: Bearer [redacted]"),
        ("wss://host:9443/stream?streams=btcusdt@kline_1m", "wss://host:9443/stream?streams=btcusdt@kline_1m"),
        ("ws://127.0.0.1:80 btcusdt@kline_1m", "ws://127.0.0.1:80 btcusdt@kline_1m"),
        ("the key venues.binance-spot is wrong", "the key venues.binance-spot is wrong"),
    ],
)
def test_redaction(text: str, clean: str) -> None:
    assert redact(text) == clean


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(anything)
def test_anything_can_be_logged(value: object) -> None:
    text = json.dumps(loggable("value", value))
    assert text
    assert all(c.isprintable() for c in str(loggable("", str(value))))
