"""Actions on a run's page. Each change redirects back to the page, with a message."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.responses import Response

from runstead.commands import inputs, records, retry as retries, runs, signals
from runstead.commands.runs import Resume
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.run import Run
from runstead.core.runs.signal import SignalName
from runstead.web.framework.pages import Handler, Pages
from runstead.web.framework.request import PageRequest, to
from runstead.web.runs import input_form
from runstead.web.runs.page import PATH, Refused, RunPage, load_run, render_page, run_address, view_of

pages = Pages()

Act = Callable[[PageRequest, RunPage], Awaitable[Response]]
#: The type of resume for each reason to wait.
_TYPES: Final = {"tool": "tool_result", "event": "event", "input": "input"}
#: Errors without a run page to show them on: the caller may not see the run.
_NOT_ON_PAGE: Final = frozenset({"NOT_FOUND", "UNAUTHENTICATED"})


def _change(name: str) -> Callable[[Act], Act]:
    """Registers the form posted to `…/{name}`. A rejected form is shown again with its error."""

    def register(act: Act) -> Act:
        async def show(request: PageRequest) -> Response:
            try:
                return await act(request, await load_run(request))
            except Error as error:
                if error.code in _NOT_ON_PAGE:
                    raise
                return await render_page(
                    request, await load_run(request), Refused(error, request.form)
                )  # reads the run again

        handler: Handler = show
        pages.post(f"{PATH}/{name}")(handler)
        return act

    return register


def _back(flash: str, request: PageRequest, page: RunPage) -> Response:
    view = view_of(request)
    return request.redirect_with_flash(
        flash, run_address(page.project, page.run.run_id, view="" if view == "overview" else view)
    )


@_change("cancel")
async def cancel(request: PageRequest, page: RunPage) -> Response:
    written = await runs.cancel(*request.caller, page.named, request.form.one("reason") or None)
    flash = "The run was cancelled." if written.transition.accepted else "The run had already ended."
    return _back(flash, request, page)


@_change("retry")
async def retry(request: PageRequest, page: RunPage) -> Response:
    changes = retries.Changes(from_step=request.form.one("from_step") or None)
    written = await retries.retry(*request.caller, page.run.run_id, page.project.id, changes)
    flash = "This new run was created with the same request."
    if written.run.retry_from is not None:
        flash = "This new run goes on from the step, with the results of the steps before it."
    return request.redirect_with_flash(flash, run_address(page.project, written.run.run_id))


@_change("pause")
async def pause(request: PageRequest, page: RunPage) -> Response:
    await records.pause(*request.caller, page.named)
    return _back("The run was paused.", request, page)


@_change("unpause")
async def unpause(request: PageRequest, page: RunPage) -> Response:
    await runs.resume(*request.caller, page.named, Resume(type="unpause"))
    return _back("The run was resumed.", request, page)


@_change("delete")
async def delete(request: PageRequest, page: RunPage) -> Response:
    await records.delete(*request.caller, page.named)
    return request.redirect_with_flash("The run was deleted.", to("projects", page.project.slug, "runs"))


@_change("approve")
async def approve(request: PageRequest, page: RunPage) -> Response:
    """Answer an approval with `approve` or `deny`; with a comment, the result is an object of both."""
    decision, comment = request.form.one("decision"), request.form.one("comment")
    if decision not in ("approve", "deny"):
        raise Error("INVALID_REQUEST", "Choose approve or deny")
    approved = decision == "approve"
    result: Any = {"approved": approved, "comment": comment} if comment else approved
    answer = Resume(type="approval", tool_call_id=request.form.one("call") or None, result=result)
    await runs.resume(*request.caller, page.named, answer)
    return _back("Approved." if approved else "Denied.", request, page)


@_change("budget")
async def budget(request: PageRequest, page: RunPage) -> Response:
    """Answer a run that a budget stopped: let it continue, raise the limit, or end it."""
    decision = request.form.one("decision")
    if decision not in ("approve", "raise", "stop"):
        raise Error("INVALID_REQUEST", "Choose to continue, to raise the limit or to stop")
    result: Any = decision == "approve"
    if decision == "raise":
        given = {"cost": request.form.one("cost") or None, "tokens": request.form.number("tokens")}
        raised = {name: value for name, value in given.items() if value is not None}
        if not raised:
            raise Error("INVALID_REQUEST", "Write by how much the limit is raised")
        result = {"approved": True, "raise_by": raised}
    answer = Resume(type="approval", tool_call_id=request.form.one("call") or None, result=result)
    await runs.resume(*request.caller, page.named, answer)
    flash = {
        "approve": "The run continues.",
        "raise": "The limit was raised.",
        "stop": "The run was stopped.",
    }
    return _back(flash[decision], request, page)


@_change("answer")
async def answer(request: PageRequest, page: RunPage) -> Response:
    """Resume a run with JSON: the result of a tool call, or the payload of an event."""
    result = _json(request, "result", "answer")
    resume = Resume(
        type=_TYPES.get(page.run.waiting_reason or "", "event"),
        tool_call_id=request.form.one("call") or None,
        result=result,
        is_error=request.form.one("is_error") == "true",
    )
    await runs.resume(*request.caller, page.named, resume)
    return _back("The answer was sent. The run continues.", request, page)


@_change("signal")
async def signal(request: PageRequest, page: RunPage) -> Response:
    """Send a signal with a JSON payload."""
    payload = msgspec.json.encode(_json(request, "payload", "payload"))
    try:
        name = msgspec.convert(request.form.one("name"), SignalName)
    except msgspec.ValidationError as error:
        message = (
            f"A signal's name has 1 to {limits.signal_name_chars_max} characters, without control characters"
        )
        raise Error("INVALID_REQUEST", message) from error
    written = await signals.send(*request.caller, page.named, signals.NewSignal(name=name, payload=payload))
    sent = written.transition.signal
    taken = sent is not None and sent.taken_at is not None
    what = "The run has taken it and continues." if taken else "The run takes it when it waits for it."
    return _back(f"The signal was sent. {what}", request, page)


@_change("input")
async def respond(request: PageRequest, page: RunPage) -> Response:
    conversation, request_id = _posted_request(request, page.run)
    input_request = await inputs.get(*request.caller, conversation, request_id)
    values = input_form.values_of(input_request, request.form)
    await inputs.respond(*request.caller, conversation, request_id, values)
    return _back("The form was sent. The run continues.", request, page)


@_change("input/cancel")
async def dismiss(request: PageRequest, page: RunPage) -> Response:
    conversation, request_id = _posted_request(request, page.run)
    await inputs.cancel(*request.caller, conversation, request_id)
    return _back("The form was cancelled. The run continues without it.", request, page)


def _json(request: PageRequest, member: str, what: str) -> Any:
    """The JSON value of a field; null if it is empty. INVALID_REQUEST."""
    text = request.form.one(member) or "null"
    try:
        return msgspec.json.decode(text.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError) as error:
        raise Error("INVALID_REQUEST", f"The {what} is not JSON: {error}. Put quotes around text") from error


def _posted_request(request: PageRequest, run: Run) -> tuple[str, str]:
    """The conversation and input request of the posted form, not of the run's current one. INVALID_REQUEST."""
    request_id = request.form.one("request")
    if run.conversation_id is None or not request_id:
        raise Error("INVALID_REQUEST", "The form does not belong to this run: reload the page")
    return run.conversation_id, request_id
