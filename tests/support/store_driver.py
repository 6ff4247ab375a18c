"""A driver: what the application does with the runs of a store, as tests of every engine give it."""

import itertools
import uuid

import msgspec
import pytest
from msgspec.structs import replace

from runstead.core.batches import batch as batches
from runstead.core.errors import Error, not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.queue.fair_share import FairShare
from runstead.core.queue.push_service import PushService
from runstead.core.runs import transitions
from runstead.core.runs.append import append, digest
from runstead.core.runs.event import PRIVATE_TYPES, NewEvent
from runstead.core.runs.flow import NO_FLOW, keyed, wanted_keys
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.transition import SPENDING, Transition, Want
from runstead.core.runs.transitions import NO_FENCE, Completion
from runstead.core.runs.values import NamedValue, setting_of
from runstead.ports.store import ClaimRequest, RunKey, RunQuery, batches as batch_store

from .steering_driver import SteeringDriver

PROJECT = "11111111-1111-4111-8111-111111111111"


def event(event_type="CUSTOM", *, key=None, **members):
    told = {"type": event_type, **members} | ({} if key is None else {"idempotency_key": key})
    payload = msgspec.json.encode(told)
    sum_of = None if key is None else digest(payload)
    private = event_type in PRIVATE_TYPES
    return NewEvent(event_type, payload, source="caller", private=private, key=key, digest=sum_of)


def setting(name, /, **value):
    """An event that sets progress or a value. Any caller may append it, whatever the fence."""
    made = event(name=name, value=value)
    return replace(made, sets=setting_of(name, made.payload))


def push_service(service_id="service-1", **fields):
    given = {"registrant": f"project:{PROJECT}", "service_name": "scribe", "service_key": service_id}
    given |= {"scope_kind": "project", "project_id": PROJECT, "reach": (PROJECT,)}
    given |= {"base_url": "https://a.test", "invoke_url": "https://a.test/runs"}
    return PushService(id=service_id, **(given | fields))


class StoreDriver(SteeringDriver):
    """What the application does with runs: the rules, bound to their arguments and applied by one store."""

    def __init__(self, store, clock):
        self.store = store
        self.runs = store.runs
        self.clock = clock
        self._names = itertools.count(1)
        self._signals = 0

    def key(self, run_id, project_id=PROJECT):
        return RunKey(project_id, run_id)

    def new_run(self, run_id=None, *, project_id=PROJECT, **fields):
        run_id = run_id or f"run-{next(self._names)}"
        given = {"kind": "task", "status": RunStatus.PENDING, "owner_kind": "project", "owner_id": project_id}
        given |= {"uid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{project_id} {run_id}")), "root_run_id": run_id}
        given |= {"created_at": 0, "updated_at": 0}  # the ids of compensations derive from uid
        return Run(project_id=project_id, run_id=run_id, **(given | fields))

    async def create(self, run_id=None, **options):
        return (await self.created(run_id, **options)).run

    async def created(
        self,
        run_id=None,
        *,
        parent=None,
        message=None,
        idempotency=None,
        flow=NO_FLOW,
        budget=None,
        held=(),
        **fields,
    ):
        """What creating a run wrote. `held`: uids of other runs whose stored contents it lists."""
        new = keyed(self.new_run(run_id, **fields), flow)

        def decide(loaded):
            if loaded.run is not None:
                return Transition(loaded.run, duplicate=True)
            existing = transitions.find_existing(new, flow, loaded)
            if existing is not None:
                return existing
            if loaded.batch is not None:
                batches.admit(loaded.batch)
            made = transitions.create(
                new if flow.debounce is None else transitions.delay(new, flow.debounce, loaded.now),
                now=loaded.now,
                parent=loaded.parent,
                family_cancelled=loaded.family_cancelled,
                message=message,
            )
            made = replace(made, held_contents=held)
            return made if budget is None else replace(made, budget=budget.of(new))

        key = RunKey(new.project_id, new.run_id)
        want = Want(parent_run_id=parent, batch_id=new.batch_id, keys=wanted_keys(flow, new.target))
        return await self.runs.apply(key, decide, want, idempotency)

    async def create_batch(
        self, *run_ids, batch_id=None, project_id=PROJECT, parent=None, idempotency=None, **fields
    ):
        """A batch with new runs of these names."""
        batch_id = batch_id or str(uuid.uuid4())

        def member(run_id):
            new = self.new_run(run_id, project_id=project_id, batch_id=batch_id)

            def decide(loaded):
                if loaded.run is not None:
                    raise Error("RUN_ID_CONFLICT", f"{run_id} is taken")
                return transitions.create(
                    new,
                    now=loaded.now,
                    parent=loaded.parent,
                    family_cancelled=loaded.family_cancelled,
                    message=None,
                )

            return batch_store.Member(RunKey(project_id, run_id), decide, Want(parent_run_id=parent))

        new = batches.Batch(batch_id, project_id, 0, **fields)
        return await self.store.batches.create(new, [member(run_id) for run_id in run_ids], idempotency)

    async def batch(self, batch, project_id=PROJECT):
        return await self.store.batches.get(project_id, batch.id)

    async def call_off(self, batch, reason=None, idempotency=None):
        """Mark it as called off: its runs go on to be cancelled by `cancel_some`."""
        return await self.store.batches.change(
            batch.project_id,
            batch.id,
            lambda to, now: batches.cancel(to, now=now, reason=reason),
            idempotency,
        )

    async def cancel_some(self, batch, limit=256):
        return await self.store.batches.cancel_some(
            batch, limit, lambda run, now: transitions.cancel(run, now=now, reason=batch.cancel_reason)
        )

    async def change(self, run_id, rule, want=None, idempotency=None):
        """`rule(loaded)` decides about a run that must exist."""

        def decide(loaded):
            if loaded.run is None:
                raise not_found("Run")
            return rule(loaded)

        return await self.runs.apply(self.key(run_id), decide, want or Want(), idempotency)

    async def touch(self, run_id, **changes):
        """A write without a meaning of its own."""
        return await self.change(
            run_id, lambda to: Transition(transitions.rewrite(to.run, to.now, **changes))
        )

    async def claim(
        self, worker="worker", *, lease_ms=60_000, project_id=PROJECT, idempotency=None, pins=(), **query
    ):
        """Tokens say whose and which attempt they are: `run-1#2` is the second of run-1."""
        wanted = ClaimRequest(project_id, **({"kinds": ("task",)} | query))

        def decide(run, now):
            token = f"{run.run_id}#{run.attempt + 1}"
            return transitions.claim(
                run,
                now=now,
                worker=worker,
                lease_ms=lease_ms,
                token=token,
                version=wanted.version,
                pinned_targets=pins,
            )

        return await self.runs.claim(wanted, decide, idempotency)

    async def claim_ids(self, **query):
        return [run.run_id for run in await self.claim(**query)]

    async def append(self, run_id, *events, after=None, sequence=None, fence=NO_FENCE, idempotency=None):
        def rule(to):
            return append(
                to.run,
                now=to.now,
                events=events,
                expected_previous_event_id=after,
                expected_sequence=sequence,
                tail=to.tail,
                fence=fence,
                keys=to.event_keys,
                value_names=to.value_names,
            )

        keys = tuple(one.key for one in events if one.key is not None)
        names = any(isinstance(one.sets, NamedValue) for one in events)
        want = Want(expected_previous_event_id=after, event_keys=keys, value_names=names)
        return await self.change(run_id, rule, want, idempotency)

    async def report(self, run_id, tokens=0, *, provider="acme", model="m", fence=NO_FENCE, call=None):
        """Usage of one call of a model, as its worker reports it. With `call` a repeat of it counts once."""
        usage = {"provider": provider, "model": model, "inputTokens": tokens, "outputTokens": 0}
        made = event(name="run.usage", value=usage, key=call)
        given = replace(made, sets=setting_of("run.usage", made.payload))

        def rule(to):
            appended = append(
                to.run,
                now=to.now,
                events=(given,),
                expected_previous_event_id=None,
                expected_sequence=None,
                tail=(),
                fence=fence,
                keys=to.event_keys,
            )
            return transitions.counted(appended, to.spending)

        keys = () if call is None else (call,)
        return await self.change(run_id, rule, Want(event_keys=keys, spends=True))

    async def answer_budget(self, run_id, result=True, *, may_raise=True):
        def rule(to):
            return transitions.answer_budget(
                to.run,
                now=to.now,
                tool_call_id=to.run.waiting_tool_call_id or "budget:x",
                answer=transitions.answer_of(result),
                result=result,
                spending=to.spending,
                may_raise=may_raise,
            )

        return await self.change(run_id, rule, SPENDING)

    async def pause(self, run_id):
        return await self.change(run_id, lambda to: transitions.pause(to.run, now=to.now))

    async def delete(self, run_id):
        return await self.change(run_id, lambda to: transitions.delete(to.run))

    async def family(self, run_id, after=0, *, step=1_000, **options):
        """[(run_id, event_id, position)] of a run and all below it, read page by page; and where the log ends."""
        run = await self.row(run_id)
        found = []
        while True:
            page = await self.runs.family_events(run, after, step, **options)
            found += [(one.run_id, one.event.event_id, one.position) for one in page.events]
            after = page.reached
            if not page.more:
                return found, after

    async def start(self, run_id, snapshot=b"{}"):
        return await self.change(run_id, lambda to: transitions.start(to.run, now=to.now, snapshot=snapshot))

    async def dispatch(self, limit=10, busy=(), *, reached=True, after="", **share):
        """Every run that is due goes to its own service; tokens are those of claims."""

        def decide(run, now, services):
            token = f"{run.run_id}#{run.attempt + 1}"
            service = push_service(run.push_service_id) if reached else None
            return transitions.dispatch(run, now=now, service=service, token=token, dice=0.5)

        return await self.runs.dispatch(FairShare(limit, busy=busy, **share), decide, after)

    async def answered(self, run_id, token, reason=None, **how):
        """What became of a dispatch; without a reason it was delivered."""

        def rule(to):
            if reason is None:
                return transitions.dispatched(to.run, now=to.now, token=token)
            return transitions.undelivered(to.run, now=to.now, token=token, reason=reason, dice=0.5, **how)

        return await self.change(run_id, rule)

    async def stopped_by_service(self, run_id):
        return await self.change(run_id, lambda to: transitions.stopped_by_service(to.run, now=to.now))

    async def renew(self, run_id, *, lease_ms=None, worker=None, fence=NO_FENCE):
        return await self.change(
            run_id,
            lambda to: transitions.renew(to.run, now=to.now, lease_ms=lease_ms, worker=worker, fence=fence),
        )

    async def release(
        self, run_id, *, worker=None, fence=NO_FENCE, error=None, retry_after_ms=None, dice=0.5
    ):
        def rule(to):
            return transitions.release(
                to.run,
                now=to.now,
                worker=worker,
                fence=fence,
                error=error,
                retry_after_ms=retry_after_ms,
                dice=dice,
            )

        return await self.change(run_id, rule)

    async def complete(self, run_id, status="completed", *, fence=NO_FENCE, idempotency=None, **members):
        completion = Completion(status=status, **members)
        return await self.change(
            run_id,
            lambda to: transitions.counted_at_end(
                transitions.complete(to.run, now=to.now, completion=completion, fence=fence),
                completion.metadata,
                to.spending,
            ),
            SPENDING,
            idempotency,
        )

    async def cancel(self, run_id, reason=None, *, idempotency=None):
        return await self.change(
            run_id, lambda to: transitions.cancel(to.run, now=to.now, reason=reason), idempotency=idempotency
        )

    async def enforce_deadlines(self, limit=100, *, dice=0.5):
        return await self.runs.enforce_deadlines(
            limit, lambda run, now: transitions.enforce_deadlines(run, now=now, dice=dice)
        )

    async def row(self, run_id, project_id=PROJECT):
        return await self.runs.get(self.key(run_id, project_id))

    async def rows(self):
        """Every run of the project, oldest first."""
        return ((await self.runs.page(RunQuery((PROJECT,), limit=1_000))).rows)[::-1]

    async def log(self, run_id):
        """Every public event of a run."""
        run = await self.row(run_id)
        return await self.runs.events(run.seq, 0, 1_000_000)

    async def whole_log(self, run_id):
        """Every event of a run, private ones too, read as rules read them."""
        found, after = [], 0
        while True:
            seen = []

            def look(to, seen=seen):
                seen.extend(to.tail)
                return Transition(to.run)

            await self.change(run_id, look, Want(expected_previous_event_id=after))
            if not seen:
                return found
            found += seen
            after += len(seen)


def idempotent(key="key-1", *, digest=b"request", owner="user:1", render=None):
    """An idempotency key; its answer tells which result it was made of."""
    return IdempotencyRecord(owner, key, digest, render or (lambda result: (202, repr(result).encode())))


async def refusal(coroutine):
    """The code with which a command is refused."""
    with pytest.raises(Error) as caught:
        await coroutine
    return caught.value.code
