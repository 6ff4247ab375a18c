"""`runstead runs create|cancel|retry|resume`."""

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from runstead.cli.app import AsJson
from runstead.cli.shared.connection import UNSAID, Reach, connected
from runstead.cli.shared.output import refuse, say, tell

if TYPE_CHECKING:
    from runstead.sdk import Client, CreatedRun

Wait = Annotated[bool, Parameter(help="Follow it to its end; the exit code tells how it ended", negative="")]
RunId = Annotated[str, Parameter(help="The run's id")]
USAGE = 2


def create_run(
    target: Annotated[str, Parameter(help="task:…, workflow:…, eval:… or agent:…")],
    /,
    *,
    config: Annotated[
        list[str] | None, Parameter(help="name=value, the value JSON or text; may repeat", negative="")
    ] = None,
    config_json: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="A JSON object, @file or - for stdin")
    ] = None,
    input: Annotated[  # noqa: A002 - the option's name
        str | None, Parameter(allow_leading_hyphen=True, help="JSON, or else text; @file or - for stdin")
    ] = None,
    id: Annotated[  # noqa: A002 - the option's name
        str | None, Parameter(help="The run's id; the same again is the same run")
    ] = None,
    title: Annotated[str | None, Parameter(help="What people call it")] = None,
    label: Annotated[list[str] | None, Parameter(help="name=value; may repeat", negative="")] = None,
    priority: Annotated[int | None, Parameter(help="-100 to 100, the highest is claimed first")] = None,
    delay: Annotated[str | None, Parameter(help="Not before: a time, or a span such as 10m")] = None,
    parent: Annotated[str | None, Parameter(help="The run that it stands below")] = None,
    timeout_seconds: Annotated[int | None, Parameter(help="Of tasks: fail it after so long")] = None,
    backoff_limit: Annotated[
        int | None, Parameter(help="Of tasks: how many lost attempts are tried again")
    ] = None,
    batch: Annotated[str | None, Parameter(help="Of tasks: the batch to add it to")] = None,
    conversation: Annotated[str | None, Parameter(help="Of agents: where it speaks")] = None,
    wait: Wait = False,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Create a run."""
    from runstead.cli.shared.parsing import (  # noqa: PLC0415
        config as read_config,
        json_or_text,
        moment,
        pairs,
    )

    kind, _, name = target.partition(":")
    if kind not in {"task", "workflow", "eval", "agent"} or not name:
        refuse(f"a target is task:…, workflow:…, eval:… or agent:…, not {target!r}", USAGE)
    special: dict[str, Any] = {
        "timeout_seconds": timeout_seconds,
        "backoff_limit": backoff_limit,
        "batch_id": batch,
    }
    given: dict[str, Any] = {
        "config": read_config(config or [], config_json),
        "input": None if input is None else json_or_text(input),
        "public_id": id,
        "title": title,
        "labels": pairs("--label", label) if label else None,
        "priority": priority,
        "available_at": None if delay is None else moment("--delay", delay, ahead=True),
        "parent_run_id": parent,
    } | special
    given = {name: one for name, one in given.items() if one is not None}
    wrong = sorted(special.keys() & given.keys()) if kind != "task" else []
    if kind == "agent" and "config" in given:
        wrong.append("config")
    if conversation is not None and kind != "agent":
        wrong.append("conversation")
    if wrong:
        refuse(f"a run of {kind}:… takes no --{wrong[0].removesuffix('_id').replace('_', '-')}", USAGE)
    with connected(reach, project=kind != "agent") as client:
        made = _create(client, kind, name, conversation, given)
    run_id = made.run.run_id
    if not wait:
        show_created(made, json=json)
        return
    from runstead.cli.shared.render import safe  # noqa: PLC0415
    from runstead.cli.shared.watch_run import watch_run  # noqa: PLC0415

    tell(safe(run_id))
    sys.exit(watch_run(reach, run_id, json=json))


def _create(
    client: "Client", kind: str, name: str, conversation: str | None, given: dict[str, Any]
) -> "CreatedRun":
    if kind == "task":
        return client.create_task_run(f"task:{name}", **given)
    if kind == "workflow":
        return client.create_workflow_run(name, **given)
    if kind == "eval":
        return client.create_eval_run(f"eval:{name}", **given)
    if conversation is None:
        refuse("a run of an agent belongs to a conversation: name it with --conversation", USAGE)
    return client.create_agent_run(conversation, name, **given)


def show_created(made: "CreatedRun", *, json: bool) -> None:
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415

    if json:
        say(document(made))
        return
    say(safe(made.run.run_id))
    if made.duplicate:
        tell(f"runstead: it was there already, and is {made.run.status}")


def cancel_runs(
    run_ids: Annotated[list[str], Parameter(help="One or more runs")],
    /,
    *,
    reason: Annotated[str | None, Parameter(help="For whoever looks")] = None,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Cancel runs, with all below them that have not ended."""
    from runstead.cli.shared.connection import sentence  # noqa: PLC0415
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415
    from runstead.sdk import NoAnswerError, RunsteadError  # noqa: PLC0415

    refused = 0
    with connected(reach) as client:
        for run_id in run_ids:
            try:
                done = client.cancel(run_id, reason=reason)
            except NoAnswerError:
                raise
            except RunsteadError as error:  # the others are cancelled nonetheless
                if error.status == 401:
                    raise
                refused += 1
                tell(f"runstead: {safe(run_id)}: {safe(sentence(error))}")
                continue
            if json:
                say(document(done), flush=True)
            else:
                how = "cancelled" if done.cancelled else f"had ended: {done.run.status}"
                say(f"{safe(run_id)}  {how}", flush=True)
    if refused:
        sys.exit(1)


def retry_run(run_id: RunId, /, *, wait: Wait = False, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Create a new run with the same request."""
    with connected(reach) as client:
        made = client.retry(run_id)
    if not wait:
        show_created(made, json=json)
        return
    from runstead.cli.shared.render import safe  # noqa: PLC0415
    from runstead.cli.shared.watch_run import watch_run  # noqa: PLC0415

    tell(safe(made.run.run_id))
    sys.exit(watch_run(reach, made.run.run_id, json=json))


def resume_run(
    run_id: RunId,
    /,
    *,
    approve: Annotated[bool | None, Parameter(help="What an approval is answered", negative="--deny")] = None,
    result: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="JSON, or else text; @file or - for stdin")
    ] = None,
    is_error: Annotated[bool, Parameter(name="--error", help="The result is an error", negative="")] = False,
    type: Annotated[  # noqa: A002 - the option's name
        Literal["tool_result", "approval", "event", "timer", "unpause"] | None,
        Parameter(help="Else the one that fits what the run waits for"),
    ] = None,
    tool_call_id: Annotated[str | None, Parameter(help="Else that of the call that it waits for")] = None,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Bring a waiting run what it waits for, or let a paused one go on."""
    from runstead.cli.shared.parsing import json_or_text  # noqa: PLC0415
    from runstead.cli.shared.render import document  # noqa: PLC0415

    if approve is not None and result is not None:
        refuse("--approve and --deny are a result themselves: leave --result away", USAGE)
    answer = approve if approve is not None else None if result is None else json_or_text(result)
    with connected(reach) as client:
        run = client.get_run(run_id)
        if run.status != "waiting":
            refuse(f"the run does not wait: it is {run.status}")
        if run.paused or type == "unpause":
            done = client.unpause(run_id)
        else:
            wanted = type or _answers(run.waiting_reason, approve=approve)
            if wanted == "approval" and approve is None and result is None:
                refuse("the run waits for an approval: say --approve or --deny", USAGE)
            call = tool_call_id or run.waiting_tool_call_id
            done = client.resume(run_id, answer, type=wanted, tool_call_id=call, is_error=is_error)
    if json:
        say(document(done))
    else:
        say("it had this answer already" if done.duplicate else "resumed")


def _answers(reason: str | None, *, approve: bool | None) -> Any:
    """The type of resume that fits what a run waits for."""
    if approve is not None or reason == "approval":
        return "approval"
    if reason == "input":
        refuse(
            "the run waits for a form: `runstead inputs get` shows it, `runstead inputs answer` fills it in"
        )
    return {"tool": "tool_result", "event": "event"}.get(reason or "", "event")
