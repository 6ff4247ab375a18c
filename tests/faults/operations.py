"""Operations of a history, written by hand. Times are in seconds."""

import math

from .history import Answer, Operation, RunSnapshot, Sent

RUN = "run-1"
ADA, BOB = "worker-ada", "worker-bob"


def op(kind, at, until=None, *, answer=None, refused=None, run_id=RUN, **sent):
    """An operation that is answered at `until`, by default 0.1 s after its request. Without `answer` and
    `refused` it is never answered.
    """
    known = answer is not None or refused is not None
    completed = (at + 0.1 if until is None else until) if known else math.inf
    return Operation(run_id, kind, at, completed, Sent(**sent), answer, refused)


def snapshot(status, attempt, events, owner=None, output=None, error=None, completed_at=None):
    return RunSnapshot(status, attempt, events, owner, output, error, completed_at)


def created(at=0.0, **members):
    return op("create", at, answer=Answer(snapshot("pending", 0, 0), accepted=False), **members)


def claimed(at, worker=ADA, attempt=1, events=0, until=None, lease_s=5, version=None):
    answer = Answer(RunSnapshot("running", attempt, events, brief=True), token=f"token-{attempt}")
    return op("claim", at, until, answer=answer, worker=worker, lease_s=lease_s, version=version)


def appended(at, *labels, events, attempt=1, owner=ADA, until=None, **sent):
    answer = Answer(snapshot("running", attempt, events, owner), appended=len(labels))
    return op("append", at, until, answer=answer, labels=labels, **sent)


def completed(
    at, label, events, *, status="completed", accepted=True, until=None, by=None, wanted=None, **sent
):
    error = "PLANNED" if status == "failed" else None
    answer = Answer(snapshot(status, 1, events, None, by or label, error, "t1"), accepted=accepted)
    return op("complete", at, until, answer=answer, status=wanted or status, label=label, **sent)


def read(at, *labels, until=None):
    return op("events", at, until, answer=Answer(log=labels))


def signalled(at, label, *, delivered=False, duplicate=False, until=None):
    return op("signal", at, until, answer=Answer(accepted=duplicate, delivered=delivered), label=label)


def compensated(at, label, *, duplicate=False, until=None, **sent):
    return op("compensate", at, until, answer=Answer(accepted=duplicate), label=label, **sent)


def children(at, *labels, until=None):
    return op("children", at, until, answer=Answer(log=labels))


def waited(at, call, status, events, *, taken=None, until=None, **sent):
    answer = Answer(snapshot(status, 1, events, ADA), taken=taken)
    return op("wait", at, until, answer=answer, label=call, **sent)


def retried(at, key, made, *, step, appended, mark, until=None):
    """A retry that created the run `made`, whose log begins with this many events. The last is `mark`."""
    answer = Answer(made=made, appended=appended, log=(mark,))
    return op("retry", at, until, answer=answer, label=key, step=step)


def forks(at, *keys):
    return op("forks", at, answer=Answer(log=keys))


def forked(at, *labels):
    """The retry as its new run sees it."""
    return op("fork", at, answer=Answer(), labels=labels)


def published(at, label, match, until=None):
    """An event of the bus as a run sees it."""
    return op("publish", at, until, answer=Answer(), label=label, match=match)


def stored(at, label, match, *, duplicate=False):
    """An event as its bus sees it."""
    return op("store", at, answer=Answer(accepted=duplicate), label=label, match=match)


def started(at, *labels):
    return op("started", at, answer=Answer(log=labels))


def spent(at, tokens):
    return op("spent", at, answer=Answer(appended=tokens))
