"""A fake server for durable handlers: one run with its log, its wait and its children. It records all calls.

Time passes only while the run waits. `crash` maps the number of a call to "before" or "after": the worker dies before
the call has its effect, or after the effect and before the answer.
"""

import asyncio
import functools
from datetime import UTC, datetime, timedelta

import msgspec

from runstead.sdk.durable.attempt import Attempt
from runstead.sdk.durable.context import Context, LeaseLostError
from runstead.sdk.durable.suspension import Parked
from runstead.sdk.errors import RunsteadError
from runstead.sdk.models.event import EventPage
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.resources import Calls

NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
PAGE = 500


async def no_sleep(_seconds):
    await asyncio.sleep(0)


def members(run_id, status="running", **more):
    return {
        "run_id": run_id,
        "kind": "task",
        "status": status,
        "owner": {"kind": "project", "id": "p"},
        "root_run_id": "r",
        "created_at": NOON,
        "updated_at": NOON,
        **more,
    }


class CallRecorder:
    def __init__(self, app, *, crash=lambda _number: None, config=None, target="task:t"):
        self.app, self.crash, self.now = app, crash, NOON
        self.config, self.target = config, target
        self.events = []  # (type, payload, at)
        self.children = {}  # id → {"status": …, …}
        self.created = []  # bodies of the runs that were created
        self.waiting = None
        self.receipts = set()
        self.calls = self.attempts = self.pages = 0
        self.refuse = lambda _event: None
        self.answers = {}  # call id, question or event name → the result with which the wait is resumed
        self.output = self.error = None

    # For the worker

    async def send_as(self, attempt, call):
        self.calls += 1
        await asyncio.sleep(0)
        when = self.crash(self.calls)
        if when == "before":
            self.die()
        if self.dead.is_set() or attempt != self.attempts:
            raise LeaseLostError("The worker is dead")
        answer = self.perform(call)
        if when == "after":
            self.die()
        if self.dead.is_set():
            raise LeaseLostError("The worker is dead")
        return msgspec.convert(answer, call.answer)

    def die(self):
        self.dead.set()
        self.context.close()

    def perform(self, call):
        body = msgspec.json.decode(call.content() or b"{}")
        match (call.method, call.path.strip("/").split("/")):
            case ("GET", ["runs", "r", "events"]):
                return self.page(dict(call.query), [v for k, v in call.query if k == "event_type"])
            case ("POST", ["runs", "r", "events"]):
                for event in body["events"]:
                    if (refusal := self.refuse(event)) is not None:
                        raise refusal
                self.events += [(event["type"], event, self.now) for event in body["events"]]
                return {"run": members("r"), "latest_event_id": len(self.events), "appended_count": 1}
            case ("POST", ["runs", "r", "wait"]):
                return {"run": members("r", self.wait(body))}
            case ("POST", ["runs"]):
                known = body["public_id"] in self.children
                if not known:
                    self.created.append(body)
                    self.children[body["public_id"]] = {"status": "pending", "parent_run_id": "r"}
                return {"accepted": True, "duplicate": known, "run": members(body["public_id"])}
            case ("GET", ["runs", run_id]):
                if run_id not in self.children:
                    raise RunsteadError("Run not found", 404, "NOT_FOUND")
                return members(run_id, **self.children[run_id])
        raise AssertionError(call)

    def page(self, query, types):
        self.pages += 1
        after = int(query.get("after_event_id", 0))
        found = [
            (number, kind, event, at)
            for number, (kind, event, at) in enumerate(self.events[after:], after + 1)
            if kind in types
        ]
        page = found[:PAGE]
        data = [
            {"event_id": n, "event_type": kind, "payload": event, "created_at": at}
            for n, kind, event, at in page
        ]
        more = str(page[-1][0]) if len(found) > PAGE else None
        return msgspec.convert({"data": data, "page_info": {"next": more}}, EventPage)

    def wait(self, body):
        child = self.children.get(body.get("awaited_run_id"))
        if child is not None and child["status"] in ("completed", "failed", "cancelled"):
            return "running"
        if (body["reason"], body.get("tool_call_id")) in self.receipts:
            return "running"
        self.waiting = body
        return "waiting"

    # While the run waits

    def resume(self, kind, result=None, *, receipt=True, call_id=None, **more):
        call_id, reason = call_id or self.waiting.get("tool_call_id"), self.waiting["reason"]
        if receipt:
            self.receipts.add((reason, call_id))
        value = {"type": kind, "tool_call_id": call_id, "result": result, "is_error": False, **more}
        event = {"type": "CUSTOM", "name": "run.resumed", "value": value}
        self.events.append(("CUSTOM", event, self.now))
        self.waiting = None

    def asked(self):
        """Return the questions and event names of waits, by call id."""
        asked = [event["value"] for _, event, _ in self.events if event.get("name") == "run.asked"]
        return {value["tool_call_id"]: value.get("question") or value.get("event") for value in asked}

    def advance(self):
        """Resume the run: with an answer, with a timer, or with a child's end."""
        wait = self.waiting
        answered = {call_id for _, call_id in self.receipts}
        # A wait without a call id takes an answer to any open call.
        open_calls = [wait["tool_call_id"]] if "tool_call_id" in wait else self.asked().keys() - answered
        for call_id in sorted(open_calls, reverse=True):
            for name in (call_id, self.asked().get(call_id)):
                if name in self.answers:
                    self.resume(wait["reason"], self.answers[name], call_id=call_id)
                    return
        awaits_child = wait.get("awaited_run_id") in self.children
        if wait.get("resume_at") is not None and not (awaits_child and self.attempts % 2):
            self.now = max(self.now, datetime.fromisoformat(wait["resume_at"]))
            self.resume("timer", receipt=False)
            return
        if (child := self.children.get(wait.get("awaited_run_id"))) is not None:
            child.update({"status": "completed", "output": f"of {wait['awaited_run_id'][:4]}"})
            self.resume("run", {"status": "completed"}, receipt=False)
            return
        raise AssertionError(f"no answer for {wait}")

    async def attempt(self):
        """Run one attempt of a worker, and return completed, failed, waiting or crashed."""
        assert self.waiting is None
        self.attempts += 1
        self.dead = asyncio.Event()
        run = ClaimedRun(
            run_id="r",
            status="running",
            attempt=self.attempts,
            project_id="p",
            target=self.target,
            config=self.config,
            latest_event_id=len(self.events),
        )
        self.context = Attempt(run, Calls(), functools.partial(self.send_as, self.attempts), no_sleep)
        handling = asyncio.ensure_future(self._handle(run))
        died = asyncio.ensure_future(self.dead.wait())
        try:
            await asyncio.wait([handling, died], return_when=asyncio.FIRST_COMPLETED)
        finally:
            died.cancel()
            handling.cancel()
            await asyncio.gather(handling, died, return_exceptions=True)
            self.context.close()
        if self.dead.is_set():
            return "waiting" if self.waiting is not None else "crashed"
        error = handling.exception()
        if isinstance(error, Parked):
            return "waiting"
        self.output, self.error = (handling.result(), None) if error is None else (None, error)
        return "completed" if error is None else "failed"

    async def _handle(self, run):
        output = await self.app(run, Context(self.context))
        await self.context.flush()
        return msgspec.to_builtins(output)

    async def work(self, most=1_000):
        """Run attempts until the run has ended."""
        for _ in range(most):
            self.outcome = await self.attempt()
            if self.outcome in ("completed", "failed"):
                return self
            if self.outcome == "waiting":
                self.advance()
        raise AssertionError("it never ends")

    def events_of(self, kind, **having):
        return [
            event
            for event_type, event, _ in self.events
            if event_type == kind and all(event.get(name) == value for name, value in having.items())
        ]

    def later(self, seconds):
        self.now += timedelta(seconds=seconds)
