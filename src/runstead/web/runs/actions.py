"""What somebody can do with a run from its page. Every change goes back to the page, which says what was done."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.responses import Response

from runstead.commands import create, inputs, records, runs
from runstead.commands.runs import Resume
from runstead.core.errors import Error
from runstead.core.runs.run import Run
from runstead.web.framework.pages import Pages, Show
from runstead.web.framework.request import Visit, to
from runstead.web.runs import input_form
from runstead.web.runs.page import PLACE, Found, Refused, find, page, place, view_of

pages = Pages()

Act = Callable[[Visit, Found], Awaitable[Response]]
#: What each wait is answered by.
_TYPES: Final = {"tool": "tool_result", "event": "event", "input": "input"}
#: The page cannot be shown to who may not see the run.
_ELSEWHERE: Final = frozenset({"NOT_FOUND", "UNAUTHENTICATED"})


def _change(name: str) -> Callable[[Act], Act]:
    """A form of the page that is sent to `…/{name}`. What is refused is said on the page, by the form that was sent."""

    def register(act: Act) -> Act:
        async def show(visit: Visit) -> Response:
            try:
                return await act(visit, await find(visit))
            except Error as error:
                if error.code in _ELSEWHERE:
                    raise
                return await page(visit, await find(visit), Refused(error, visit.form))  # as it stands now

        handler: Show = show
        pages.post(f"{PLACE}/{name}")(handler)
        return act

    return register


def _back(told: str, visit: Visit, found: Found) -> Response:
    view = view_of(visit)
    return visit.back(told, place(found.project, found.run.run_id, view="" if view == "overview" else view))


@_change("cancel")
async def cancel(visit: Visit, found: Found) -> Response:
    written = await runs.cancel(visit.app, visit.principal, found.named, visit.form.one("reason") or None)
    told = "The run was cancelled." if written.transition.accepted else "The run had ended already."
    return _back(told, visit, found)


@_change("retry")
async def retry(visit: Visit, found: Found) -> Response:
    written = await create.retry(visit.app, visit.principal, found.run.run_id, found.project.id)
    told = "A new run with the same request was made: this one."
    return visit.back(told, place(found.project, written.run.run_id))


@_change("pause")
async def pause(visit: Visit, found: Found) -> Response:
    await records.pause(visit.app, visit.principal, found.named)
    return _back("The run is paused.", visit, found)


@_change("unpause")
async def unpause(visit: Visit, found: Found) -> Response:
    await runs.resume(visit.app, visit.principal, found.named, Resume(type="unpause"))
    return _back("The run goes on.", visit, found)


@_change("delete")
async def delete(visit: Visit, found: Found) -> Response:
    await records.delete(visit.app, visit.principal, found.named)
    return visit.back("The run was deleted.", to("projects", found.project.slug, "runs"))


@_change("approve")
async def approve(visit: Visit, found: Found) -> Response:
    """`decision` is `approve` or `deny`; a comment makes the answer an object that holds both."""
    decision, comment = visit.form.one("decision"), visit.form.one("comment")
    if decision not in ("approve", "deny"):
        raise Error("INVALID_REQUEST", "Say approve or deny")
    approved = decision == "approve"
    result: Any = {"approved": approved, "comment": comment} if comment else approved
    answer = Resume(type="approval", tool_call_id=visit.form.one("call") or None, result=result)
    await runs.resume(visit.app, visit.principal, found.named, answer)
    return _back("Approved." if approved else "Denied.", visit, found)


@_change("answer")
async def answer(visit: Visit, found: Found) -> Response:
    """The JSON that a run waits for: a tool's result, or what an event brings."""
    text = visit.form.one("result") or "null"
    try:
        result = msgspec.json.decode(text.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError) as error:
        raise Error("INVALID_REQUEST", f"The answer is not JSON: {error}. A text stands in quotes") from error
    what = Resume(
        type=_TYPES.get(found.run.waiting_reason or "", "event"),
        tool_call_id=visit.form.one("call") or None,
        result=result,
        is_error=visit.form.one("is_error") == "true",
    )
    await runs.resume(visit.app, visit.principal, found.named, what)
    return _back("The run has its answer.", visit, found)


@_change("input")
async def respond(visit: Visit, found: Found) -> Response:
    conversation, request_id = _request(visit, found.run)
    request = await inputs.get(visit.app, visit.principal, conversation, request_id)
    values = input_form.values_of(request, visit.form)
    await inputs.respond(visit.app, visit.principal, conversation, request_id, values)
    return _back("The form was sent: the run goes on.", visit, found)


@_change("input/cancel")
async def dismiss(visit: Visit, found: Found) -> Response:
    conversation, request_id = _request(visit, found.run)
    await inputs.cancel(visit.app, visit.principal, conversation, request_id)
    return _back("The form was taken back: the run goes on without it.", visit, found)


def _request(visit: Visit, run: Run) -> tuple[str, str]:
    """The request that the form was of, which may be another than the run has now."""
    request_id = visit.form.one("request")
    if run.conversation_id is None or not request_id:
        raise Error("INVALID_REQUEST", "The form is not of this run: reload the page")
    return run.conversation_id, request_id
