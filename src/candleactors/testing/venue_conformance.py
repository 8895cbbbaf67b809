"""The conformance suite: what every venue's codec has to fulfil, as tests to inherit.

::

    from candleactors.testing import Sample, VenueConformance, candle

    class TestMyExchange(VenueConformance):
        codec = my_exchange.codec
        samples = [
            Sample(b'{"channel":"BTC-USD@1m","candle":[1700000040000,"1.5","2","1","1.75","3.25",true]}',
                   [candle("my-exchange:BTC-USD:1m", 1700000040000, ("1.5", "2", "1", "1.75"), "3.25")]),
            ...
        ]

pytest then runs every test there is of `candleactors.venues.base`: rules, wire names, sessions, decoding, REST and,
with a `simulator`, the life of a whole feed in virtual time. A failure says what is wrong and where that is stated.
docs/how-to/add-a-venue.md leads through all of it.
"""

from __future__ import annotations

from candleactors.testing.conformance.answers import AnswersConformance
from candleactors.testing.conformance.decoding import DecodingConformance
from candleactors.testing.conformance.live import LiveConformance
from candleactors.testing.conformance.names import NamesConformance
from candleactors.testing.conformance.rules import RulesConformance
from candleactors.testing.conformance.samples import Clock, Page, Refusal, Rows, Sample, Tickers, candle
from candleactors.testing.conformance.sessions import SessionsConformance

__all__ = ["Clock", "Page", "Refusal", "Rows", "Sample", "Tickers", "VenueConformance", "candle"]


class VenueConformance(
    RulesConformance,
    NamesConformance,
    SessionsConformance,
    DecodingConformance,
    AnswersConformance,
    LiveConformance,
):
    """Tests of a codec. A subclass sets `codec` and `samples`, and as much of the rest as it can; see `Subject`.

    Needs the extra ``testing``. The tests are synchronous and need no network; those that draw random messages print
    what they found, and `live_minutes` of the feed's life take about a second of ours.
    """
