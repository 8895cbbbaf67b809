"""Traffic: nothing is lost with a connection, and every end has a reason."""

from __future__ import annotations

import pytest
from attrs import define

from candleactors.actors.traffic import Outcome, Reason, Traffic, ended_by
from candleactors.errors import ConnectFailed, Disconnected, MalformedMessage, StaleStream


@define
class Meter:
    bytes_received: int = 0
    messages_received: int = 0


def test_a_connection_that_ends_takes_nothing_with_it() -> None:
    traffic = Traffic()
    one, other = Meter(10, 1), Meter(20, 2)
    traffic.connected(Reason.START, one)
    traffic.connected(Reason.ROTATION, other)
    one.bytes_received = 15
    assert (traffic.bytes, traffic.messages) == (35, 3)
    traffic.ended(one)
    one.bytes_received = 1_000  # nobody looks any more
    assert (traffic.bytes, traffic.messages) == (35, 3)
    traffic.failed(Reason.BROKEN)
    assert traffic.attempts[Reason.BROKEN, Outcome.FAILED] == 1
    assert traffic.reconnects() == {"rotation": 1}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Disconnected(1000), Reason.NORMAL),
        (Disconnected(1006), Reason.BROKEN),
        (Disconnected(1013), Reason.SERVER_ERROR),
        (Disconnected(1003), Reason.PROTOCOL),
        (Disconnected(4000), Reason.APPLICATION),
        (StaleStream("no answer"), Reason.UNANSWERED),
        (ConnectFailed("no TCP"), Reason.UNREACHABLE),
        (ConnectFailed("503", status=503), Reason.REFUSED),
        (MalformedMessage("no JSON"), Reason.PROTOCOL),
        (ZeroDivisionError(), Reason.CRASH),
        (ExceptionGroup("", [ExceptionGroup("", [Disconnected(1001)]), OSError()]), Reason.GOING_AWAY),
    ],
)
def test_every_end_has_a_reason(error: Exception, reason: Reason) -> None:
    assert ended_by(error) is reason
