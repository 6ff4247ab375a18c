"""Input requests: a run opens one and waits; a person or service responds to it or cancels it."""

import asyncio
import secrets
import uuid
from collections.abc import Callable, Mapping

import msgspec
from msgspec.structs import replace

from runstead.commands import locate, runs
from runstead.commands.app import App
from runstead.commands.runs import RunRef
from runstead.core.audit import Audit, by
from runstead.core.conversations import form
from runstead.core.conversations.input_request import InputRequest, InputResponse, ResponderType
from runstead.core.errors import existing, not_found
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Principal, Scope, refuse_bound
from runstead.core.identity.project import user_uuid
from runstead.core.runs import transitions
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Decide, Loaded, Transition, Want, audited
from runstead.core.runs.transitions import Fence
from runstead.core.secret import INPUT_SECRETS
from runstead.ports.store import ListPage, RunKey, Written


class NewInputRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An input request to open. `fields` is the result of `form.check_fields`, `metadata` a JSON object."""

    run_id: str
    tool_call_id: str
    requested_responder_type: ResponderType
    title: str
    fields: bytes
    description: str | None = None
    expires_at: int | None = None
    metadata: bytes | None = None


def input_request_of(written: Written) -> InputRequest:
    """Return the input request that a command wrote."""
    assert written.transition.input_request is not None
    return written.transition.input_request


async def create(
    app: App,
    principal: Principal,
    conversation_id: str,
    new: NewInputRequest,
    fence: Fence,
    idempotency: Idempotency = None,
) -> Written:
    """Open an input request; its run waits (reason input). A repeat returns the open request.

    Raises NOT_FOUND, RUN_NOT_ACTIVE, RUN_ALREADY_WAITING, TOOL_RESULT_CONFLICT, ATTEMPT_SUPERSEDED.
    """
    conversation = await locate.conversation(app, principal, Scope.RUNS_WRITE, conversation_id)
    if principal.run_id not in (None, new.run_id):
        raise not_found("Run")
    key = RunKey(conversation.project_id, new.run_id)
    request = InputRequest(
        id=str(uuid.uuid4()),
        conversation_id=conversation_id,
        run_seq=0,
        created_at=0,
        salt=secrets.token_bytes(16),
        created_by=user_uuid(principal.id),
        **msgspec.structs.asdict(new),
    )

    def decide(loaded: Loaded) -> Transition:
        run = loaded.run
        if run is None or run.conversation_id != conversation_id:
            raise not_found("Run")
        return transitions.ask_input(
            run,
            now=loaded.now,
            request=replace(request, run_seq=run.seq),
            known=loaded.input_request,
            earlier=loaded.receipt,
            fence=fence,
        )

    want = Want(receipt_key=f"input:{new.tool_call_id}", input_call=new.tool_call_id)
    return await _apply(app, key, decide, want, idempotency)


async def page(
    app: App, principal: Principal, conversation_id: str, status: str | None, before: int | None, limit: int
) -> ListPage[InputRequest]:
    """List input requests, newest first. Refuses a token of one run, which reads its requests one by one."""
    refuse_bound(principal, "cannot list input requests")
    await locate.conversation(app, principal, Scope.RUNS_READ, conversation_id)
    return await app.store.inputs.page(conversation_id, status, before, limit)


async def get(app: App, principal: Principal, conversation_id: str, request_id: str) -> InputRequest:
    """Return an input request. Raises NOT_FOUND."""
    await locate.conversation(app, principal, Scope.RUNS_READ, conversation_id)
    return await _find(app, principal, conversation_id, request_id)


async def respond(
    app: App,
    principal: Principal,
    conversation_id: str,
    request_id: str,
    values: Mapping[str, form.Value],
    idempotency: Idempotency = None,
) -> Written:
    """Respond to an open request; its run resumes. A repeat with the same values returns the stored response.

    Values of secret fields leave this function encrypted. Without an encryption key they are dropped. The response has
    null for them, and one slow, salted digest of all values, under the encryption key. Raises INVALID_REQUEST with one error per bad value,
    NOT_FOUND, INPUT_REQUEST_NOT_OPEN.
    """
    key, found = await _locate(app, principal, conversation_id, request_id)
    filled = form.fill(found.fields, values)

    def protect() -> tuple[bytes, str | None]:
        if not filled.secrets:
            return filled.digest(found.salt), None
        text = msgspec.json.encode(filled.secrets).decode()
        # Keyed: a reader of the database could find a short secret by trying, even if each try is slow.
        return filled.digest(app.secrets.keyed(found.salt)), app.secrets.encrypt_if_possible(
            INPUT_SECRETS, found.id, text
        )

    digest, encrypted = await asyncio.to_thread(protect)
    response = InputResponse(
        id=str(uuid.uuid4()),
        actor_type=principal.kind,
        actor_id=principal.id,
        values=msgspec.json.encode(filled.values),
        withheld=msgspec.json.encode(list(filled.secrets)),
        digest=digest,
        created_at=0,
        secrets=encrypted,
    )
    return await _close(
        app,
        key,
        found,
        lambda run, request, now: transitions.respond(run, now=now, request=request, response=response),
        idempotency,
        by(principal, "run.resume", key.project_id, type="input", input_request=found.id),
    )


async def read_secrets(
    app: App, principal: Principal, run_ref: RunRef, request_id: str, fence: Fence
) -> dict[str, form.Value]:
    """Return the values of the secret fields of a response, for the holder of the run's lease. It is audited.

    Raises NOT_FOUND, FORBIDDEN, RUN_NOT_ACTIVE, ATTEMPT_SUPERSEDED, SECRETS_NOT_KEPT, ENCRYPTION_KEY_MISSING.
    """
    key = await runs.write_key(app, principal, run_ref)

    def rule(run: Run, loaded: Loaded) -> Transition:
        request = existing(loaded.input_request, "Input request")
        return transitions.read_secrets(run, request=request, fence=fence)

    audit = replace(by(principal, "run.read_secrets", key.project_id, input_request=request_id), reads=True)
    want = Want(input_request_id=request_id, input_secrets=True)
    response = input_request_of(await runs.apply_at(app, key, rule, want, audit=audit)).response
    if response is None or response.secrets is None:
        return {}
    text = app.secrets.decrypt(INPUT_SECRETS, request_id, response.secrets)
    return msgspec.json.decode(text, type=dict[str, form.Value])


async def cancel(
    app: App, principal: Principal, conversation_id: str, request_id: str, idempotency: Idempotency = None
) -> Written:
    """Cancel an open request; its run resumes with an error. Raises NOT_FOUND, INPUT_REQUEST_NOT_OPEN."""
    key, found = await _locate(app, principal, conversation_id, request_id)
    return await _close(
        app,
        key,
        found,
        lambda run, request, now: transitions.cancel_input(run, now=now, request=request),
        idempotency,
        by(principal, "run.resume", key.project_id, type="input", input_request=found.id, is_error=True),
    )


async def _locate(
    app: App, principal: Principal, conversation_id: str, request_id: str
) -> tuple[RunKey, InputRequest]:
    conversation = await locate.conversation(app, principal, Scope.RUNS_WRITE, conversation_id)
    found = await _find(app, principal, conversation_id, request_id)
    return RunKey(conversation.project_id, found.run_id), found


async def _find(app: App, principal: Principal, conversation_id: str, request_id: str) -> InputRequest:
    found = await app.store.inputs.get(request_id)
    if (
        found is None
        or found.conversation_id != conversation_id
        or principal.run_id not in (None, found.run_id)
    ):
        raise not_found("Input request")
    return found


async def _close(
    app: App,
    key: RunKey,
    found: InputRequest,
    rule: Callable[[Run, InputRequest, int], Transition],
    idempotency: Idempotency,
    audit: Audit,
) -> Written:
    def decide(loaded: Loaded) -> Transition:
        if loaded.run is None or loaded.input_request is None:
            raise not_found("Input request")
        return rule(loaded.run, loaded.input_request, loaded.now)

    want = Want(input_request_id=found.id)
    return await _apply(app, key, audited(decide, audit), want, idempotency)


async def _apply(app: App, key: RunKey, decide: Decide, want: Want, idempotency: Idempotency) -> Written:
    written = await app.store.runs.apply(key, decide, want, idempotency)
    app.publish(written)
    return written
