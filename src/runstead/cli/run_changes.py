"""`runstead runs create|retry|resume|approve|reject|signal`."""

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from runstead.cli.run_group import runs
from runstead.cli.shared.command import Client, Output, command, one_line
from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.exit_codes import USAGE
from runstead.cli.shared.options import (
    NO_FLOW_CONTROL,
    AsJson,
    Config,
    ConfigJson,
    FlowControl,
    JsonOrText,
    RunId,
)
from runstead.cli.shared.output import fail, write_err, write_out
from runstead.cli.shared.parsing import json_or_text, name_value_pairs, parse_time, read_config
from runstead.cli.shared.render import document, safe

if TYPE_CHECKING:
    from runstead.sdk.models.run import Accepted, CreatedRun

Wait = Annotated[bool, Parameter(help="Follow it until it has ended; the exit code is its outcome")]


@runs.command(name="create")
def create_run(
    target: Annotated[str, Parameter(help="task:…, workflow:…, eval:… or agent:…")],
    /,
    *,
    config: Config = None,
    config_json: ConfigJson = None,
    input: JsonOrText = None,  # noqa: A002 - the option's name
    id: Annotated[str | None, Parameter(help="The run's id; a repeated id returns the existing run")] = None,  # noqa: A002 - the option's name
    title: Annotated[str | None, Parameter(help="Title of the run")] = None,
    label: Annotated[list[str] | None, Parameter(help="name=value; may repeat")] = None,
    priority: Annotated[int | None, Parameter(help="-100 to 100; the highest is claimed first")] = None,
    delay: Annotated[str | None, Parameter(help="Earliest start: a time, or a duration such as 10m")] = None,
    parent: Annotated[str | None, Parameter(help="The id of the parent run")] = None,
    budget: Annotated[
        str | None, Parameter(help="What it and its descendants may cost, such as 2.50; then they wait")
    ] = None,
    budget_tokens: Annotated[
        int | None, Parameter(help="How many tokens they may use; then they wait")
    ] = None,
    timeout_seconds: Annotated[int | None, Parameter(help="For tasks: timeout of an attempt")] = None,
    backoff_limit: Annotated[int | None, Parameter(help="For tasks: max retries of lost attempts")] = None,
    batch: Annotated[str | None, Parameter(help="For tasks: the batch to add it to")] = None,
    conversation: Annotated[str | None, Parameter(help="For agents: the id of the conversation")] = None,
    flow: FlowControl = NO_FLOW_CONTROL,
    wait: Wait = False,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Create a run."""
    kind, _, name = target.partition(":")
    if kind not in {"task", "workflow", "eval", "agent"} or not name:
        fail(f"a target is task:…, workflow:…, eval:… or agent:…, not {target!r}", USAGE)
    task_options: dict[str, Any] = {
        "timeout_seconds": timeout_seconds,
        "backoff_limit": backoff_limit,
        "batch_id": batch,
    }
    members: dict[str, Any] = {
        "config": read_config(config or [], config_json),
        "input": json_or_text(input),
        "id": id,
        "title": title,
        "labels": name_value_pairs("--label", label) if label else None,
        "priority": priority,
        "available_at": parse_time("--delay", delay, ahead=True),
        "parent_run_id": parent,
        "budget": _budget(budget, budget_tokens),
    } | (flow.members() | task_options)
    members = {name: one for name, one in members.items() if one is not None}
    invalid = sorted(task_options.keys() & members.keys()) if kind != "task" else []
    if kind == "agent" and "config" in members:
        invalid.append("config")
    if conversation is not None and kind != "agent":
        invalid.append("conversation")
    if conversation is None and kind == "agent":
        fail("a run of an agent needs a conversation: name it with --conversation", USAGE)
    if invalid:
        fail(f"a run of {kind}:… takes no --{invalid[0].removesuffix('_id').replace('_', '-')}", USAGE)
    with connected(server, project=kind != "agent") as client:
        made = client.runs.create(target, conversation_id=conversation, if_differs="ignore", **members)
    _show_created(made, server, wait=wait, json=json)


def _budget(cost: str | None, tokens: int | None) -> Any:
    limit = {name: one for name, one in (("cost", cost), ("tokens", tokens)) if one is not None}
    return {"limit": limit} if limit else None


def _show_created(made: "CreatedRun", server: ServerOptions, *, wait: bool, json: bool) -> None:
    if wait:
        from runstead.cli.shared.watch_run import watch_run  # noqa: PLC0415

        write_err(safe(made.run.run_id))
        sys.exit(watch_run(server, made.run.run_id, json=json))
    if json:
        write_out(document(made))
        return
    write_out(safe(made.run.run_id))
    if made.duplicate:
        write_err(f"runstead: the run already existed, and is {made.run.status}")
    if different := [name for name in ("config", "input") if getattr(made, f"{name}_differs")]:
        what = " and ".join(different)
        write_err(f"runstead: the run has another {what}; this {what} had no effect")


@runs.command(name="retry")
def retry_run(
    run_id: RunId,
    /,
    *,
    from_step: Annotated[
        str | None, Parameter(help="Keep the results before this step: its id, or failed for the failed one")
    ] = None,
    input: Annotated[  # noqa: A002 - the option's name
        str | None,
        Parameter(allow_leading_hyphen=True, help="Another input: JSON or text; @file or - for stdin"),
    ] = None,
    config: Annotated[
        list[str] | None,
        Parameter(help="Another config: name=value, the value JSON, text or @file; may repeat"),
    ] = None,
    title: Annotated[str | None, Parameter(help="Another title")] = None,
    label: Annotated[list[str] | None, Parameter(help="Other labels: name=value; may repeat")] = None,
    wait: Wait = False,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Create a new run with the same request. With --from-step it goes on from there."""
    with connected(server) as client:
        made = client.runs.retry(
            run_id,
            from_step=from_step,
            input=json_or_text(input),
            config=read_config(config or [], None),
            title=title,
            labels=name_value_pairs("--label", label) if label else None,
        )
    _show_created(made, server, wait=wait, json=json)


@command(runs, "resume")
def resume_run(
    client: Client,
    run_id: RunId,
    /,
    *,
    approve: Annotated[bool | None, Parameter(help="Answer to an approval", negative="--deny")] = None,
    result: JsonOrText = None,
    is_error: Annotated[bool, Parameter(name="--error", help="The result is an error")] = False,
    type: Annotated[  # noqa: A002 - the option's name
        Literal["tool_result", "approval", "event", "timer", "unpause"] | None,
        "Type of the answer; else derived from what the run waits for",
    ] = None,
    tool_call_id: Annotated[str | None, "Tool call id; else the one that the run waits for"] = None,
) -> Output:
    """Resume a waiting run with an answer, or resume a paused run."""
    if approve is not None and result is not None:
        fail("--approve and --deny set the result: do not use --result with them", USAGE)
    answer = approve if approve is not None else json_or_text(result)
    run = client.runs.get(run_id)
    if run.status != "waiting":
        fail(f"the run does not wait: it is {run.status}")
    if run.paused or type == "unpause":
        done = client.runs.unpause(run_id)
    else:
        wanted = type or _resume_type(run.waiting_reason, approve=approve)
        if wanted == "approval" and approve is None and result is None:
            fail("the run waits for an approval: use --approve or --deny", USAGE)
        # The server lists the open approvals where there are several.
        call = tool_call_id or (None if wanted == "approval" else run.waiting_tool_call_id)
        done = client.runs.resume(run_id, answer, type=wanted, tool_call_id=call, is_error=is_error)
    return _answered(done, "resumed")


Reason = Annotated[str | None, Parameter(help="Recorded with the answer")]
ApprovalId = Annotated[
    str | None, Parameter(help="Tool call id of the approval; needed only where several are open")
]


@command(runs, "approve")
def approve_run(
    client: Client, run_id: RunId, /, *, reason: Reason = None, tool_call_id: ApprovalId = None
) -> Output:
    """Answer the approval that a run waits for with yes."""
    return _answered(client.approve(run_id, reason=reason, tool_call_id=tool_call_id), "approved")


@command(runs, "reject")
def reject_run(
    client: Client, run_id: RunId, /, *, reason: Reason = None, tool_call_id: ApprovalId = None
) -> Output:
    """Answer the approval that a run waits for with no."""
    return _answered(client.reject(run_id, reason=reason, tool_call_id=tool_call_id), "rejected")


def _answered(done: "Accepted", how: str) -> Output:
    return one_line(done, "it already had this answer" if done.duplicate else how)


@command(runs, "signal")
def signal_run(
    client: Client,
    run_id: RunId,
    name: Annotated[str, "The name that the run waits for, now or later"],
    payload: JsonOrText = None,
    /,
    *,
    once: Annotated[
        str | None, Parameter(name="--id", help="Send it once: a repeat with this id sends nothing")
    ] = None,
) -> Output:
    """Send a signal to a run, which takes it once when it waits for it."""
    value = json_or_text(payload)
    sent = client.runs.signal(run_id, name, value, idempotency_key=once)
    taken = "the run has taken it" if sent.delivered else "the run takes it when it waits for it"
    return one_line(sent, f"{'it was sent before' if sent.duplicate else 'sent'}: {taken}")


def _resume_type(reason: str | None, *, approve: bool | None) -> Any:
    """The type of answer for a run that waits for this reason."""
    if approve is not None or reason == "approval":
        return "approval"
    if reason == "input":
        fail("the run waits for a form: `runstead inputs get` shows it, `runstead inputs answer` fills it in")
    return {"tool": "tool_result", "event": "event"}.get(reason or "", "event")
