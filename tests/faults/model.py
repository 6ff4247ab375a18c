"""A sequential model of a run, written from the documentation only, against which the checker compares
histories.

It shares no code with the program's state machine. It leaves open what the documentation leaves open: which
of several valid reasons a refusal names, and when exactly an expired lease is enforced.
"""

from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from .history import Answer, Operation, RunSnapshot, Sent
from .labels import kept, reports

#: Tolerance for clocks that are read at different moments and cut to milliseconds.
SLACK_S = 0.1
ATTEMPTS_LOST_MAX = 3
#: The value of the events of the bus that start runs.
TRIGGERED = 0
TERMINAL = frozenset({"completed", "failed", "cancelled"})
READS = frozenset({"get", "events", "children", "forks", "spent", "started"})


class State(NamedTuple):
    """The state of a run. `held`: the fence of the current attempt is valid. `lease_until` is the earliest
    time at which the lease may expire, `ready_at` the earliest time of the next claim. `floor` is the time of
    the last lost lease: later operations in the order cannot have been answered before it. `completed_at` is
    set by the first answer that shows it. `awaited` is the call of the wait, which takes an event of the bus with the
    value `wanted` (None: with any); of the signals `sent`, those `kept` are not taken. `passed` are the events of the bus
    that the run has got or missed. `version` is that of a pinned run's first claim. `forks` are the retries: key and id.
    """

    status: str = "absent"
    attempt: int = 0
    held: bool = False
    token: str | None = None
    owner: str | None = None
    lost: int = 0
    lease_until: float = 0.0
    ready_at: float = 0.0
    floor: float = 0.0
    log: tuple[str, ...] = ()
    output: str | None = None
    error: str | None = None
    completed_at: str | None = None
    awaited: str | None = None
    kept: tuple[str, ...] = ()
    sent: frozenset[str] = frozenset()
    undos: tuple[str, ...] = ()  # the registered compensations
    pinned: bool = False
    version: str | None = None
    wanted: int | None = None
    passed: frozenset[str] = frozenset()
    forks: frozenset[tuple[str, str | None]] = frozenset()
    budget: int | None = None

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL


ABSENT = State()


class Refused(NamedTuple):
    """A refusal without effect, with the possible error codes."""

    codes: frozenset[str]


class Done(NamedTuple):
    """The state after the operation, and the expected answer."""

    state: State
    answer: Answer


def steps(state: State, operation: Operation) -> Iterator[State]:
    """Yield the possible states after the operation took effect at this point with its recorded answer.

    The lease may also have been lost just before the operation.
    """
    for before in (state, _expired(state)):
        if before is not None and operation.completed + SLACK_S >= before.floor:
            after = _step(before, operation)
            if after is not None:
                yield after


def effectless(operation: Operation) -> bool:
    """Whether the operation never changes the state: a read or a refusal."""
    return operation.kind in READS or operation.refused is not None


def _step(state: State, operation: Operation) -> State | None:
    verdict = _RULES[operation.kind](state, operation, operation.sent)
    if verdict is None:
        return None
    if isinstance(verdict, Refused):
        return state if operation.refused in verdict.codes else None
    if operation.refused is not None:
        return None
    after, answer = verdict
    if operation.answer is None:
        return (
            after if after != state else None
        )  # an operation without an effect and an answer can be ignored
    return _agreeing(after, answer, operation.answer)


def _agreeing(state: State, expected: Answer, answer: Answer) -> State | None:
    """Return the state if the answer matches the expected one.

    The first answer with `completed_at` sets it.
    """
    if replace(expected, run=None, token=None) != replace(answer, run=None, token=None):
        return None
    seen = answer.run
    if seen is None:
        return state
    if (seen.status, seen.attempt, seen.latest_event_id) != (state.status, state.attempt, len(state.log)):
        return None
    if seen.brief:
        return state
    owner = state.owner if state.held and not state.terminal else None
    if (seen.owner, seen.output, seen.error) != (owner, state.output, state.error):
        return None
    if (seen.completed_at is not None) != state.terminal:
        return None
    if state.completed_at not in (None, seen.completed_at):
        return None
    return state._replace(completed_at=seen.completed_at)


def _expired(state: State) -> State | None:
    """The server enforces the expired lease."""
    if state.status not in {"running", "waiting"} or not state.held:
        return None
    if state.status == "waiting":
        return _parked(state._replace(floor=state.lease_until))
    return _lose(state._replace(floor=state.lease_until), state.lease_until, "LEASE_EXPIRED", None)


def _parked(state: State) -> State:
    """The server ends the attempt, which does not count as lost."""
    return state._replace(held=False, token=None)


def _lose(state: State, at: float, code: str, retry_after_s: float | None) -> State:
    """The attempt is lost. The backoff is 1 s and doubles; jitter shortens it by at most half."""
    lost = state.lost + 1
    let_go = state._replace(lost=lost, held=False, token=None)
    if lost > ATTEMPTS_LOST_MAX:
        return _end(let_go, "failed", code)
    pause_s = 0.5 * 2 ** (lost - 1) if retry_after_s is None else retry_after_s
    return let_go._replace(status="pending", ready_at=at + pause_s)


def _end(state: State, status: str, error: str | None = None, output: str | None = None) -> State:
    event = "RUN_FINISHED" if status == "completed" else "RUN_ERROR"
    return state._replace(status=status, log=(*state.log, event), error=error, output=output)


_MISSING = Refused(frozenset({"NOT_FOUND"}))


def _fenced_off(state: State, sent: Sent) -> bool:
    """Whether the request has the fence of an attempt that is no longer current."""
    if sent.attempt is None and sent.token is None:
        return False
    return (
        not state.held
        or (sent.attempt is not None and sent.attempt != state.attempt)
        or (sent.token is not None and sent.token != state.token)
    )


def _create(state: State, operation: Operation, sent: Sent) -> Done:
    if state.status == "absent":
        created = state._replace(status="pending", pinned=sent.pinned, budget=sent.budget)
        return Done(created, Answer(accepted=False))
    return Done(state, Answer(accepted=True))


def _claim(state: State, operation: Operation, sent: Sent) -> Done | None:
    resumed = state.status == "running" and not state.held
    if not (state.status == "pending" or resumed) or operation.completed + SLACK_S < state.ready_at:
        return None
    if state.pinned and state.version not in (None, sent.version):
        return None
    taken = state._replace(
        version=(state.version or sent.version) if state.pinned else None,
        status="running",
        attempt=state.attempt + 1,
        held=True,
        token=None if operation.answer is None else operation.answer.token,
        owner=sent.worker,
        lease_until=max(operation.invoked, state.floor) + sent.lease_s - SLACK_S,
    )
    return Done(taken, Answer())


def _heartbeat(state: State, operation: Operation, sent: Sent) -> Done | Refused:
    if state.status == "absent":
        return _MISSING
    if state.terminal or _fenced_off(state, sent):
        return Refused(frozenset({"ATTEMPT_SUPERSEDED"}))
    until = max(operation.invoked, state.floor) + sent.lease_s - SLACK_S
    return Done(state._replace(lease_until=until), Answer())


def _release(state: State, operation: Operation, sent: Sent) -> Done | Refused:
    if state.status == "absent":
        return _MISSING
    if _fenced_off(state, sent) or not state.held or sent.worker != state.owner:
        return Refused(frozenset({"ATTEMPT_SUPERSEDED"}))
    if state.terminal:
        return Done(state, Answer())
    if state.status == "waiting":
        return Done(_parked(state), Answer())
    at = max(operation.invoked, state.floor)
    return Done(_lose(state, at, "ATTEMPTS_EXHAUSTED", sent.retry_after_s), Answer())


def _append(state: State, operation: Operation, sent: Sent) -> Done | Refused:
    if state.status == "absent":
        return _MISSING
    codes = {"ATTEMPT_SUPERSEDED"} if _fenced_off(state, sent) else set()
    new = sent.labels
    if sent.after is not None:
        stored = state.log[sent.after :]
        common = 0
        while common < min(len(new), len(stored)) and new[common] == stored[common]:
            common += 1
        if sent.after <= len(state.log) and common == len(new):
            return Refused(frozenset(codes)) if codes else Done(state, Answer(appended=0))
        if sent.after > len(state.log) or common < len(stored):
            codes.add("EVENT_CURSOR_MISMATCH")
        new = new[common:]
    if state.terminal:
        codes.add("EVENT_RUN_TERMINAL")
    if state.status == "waiting":
        codes.add("EVENT_RUN_WAITING")
    if codes:
        return Refused(frozenset(codes))
    stored = state._replace(log=state.log + new)
    if state.budget is not None and reports(new) and reports(stored.log) >= state.budget:
        stored = _end(_parked(stored), "failed", "BUDGET_REACHED")
    return Done(stored, Answer(appended=len(new)))


def _complete(state: State, operation: Operation, sent: Sent) -> Done | Refused:
    if state.status == "absent":
        return _MISSING
    if _fenced_off(state, sent):
        return Refused(frozenset({"ATTEMPT_SUPERSEDED"}))
    if state.terminal:
        return Done(state, Answer(accepted=state.status == sent.status))
    assert sent.status is not None
    error = "PLANNED" if sent.status == "failed" else None
    return Done(_end(state, sent.status, error, sent.label), Answer(accepted=True))


def _signal(state: State, operation: Operation, sent: Sent) -> Done | Refused:
    """A signal is kept until a wait takes it; a run that waits takes it at once. `label` is its key too."""
    assert sent.label is not None
    if state.status == "absent":
        return _MISSING
    if sent.label in state.sent:
        return Done(state, Answer(accepted=True, delivered=sent.label not in state.kept))
    if state.terminal:
        return Refused(frozenset({"RUN_NOT_ACTIVE"}))
    state = state._replace(sent=state.sent | {sent.label})
    if state.status != "waiting":
        return Done(state._replace(kept=(*state.kept, sent.label)), Answer(accepted=False, delivered=False))
    return Done(_resumed(state, sent.label), Answer(accepted=False, delivered=True))


def _resumed(state: State, label: str) -> State:
    """The run takes a signal or an event as the result of its wait."""
    log = (*state.log, f"{label} for {state.awaited}")
    return state._replace(status="running", awaited=None, wanted=None, ready_at=0.0, log=log)


def _publish(state: State, operation: Operation, sent: Sent) -> Done:
    """An event of the bus reaches the run, or misses it: each event once. `label` is its id."""
    assert sent.label is not None
    if sent.label in state.passed:
        return Done(state, Answer())
    state = state._replace(passed=state.passed | {sent.label})
    if state.status == "waiting" and state.wanted in (None, sent.match):
        state = _resumed(state, sent.label)
    return Done(state, Answer())


def _wait(state: State, operation: Operation, sent: Sent) -> Done | Refused:
    """The oldest kept signal is the result of the call `label`. Without one the run waits."""
    if state.status == "absent":
        return _MISSING
    codes = {"ATTEMPT_SUPERSEDED"} if _fenced_off(state, sent) else set()
    codes |= {"RUN_NOT_ACTIVE"} if state.terminal else set()
    codes |= {"RUN_ALREADY_WAITING"} if state.status == "waiting" else set()
    if codes:
        return Refused(frozenset(codes))
    if not state.kept:
        return Done(state._replace(status="waiting", awaited=sent.label, wanted=sent.match), Answer())
    oldest, *kept = state.kept
    log = (*state.log, f"{oldest} for {sent.label}")
    return Done(state._replace(kept=tuple(kept), log=log), Answer(taken=oldest))


def _compensate(state: State, operation: Operation, sent: Sent) -> Done | Refused:
    """A compensation is registered once: `label` is its key. A completed run has none."""
    assert sent.label is not None
    if state.status == "absent":
        return _MISSING
    codes = {"ATTEMPT_SUPERSEDED"} if _fenced_off(state, sent) else set()
    if sent.label in state.undos and state.status != "completed":
        return Refused(frozenset(codes)) if codes else Done(state, Answer(accepted=True))
    codes |= {"RUN_NOT_ACTIVE"} if state.terminal else set()
    if codes:
        return Refused(frozenset(codes))
    return Done(state._replace(undos=(*state.undos, sent.label)), Answer(accepted=False))


def _children(state: State, operation: Operation, sent: Sent) -> Done | Refused:
    """A run that failed or was cancelled has one child for each compensation, the last registered first. No client
    claims them, so all but the first are held.
    """
    if state.status == "absent":
        return _MISSING
    if state.status not in {"failed", "cancelled"}:
        return Done(state, Answer(log=()))
    last, *others = [*reversed(state.undos)] or [None]
    return Done(state, Answer(log=() if last is None else (last, *(f"{one} held" for one in others))))


def _cancel(state: State, operation: Operation, sent: Sent) -> Done | Refused:
    if state.status == "absent":
        return _MISSING
    if state.terminal:
        return Done(state, Answer(accepted=False))
    return Done(_end(state, "cancelled", "CANCELLED"), Answer(accepted=True))


def _get(state: State, operation: Operation, sent: Sent) -> Done | Refused:
    return _MISSING if state.status == "absent" else Done(state, Answer())


def _events(state: State, operation: Operation, sent: Sent) -> Done | Refused:
    return _MISSING if state.status == "absent" else Done(state, Answer(log=state.log))


def _retry(state: State, operation: Operation, sent: Sent) -> Done | Refused | None:
    """A retry from a step creates one run for each key `label`. The ended run does not change."""
    assert sent.label is not None
    assert sent.step is not None
    if operation.refused == "IDEMPOTENCY_KEY_IN_USE":
        return Refused(frozenset({operation.refused}))  # the request with this key is in progress
    if state.status == "absent":
        return _MISSING
    if not state.terminal:
        return Refused(frozenset({"RUN_NOT_TERMINAL"}))
    begins = kept(state.log, operation.run_id, sent.step, completed=state.status == "completed")
    if begins is None:
        return Refused(frozenset({"STEP_NOT_FOUND"}))
    made = operation.answer.made if operation.answer is not None else None
    forks = dict(state.forks)
    others = {run_id for key, run_id in forks.items() if key != sent.label}
    if made is not None and (made in others or forks.get(sent.label) not in (None, made)):
        return None
    forks[sent.label] = made or forks.get(sent.label)
    answer = Answer(made=made, appended=len(begins), log=begins[-1:])
    return Done(state._replace(forks=frozenset(forks.items())), answer)


def _fork(state: State, operation: Operation, sent: Sent) -> Done:
    """The retry as its new run sees it: it begins with the log `labels`."""
    if state.status != "absent":
        return Done(state, Answer())
    begun = state._replace(status="pending", log=sent.labels, pinned=sent.pinned, budget=sent.budget)
    return Done(begun, Answer())


def _forks(state: State, operation: Operation, sent: Sent) -> Done:
    return Done(state, Answer(log=tuple(sorted(key for key, _ in state.forks))))


def _store(state: State, operation: Operation, sent: Sent) -> Done:
    """An event as the bus sees it: it is published once, and starts one run if it matches the trigger."""
    assert sent.label is not None
    if sent.label in state.passed:
        return Done(state, Answer(accepted=True))
    started = (sent.label,) if sent.match == TRIGGERED else ()
    published = state._replace(passed=state.passed | {sent.label}, log=state.log + started)
    return Done(published, Answer(accepted=False))


def _started(state: State, operation: Operation, sent: Sent) -> Done:
    return Done(state, Answer(log=tuple(sorted(state.log))))


def _spent(state: State, operation: Operation, sent: Sent) -> Done | Refused:
    """What the run's budget has counted. A run without one counts nothing."""
    if state.status == "absent":
        return _MISSING
    return Done(state, Answer(appended=reports(state.log) if state.budget is not None else 0))


_RULES = {
    "create": _create,
    "claim": _claim,
    "heartbeat": _heartbeat,
    "release": _release,
    "append": _append,
    "complete": _complete,
    "signal": _signal,
    "wait": _wait,
    "compensate": _compensate,
    "children": _children,
    "cancel": _cancel,
    "get": _get,
    "events": _events,
    "publish": _publish,
    "spent": _spent,
    "retry": _retry,
    "fork": _fork,
    "forks": _forks,
    "store": _store,
    "started": _started,
}

__all__ = ["ABSENT", "SLACK_S", "RunSnapshot", "State", "effectless", "steps"]
