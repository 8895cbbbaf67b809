"""Errands: nothing is asked for twice, nothing that was asked for is forgotten. Sync jobs: what is told of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from candleactors.core.errands import Errand, Errands
from candleactors.core.sync_jobs import MOST_JOBS, SyncJobs
from candleactors.model import Stream, SyncState, Timeframe

STREAMS = tuple(Stream("binance-spot", symbol, Timeframe("1m")) for symbol in ("BTCUSDT", "ETHUSDT"))
STARTS = st.one_of(st.none(), st.integers(0, 5))


def begin(errands: Errands, begun: list[Errand]) -> None:
    """Let it be the next one's turn, if it is nobody's."""
    if errands.current is None and errands.waiting:
        begun.append(errands.waiting[0])
        errands.begin(errands.waiting[0])


@given(st.lists(st.one_of(st.tuples(st.sampled_from(STREAMS), STARTS), st.sampled_from(["begin", "end", "fail"]))))
def test_whatever_was_asked_for_is_done_once(steps: list[tuple[Stream, int | None] | str]) -> None:
    errands = Errands()
    asked: list[tuple[Errand, Stream, int | None]] = []
    begun: list[Errand] = []
    for step in steps:
        if isinstance(step, tuple):
            asked.append((errands.ask(*step), *step))
        elif step == "begin":
            begin(errands, begun)
        elif errands.current is not None:
            errands.end(errands.current, 1, "no" if step == "fail" else None)
        assert len(errands.waiting) <= 2 * len(STREAMS), "one from some time on, and one for what is recent"
        for errand in errands.waiting:
            others = [each for each in errands.waiting if each.stream == errand.stream]
            assert len([each for each in others if each.start_ms is None]) <= 1
    begin(errands, begun)
    while (current := errands.current) is not None:
        errands.begin(current)  # again, by another life of whoever does it
        errands.end(current, 2)
        begin(errands, begun)
    assert errands.waiting == ()
    assert len(set(begun)) == len(begun), "each has its turn once"
    for errand, stream, start_ms in asked:
        assert errand.covers(stream, start_ms)
        assert errand.ended_ms is not None


def test_what_is_not_stored_is_an_errand_of_its_own() -> None:
    errands = Errands()
    whole, lacking = errands.ask(STREAMS[0], 3), errands.ask(STREAMS[0], 3, lacking=True)
    assert whole is not lacking
    assert errands.ask(STREAMS[0], 5, lacking=True) is lacking
    assert errands.ask(STREAMS[0], 1, lacking=True) is lacking
    assert (whole.start_ms, lacking.start_ms) == (3, 1)
    assert errands.ask(STREAMS[0], None, lacking=True) not in (whole, lacking)


def test_what_has_no_turn_yet_can_be_given_up() -> None:
    errands = Errands()
    first, second = errands.ask(STREAMS[0], None), errands.ask(STREAMS[1], None)
    errands.begin(first)
    errands.end(second, 5, "parked")
    assert (second.error, second.ended_ms) == ("parked", 5)
    assert errands.waiting == ()
    assert errands.current is first


def test_what_was_begun_is_not_made_longer() -> None:
    errands = Errands()
    first = errands.ask(STREAMS[0], 5)
    errands.begin(first)
    assert errands.ask(STREAMS[0], 6) is first
    longer = errands.ask(STREAMS[0], 4)
    assert longer is not first
    assert errands.ask(STREAMS[0], 3) is longer
    assert longer.start_ms == 3


def test_a_job_is_the_sum_of_its_errands() -> None:
    jobs, errands = SyncJobs(), [Errand(stream, None) for stream in STREAMS]
    status = jobs.open(errands, 10)
    assert (status.id, status.state, status.streams, status.ended_ms) == ("1", SyncState.RUNNING, 2, None)
    assert jobs.open(reversed(errands), 11).id == "1", "the very same work"
    assert jobs.open(errands[:1], 12).id == "2"
    errands[0].candles, errands[0].repaired, errands[1].candles = 100, 3, 50
    errands[0].ended_ms = 20
    found = jobs.status("1")
    assert found is not None
    assert (found.state, found.done, found.failed, found.candles, found.repaired) == (SyncState.RUNNING, 1, 0, 150, 3)
    errands[1].ended_ms, errands[1].error = 30, "no answer"
    first, second = jobs.statuses()
    assert (first.state, first.done, first.failed, first.ended_ms) == (SyncState.FAILED, 1, 1, 30)
    assert first.errors == (f"{STREAMS[1]}: no answer",)
    assert (second.state, second.started_ms, second.ended_ms) == (SyncState.DONE, 12, 20)
    assert jobs.open(errands, 40).id == "3", "what has ended is begun anew"
    assert jobs.status("4") is None


def test_a_job_without_streams_is_done() -> None:
    status = SyncJobs().open([], 7)
    assert (status.state, status.streams, status.started_ms, status.ended_ms) == (SyncState.DONE, 0, 7, 7)


def test_few_jobs_and_errors_are_kept() -> None:
    jobs = SyncJobs()
    running = jobs.open([Errand(STREAMS[0], None)], 0)
    many = [Errand(STREAMS[0], index, error="no", ended_ms=1) for index in range(50)]
    last = None
    for _ in range(2 * MOST_JOBS):
        last = jobs.open(many, 0)
    assert last is not None
    assert len(last.errors) == 20
    known = [status.id for status in jobs.statuses()]
    assert len(known) == MOST_JOBS
    assert known[0] == running.id, "one that runs is known longer than those that have ended"
    assert known[-1] == last.id
    for index in range(2 * MOST_JOBS):
        last = jobs.open([Errand(STREAMS[0], index)], 0)
    assert len(jobs.statuses()) == MOST_JOBS
    assert jobs.status(last.id) is not None
