"""The transcript of a run's events."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from runstead.cli.shared.render import PIPE, Screen
from runstead.cli.shared.transcript import Transcript, resume_command
from runstead.sdk.models.event import Event
from runstead.sdk.models.run import Owner, Run, RunError


@pytest.fixture
def transcript_of():
    def render(*payloads, screen=PIPE):
        out = []
        transcript = Transcript("r1", out.append, screen)
        for number, payload in enumerate(payloads, 1):
            transcript.event(Event(event_id=number, event_type=payload["type"], payload=payload))
        transcript.close()
        return "".join(out)

    return render


def blocked_run(call_id):
    noon = datetime(2026, 3, 20, 12, tzinfo=UTC)
    return Run(
        run_id="r1",
        kind="task",
        status="waiting",
        owner=Owner(kind="project", id="p"),
        root_run_id="r1",
        waiting_reason="event",
        waiting_tool_call_id=call_id,
        waiting_tool_name="blocked: step 2 is 'charge' in the log, and 'pay' in the code (app.py:4)",
        created_at=noon,
        updated_at=noon,
    )


def text(delta):
    return {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": delta}


def call(number, name, *deltas):
    yield {"type": "TOOL_CALL_START", "toolCallId": number, "toolCallName": name}
    yield from ({"type": "TOOL_CALL_ARGS", "toolCallId": number, "delta": one} for one in deltas)
    yield {"type": "TOOL_CALL_END", "toolCallId": number}


def result(number, content):
    return {"type": "TOOL_CALL_RESULT", "toolCallId": number, "content": content}


def test_text_deltas_are_joined(transcript_of):
    assert transcript_of(text("Hel"), text("lo, "), text("Ada\n"), text("!")) == "Hello, Ada\n!\n"


def test_a_tool_call_and_its_result_take_one_line(transcript_of):
    shown = transcript_of(
        text("Let me see"), *call("c", "search", '{"q":', '"x"}'), result("c", "found\nit"), text("Yes")
    )
    assert shown == 'Let me see\ntool search({"q":"x"}) -> found\\nit\nYes\n'


def test_results_that_come_later_name_their_tool(transcript_of):
    shown = transcript_of(
        *call("a", "one"), *call("b", "two"), result("a", "1"), result("b", "2"), result("z", "?")
    )
    assert shown == "tool one()\ntool two()\ntool one -> 1\ntool two -> 2\ntool z -> ?\n"


def test_a_tool_call_fits_the_terminal(transcript_of):
    shown = transcript_of(
        *call("c", "search", "x" * 500), result("c", "y" * 500), screen=Screen(60, colour=False)
    )
    assert len(shown.splitlines()) == 1
    assert len(shown.rstrip("\n")) <= 60


def test_steps_progress_and_log_lines_are_shown(transcript_of):
    shown = transcript_of(
        {"type": "RUN_STARTED"},
        {"type": "STEP_STARTED", "stepName": "fetch"},
        {"type": "STEP_FINISHED", "stepName": "fetch", "result": 1},
        {"type": "STEP_FINISHED", "stepName": "send", "error": {"message": "no route"}},
        {"type": "CUSTOM", "name": "run.progress", "value": {"fraction": 0.5, "message": "loaded"}},
        {"type": "CUSTOM", "name": "run.progress", "value": {"message": "sorting"}},
        {"type": "CUSTOM", "name": "run.value", "value": {"name": "stage", "value": {"file": 3}}},
        {"type": "CUSTOM", "name": "run.now", "value": {"step_id": "1", "value": "2026-01-01"}},
        {"type": "CUSTOM", "name": "run.log", "value": {"lines": "one\ntwo\n"}},
        {"type": "CUSTOM", "name": "mine", "value": [1]},
        {"type": "OTHER", "n": 1},
    )
    assert shown.splitlines() == [
        *(
            "started",
            "step fetch",
            "step fetch done",
            "step send failed: no route",
            "50% loaded",
            "sorting",
            'stage = {"file":3}',
            "one",
            "two",
        ),
        *("mine [1]", 'OTHER {"n":1}'),
    ]


def test_the_start_of_a_child_takes_one_line(transcript_of):
    shown = transcript_of(
        {"type": "STEP_STARTED", "stepName": "spawn task:pay"},
        {"type": "STEP_FINISHED", "stepName": "spawn task:pay", "result": {"run_id": "run_1"}},
    )
    assert shown == "started task:pay run_1\n"


def test_a_question_is_highlighted_with_its_resume_command(transcript_of):
    asked = {"tool_call_id": "approval:1", "question": "Write 10 rows?"}
    shown = transcript_of(
        {"type": "CUSTOM", "name": "run.asked", "value": asked}, screen=Screen(120, colour=True)
    )
    assert "\x1b[33masks: Write 10 rows?\x1b[0m\n" in shown
    assert "runstead runs approve r1 --tool-call-id approval:1" in shown


def test_an_event_is_waited_for_by_name(transcript_of):
    asked = {"tool_call_id": "event:paid:2", "event": "paid"}
    shown = transcript_of({"type": "CUSTOM", "name": "run.asked", "value": asked})
    assert shown.splitlines() == [
        "waits for the event paid",
        "  runstead runs signal r1 paid null",
    ]


def test_a_retry_names_its_source_and_the_step_that_failed_is_named_by_its_error(transcript_of):
    source = {"run_id": "r0", "step_id": "4", "event_id": 9}
    shown = transcript_of(
        {"type": "CUSTOM", "name": "run.retry_from", "value": source},
        {"type": "CUSTOM", "name": "run.failed_step", "value": {"step_id": "4"}},
    )
    assert shown == "goes on from step 4 of r0\n"


def test_a_run_that_is_blocked_names_what_differs_once_and_how_it_goes_on(transcript_of):
    out = []
    transcript = Transcript("r1", out.append, PIPE)
    for number in (1, 2):
        resumed = {"type": "timer", "tool_call_id": f"blocked:{number}"}
        payload = {"type": "CUSTOM", "name": "run.resumed", "value": resumed}
        transcript.waiting(blocked_run(f"blocked:{number}"))
        transcript.event(Event(event_id=number, event_type="CUSTOM", payload=payload))
    what, how = "".join(out).splitlines()
    assert what == "blocked: step 2 is 'charge' in the log, and 'pay' in the code (app.py:4)"
    assert how.startswith("  start a worker with fitting code: the run continues within a minute")
    assert how.endswith("Or `runstead runs cancel r1` and `runstead runs retry r1`")


def test_a_command_to_resume_is_quoted_for_the_shell():
    assert resume_command("a b; rm -rf /", "approval", "$(x)") == (
        "runstead runs approve 'a b; rm -rf /' --tool-call-id '$(x)'"
    )
    assert resume_command("r", "pause", "") == "runstead runs resume r"


def test_hostile_text_is_escaped_in_a_transcript(transcript_of):
    evil = "\x1b[2J\x9b1m\u202e\x07"
    shown = transcript_of(
        text(evil),
        *call(evil, evil, evil),
        result(evil, evil),
        {"type": "STEP_STARTED", "stepName": evil},
        {"type": "CUSTOM", "name": evil, "value": evil},
        {"type": "CUSTOM", "name": "run.log", "value": {"lines": evil}},
        {"type": "CUSTOM", "name": "run.asked", "value": {"tool_call_id": evil, "question": evil}},
        {"type": "STEP_FINISHED", "stepName": evil, "error": {"message": evil}},
        {"type": evil, evil: evil},
    )
    assert not set(evil) & set(shown) - {"[", "2", "J", "1", "m"}


@pytest.mark.parametrize(
    "payload", [{"type": "CUSTOM"}, {"type": "TOOL_CALL_RESULT"}, {"type": "TOOL_CALL_END"}]
)
def test_events_with_missing_members_are_accepted(transcript_of, payload):
    assert transcript_of(payload).endswith("\n")


@pytest.mark.parametrize("delta", [None, 1, {}, ""])
def test_a_delta_that_is_not_text_is_ignored(transcript_of, delta):
    assert transcript_of(text(delta)) == ""


def test_events_of_a_family_are_grouped_by_run():
    out = []
    transcript = Transcript("r1", out.append, PIPE)
    for number, (run_id, delta) in enumerate((("r1", "Hi"), ("r2", "Ho"), ("r2", "!"), ("r1", "Hu")), 1):
        transcript.event(
            Event(event_id=number, event_type="TEXT_MESSAGE_CONTENT", payload=text(delta), run_id=run_id)
        )
    transcript.close()
    assert "".join(out) == "Hi\n[r2]\nHo!\n[r1]\nHu\n"


def waiting_run(call_id, **members):
    noon = datetime(2026, 3, 20, 12, tzinfo=UTC)
    owner = Owner(kind="project", id="p")
    return Run(
        run_id="r1",
        kind="task",
        status="waiting",
        owner=owner,
        root_run_id="r1",
        waiting_reason="event",
        waiting_tool_call_id=call_id,
        created_at=noon,
        updated_at=noon,
        **members,
    )


def waits(*runs, screen=PIPE):
    out = []
    transcript = Transcript("r1", out.append, screen)
    for run in runs:
        transcript.waiting(run)
    return "".join(out)


def test_no_command_is_shown_to_resume_a_sleep_or_a_wait_for_a_child():
    noon = datetime(2026, 3, 20, 12, tzinfo=UTC)
    shown = waits(
        waiting_run("sleep:1", waiting_tool_name="sleep", resume_at=noon),
        waiting_run("run:r2:3", waiting_tool_name="run:r2", waiting_run_id="r2"),
        waiting_run("retry:1", waiting_tool_name="retry", resume_at=noon),
    )
    assert shown.splitlines() == [
        "sleeps until 2026-03-20T12:00:00Z",
        "waits for run r2",
        "is retried at 2026-03-20T12:00:00Z",
    ]


def test_a_terminal_shows_when_a_sleep_ends_and_how_long_it_takes():
    soon = datetime.now(UTC) + timedelta(minutes=3, seconds=5)
    shown = waits(
        waiting_run("sleep:1", waiting_tool_name="sleep", resume_at=soon), screen=Screen(80, colour=False)
    )
    assert f"{soon.astimezone():%H:%M} (3 min)" in shown


@pytest.mark.parametrize("name", ["approval", "event paid"])
def test_a_wait_with_a_timeout_shows_what_happens_then_and_that_it_timed_out(transcript_of, name):
    until = {"until": "2026-03-20T12:00:00+00:00"}
    asked = {"tool_call_id": "approval:2", "question": "Ship it?"}
    shown = transcript_of(
        {"type": "STEP_STARTED", "stepName": name, "stepId": "2", **until},
        {"type": "CUSTOM", "name": "run.asked", "value": asked},
        {"type": "CUSTOM", "name": "run.resumed", "value": {"type": "timer", "tool_call_id": "approval:2"}},
        {"type": "STEP_FINISHED", "stepName": name, "stepId": "2", "timedOut": True},
    )
    assert shown.splitlines() == [
        "asks: Ship it? (expires 2026-03-20T12:00:00Z, then fails)",
        "  runstead runs approve r1 --tool-call-id approval:2",
        f"{name} timed out",
    ]


def test_retries_artifacts_and_usage_are_lines_without_json(transcript_of):
    retried = {"step_id": "1", "step_name": "fetch", "tries": 2, "message": "no route", "code": "OSError"}
    artifact = {"name": "a.csv", "media_type": "text/csv", "size": 12_345, "sha256": "…", "uri": "…"}
    usage = {"id": "1", "provider": "p", "model": "m", "inputTokens": 1_200, "outputTokens": 30}
    shown = transcript_of(
        {"type": "CUSTOM", "name": "run.step_retried", "value": retried},
        {"type": "CUSTOM", "name": "run.retried", "value": {"retry": 1, "of": 3, "message": "bad"}},
        {"type": "CUSTOM", "name": "run.artifact", "value": artifact},
        {"type": "CUSTOM", "name": "run.usage", "value": usage},
    )
    assert shown.splitlines() == [
        "step fetch try 2 failed, retries: no route (OSError)",
        "failed, retry 1 of 3: bad",
        "artifact a.csv (12.3 kB, text/csv)",
        "1,200 input, 30 output tokens of p/m",
    ]


def test_the_end_of_a_run_shows_its_traceback_and_the_rest_of_its_log():
    out = []
    transcript = Transcript("r1", out.append, PIPE)
    log = {"type": "CUSTOM", "name": "run.log", "value": {"lines": "one\n"}}
    transcript.event(Event(event_id=1, event_type="CUSTOM", payload=log))
    error = RunError(
        message="'a'",
        code="KeyError",
        detail={"type": "KeyError", "traceback": "Traceback:\n  app.py\nKeyError: 'a'\n"},
    )
    ended = msgspec.structs.replace(waiting_run("c"), status="failed", error=error, logs="one\ntwo")
    transcript.ended(ended)
    assert "".join(out).splitlines() == ["one", "two", "failed", "Traceback:", "  app.py", "KeyError: 'a'"]
