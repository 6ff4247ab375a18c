"""A run as one client at a time would see it, written from the documentation alone: the checker's second opinion.

It knows nothing of the program's state machine. What it leaves open, because the documentation does: which of several
good reasons a refusal names, and when exactly a lease that is over is taken away.
"""

from collections.abc import Iterator
from typing import NamedTuple

from .history import Operation, Seen, Sent, Told

#: For clocks that are not read at the same instant, and cut to milliseconds.
SLACK_S = 0.1
ATTEMPTS_LOST_MAX = 3
TERMINAL = frozenset({"completed", "failed", "cancelled"})


class State(NamedTuple):
    """`held`: the current attempt's proof is still good. `lease_until` is the earliest time at which its lease may be
    over, `ready_at` that at which the run may be claimed, `floor` that of the last lost lease: nothing after it in the
    order can have been answered before it. `completed_at` is bound by the first answer that shows it.
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

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL


ABSENT = State()


class Refused(NamedTuple):
    """No effect; the codes that may be the reason."""

    codes: frozenset[str]


class Done(NamedTuple):
    """The state afterwards, and what the answer must say."""

    state: State
    told: Told


def steps(state: State, operation: Operation) -> Iterator[State]:
    """The states in which the run may be once the operation has taken effect here with the answer that it got.

    Before it the lease may have been lost: whoever tells the difference comes after that.
    """
    for before in (state, _expired(state)):
        if before is not None and operation.completed + SLACK_S >= before.floor:
            after = _step(before, operation)
            if after is not None:
                yield after


def effectless(operation: Operation) -> bool:
    """Whether it changes nothing whenever it takes effect: a read, or a refusal."""
    return operation.kind in {"get", "events"} or operation.refused is not None


def _step(state: State, operation: Operation) -> State | None:
    verdict = _RULES[operation.kind](state, operation, operation.sent)
    if verdict is None:
        return None
    if isinstance(verdict, Refused):
        return state if operation.refused in verdict.codes else None
    if operation.refused is not None:
        return None
    after, told = verdict
    if operation.told is None:
        return after if after != state else None  # without an effect it need not have happened
    return _agreeing(after, told, operation.told)


def _agreeing(state: State, expected: Told, told: Told) -> State | None:
    """The state, where the answer tells what it should. The first answer with the time of the end binds it."""
    if (expected.accepted, expected.appended, expected.log) != (told.accepted, told.appended, told.log):
        return None
    seen = told.seen
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
    """The server takes the lease away."""
    if state.status != "running" or not state.held:
        return None
    return _lose(state._replace(floor=state.lease_until), state.lease_until, "LEASE_EXPIRED", None)


def _lose(state: State, at: float, code: str, retry_after_s: float | None) -> State:
    """1 s, doubling; jitter takes at most half of it."""
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
    """Whether it carries the proof of an attempt that is not the current one any more."""
    if sent.attempt is None and sent.token is None:
        return False
    return (
        not state.held
        or (sent.attempt is not None and sent.attempt != state.attempt)
        or (sent.token is not None and sent.token != state.token)
    )


def _create(state: State, operation: Operation, sent: Sent) -> Done:
    if state.status == "absent":
        return Done(state._replace(status="pending"), Told(accepted=False))
    return Done(state, Told(accepted=True))


def _claim(state: State, operation: Operation, sent: Sent) -> Done | None:
    if state.status != "pending" or operation.completed + SLACK_S < state.ready_at:
        return None
    taken = state._replace(
        status="running",
        attempt=state.attempt + 1,
        held=True,
        token=None if operation.told is None else operation.told.token,
        owner=sent.worker,
        lease_until=max(operation.invoked, state.floor) + sent.lease_s - SLACK_S,
    )
    return Done(taken, Told())


def _heartbeat(state: State, operation: Operation, sent: Sent) -> Done | Refused:
    if state.status == "absent":
        return _MISSING
    if state.terminal or _fenced_off(state, sent):
        return Refused(frozenset({"ATTEMPT_SUPERSEDED"}))
    until = max(operation.invoked, state.floor) + sent.lease_s - SLACK_S
    return Done(state._replace(lease_until=until), Told())


def _release(state: State, operation: Operation, sent: Sent) -> Done | Refused:
    if state.status == "absent":
        return _MISSING
    if _fenced_off(state, sent) or not state.held or sent.worker != state.owner:
        return Refused(frozenset({"ATTEMPT_SUPERSEDED"}))
    if state.terminal:
        return Done(state, Told())
    at = max(operation.invoked, state.floor)
    return Done(_lose(state, at, "ATTEMPTS_EXHAUSTED", sent.retry_after_s), Told())


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
            return Refused(frozenset(codes)) if codes else Done(state, Told(appended=0))
        if sent.after > len(state.log) or common < len(stored):
            codes.add("EVENT_CURSOR_MISMATCH")
        new = new[common:]
    if state.terminal:
        codes.add("EVENT_RUN_TERMINAL")
    if codes:
        return Refused(frozenset(codes))
    return Done(state._replace(log=state.log + new), Told(appended=len(new)))


def _complete(state: State, operation: Operation, sent: Sent) -> Done | Refused:
    if state.status == "absent":
        return _MISSING
    if _fenced_off(state, sent):
        return Refused(frozenset({"ATTEMPT_SUPERSEDED"}))
    if state.terminal:
        return Done(state, Told(accepted=state.status == sent.status))
    assert sent.status is not None
    error = "PLANNED" if sent.status == "failed" else None
    return Done(_end(state, sent.status, error, sent.label), Told(accepted=True))


def _cancel(state: State, operation: Operation, sent: Sent) -> Done | Refused:
    if state.status == "absent":
        return _MISSING
    if state.terminal:
        return Done(state, Told(accepted=False))
    return Done(_end(state, "cancelled", "CANCELLED"), Told(accepted=True))


def _get(state: State, operation: Operation, sent: Sent) -> Done | Refused:
    return _MISSING if state.status == "absent" else Done(state, Told())


def _events(state: State, operation: Operation, sent: Sent) -> Done | Refused:
    return _MISSING if state.status == "absent" else Done(state, Told(log=state.log))


_RULES = {
    "create": _create,
    "claim": _claim,
    "heartbeat": _heartbeat,
    "release": _release,
    "append": _append,
    "complete": _complete,
    "cancel": _cancel,
    "get": _get,
    "events": _events,
}

__all__ = ["ABSENT", "SLACK_S", "Seen", "State", "effectless", "steps"]
