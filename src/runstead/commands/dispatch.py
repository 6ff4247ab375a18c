"""Dispatch runs to push services, and stop cancelled runs there (contract A7). Called by a loop."""

import asyncio
import re
import secrets
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote

import msgspec
import structlog

from runstead.commands.app import App
from runstead.commands.runs import apply_at, dice
from runstead.core import limits, trace_context
from runstead.core.errors import Error
from runstead.core.identity.issuer import Issuer
from runstead.core.identity.project import Project
from runstead.core.queue.fair_share import FairShare
from runstead.core.queue.push_service import PushService, choose
from runstead.core.runs import transitions
from runstead.core.runs.run import AgentDetails, Run, RunStatus
from runstead.core.runs.transition import Loaded, Transition
from runstead.ports import run_metrics
from runstead.ports.store import RunKey
from runstead.security.egress import Answer, EgressError

log = structlog.get_logger(__name__)
Outcome = Literal["delivered", "retried", "failed"]

#: The run ids that published services accept.
_RUN_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_tool_call_id_chars_max: Final = 256


async def take(app: App, share: FairShare, after: str = "") -> list[Run]:
    """Begin the dispatch of due runs. Returns the runs to send.

    Projects take turns, beginning with the one after the project id `after`.
    """
    available_at: dict[int, int] = {}

    def decide(run: Run, now: int, services: Sequence[PushService]) -> Transition:
        available_at[run.seq] = run.available_at or now
        return transitions.dispatch(
            run, now=now, service=_service_for(run, services), token=secrets.token_hex(16), dice=dice()
        )

    found = await app.store.runs.dispatch(share, decide, after)
    run_metrics.count_claims((run for run in found if run.status is RunStatus.RUNNING), available_at)
    app.publish_runs(found)
    return found


def _service_for(run: Run, services: Sequence[PushService]) -> PushService | None:
    """Choose the service of a run. An active service that has the run already is kept."""
    for service in services:
        if service.id == run.push_service_id and service.active:
            return service
    return choose(services, _details(run).agent_id)


def _details(run: Run) -> AgentDetails:
    return msgspec.json.decode(run.agent or b"{}", type=AgentDetails)


async def deliver(app: App, run: Run) -> Outcome:
    """Send a run that `take` returned, and store the outcome."""
    assert run.lease_token is not None
    try:
        verdict = judge(await _call(app, run, "POST", limits.dispatch_s_max))
    except EgressError as error:
        verdict = Verdict(f"The push service was not reached: {error}")
    except Error as error:  # from the store: the lease expires, and the run is sent again
        log.warning("dispatch is delayed", run_id=run.run_id, code=error.code)
        return "retried"
    except Exception:
        log.exception("dispatch failed", run_id=run.run_id)
        verdict = Verdict("The call to the push service failed in the server; the server logged the reason")
    token = run.lease_token

    def rule(run: Run, loaded: Loaded) -> Transition:
        if verdict.reason is None:
            return transitions.dispatched(run, now=loaded.now, token=token)
        return transitions.undelivered(
            run,
            now=loaded.now,
            reason=verdict.reason,
            dice=dice(),
            token=token,
            final=verdict.final,
            retry_after_ms=verdict.retry_after_ms,
        )

    written = await apply_at(app, RunKey(run.project_id, run.run_id), rule)
    await _record(app, run, verdict.reason)
    if verdict.reason is None:
        if written.run.cancel_stopped_at is not None:
            # The run was cancelled meanwhile, and the service got the stop before the run.
            await stop(app, run)
        return "delivered"
    log.warning(
        "a run was not dispatched", run_id=run.run_id, service=run.push_service_id, reason=verdict.reason
    )
    return "failed" if written.run.terminal else "retried"


class Verdict(NamedTuple):
    """The meaning of an answer. `reason` None: delivered. `final`: a retry cannot succeed."""

    reason: str | None
    final: bool = False
    retry_after_ms: int | None = None


class _Accepted(msgspec.Struct):
    accepted: bool = False
    duplicate: bool = False


def judge(answer: Answer) -> Verdict:
    """Interpret a service's answer to a dispatch."""
    status = answer.status
    if status == 202:
        try:
            body = msgspec.json.decode(answer.body, type=_Accepted)
        except (msgspec.DecodeError, RecursionError):
            return Verdict("The push service answered 202 without {accepted, duplicate}")
        if body.accepted or body.duplicate:
            return Verdict(None)
        return Verdict("The push service answered 202 and did not accept the run")
    final = 400 <= status < 500 and status not in (408, 429)
    header, retry_after_ms = answer.headers.get("retry-after", ""), None
    if not final and re.fullmatch("[0-9]{1,9}", header):
        retry_after_ms = min(int(header), limits.dispatch_retry_after_s_max) * 1000
    return Verdict(f"The push service answered {status}", final, retry_after_ms)


async def stop(app: App, run: Run) -> bool:
    """Ask the push service to stop a cancelled run, with retries, and store the end.

    Returns whether it answered.
    """
    stopped = False
    for number in range(limits.stop_tries_max):
        if number:
            await asyncio.sleep(2 ** (number - 1) * (0.5 + dice() / 2))
        try:
            answer = await _call(app, run, "DELETE", limits.stop_s_max)
        except EgressError as error:
            reason = str(error)
        else:
            # A service that does not know the run does not execute it.
            stopped = answer.status // 100 == 2 or answer.status in (404, 410)
            reason = f"it answered {answer.status}"
        if stopped:
            break
    else:
        log.warning(
            "a push service did not confirm that a run stopped",
            run_id=run.run_id,
            service=run.push_service_id,
            tries=limits.stop_tries_max,
            reason=reason,
        )
    await _record(app, run, None if stopped else f"The push service did not confirm a stop: {reason}")

    await apply_at(
        app,
        RunKey(run.project_id, run.run_id),
        lambda run, loaded: transitions.stopped_by_service(run, now=loaded.now),
    )
    return stopped


async def _record(app: App, run: Run, error: str | None) -> None:
    """Record the outcome of a call at its service, for people: not of every call, and an error of the store is logged."""
    assert run.push_service_id is not None
    if not app.recorded_calls.take((run.push_service_id, error is None)):
        return
    try:
        await app.store.push_services.record_call(
            run.push_service_id, run.run_id, error and error[: limits.error_message_chars_max]
        )
    except Error as trouble:
        log.warning("the outcome of a call was not recorded", run_id=run.run_id, code=trouble.code)


async def cancelled(app: App, share: FairShare) -> list[Run]:
    """Return cancelled runs that their push services must stop."""
    return await app.store.runs.cancelled_pushes(share)


async def _call(app: App, run: Run, method: Literal["POST", "DELETE"], total_s: float) -> Answer:
    assert run.push_service_id is not None
    service = await app.store.push_services.get(run.push_service_id)
    if service is None:
        raise EgressError("the push service is not registered")
    project = await app.store.identity.project(run.project_id)
    details = _details(run)
    body = msgspec.json.encode(invocation(run, details, project)) if method == "POST" else b""
    url = service.invoke_url if method == "POST" else stop_url(service.invoke_url, run.run_id)
    claims = {
        "user_id": details.requested_by_user_id or run.created_by or service.id,
        "service_id": service.id,
        "issuer": str(Issuer("push_service", service.id)),
        "project_id": run.project_id,
        "run_id": run.run_id,
    }
    signature = await app.keyring.signature(
        method=method,
        path=app.egress.check(url).raw_path.decode("ascii").partition("?")[0],
        body=body,
        audience=run.project_id if project is None else project.slug,
        project_id=run.project_id,
        run_id=run.run_id,
    )
    headers = {
        "content-type": "application/json",
        "authorization": f"Bearer {await app.keyring.service_token(**claims)}",
        "x-veryfront-run-event-token": await app.keyring.run_event_token(**claims),
        "x-veryfront-control-plane-jws": signature,
    }
    traceparent, tracestate = trace_context.split(run.trace_context)
    headers |= {"traceparent": traceparent} if traceparent else {}
    headers |= {"tracestate": tracestate} if tracestate else {}
    return await app.egress.send(
        method,
        url,
        headers=headers,
        body=body,
        total_s=total_s,
        answer_bytes_max=limits.dispatch_answer_bytes_max,
    )


def stop_url(invoke_url: str, run_id: str) -> str:
    """Return `{invoke_url}/{run_id}`, with the query of `invoke_url`."""
    path, mark, query = invoke_url.partition("?")
    return f"{path.rstrip('/')}/{quote(run_id, safe='')}{mark}{query}"


def invocation(run: Run, details: AgentDetails, project: Project | None) -> dict[str, Any]:
    """Build the body of a dispatch.

    Published services refuse unknown members in `context` and `durableRootRun`, and optional nulls.
    """
    snapshot: Any = msgspec.json.decode(run.request_snapshot or b"{}")
    payload: dict[str, Any] = snapshot if isinstance(snapshot, dict) else {}
    of_payload = payload.get("context")
    context: dict[str, Any] = of_payload if isinstance(of_payload, dict) else {}
    personal = project is not None and project.personal_of is not None
    environment = context.get("environment_context", context.get("environmentContext"))
    branch = run.runtime_target_branch_id or context.get("branch_id", context.get("branchId"))
    root: dict[str, Any] = {
        "runId": run.run_id,
        "messageId": details.message_id,
        "latestEventId": run.latest_event_id,
        "latestExternalEventSequence": run.latest_external_event_sequence,
    }
    if details.parent_conversation_id is not None:
        root["parentConversationId"] = details.parent_conversation_id
    if run.parent_run_id is not None and _RUN_ID.fullmatch(run.parent_run_id):
        root["parentRunId"] = run.parent_run_id
    call_id = details.spawned_from_tool_call_id
    if call_id and len(call_id) <= _tool_call_id_chars_max:
        root["spawnedFromToolCallId"] = call_id
    body: dict[str, Any] = {
        "messages": payload["messages"] if isinstance(payload.get("messages"), list) else [],
        "context": {
            "conversationId": run.conversation_id,
            "projectId": None if personal else run.project_id,
            "branchId": branch if isinstance(branch, str) else None,
            **({} if personal or project is None else {"projectSlug": project.slug}),
            **({"environmentContext": environment} if isinstance(environment, str) else {}),
        },
        "durableRootRun": root,
        "agentId": details.agent_id,
        "attempt": run.attempt,
    }
    for name, alternative, expected in _PASSED_THROUGH:
        value = payload.get(alternative, payload.get(name))
        if isinstance(value, expected):
            body[name] = value
    return body


#: Members of the start payload that are passed on: (name, alternative name, type).
_PASSED_THROUGH: Final[tuple[tuple[str, str, type], ...]] = (
    ("tools", "tools", list),
    ("forwardedProps", "forwarded_props", dict),
    ("model", "model", str),
    ("allowDelegation", "allow_delegation", bool),
    ("runtimeOverrides", "runtime_overrides", dict),
)
