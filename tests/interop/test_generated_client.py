"""A client that openapi-python-client makes from `/openapi.json` drives a run and a conversation, typed throughout.

The commands and the program are those of docs/guides/generated-clients.md.
"""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.server import PROJECT, environment

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "generated-clients.md").read_text()
[COMMAND] = re.findall(r"^\$ (openapi-python-client .*)$", GUIDE, re.MULTILINE)
[PROGRAM] = re.findall(r"^```py\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
[KEY_IN_DOCS] = re.findall(r'^key = "(\S+)"$', PROGRAM, re.MULTILINE)
KEY = "vf_local_0123456789abcdefghijklmnopqrstuv"
URL = "http://127.0.0.1:8720"
PACKAGE = "runstead_client"
SETTINGS = {"RUNSTEAD_BOOTSTRAP_KEY": KEY}


@pytest.fixture(scope="module")
def shell():
    """The environment of a reader's shell: the programs of this environment, and no proxy for this machine."""
    found = environment(NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
    return found | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


@pytest.fixture(scope="module")
def generated(server, shell, tmp_path_factory):
    """The directory of the client, generated as in the guide. A warning means that something was left out."""
    folder = tmp_path_factory.mktemp("generated")
    words = [*COMMAND.replace(URL, server.url).split(), "--fail-on-warning"]
    done = subprocess.run(words, cwd=folder, env=shell, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "arning" not in done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def client(server, generated):
    """An `AuthenticatedClient` of the package. The package can be imported meanwhile."""
    sys.path.insert(0, str(generated))
    try:
        package = importlib.import_module(PACKAGE)
        with package.AuthenticatedClient(server.url, token=KEY, raise_on_unexpected_status=True) as made:
            yield made
    finally:
        sys.path.remove(str(generated))
        for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def models(client):
    return importlib.import_module(f"{PACKAGE}.models")


@pytest.fixture(scope="module")
def api(client, models):
    """`api.runs.create_run(…)` returns the parsed model. A problem document fails the test."""

    class Tag:
        def __init__(self, tag):
            self.tag = tag

        def __getattr__(self, name):
            module = importlib.import_module(f"{PACKAGE}.api.{self.tag}.{name}")

            def call(*arguments, **named):
                answer = module.sync(*arguments, client=client, **named)
                assert answer is not None
                assert not isinstance(answer, models.Problem), answer
                return answer

            return call

    class Api:
        def __getattr__(self, tag):
            return Tag(tag)

    return Api()


@pytest.fixture
def project(api):
    return api.administration.get_project(PROJECT)


def test_the_guides_program_runs_with_the_guides_client(server, shell, generated):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace(URL, server.url).replace(KEY_IN_DOCS, KEY)],
        cwd=generated,
        env=shell,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "completed {'greeting': 'Hello, Ada'}\n"


def test_a_task_goes_from_creation_to_completion(api, models, project):
    target = f"task:{UUID(int=7)}"
    config = models.JsonObject.from_dict({"tone": "kind"})
    request = models.TaskRequest(target, input_={"name": "Ada"}, config=config, timeout_seconds=60)
    body = models.CreateTaskRun(
        request, owner=models.ProjectOwner(project.id), labels=models.Labels.from_dict({"team": "a"})
    )
    made = api.runs.create_run(body=body, idempotency_key="once")
    again = api.runs.create_run(body=body, idempotency_key="once")
    assert (made.accepted, again.run.run_id) == (True, made.run.run_id)
    assert (made.run.status, made.run.kind) == (models.RunStatus.PENDING, models.RunKind.TASK)
    assert (made.run.config["tone"], made.run.labels["team"]) == ("kind", "a")
    assert made.run.input_ == {"name": "Ada"}
    assert made.run.created_at.tzinfo is not None

    registered = api.workers.register_worker(PROJECT, body=models.RegisterWorker("generated", "worker-1"))
    claim = models.ClaimRuns(targets=[target], lease_duration_seconds=30)
    claimed = api.workers.claim_runs(registered.worker.id, body=claim)
    run = claimed.run
    assert run.run_id == made.run.run_id
    assert isinstance(run, models.WorkerRun)
    token = run.lease_token

    events = [
        models.Event("STEP_STARTED"),
        models.Event.from_dict({"type": "CUSTOM", "name": "n", "value": [1]}),
    ]
    appended = api.events.append_events(run.run_id, body=models.AppendEvents(events), x_lease_token=token)
    assert (appended.appended_count, appended.latest_event_id) == (2, 2)
    renewed = api.workers.renew_lease(
        registered.worker.id, run.run_id, body=models.RenewLease(), x_lease_token=token
    )
    assert renewed.run.attempt == 1

    body = models.CompleteRun(
        models.TerminalStatus.COMPLETED,
        output={"greeting": "Hello, Ada"},
        artifacts=[models.Artifact("log.txt", media_type="text/plain")],
        metadata=models.UsageMetadata(input_tokens=3),
    )
    assert api.runs.complete_run(run.run_id, body=body, x_lease_token=token).completed is True

    page = api.events.list_events(run.run_id, event_type=["CUSTOM", "RUN_FINISHED"])
    assert [(event.event_id, event.event_type) for event in page.data] == [(2, "CUSTOM"), (3, "RUN_FINISHED")]
    assert page.data[0].payload["value"] == [1]
    ended = api.runs.get_run(run.run_id)
    assert ended.status is models.RunStatus.COMPLETED
    assert ended.output == {"greeting": "Hello, Ada"}
    assert (ended.artifacts[0].name, ended.metadata["inputTokens"]) == ("log.txt", 3)
    assert (ended.error, ended.descendants.total) == (None, 0)
    [attempt] = api.families.list_attempts(run.run_id).data
    assert attempt.outcome == "completed"
    stream = api.events.stream_events(run.run_id)
    assert re.findall(r"^event: (\w+)$", stream, re.MULTILINE) == ["StepStarted", "Custom", "RunFinished"]
    listed = api.lists.list_runs(kind=[models.RunKind.TASK], label=["team:a"], limit=1)
    assert [one.run_id for one in listed.data] == [run.run_id]


def test_an_agent_run_completes_in_a_conversation(api, models):
    body = models.CreateConversation(title="Inventory", metadata=models.JsonObject.from_dict({"a": 1}))
    conversation = api.conversations.create_conversation(body=body)
    assert conversation.type_ is models.ConversationType.CHAT
    assert api.conversations.get_conversation(conversation.id).metadata["a"] == 1
    request = models.AgentRequest(agent_id="scribe", initial_status=models.AgentRequestInitialStatus.RUNNING)
    body = models.CreateAgentRun(models.ConversationOwner(conversation.id), request)
    run = api.runs.create_run(body=body).run
    assert (run.conversation_id, run.status) == (conversation.id, models.RunStatus.RUNNING)

    waits = api.runs.wait_run(run.run_id, body=models.WaitRun(models.WaitingReason.TOOL, tool_call_id="call"))
    assert waits.run.waiting_reason is models.WaitingReason.TOOL
    resume = models.ResumeRun(models.ResumeRunType.TOOL_RESULT, tool_call_id="call", result={"count": 3})
    assert api.runs.resume_run(run.run_id, body=resume).accepted is True
    cancelled = api.runs.cancel_run(run.run_id, body=models.CancelRun("enough"))
    assert (cancelled.cancelled, cancelled.run.error.code) == (True, "CANCELLED")
    assert cancelled.run.cancellation.reason == "enough"
    shown = api.conversations.get_conversation_run(conversation.id, run.run_id)
    assert (shown.agent_id, shown.status) == ("scribe", models.ProjectionStatus.CANCELLED)


def test_a_person_fills_in_a_form(api, models):
    conversation = api.conversations.create_conversation(body=models.CreateConversation(title="Form")).id
    text = models.MessagePart.from_dict({"type": "text", "text": "Restock"})
    said = api.messages.add_message(conversation, body=models.AddMessage([text]))
    assert (said.role, said.parts[0]["text"]) == (models.MessageRole.USER, "Restock")
    request = models.AgentRequest(agent_id="scribe", initial_status=models.AgentRequestInitialStatus.RUNNING)
    run_id = api.runs.create_run(
        body=models.CreateAgentRun(models.ConversationOwner(conversation), request)
    ).run.run_id

    count = models.FormField("count", "How many", models.FieldType.NUMBER, required=True)
    form = models.CreateInputRequest(run_id, "call", models.ResponderType.HUMAN, "More?", [count])
    asked = api.input_requests.create_input_request(conversation, body=form)
    assert (asked.status, asked.fields[0].name) == (models.InputStatus.OPEN, "count")
    values = models.RespondToInputValues.from_dict({"count": 12})
    filled = api.input_requests.respond_to_input_request(
        conversation, asked.id, body=models.RespondToInput(values)
    )
    assert (filled.status, filled.latest_response.values["count"]) == (models.InputStatus.SUBMITTED, 12)
    assert api.runs.get_run(run_id).status is models.RunStatus.RUNNING
    [first, *_] = api.messages.list_messages(conversation).data
    assert first.id == said.id


def test_a_schedule_runs_and_its_run_gets_a_name(api, models):
    target = models.ScheduleTarget(models.ScheduleTargetKind.TASK, "restock")
    body = models.CreateSchedule("Nightly", target, schedule="30 2 * * *", timezone="Europe/Berlin")
    schedule = api.schedules.create_schedule(PROJECT, body=body).schedule
    assert (schedule.status, schedule.health) == (models.ScheduleStatus.ACTIVE, None)
    assert schedule.concurrency_policy is models.ConcurrencyPolicy.FORBID
    started = api.schedules.run_schedule(PROJECT, schedule.id, body=models.RunSchedule("by-hand"))
    named = api.runs.update_run(started.run_id, body=models.UpdateRun("Restock"), if_match="*")
    assert (named.title, named.schedule_id) == ("Restock", schedule.id)
    event = models.Event.from_dict({"type": "CUSTOM", "name": "n", "value": 1})
    appended = api.events.append_events(started.run_id, body=models.AppendEvents([event]))
    assert api.events.get_event(started.run_id, appended.latest_event_id).payload["value"] == 1
    assert api.runs.get_run_usage(started.run_id).family.runs == 1


def test_a_batch_is_created_counted_and_cancelled(api, models):
    runs = [
        models.BatchTaskRun(models.BatchTaskRequest("task:restock")),
        models.BatchWorkflowRun(models.BatchWorkflowRequest(workflow_id="recount")),
    ]
    body = models.CreateBatch(runs, name="Restock", on_complete=models.OnComplete("task:report"))
    made = api.batches.create_batch(PROJECT, body=body)
    assert [api.runs.get_run(run_id).batch_id for run_id in made.run_ids] == [made.batch.id] * 2
    assert api.batches.get_batch(PROJECT, made.batch.id).status_counts.pending == 2
    ended = api.batches.cancel_batch(PROJECT, made.batch.id, body=models.CancelRun("enough")).batch
    assert (ended.status, ended.status_counts.cancelled) == (models.BatchStatus.CANCELLED, 2)
    assert [one.id for one in api.batches.list_batches(PROJECT).data] == [made.batch.id]


def test_a_push_service_lives_until_it_is_disabled(api, models):
    body = models.RegisterPushService(
        "scribe",
        "scribe-1",
        models.PushScopeKind.GLOBAL,
        "https://scribe.example",
        "https://scribe.example/invoke",
        agent_id="nobody",
    )
    service = api.push_services.register_push_service(body=body).service
    assert (
        api.push_services.heartbeat_push_service(service.id).service.status is models.PushServiceStatus.ACTIVE
    )
    ended = api.push_services.disable_push_service(service.id).service
    assert ended.status is models.PushServiceStatus.DISABLED


def test_a_refusal_is_a_problem_with_a_code(client, models):
    get_run = importlib.import_module(f"{PACKAGE}.api.runs.get_run")
    answer = get_run.sync_detailed("nobody", client=client)
    assert answer.status_code == 404
    assert isinstance(answer.parsed, models.Problem)
    assert answer.parsed.code == "NOT_FOUND"
    nobody = client.with_headers({})
    nobody.token = "vf_wrong"
    assert get_run.sync("nobody", client=nobody).code == "UNAUTHENTICATED"


async def test_the_asynchronous_functions_answer_the_same(client, models):
    get_project = importlib.import_module(f"{PACKAGE}.api.administration.get_project")
    get_health = importlib.import_module(f"{PACKAGE}.api.health.get_health")
    project = await get_project.asyncio(PROJECT, client=client)
    assert project == get_project.sync(PROJECT, client=client)
    assert (await get_health.asyncio(client=client)).status == "ok"


def test_no_name_is_one_that_only_a_generator_would_choose(generated):
    """`RunViewErrorType0` would be a schema without a name in the document."""
    names = [path.stem for path in (generated / PACKAGE / "models").glob("*.py")]
    assert len(names) > 60
    assert [name for name in names if re.search(r"_type_\d|_item$|_response_\d", name)] == []
