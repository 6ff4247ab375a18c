"""Applies rules to one run in order, with the same guards as an engine."""

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.conversations.input_request import InputRequest, InputResponse
from runstead.core.queue.push_service import PushService
from runstead.core.runs import append as rules, transitions
from runstead.core.runs.event import PRIVATE_TYPES, Event, NewEvent
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.transition import Receipt
from runstead.core.runs.transitions import MOVES, NO_FENCE, Completion, Fence
from runstead.core.runs.write_set import write_set

NOON = 1_774_008_000_000
PROJECT = "11111111-1111-4111-8111-111111111111"
MINUTE = 60_000
ANY = transitions.IfMatch(any=True)


SERVICE = PushService(
    id="service-1",
    registrant="project:p",
    service_name="scribe",
    service_key="scribe-1",
    scope_kind="project",
    base_url="https://a.test",
    invoke_url="https://a.test/runs",
    reach=(PROJECT,),
    project_id=PROJECT,
    last_heartbeat_at=NOON,
)


def new_run(run_id="run_1", **fields):
    defaults = {"kind": "task", "status": RunStatus.PENDING, "owner_kind": "project", "owner_id": PROJECT}
    defaults |= {"uid": run_id, "root_run_id": "", "created_at": 0, "updated_at": 0, "target": "task:sums"}
    return Run(project_id=PROJECT, run_id=run_id, **(defaults | fields))


def event(event_type="CUSTOM", *, key=None, **members):
    body = {"type": event_type, **members} | ({} if key is None else {"idempotency_key": key})
    payload = msgspec.json.encode(body)
    digest = None if key is None else rules.digest(payload)
    private = event_type in PRIVATE_TYPES
    return NewEvent(event_type, payload, source="caller", private=private, key=key, digest=digest)


def stored(number, new, sequence=0):
    return Event(number, new.type, new.payload, NOON, new.source, new.private, new.is_error, sequence)


class RunBuilder:
    """`run` is the current row, `log` its stored events, `ended` the attempts that ended without a completion."""

    def __init__(self, *, seq=1, parent=None, family_cancelled=False, **fields):
        self.now = NOON
        self.log = []
        self.ended = []
        self.receipts = {}
        self.inputs = {}  # id → current input request
        self.keys = {}
        self.values = {}
        self.states = []
        self.fences = []
        self.writes = []  # the write set of every transition
        created = transitions.create(
            new_run(**fields), now=NOON, parent=parent, family_cancelled=family_cancelled, message=None
        )
        self.last = created
        self.writes.append(write_set(None, created, NOON, seq))
        self.run = self.writes[0].run
        self.states.append(self.run.status)

    def later(self, ms):
        self.now += ms
        return self

    @property
    def types(self):
        return [event.type for event in self.log]

    @property
    def error(self):
        return None if self.run.error is None else msgspec.json.decode(self.run.error)

    def payload(self, index=-1):
        return msgspec.json.decode(self.log[index].payload)

    def take(self, transition):
        """Write the transition, as an engine would."""
        self.last = transition
        old, write = self.run, write_set(self.run, transition, self.now)
        self.writes.append(write)
        if write.unchanged:
            assert not transition.events
            return transition
        new = write.run
        assert new.version == old.version + 1
        if new.status is not old.status:
            assert new.status in MOVES[old.status], f"{old.status} became {new.status}"
            self.states.append(new.status)
        self.log += write.events
        for name in write.event_keys:
            assert name.key not in self.keys
            self.keys[name.key] = name.digest
        self.values |= {value.name: value for value in write.values}
        if write.ended_attempt is not None:
            self.ended.append(write.ended_attempt)
        if write.receipt is not None:
            self.receipts[write.receipt.key] = write.receipt
        if (request := write.opened_input) is not None:
            self.inputs[request.id] = replace(request, seq=len(self.inputs) + 1)
        if (closed := write.closed_input) is not None:
            self.inputs[closed.id] = closed.applied(self.inputs[closed.id])
        self.run = new
        return transition

    def claim(self, worker="ann", lease_ms=MINUTE):
        """Claim the run. Returns the fence of the attempt."""
        token = f"token-{self.run.attempt + 1}"
        self.take(transitions.claim(self.run, now=self.now, worker=worker, lease_ms=lease_ms, token=token))
        self.fences.append(Fence(self.run.attempt, token))
        return self.fences[-1]

    def dispatch(self, *, reached=True, dice=0.5):
        """Dispatch the run. Returns the fence of the attempt, None without a service."""
        token = f"token-{self.run.attempt + 1}"
        service = SERVICE if reached else None
        self.take(transitions.dispatch(self.run, now=self.now, service=service, token=token, dice=dice))
        if not reached:
            return None
        self.fences.append(Fence(self.run.attempt, token))
        return self.fences[-1]

    def dispatched(self, token):
        return self.take(transitions.dispatched(self.run, now=self.now, token=token))

    def undelivered(self, token, *, dice=0.5, **how):
        return self.take(
            transitions.undelivered(
                self.run, now=self.now, reason="It answered 500", dice=dice, token=token, **how
            )
        )

    def stopped_by_service(self):
        return self.take(transitions.stopped_by_service(self.run, now=self.now))

    @property
    def claimable(self):
        return transitions.claimable(self.run, self.now)

    def renew(self, *, lease_ms=None, worker=None, fence=NO_FENCE):
        return self.take(
            transitions.renew(self.run, now=self.now, lease_ms=lease_ms, worker=worker, fence=fence)
        )

    def release(self, *, worker=None, fence=NO_FENCE, error=None, retry_after_ms=None, dice=0.5):
        return self.take(
            transitions.release(
                self.run,
                now=self.now,
                worker=worker,
                fence=fence,
                error=error,
                retry_after_ms=retry_after_ms,
                dice=dice,
            )
        )

    def start(self, snapshot=b"{}"):
        return self.take(transitions.start(self.run, now=self.now, snapshot=snapshot))

    def wait(
        self,
        reason="tool",
        *,
        call="call_1",
        resume_at=None,
        expires_at=None,
        fence=NO_FENCE,
        child=None,
        approvals=(),
        release=False,
    ):
        return self.take(
            transitions.wait(
                self.run,
                now=self.now,
                reason=reason,
                tool_call_id=call,
                tool_name="search" if call else None,
                resume_at=resume_at,
                expires_at=expires_at,
                fence=fence,
                awaited_run_id=child,
                approvals=approvals,
                release=release,
            )
        )

    def resume(self, result="done", *, kind="tool_result", call="call_1", is_error=False):
        digest = msgspec.json.encode([kind, result, is_error])
        receipt = None if call is None else Receipt(call, digest)
        return self.take(
            transitions.resume(
                self.run,
                now=self.now,
                kind=kind,
                tool_call_id=call,
                result=result,
                is_error=is_error,
                receipt=receipt,
                earlier=self.receipts.get(call),
            )
        )

    def ask(self, call="call_1", *, title="Who?", expires_at=None, fence=NO_FENCE):
        """Request input with a form."""
        known = next((one for one in self.inputs.values() if one.tool_call_id == call), None)
        request = InputRequest(
            id=f"input_{len(self.inputs) + 1}",
            conversation_id="conversation_1",
            run_seq=self.run.seq,
            run_id=self.run.run_id,
            tool_call_id=call,
            requested_responder_type="human",
            title=title,
            fields=b"[]",
            created_at=0,
            salt=b"salt",
            expires_at=expires_at,
        )
        earlier = self.receipts.get(f"input:{call}")
        return self.take(
            transitions.ask_input(
                self.run, now=self.now, request=request, known=known, earlier=earlier, fence=fence
            )
        )

    def respond(self, request_id="input_1", values=b'{"name":"Ada"}'):
        response = InputResponse("response_1", "user", "ada", values, b"[]", values, 0)
        request = self.inputs[request_id]
        return self.take(transitions.respond(self.run, now=self.now, request=request, response=response))

    def cancel_input(self, request_id="input_1"):
        request = self.inputs[request_id]
        return self.take(transitions.cancel_input(self.run, now=self.now, request=request))

    def append(self, *events, after=None, sequence=None, fence=NO_FENCE):
        tail = () if after is None else self.log[after : after + limits.events_per_append_max]
        return self.take(
            rules.append(
                self.run,
                now=self.now,
                events=events,
                expected_previous_event_id=after,
                expected_sequence=sequence,
                tail=tuple(tail),
                fence=fence,
                keys={one.key: self.keys[one.key] for one in events if one.key in self.keys},
                value_names=frozenset(self.values),
            )
        )

    def pause(self):
        return self.take(transitions.pause(self.run, now=self.now))

    def unpause(self):
        return self.resume(None, kind="unpause", call=None)

    def rename(self, if_match=ANY, **names):
        return self.take(transitions.rename(self.run, now=self.now, names=names, if_match=if_match))

    def complete(self, status="completed", *, fence=NO_FENCE, **members):
        completion = Completion(status=status, **members)
        return self.take(transitions.complete(self.run, now=self.now, completion=completion, fence=fence))

    def cancel(self, reason=None):
        return self.take(transitions.cancel(self.run, now=self.now, reason=reason))

    def enforce_deadlines(self, dice=0.5):
        return self.take(transitions.enforce_deadlines(self.run, now=self.now, dice=dice))
