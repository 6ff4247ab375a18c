"""`veryfront/agent`: a host's queue of events keeps its order while another writer appends to the same run."""

import pytest

COUNT = 5_000


@pytest.fixture(scope="module")
def told(drive):
    return drive("queue", count=COUNT)


@pytest.fixture(scope="module")
def written(told, api):
    """The numbers that each writer finds in the log, in the log's order."""
    by = {}
    for event in api.events(told["runId"]):
        value = event["payload"]["value"]
        by.setdefault(value["by"], []).append(value["number"])
    return by


def test_the_other_writer_repeatedly_made_the_queue_s_cursor_wrong(told):
    assert told["cuts"] > 25
    assert told["mismatches"] == told["cuts"] - 1
    assert told["outcomes"] == {"flushed": COUNT // 500, "idle": COUNT // 500}


def test_every_event_of_the_queue_is_in_the_log_exactly_once_and_in_order(written):
    assert written["queue"] == list(range(COUNT))


def test_every_event_of_the_other_writer_is_there_too(written, told):
    assert written["other"] == list(range(told["cuts"]))
    assert written.keys() == {"queue", "other"}


def test_the_queue_knows_where_the_log_ends(told, api):
    after = told["after"]
    assert after["latestEventId"] == after["latestExternalEventSequence"] == COUNT + told["cuts"] - 1
    assert api.run(told["runId"])["latest_event_id"] == after["latestEventId"] + 1
    assert (after["pendingEventCount"], after["disabled"]) == (0, False)


def test_a_queue_that_may_not_read_its_cursor_anew_gives_up_and_says_so(told):
    assert told["gaveUp"]["outcome"] == "stopped"
    assert told["gaveUp"]["disableReason"] == "cursor_resyncs_exhausted"


def test_a_wrong_cursor_is_reported_by_status_and_sentence(told):
    assert told["mismatch"] == {"status": 400, "detail": "External run event cursor mismatch"}
