"""Faults in three replicas under load, one with a clock that is ten minutes fast. The history of every run
can be explained, and `runstead db check` finds nothing, so no acknowledged write is lost.
"""

import pytest
from msgspec.structs import replace

from . import faults
from .checker import linearizable
from .deployment import Deployment
from .history import Answer, Operation, Sent, by_run
from .load import Load
from .verdict import judge

PAUSE_S = 9


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    made = Deployment(tmp_path_factory.mktemp("faults"))
    yield made
    made.close()


#: Each takes ten seconds. The others run in `make test-long`.
SHORT = {faults.kill_replica, faults.kill_leader, faults.kill_database, faults.lead_with_a_wrong_clock}


@pytest.mark.parametrize(
    "fault",
    [each if each in SHORT else pytest.param(each, marks=pytest.mark.long) for each in faults.FAULTS],
    ids=lambda fault: fault.__name__,
)
def test_a_fault_under_load_violates_no_guarantee(deployment, fault):
    deployment.ready()
    load = Load(deployment.replicas, fault.__name__.replace("_", "-"))
    load.pass_by(faults.SPELL)
    fault(deployment, load, PAUSE_S)
    load.pass_by(faults.SPELL)
    deployment.ready()
    load.finish()
    verdict = judge(load)
    print(verdict.operations, "operations of", verdict.runs, "runs;", verdict.unknown, "unknown")  # noqa: T201
    assert verdict.clean, verdict
    assert deployment.violations() == ""


@pytest.fixture(scope="module")
def recorded(deployment):
    """Real histories of ended runs in which every operation was answered."""
    load = Load(deployment.replicas, "recorded")
    for _ in range(20):
        load.pass_by(faults.SPELL)
        if len(_whole(list(load.history))) > 6:
            break
    load.finish()
    return _whole(load.history)


def _whole(history):
    """Return the histories that every planted violation fits into."""
    needed = (_won, _appended, _order)
    of_runs = by_run(history).values()
    return [each for each in of_runs if all(one.known for one in each) and all(has(each) for has in needed)]


def _won(history):
    return [each for each in history if each.kind == "complete" and each.answer and each.answer.accepted]


def _appended(history):
    return [each for each in history if each.kind == "append" and each.answer]


def _order(history):
    """Return the reads that show two events of clients in order."""
    reads = [each for each in history if each.kind == "events" and each.answer]
    return [each for each in reads if len(set(each.answer.log[:2]) - {"RUN_ERROR", "RUN_FINISHED"}) == 2]


def _answered(kind, after, answer, **sent):
    run_id, at = after.run_id, after.completed + 0.001
    return Operation(run_id, kind, at, at + 0.001, Sent(**sent), answer)


def lose_an_append(history):
    [first, *_] = _appended(history)
    return [*history, _answered("append", first, Answer(appended=1), labels=("planted",))]


def win_twice(history):
    [winner, *_] = _won(history)
    other = {"completed": "failed", "failed": "completed"}[winner.sent.status]
    return [*history, _answered("complete", winner, Answer(accepted=True), status=other, label="planted")]


def claim_twice(history):
    claim = next((each for each in history if each.kind == "claim"), None)
    if claim is None:
        late = _answered("claim", _won(history)[0], Answer(token="planted"), worker="planted", lease_s=5)
        return [*history, late]
    return [
        *history,
        replace(claim, answer=Answer(token="planted"), sent=replace(claim.sent, worker="planted")),
    ]


def swap_two_events(history):
    read = _order(history)[-1]
    first, second, *rest = read.answer.log
    swapped = replace(read, answer=Answer(log=(second, first, *rest)))
    return [swapped if each is read else each for each in history]


def append_after_the_end(history):
    read = _order(history)[-1]
    last = max(history, key=lambda each: each.completed)
    return [*history, _answered("events", last, Answer(log=(*read.answer.log, "planted")))]


def read_stale_events(history):
    last = max(history, key=lambda each: each.completed)
    return [*history, _answered("events", last, Answer(log=()))]


PLANTS = [
    lose_an_append,
    win_twice,
    claim_twice,
    swap_two_events,
    append_after_the_end,
    read_stale_events,
]


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_violation_planted_into_a_real_history_is_found(recorded, plant):
    assert len(recorded) > 3
    for history in recorded:
        assert linearizable(history)
        assert not linearizable(plant(history))
