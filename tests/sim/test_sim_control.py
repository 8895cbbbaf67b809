"""Control messages, without any I/O."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from sim_client import START_MS
from sim_client import session as opened

from candleactors.sim import SPOT_RULES, USDM_RULES, BinanceRules
from candleactors.sim.binance.session import BinanceSession, ErrorShape
from candleactors.sim.dialect import Refusal, Request


def answer(session: BinanceSession, message: object) -> Any:
    text = message if isinstance(message, str) else json.dumps(message)
    request = session.parse(text, START_MS)
    [reply] = request.replies if isinstance(request, Refusal) else session.grant(request).replies
    return json.loads(reply)


def test_subscriptions_keep_their_order_and_repeat_harmlessly() -> None:
    session = opened(SPOT_RULES)
    a, b, c = "btcusdt@kline_1m", "nopeusdt@kline_1m", "ethusdt@kline_1M"
    assert answer(session, {"method": "SUBSCRIBE", "params": [b, a, b], "id": 1}) == {"result": None, "id": 1}
    assert answer(session, {"method": "SUBSCRIBE", "params": [a, c], "id": 2}) == {"result": None, "id": 2}
    assert answer(session, {"method": "LIST_SUBSCRIPTIONS", "id": 3}) == {"result": [b, a, c], "id": 3}
    assert answer(session, {"method": "UNSUBSCRIBE", "params": [a, "x@trade"], "id": 4}) == {"result": None, "id": 4}
    assert answer(session, {"method": "LIST_SUBSCRIPTIONS", "id": 5}) == {"result": [b, c], "id": 5}


def test_only_what_changed_is_reported() -> None:
    session = opened(SPOT_RULES)
    first = session.grant(Request("SUBSCRIBE", 1, ("a@trade", "b@trade")))
    again = session.grant(Request("SUBSCRIBE", 2, ("b@trade", "c@trade")))
    gone = session.grant(Request("UNSUBSCRIBE", 3, ("b@trade", "z@trade")))
    assert (first.subscribed, again.subscribed, gone.unsubscribed) == (
        ("a@trade", "b@trade"),
        ("c@trade",),
        ("b@trade",),
    )


def test_the_combined_property() -> None:
    session = opened(SPOT_RULES)
    assert answer(session, {"method": "GET_PROPERTY", "params": ["combined"], "id": 1}) == {"result": False, "id": 1}
    assert answer(session, {"method": "SET_PROPERTY", "params": ["combined", True], "id": 2})["result"] is None
    assert answer(session, {"method": "GET_PROPERTY", "params": ["combined"], "id": 3}) == {"result": True, "id": 3}


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        ("", 3, "Invalid JSON: expected value at line 1 column 1"),
        ("{", 3, "Invalid JSON"),
        ('{"method":', 3, "Invalid JSON: expected value at line 1 column 11"),
        ("[" * 100_000, 3, "Invalid JSON"),
        ("5", 2, "Invalid request"),
        ('{"id":1}', 2, "missing field `method` at line 1 column 8"),
        ('{"method":"subscribe","id":1}', 2, "unknown variant `subscribe`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`"),
        ('{"method":["SUBSCRIBE"],"id":1}', 2, "unknown variant"),
        ('{"method":"SUBSCRIBE","id":1.5}', 2, "request ID must be an unsigned integer"),
        ('{"method":"SUBSCRIBE","id":{}}', 2, "request ID must be an unsigned integer"),
        ('{"method":"SUBSCRIBE","id":true}', 2, "request ID must be an unsigned integer"),
        ('{"method":"SUBSCRIBE","params":"btcusdt@kline_1m","id":1}', 2, "expected a sequence"),
        ('{"method":"SUBSCRIBE","id":1}', 2, "invalid stream"),
        ('{"method":"SUBSCRIBE","params":["btcusdt"],"id":1}', 2, "invalid stream"),
        ('{"method":"SUBSCRIBE","params":["btcusdt@kline_7m"],"id":1}', 2, "invalid stream"),
        ('{"method":"SUBSCRIBE","params":["@kline_1m"],"id":1}', 2, "invalid stream"),
        ('{"method":"SUBSCRIBE","params":["btcusdt@kline_1m",5],"id":1}', 2, "invalid stream"),
        ('{"method":"GET_PROPERTY","params":["nope"],"id":1}', 0, "Unknown property"),
        ('{"method":"GET_PROPERTY","params":[1],"id":1}', 2, "property name must be a string"),
        ('{"method":"GET_PROPERTY","params":["combined",1],"id":1}', 2, "too many parameters"),
        ('{"method":"SET_PROPERTY","params":["combined","yes"],"id":1}', 1, "Invalid value type: expected Boolean"),
        ('{"method":"SET_PROPERTY","params":["combined"],"id":1}', 1, "Invalid value type: expected Boolean"),
    ],
)
def test_refusals(message: str, code: int, text: str) -> None:
    session = opened(SPOT_RULES)
    error = answer(session, message)
    assert error["error"]["code"] == code
    assert text in error["error"]["msg"]
    assert not session.names
    flat = opened(evolve(SPOT_RULES, error_shape=ErrorShape.FLAT))
    assert answer(flat, message) == error["error"] | ({"id": 1} if "id" in error else {})


@pytest.mark.parametrize(
    ("rules", "accepted", "refused"),
    [
        (SPOT_RULES, [0, -5, 2**63 - 1, None, "a", "0f0e-" * 7], [2**63, "", "a" * 37, "ü", 1.0, [1]]),
        (USDM_RULES, [0, 1, 2**64 - 1], [-1, 2**64, None, "1", "6f3b"]),
    ],
)
def test_request_ids(rules: BinanceRules, accepted: list[object], refused: list[object]) -> None:
    for value in accepted:
        assert answer(opened(rules), {"method": "LIST_SUBSCRIPTIONS", "id": value})["result"] == []
    for value in refused:
        reply = answer(opened(rules), {"method": "LIST_SUBSCRIPTIONS", "id": value})
        assert reply == {"error": {"code": 2, "msg": "Invalid request: request ID must be an unsigned integer"}}


def test_seconds_are_no_stream_of_futures() -> None:
    message = {"method": "SUBSCRIBE", "params": ["btcusdt@kline_1s"], "id": 1}
    assert "error" in answer(opened(USDM_RULES), message)
    assert "error" not in answer(opened(SPOT_RULES), message)


@given(
    st.text()
    | st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)).map(
        json.dumps
    )
)
def test_any_text_is_answered(text: str) -> None:
    reply = answer(opened(SPOT_RULES), text)
    assert "error" in reply or "result" in reply
