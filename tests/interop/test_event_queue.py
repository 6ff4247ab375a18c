"""`veryfront/agent`: a host's event queue keeps its order while another writer appends to the same run."""

import pytest

COUNT = 5_000


@pytest.fixture(scope="module")
def facts(drive):
    return drive("queue", count=COUNT)


@pytest.fixture(scope="module")
def written(facts, api):
    """The numbers of each writer in the log, in the log's order."""
    by = {}
    for event in api.events(facts["runId"]):
        value = event["payload"]["value"]
        by.setdefault(value["by"], []).append(value["number"])
    return by


def test_the_other_writer_repeatedly_made_the_queue_s_cursor_wrong(facts):
    assert facts["cuts"] > 25
    assert facts["mismatches"] == facts["cuts"] - 1
    assert facts["outcomes"] == {"flushed": COUNT // 500, "idle": COUNT // 500}


def test_every_event_of_the_queue_is_in_the_log_exactly_once_and_in_order(written):
    assert written["queue"] == list(range(COUNT))


def test_every_event_of_the_other_writer_is_there_too(written, facts):
    assert written["other"] == list(range(facts["cuts"]))
    assert written.keys() == {"queue", "other"}


def test_the_queue_knows_where_the_log_ends(facts, api):
    after = facts["after"]
    assert after["latestEventId"] == after["latestExternalEventSequence"] == COUNT + facts["cuts"] - 1
    assert api.run(facts["runId"])["latest_event_id"] == after["latestEventId"] + 1
    assert (after["pendingEventCount"], after["disabled"]) == (0, False)


def test_a_queue_that_may_not_read_its_cursor_anew_gives_up_and_says_so(facts):
    assert facts["gaveUp"]["outcome"] == "stopped"
    assert facts["gaveUp"]["disableReason"] == "cursor_resyncs_exhausted"


def test_a_wrong_cursor_is_reported_by_status_and_sentence(facts):
    assert facts["mismatch"] == {"status": 400, "detail": "External run event cursor mismatch"}
