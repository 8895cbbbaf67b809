"""Metrics: what a scrape says is true, never falls, and is what the documents, the dashboard and the alerts name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml  # type: ignore[import-untyped]  # it comes without types
from attrs import asdict
from e2e_world import EPOCH, SPOT, USDM, open_world, spot, usdm
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser
from prometheus_client.parser import text_string_to_metric_families

from candleactors.actors.sequencer import Sequencer
from candleactors.actors.traffic import Reason
from candleactors.errors import FeedClosed
from candleactors.feed import Feed
from candleactors.model import Timeframe
from candleactors.settings import HealthSettings, RepairSettings, SubscriberSettings
from candleactors.sim.faults import FaultKind
from candleactors.testing.simulation import SimulatedFeed, run_simulated
from candleactors.web.metrics import exposition

DOCS = Path(__file__).parents[2] / "docs"

parse_openmetrics: Any = parser.text_string_to_metric_families  # it has no types


class Scrape:
    """One scrape of a feed, as Prometheus understands it."""

    def __init__(self, feed: Feed) -> None:
        text, content_type = exposition(feed)
        assert content_type.startswith("text/plain; version=0.0.4")
        self.families: dict[str, Metric] = {m.name: m for m in text_string_to_metric_families(text.decode())}
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples that have these labels, of which there is one at least."""
        found = [
            value
            for (sample, its), value in self.samples.items()
            if sample == f"candleactors_{name}" and its >= labels.items()
        ]
        assert found, f"no {name} with {labels}"
        return sum(found)

    def reconnects(self, outcome: str = "connected") -> dict[str, float]:
        """Return the reasons that occurred."""
        return {
            dict(labels)["reason"]: value
            for (name, labels), value in self.samples.items()
            if name == "candleactors_reconnects_total" and ("outcome", outcome) in labels and value
        }

    def counters(self) -> Iterator[tuple[tuple[str, frozenset[tuple[str, str]]], float]]:
        """Yield every sample that may only grow."""
        for family in self.families.values():
            if family.type in ("counter", "histogram"):
                for sample in family.samples:
                    key = sample.name, frozenset(sample.labels.items())
                    yield key, self.samples[key]

    def follows(self, before: Scrape) -> None:
        """Check that nothing fell, or vanished, that may only grow."""
        for key, value in before.counters():
            assert self.samples[key] >= value, key


class Scraper:
    """Scrapes a feed again and again, and checks that counters only grow."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.last = Scrape(feed)

    async def sleep(self, seconds: float) -> Scrape:
        """Let so much time pass, looking some twenty times; return the last scrape."""
        for _ in range(20):
            await trio.sleep(seconds / 20)
            scrape = Scrape(self._feed)
            scrape.follows(self.last)
            self.last = scrape
        return self.last


async def test_what_is_told_of_a_quiet_life_is_what_the_venues_know(autojump_clock: object, tmp_path: Path) -> None:
    venues = spot(frames=("1m",), derived=(Timeframe("2m"),)), usdm("BTCUSDT")
    async with open_world(tmp_path, *venues, repair=RepairSettings(history=50)) as world:
        world.venue_ahead_ms = 1_500
        async with world.feed() as feed:
            reader = feed.candles()
            await trio.sleep(290)
            now, status = Scrape(feed), feed.status()
            assert now.value("reader_lag_events") == reader.pending > 0
            # What something is derived from begins with all the history there is, an hour.
            for name, streams, history, derived in ((SPOT, 2, 60, 6), (USDM, 1, 50, 0)):
                sim, closes = world.sims[name], world.sims[name].counters.closes_pushed
                assert closes == 5 * streams
                for metric, expected in {
                    "venue_healthy": 1,
                    "connections": sim.counters.live,
                    "connections_planned": 1,
                    "connects_total": sim.counters.connections,
                    "reconnects_total": 0,
                    "messages_rejected_total": 0,
                    "rest_requests_total": sim.counters.requests,
                    "rest_request_seconds_count": sim.counters.requests,
                    "rest_failures_total": 0,
                    "rest_fetches_total": streams,
                    "rest_blocked_seconds": 0,
                    "streams_desired": streams,
                    "streams_confirmed": streams,
                    "candles_from_rest_total": history * streams,
                    "candles_delivered_total": history * streams + closes,
                    # From 22:13:20 on three of the derived candles end by 22:18, with what they are derived from.
                    "close_to_delivery_seconds_count": closes + derived,
                    "gaps_total": 0,
                    "gap_candles_open": 0,
                }.items():
                    assert now.value(metric, venue=name) == expected, metric
                assert 0 <= now.value("messages_total", venue=name) - sim.counters.pushed < 10  # replies
                assert now.value("received_bytes_total", venue=name) > 100 * sim.counters.pushed
                assert now.value("rest_weight_total", venue=name) >= sim.counters.requests
                assert now.value("clock_offset_seconds", venue=name) == pytest.approx(1.5, abs=0.01)
                assert now.value("stream_staleness_seconds", venue=name, symbol="BTCUSDT") <= 10
            assert now.value("healthy") == now.value("store_healthy") == now.value("readers") == 1
            assert now.value("start_time_seconds") == EPOCH / 1000
            assert now.value("actor_restarts_total") == now.value("actor_failures_total") == 0
            assert now.value("store_written_rows_total") == status.store.written
            assert now.value("store_write_seconds_count") > 0
            assert now.value("mailbox_peak_messages", venue=SPOT, actor="sequencer") >= 1
            assert [venue.latency.candles for venue in status.venues] == [16, 5]
            assert [venue.bytes for venue in status.venues] == [
                now.value("received_bytes_total", venue=venue.venue) for venue in status.venues
            ]


REASONS: list[tuple[FaultKind, dict[str, Any], Reason]] = [
    (FaultKind.DROP, {}, Reason.BROKEN),
    (FaultKind.CLOSE, {"code": 1000}, Reason.NORMAL),
    (FaultKind.CLOSE, {"code": 1001}, Reason.GOING_AWAY),
    (FaultKind.CLOSE, {"code": 1008}, Reason.POLICY),
    (FaultKind.CLOSE, {"code": 1012}, Reason.SERVER_ERROR),
    (FaultKind.CLOSE, {"code": 4242}, Reason.APPLICATION),
    (FaultKind.CLOSE, {"code": 1002}, Reason.PROTOCOL),
    (FaultKind.HALF_OPEN, {}, Reason.TIMEOUT),
    (FaultKind.SILENCE, {"duration_s": 10_000.0}, Reason.STALE),
    (FaultKind.SHUTDOWN, {"delay_s": 20.0}, Reason.ANNOUNCED),
]


@pytest.mark.parametrize(("kind", "more", "reason"), REASONS, ids=lambda value: str(value))
async def test_reconnects_say_why_and_counters_never_fall(
    autojump_clock: object, tmp_path: Path, kind: FaultKind, more: Any, reason: Reason
) -> None:
    health = HealthSettings(interval_s=5.0, stale_after_s=20.0, first_data_s=15.0, idle_s=5.0)
    async with open_world(tmp_path, spot(), health=health) as world:
        async with world.feed() as feed:
            scraper = Scraper(feed)
            await scraper.sleep(20)
            received = scraper.last.value("received_bytes_total")
            world.inject(kind, **more)
            now = await scraper.sleep(70)
            assert now.reconnects() == {reason.value: 1}
            assert now.reconnects("failed") == {}
            assert now.value("connects_total") == world.sim.counters.connections == 2
            assert now.value("received_bytes_total") > 2 * received
            assert feed.status().venues[0].reconnects == {reason.value: 1}
        assert world.sim.counters.live == 0


async def test_a_rotation_is_a_reconnect(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot(rotate_after_s=60.0)) as world, world.feed() as feed:
        now = await Scraper(feed).sleep(80)
        assert now.reconnects() == {"rotation": 1}
        assert now.value("rotations_total") == 1


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (FaultKind.REJECT_HANDSHAKE, Reason.REFUSED),
        (FaultKind.REFUSE_CONNECT, Reason.UNREACHABLE),
        (FaultKind.HANG_HANDSHAKE, Reason.UNREACHABLE),
    ],
)
async def test_attempts_that_fail_count_as_such(
    autojump_clock: object, tmp_path: Path, kind: FaultKind, reason: Reason
) -> None:
    async with open_world(tmp_path, spot(handshake_timeout_s=3.0)) as world, world.feed() as feed:
        scraper = Scraper(feed)
        await scraper.sleep(20)
        world.inject(kind, duration_s=15.0, code=503)
        world.inject(FaultKind.DROP)
        stale = (await scraper.sleep(12)).value("stream_staleness_seconds", symbol="BTCUSDT", timeframe="1s")
        assert 11 <= stale <= 14  # no connection is no message
        assert scraper.last.value("connections") == 0
        now = await scraper.sleep(60)
        failed = now.value("connects_total", outcome="failed")
        assert failed >= 2
        assert now.reconnects("failed") == {Reason.BROKEN: 1, reason: failed - 1}
        assert now.reconnects() == {reason: 1}
        assert now.value("stream_staleness_seconds", symbol="BTCUSDT", timeframe="1s") < 3


async def test_gaps_are_open_until_they_are_repaired(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, repair=RepairSettings(deadline_s=20.0)) as world, world.feed() as feed:
        scraper = Scraper(feed)
        await scraper.sleep(30)
        world.inject(FaultKind.REST_ERROR, duration_s=60.0, code=503)
        world.inject(FaultKind.LOST_CLOSE, duration_s=10.0)
        now = await scraper.sleep(45)
        missing = now.value("gap_candles_open", reason="unrepaired")
        assert missing == now.value("gap_candles_total", reason="unrepaired") > 0
        assert now.value("gap_candles_open", reason="venue") == 0
        assert now.value("gaps_open", reason="unrepaired") == now.value("gaps_total") > 0
        assert now.value("rest_failures_total", kind="failed") > 0
        assert now.value("holes_total") > 0
        now = await scraper.sleep(200)
        assert now.value("gap_candles_repaired_total") == now.value("candles_revised_total") == missing
        assert now.value("gap_candles_open") == now.value("gaps_open") == 0
        assert now.value("gap_candles_total") == missing
        assert now.value("rest_fetches_total", reason="gap") > 0


async def test_gaps_that_the_store_knows_are_open_too(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot(frames=("1m",)), repair=RepairSettings(deadline_s=20.0)) as world:
        async with world.feed():
            await trio.sleep(30)
            world.inject(FaultKind.REST_ERROR, duration_s=200.0, code=503)
            world.inject(FaultKind.LOST_CLOSE, duration_s=20.0)
            await trio.sleep(90)
        async with world.feed() as feed:
            await trio.sleep(5)
            before = Scrape(feed)
            assert before.value("gap_candles_open", reason="unrepaired") == 2
            assert before.value("gap_candles_total") == 0
            await trio.sleep(400)
            now = Scrape(feed)
            assert now.value("gap_candles_open") == 0
            assert now.value("gap_candles_repaired_total") == 2


async def test_a_late_close_counts_as_late_and_one_over_rest_does_not_count(
    autojump_clock: object, tmp_path: Path
) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=("1m",))) as world, world.feed() as feed:
        await trio.sleep(60)
        world.inject(FaultKind.LATE_CLOSE, duration_s=60.0, delay_s=0.7)
        await trio.sleep(60)
        now = Scrape(feed)
        assert now.value("close_to_delivery_seconds_count") == 2
        assert now.value("close_to_delivery_seconds_bucket", le="0.5") == 1
        assert now.value("close_to_delivery_seconds_bucket", le="1.0") == 2
        latency = feed.status().venues[0].latency
        assert latency.p99_ms is not None
        assert 500 < latency.p99_ms <= 1000
        world.inject(FaultKind.LOST_CLOSE, duration_s=60.0)
        await trio.sleep(60)
        assert Scrape(feed).value("close_to_delivery_seconds_count") == 2
        await trio.sleep(1_000)
        assert feed.status().venues[0].latency.p99_ms == pytest.approx(5, abs=5)  # recent ones only


async def test_restarts_and_failures_are_told_by_actor(
    autojump_clock: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    struck = []

    def bad(*_: object) -> None:
        monkeypatch.undo()
        struck.append(True)
        raise OSError("something nobody foresaw")

    async with open_world(tmp_path) as world, world.feed() as feed:
        scraper = Scraper(feed)
        await scraper.sleep(20)
        monkeypatch.setattr(Sequencer, "_take_in", bad)
        now = await scraper.sleep(60)
        assert struck
        assert now.value("actor_failures_total", venue=SPOT, actor="sequencer", **{"class": "counted"}) == 1
        assert now.value("actor_failures_total") == 1
        assert now.value("actor_restarts_total", venue=SPOT, actor="sequencer") == 1
        assert now.value("actor_restarts_total", venue=SPOT, actor="sources") == 1
        assert now.value("actor_restarts_total") == 2
        assert now.reconnects() == {"restart": 1}
        assert feed.status().restarts == {f"{SPOT}/sequencer": 1, f"{SPOT}/sources": 1}


async def test_limits_of_rest_show(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path) as world, world.feed() as feed:
        scraper = Scraper(feed)
        await scraper.sleep(20)
        world.inject(FaultKind.REST_LIMIT, duration_s=5.0, delay_s=40.0)
        world.inject(FaultKind.LOST_CLOSE, duration_s=5.0)
        now = await scraper.sleep(10)
        assert now.value("rest_failures_total", kind="rate_limited") >= 1
        assert now.value("rest_failures_total") == now.value("rest_failures_total", kind="rate_limited")
        assert 20 < now.value("rest_blocked_seconds") <= 40
        assert now.value("rest_budget_waiting") > 0
        now = await scraper.sleep(60)
        assert now.value("rest_blocked_seconds") == now.value("rest_budget_waiting") == 0
        assert now.value("rest_requests_total") == world.sim.counters.requests
        assert now.value("rest_rows_total") > 100


async def test_slow_readers_show_before_and_after_they_are_cut_off(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, subscriber=SubscriberSettings(max_pending=1_000)) as world, world.feed() as feed:
        reader = feed.candles()
        scraper = Scraper(feed)
        now = await scraper.sleep(30)
        assert now.value("reader_lag_ratio") == reader.pending / 1_000 > 0.4
        assert now.value("readers_cut_off_total") == 0
        now = await scraper.sleep(500)
        assert now.value("readers_cut_off_total") == 1
        assert now.value("readers") == now.value("reader_lag_events") == now.value("reader_lag_ratio") == 0


async def test_streams_come_and_go_with_their_series(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=("1m",))) as world, world.feed() as feed:
        scraper = Scraper(feed)
        feed.watch([f"{SPOT}:ETHUSDT:1m", f"{SPOT}:ETHUSDT:7m"])
        now = await scraper.sleep(100)
        assert now.value("stream_staleness_seconds", symbol="ETHUSDT", timeframe="1m") <= 10
        assert len(now.families["candleactors_stream_staleness_seconds"].samples) == 2
        assert now.value("streams_derived") == 1
        feed.unwatch()
        now = await scraper.sleep(300)
        assert len(now.families["candleactors_stream_staleness_seconds"].samples) == 1
        feed.watch([f"{SPOT}:ETHUSDT:1m"])
        await trio.sleep(0.1)
        assert Scrape(feed).value("stream_staleness_seconds", symbol="ETHUSDT") < 1


async def test_feeds_in_one_process_do_not_know_of_each_other(autojump_clock: object, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with (
        open_world(tmp_path / "one") as one,
        open_world(tmp_path / "two", usdm("BTCUSDT")) as two,
        one.feed() as first,
        two.feed() as second,
    ):
        await trio.sleep(30)
        assert Scrape(first).value("connections") == Scrape(second).value("connections") == 1
        assert {dict(labels).get("venue", "") for _, labels in Scrape(second).samples} == {"", USDM}
    with pytest.raises(FeedClosed):
        exposition(first)


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
    ],
)
async def test_openmetrics_is_for_those_who_ask_for_it(autojump_clock: object, tmp_path: Path, accept: str) -> None:
    async with open_world(tmp_path) as world, world.feed() as feed:
        await trio.sleep(30)
        text, content_type = exposition(feed, accept)
        assert content_type.startswith("application/openmetrics-text; version=1.0.0")
        families = {family.name for family in parse_openmetrics(text.decode())}
        assert families == set(Scrape(feed).families)


@pytest.mark.parametrize("accept", [None, "", "*/*", "text/html", "application/openmetrics-text; version=x", ";;,="])
async def test_everybody_else_gets_the_text_format(autojump_clock: object, tmp_path: Path, accept: str | None) -> None:
    async with open_world(tmp_path) as world, world.feed() as feed:
        assert exposition(feed, accept)[1] == "text/plain; version=0.0.4; charset=utf-8"


async def test_the_status_is_plain_enough_for_json(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path) as world, world.feed() as feed:
        await trio.sleep(5)
        world.inject(FaultKind.DROP)
        await trio.sleep(60)
        status = json.loads(json.dumps(asdict(feed.status())))
        venue = status["venues"][0]
        assert venue["reconnects"] == {"broken": 1}
        assert venue["bytes"] > venue["connections"][0]["bytes"] > 0
        assert venue["latency"].keys() == {"candles", "p50_ms", "p99_ms"}
        assert status["restarts"] == {f"{SPOT}/connection": 1, f"{SPOT}/health": 1}
        assert status["mailbox_peaks"]["hub"] >= 1


# -- what the documents say --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def families() -> Mapping[str, Metric]:
    async def scrape(world: SimulatedFeed) -> Mapping[str, Metric]:
        await trio.sleep(60)
        return Scrape(world.feed).families

    return run_simulated(scrape)


def names_of(family: Metric) -> set[str]:
    """Return the names by which the samples of a metric may be asked for."""
    if family.type == "histogram":
        return {f"{family.name}_{part}" for part in ("bucket", "sum", "count")}
    return {f"{family.name}_total" if family.type == "counter" else family.name}


def labels_of(family: Metric) -> set[str]:
    return {label for sample in family.samples for label in sample.labels} - {"le"}


def test_every_metric_is_documented_and_no_other(families: Mapping[str, Metric]) -> None:
    rows = re.findall(
        r"^\| `(candleactors_\w+)` \| (\w+) \| ([\w, ]*) ?\| .+ \|$", (DOCS / "metrics.md").read_text(), re.MULTILINE
    )
    documented = {name: (kind, labels.strip()) for name, kind, labels in rows}
    assert len(documented) == len(rows)
    exposed = {}
    for family in families.values():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        exposed[name] = family
        assert name in documented
        kind, labels = documented[name]
        assert kind == family.type, name
        assert set(filter(None, labels.split(", "))) == labels_of(family), name
        assert family.documentation
    assert documented.keys() == exposed.keys()


def test_every_reason_is_documented(families: Mapping[str, Metric]) -> None:
    text = (DOCS / "metrics.md").read_text()
    for family in families.values():
        for sample in family.samples:
            for label in ("reason", "outcome", "kind", "class"):
                if label in sample.labels:
                    assert f"`{sample.labels[label]}`" in text


METRIC = re.compile(r"\bcandleactors_\w+")
SELECTOR = re.compile(r"(candleactors_\w+)\{([^}]*)\}")


def check_expressions(expressions: list[str], families: Mapping[str, Metric]) -> set[str]:
    """Check that all that is asked for exists, labels and their values included; return the names."""
    by_name = {name: family for family in families.values() for name in names_of(family)}
    used = set()
    for expression in expressions:
        names = set(METRIC.findall(expression))
        assert names <= by_name.keys(), expression
        used |= names
        for name, selector in SELECTOR.findall(expression):
            for label, operator, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', selector):
                if label in ("instance", "job") or value.startswith("$"):
                    assert label in labels_of(by_name[name]) | {"instance", "job"}, expression
                    continue
                values = {sample.labels.get(label) for sample in by_name[name].samples}
                wanted = value.split("|") if "~" in operator else [value]
                assert set(wanted) <= values, expression
        for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
            known = {"instance", "le"} | {label for name in names for label in labels_of(by_name[name])}
            assert set(grouped.split(", ")) <= known, expression
    return used


def test_the_dashboard_asks_for_what_there_is(families: Mapping[str, Metric]) -> None:
    dashboard = json.loads((DOCS / "grafana" / "candleactors.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    expressions = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    variables = dashboard["templating"]["list"]
    queries = [variable["definition"] for variable in variables if variable["type"] == "query"]
    events = [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    check_expressions([*queries, *events], families)
    used = check_expressions(expressions, families)
    # Whoever adds a metric says where it is to be seen.
    elsewhere = {"candleactors_build_info"}
    assert all(used & names_of(family) for family in families.values() if family.name not in elsewhere)
    assert variables[0]["type"] == "datasource"
    for panel in panels:
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
    taken = [panel["gridPos"] for panel in panels]
    cells = [(p["x"] + dx, p["y"] + dy) for p in taken for dx in range(p["w"]) for dy in range(p["h"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_the_alerts_ask_for_what_there_is(families: Mapping[str, Metric]) -> None:
    groups = yaml.safe_load((DOCS / "prometheus" / "alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    check_expressions([rule["expr"] for rule in rules], families)
    for rule in rules:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"].keys() == {"summary", "description"}
