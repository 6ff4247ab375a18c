"""Triggers: URLs that start runs.

Managing them needs the scope admin; a call needs only the trigger's token.
"""

import hashlib
import hmac
import re
import time
import uuid
from collections.abc import Callable
from typing import Final

import msgspec

from runstead.commands import locate
from runstead.commands.access import Access, needs
from runstead.commands.app import App
from runstead.commands.count_guard import at_most
from runstead.commands.whole_lists import whole_list
from runstead.core import limits, trace_context
from runstead.core.clock import now_ms
from runstead.core.errors import Error, UnknownCredentialError, existing, invalid_at, not_found
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Principal, Scope
from runstead.core.identity.tenant import tenant
from runstead.core.runs import transitions
from runstead.core.runs.event_match import check_match
from runstead.core.runs.flow import NO_FLOW, Flow, no_key_for_agents, wanted_keys
from runstead.core.runs.transition import Loaded, Transition, Want
from runstead.core.runs.transitions import TriggerCall
from runstead.core.schedules import trigger as rules
from runstead.core.schedules.trigger import Trigger, TriggerEvent
from runstead.core.secret import TRIGGER_SECRET
from runstead.core.webhooks.webhook import check_secret, signature
from runstead.ports.store import ListPage, RunKey, Written

tolerance_s: Final = 300


class NewTrigger(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger to create. `config` is JSON text.

    With a `secret`, calls must be signed: as Standard Webhooks if it begins with `whsec_`, else as GitHub
    signs. The runs of an agent join the conversation `conversation_id`; without one, each run gets a new
    conversation. Each `event` of the project's bus starts a run, too.
    """

    target: str
    token: str
    name: str | None = None
    config: bytes | None = None
    secret: str | None = None
    conversation_id: str | None = None
    flow: Flow = NO_FLOW
    event: TriggerEvent | None = None


_BOUND: Final = "cannot manage triggers"


@needs(Scope.ADMIN, bound=_BOUND, records="trigger.create")
async def create(access: Access, new: NewTrigger, idempotency: Idempotency = None) -> Trigger:
    """Create a trigger. Raises INVALID_REQUEST, NOT_FOUND (project, conversation), TRIGGER_LIMIT_REACHED."""
    if new.conversation_id is not None and not new.target.startswith("agent:"):
        message = "Only an agent has a conversation: leave conversation_id out"
        raise invalid_at("$.conversation_id", "not for this target", message)
    if new.flow.concurrency_key is not None and new.target.startswith("agent:"):
        raise no_key_for_agents()
    app, project_id = access.app, access.project_id
    await locate.check_conversation(app, access.principal, project_id, new.conversation_id)
    if new.secret is not None and new.secret.startswith("whsec_"):
        check_secret(new.secret)
    event_name, event_match = (None, None) if new.event is None else _checked(new.event).stored
    now = now_ms()
    trigger_id = str(uuid.uuid4())
    trigger = Trigger(
        id=trigger_id,
        project_id=project_id,
        name=new.name or new.target,
        target=new.target,
        token_hash=rules.token_hash(new.token),
        created_at=now,
        updated_at=now,
        created_by=access.user,
        secret=None if new.secret is None else app.secrets.encrypt(TRIGGER_SECRET, trigger_id, new.secret),
        config=new.config,
        conversation_id=new.conversation_id,
        flow=None if new.flow is NO_FLOW else msgspec.json.encode(new.flow),
        event_name=event_name,
        event_match=event_match,
    )
    guard = at_most(limits.triggers_per_project_max, "triggers", "TRIGGER_LIMIT_REACHED")
    return await access.recording.triggers.create(trigger, guard, idempotency)


def _checked(event: TriggerEvent) -> TriggerEvent:
    check_match("$.event.match", event.match)
    return event


@needs(Scope.ADMIN, bound=_BOUND)
async def page(access: Access, after: tuple[int, str] | None = None) -> ListPage[Trigger]:
    """List the project's triggers, oldest first, from the one after (created_at, id) on."""
    return await access.store.triggers.page(access.project_id, limits.triggers_per_project_max, after)


async def with_short_config(app: App, principal: Principal, ref: str) -> list[Trigger]:
    """List all triggers of the project. `config` is None if it is longer than `limits.value_shown_bytes_max`."""
    return await whole_list(lambda after: page(app, principal, ref, after), _shortened)


def _shortened(trigger: Trigger) -> Trigger:
    long = len(trigger.config or b"") > limits.value_shown_bytes_max
    return msgspec.structs.replace(trigger, config=None) if long else trigger


@needs(Scope.ADMIN, bound=_BOUND)
async def get(access: Access, trigger_id: str) -> Trigger:
    """Return a trigger. Raises NOT_FOUND."""
    return existing(await access.store.triggers.get(access.project_id, trigger_id), "Trigger")


@needs(Scope.ADMIN, bound=_BOUND, records="trigger.change")
async def change(
    access: Access,
    trigger_id: str,
    *,
    name: str | None = None,
    enabled: bool | None = None,
    token: str | None = None,
    event: TriggerEvent | None = None,
    idempotency: Idempotency = None,
) -> Trigger:
    """Change the members that are not None. A new token replaces the old one at once. Raises NOT_FOUND,
    INVALID_REQUEST.
    """
    digest = None if token is None else rules.token_hash(token)
    if event is not None:
        _checked(event)

    def decide(trigger: Trigger, now: int) -> Trigger:
        return rules.changed(trigger, now=now, name=name, enabled=enabled, token=digest, event=event)

    return await access.recording.triggers.change(access.project_id, trigger_id, decide, idempotency)


@needs(Scope.ADMIN, bound=_BOUND, records="trigger.delete")
async def delete(access: Access, trigger_id: str) -> None:
    """Delete a trigger. Its runs stay. Raises NOT_FOUND."""
    if not await access.recording.triggers.delete(access.project_id, trigger_id):
        raise not_found("Trigger")


class TriggerRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a trigger. `header` returns a header by its lower-case name.

    `raw` is the body as it was received.
    """

    token: str
    raw: bytes
    header: Callable[[bytes], str | None]
    payload: Callable[[], bytes | None]


async def fire(app: App, request: TriggerRequest) -> Written:
    """Start a run of the trigger's target with the payload. A repeat under the same key returns the same run.

    Raises NOT_FOUND if the token is unknown, the trigger is disabled or its conversation was deleted;
    UNAUTHENTICATED if a required signature is missing or wrong; REQUEST_SNAPSHOT_TOO_LARGE,
    IDEMPOTENCY_KEY_REUSED, ENCRYPTION_KEY_MISSING.
    """
    trigger = await app.store.triggers.by_token(rules.token_hash(request.token))
    if trigger is None:
        raise UnknownCredentialError("NOT_FOUND", "Trigger not found")
    if trigger.disabled_at is not None:
        raise not_found("Trigger")
    tenant.set(trigger.project_id)
    if trigger.secret is not None:
        _check_signature(app.secrets.decrypt(TRIGGER_SECRET, trigger.id, trigger.secret), request)
    payload, key = request.payload(), _key(request)
    return await start(app, trigger, rules.run_id(trigger, key), payload)


async def start(app: App, trigger: Trigger, run_id: str, payload: bytes | None) -> Written:
    """Start a run of the trigger's target with the payload. A run with this id is the result if it exists.

    Raises NOT_FOUND if the conversation was deleted; REQUEST_SNAPSHOT_TOO_LARGE, IDEMPOTENCY_KEY_REUSED, and what a quota
    raises.
    """
    call = TriggerCall(
        run_id=run_id,
        uid=str(uuid.uuid4()),
        message_id=str(uuid.uuid4()),
        conversation_id=str(uuid.uuid4()),
        payload=payload,
        trace_context=trace_context.current.get(),
    )
    refusal = await app.quotas.refuse_more_runs(trigger.project_id)

    def decide(loaded: Loaded) -> Transition:
        if refusal is not None and loaded.run is None:
            raise refusal
        return transitions.create_from_trigger(loaded, trigger, call)

    agent_id = trigger.target.partition(":")[2] if trigger.kind == "agent" else None
    run_key = RunKey(trigger.project_id, call.run_id)
    want = Want(push_agent=agent_id, keys=wanted_keys(trigger.flow_control, trigger.target))
    written = await app.store.runs.apply(run_key, decide, want)
    app.publish(written)
    return written


def _key(request: TriggerRequest) -> str | None:
    """Return the idempotency key: of Runstead's header, of Standard Webhooks' or of GitHub's.

    None: every call is new.
    """
    for name in (b"idempotency-key", b"webhook-id", b"x-github-delivery"):
        key = request.header(name)
        if key is not None:
            if not 1 <= len(key) <= limits.idempotency_key_chars_max:
                message = f"{name.decode()} must have 1 to {limits.idempotency_key_chars_max} characters"
                raise Error("INVALID_REQUEST", message)
            return f"{name.decode()}:{key}"
    return None


def _check_signature(secret: str, request: TriggerRequest) -> None:
    if not secret.startswith("whsec_"):
        mac = hmac.new(secret.encode(), request.raw, hashlib.sha256).hexdigest()
        sent = request.header(b"x-hub-signature-256")
        if sent is None:
            raise _unsigned("x-hub-signature-256")
        if not hmac.compare_digest(f"sha256={mac}".encode(), sent.encode()):
            raise Error("UNAUTHENTICATED", "The signature in x-hub-signature-256 does not match the body")
        return
    message_id, timestamp, signatures = (
        request.header(name) for name in (b"webhook-id", b"webhook-timestamp", b"webhook-signature")
    )
    if message_id is None or timestamp is None or signatures is None:
        raise _unsigned("webhook-id, webhook-timestamp and webhook-signature")
    if not re.fullmatch("[0-9]{1,12}", timestamp) or abs(time.time() - int(timestamp)) > tolerance_s:
        raise Error(
            "UNAUTHENTICATED", f"webhook-timestamp is more than {tolerance_s} s from the server's time"
        )
    expected = signature(secret, message_id, int(timestamp), request.raw).encode()
    # A sender signs with two secrets while it rotates them.
    if not any(hmac.compare_digest(expected, candidate.encode()) for candidate in signatures.split(" ")):
        raise Error("UNAUTHENTICATED", "No signature in webhook-signature matches the body")


def _unsigned(names: str) -> Error:
    return Error("UNAUTHENTICATED", f"This trigger requires signed calls: send {names}")
