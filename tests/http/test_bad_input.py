"""Invalid input is refused with one clear error, and nothing of it is stored."""

import json

import pytest

from runstead.core import limits

pytestmark = pytest.mark.postgres

MALFORMED = {
    "half": b'{"kind": "task"',
    "words": b"kind=task&owner=me",
    "nan": b'{"n": NaN}',
    "infinity": b'{"n": -Infinity}',
    "a number beyond a double": b'{"n": 1e999}',
    "an integer of 5,000 digits": b'{"n": ' + b"9" * 5_000 + b"}",
    "a leading zero": b'{"n": 01}',
    "single quotes": b"{'n': 1}",
    "a comment": b'{"n": 1} // one',
    "a trailing comma": b'{"n": [1,]}',
    "two values": b"{}{}",
    "a lone surrogate": b'{"n": "\\ud800"}',
    "a surrogate the wrong way round": b'{"n": "\\udc00\\ud800"}',
    "a lone surrogate as a name": b'{"\\udfff": 1}',
    "an escape that is none": b'{"n": "\\x41"}',
    "a raw line break in a text": b'{"n": "a\nb"}',
    "a raw NUL in a text": b'{"n": "a\x00b"}',
    "no UTF-8": b'{"n": "\xff"}',
    "an encoded surrogate": b'{"n": "\xed\xa0\x80"}',
    "UTF-16": '{"n": 1}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "10,000 arrays": b'{"n": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "10,000 objects": b'{"n": ' + b'{"n":' * 10_000 + b"1" + b"}" * 10_001,
    "10,000 that never end": b"[" * 10_000,
    "201 levels": b'{"n": ' + b"[" * 200 + b"]" * 200 + b"}",
    "an array": b"[]",
    "a text": b'"text"',
    "null": b"null",
    "a number": b"7",
    "a space": b" ",
}


def with_request(driver, text):
    """Return the body of a creation whose input is this text, which is not valid JSON."""
    body = json.dumps(driver.task(request={"input": "HERE"})).encode()
    return body.replace(b'"HERE"', text)


@pytest.mark.parametrize("name", MALFORMED)
async def test_every_route_refuses_a_body_that_is_not_a_json_object(driver, name):
    text = MALFORMED[name]
    taken, worker = await driver.claimed()
    run = f"/runs/{taken['run_id']}"
    before = await driver.get(run)
    paths = ["/runs", "/conversations", f"{run}/complete", f"{run}/cancel", f"{run}/events", f"{run}/wait"]
    paths += [
        f"{run}/resume",
        f"{run}/heartbeats",
        f"{worker}/claim",
        f"{worker}/runs/{taken['run_id']}/lease",
    ]
    for path in paths:
        problem = await driver.refused(400, "INVALID_REQUEST", "POST", path, text)
        assert problem["detail"].startswith(("The body is not valid JSON: ", "Expected object, got"))
        assert problem["errors"]
    assert await driver.get(run) == before
    assert [one["run_id"] for one in (await driver.get("/runs"))["data"]] == [taken["run_id"]]


@pytest.mark.parametrize("name", [name for name, text in MALFORMED.items() if text.startswith(b'{"n"')])
async def test_raw_values_are_checked_too(api, name):
    text = MALFORMED[name]
    run_id = (await api.create())["run_id"]
    created = with_request(api, text)
    appended = b'{"events": [{"type": "A", "x": ' + text + b"}]}"
    completed = b'{"status": "completed", "output": ' + text + b"}"
    for path, body in (("", created), (f"/{run_id}/events", appended), (f"/{run_id}/complete", completed)):
        await api.refused(400, "INVALID_REQUEST", "POST", f"/runs{path}", body)
    assert len((await api.get("/runs"))["data"]) == 1
    assert (await api.run(run_id))["latest_event_id"] == 0


@pytest.mark.parametrize("value", ["\ud800", "a\ud800b"], ids=["alone", "within"])
async def test_an_unpaired_surrogate_is_refused_everywhere(api, value):
    bodies = [
        api.task(f"task:{value}"),
        api.task(public_id=value),
        api.task(title=value),
        api.task(labels={"team": value}),
        api.task(labels={value: "team"}),
        api.task(request={"name": value}),
    ]
    for body in bodies:
        problem = await api.refused(400, "INVALID_REQUEST", "POST", "/runs", json.dumps(body).encode())
        assert "surrogate" in problem["detail"]
    assert await api.nothing_stored()
    path = f"/runs/{(await api.create())['run_id']}/events"
    for event in ({"type": value}, {"type": "A", "x": value}, {"type": "A", value: 1}):
        await api.refused(400, "INVALID_REQUEST", "POST", path, json.dumps({"events": [event]}).encode())
    assert (await api.get(path))["data"] == []


async def test_a_pair_of_surrogates_is_accepted(api):
    run = await api.create(json.dumps(api.task(title="\U0001f600", request={"input": "\U0001f600"})).encode())
    assert (run["title"], run["input"]) == ("\U0001f600", "\U0001f600")


async def test_nesting_within_the_bound_is_stored_unchanged(api):
    for depth in (20, 190):
        value = "x"
        for level in range(depth):
            value = {"a": value} if level % 2 else [value]
        run = await api.create(api.task(request={"input": value, "config": {"v": value}}))
        assert (await api.run(run["run_id"]))["input"] == value
        await api.append(run["run_id"], {"type": "A", "v": value})
        [event] = (await api.get(f"/runs/{run['run_id']}/events"))["data"]
        assert event["payload"]["v"] == value


CONTROLS = ["\0", "a\0", "a\0b", "a\n", "\ta", "a\x1bb", "a\x7f"]


@pytest.mark.parametrize("text", CONTROLS, ids=range(len(CONTROLS)))
async def test_control_characters_in_names_ids_and_targets_are_refused(driver, text):
    conversation_id = await driver.conversation()
    bodies = [
        driver.task(f"task:{text}"),
        driver.task(public_id=text),
        driver.task(parent_run_id=text),
        driver.task(request={"name": text}),
        driver.task(request={"start_mode": text}),
        driver.task(request={"batch_id": text}),
        driver.task(trigger={"message_id": text}),
        driver.task(trigger={"tool_call_id": text}),
        {**driver.task(), "kind": "workflow", "request": {"workflow_id": text}},
        driver.agent(conversation_id, request={"agent_id": text}),
        driver.agent(conversation_id, request={"implementation_kind": text}),
        driver.agent(conversation_id, request={"worker_key": text}),
        driver.agent(conversation_id, request={"source_target_release_version": text}),
    ]
    for body in bodies:
        await driver.refused(400, "INVALID_REQUEST", "POST", "/runs", body)
    assert await driver.nothing_stored()
    run_id = (await driver.create())["run_id"]
    events = {"events": [{"type": text}]}
    await driver.refused(400, "INVALID_REQUEST", "POST", f"/runs/{run_id}/events", events)
    assert (await driver.run(run_id))["latest_event_id"] == 0


async def test_texts_for_people_may_have_any_character_but_nul(api):
    assert (await api.create(api.task(title="two\nlines")))["title"] == "two\nlines"
    for body in (api.task(title="a\0b"), api.task(labels={"team": "a\0"}), api.task(labels={"a\0": "team"})):
        await api.refused(400, "INVALID_REQUEST", "POST", "/runs", body)
    assert len((await api.get("/runs"))["data"]) == 1


@pytest.mark.parametrize("text", ["%00", "a%0Ab", "%7F"])
async def test_control_characters_in_a_path_are_refused(driver, text):
    for path in (
        f"/runs/{text}",
        f"/conversations/{text}",
        f"/projects/{text}",
        f"/conversations/x/runs/{text}",
    ):
        await driver.refused(400, "INVALID_REQUEST", "GET", path)


@pytest.mark.parametrize(
    "path", ["/runs/a%2Fb", "/runs/a%2fcancel", "/conversations/a%2Fruns/b", "/projects/%2f"]
)
async def test_an_encoded_slash_in_a_path_is_not_found(driver, path):
    problem = await driver.refused(404, "NOT_FOUND", "GET", path)
    assert problem["detail"] == "No name in a path contains a slash"


async def test_long_ids_are_refused(api):
    long = "x" * 128
    assert (await api.create(api.task(public_id=long)))["run_id"] == long
    for body in (api.task(public_id=long + "x"), api.task(parent_run_id=long + "x"), api.task(public_id="")):
        await api.refused(400, "INVALID_REQUEST", "POST", "/runs", body)
    assert len((await api.get("/runs"))["data"]) == 1
    problem = await api.refused(400, "INVALID_REQUEST", "GET", f"/runs/{long}x")
    assert problem["detail"] == "A run id has 1 to 128 characters"


@pytest.mark.parametrize("run_id", ["a/b", ".", "..", "event-types", "/"])
async def test_an_id_that_is_impossible_in_a_path_is_refused(driver, run_id):
    await driver.refused(400, "INVALID_REQUEST", "POST", "/runs", driver.task(public_id=run_id))
    assert await driver.nothing_stored()


WRONG = [
    {"kind": "job"},
    {"kind": None},
    {"kind": 1},
    {"owner": None},
    {"owner": {"kind": "user", "id": "x"}},
    {"owner": {"kind": "project"}},
    {"owner": {"kind": "project", "id": ""}},
    {"owner": {"kind": "conversation", "id": "9b2f5d3c-7a41-4e0b-8f7a-0d3c2b1a4f5e"}},
    {"request": None},
    {"request": []},
    {"request": "task:a"},
    {"request": {}},
    {"request": {"target": "eval:a"}},
    {"request": {"target": "task:"}},
    {"request": {"target": "task"}},
    {"request": {"target": ":a"}},
    {"request": {"target": "task:" + "x" * 251}},
    {"request": {"target": "task:a", "timeout_seconds": 1.5}},
    {"request": {"target": "task:a", "timeout_seconds": 1.5}},
    {"request": {"target": "task:a", "timeout_seconds": 0}},
    {"request": {"target": "task:a", "timeout_seconds": 10**30}},
    {"request": {"target": "task:a", "timeout_seconds": "30"}},
    {"request": {"target": "task:a", "timeout_seconds": True}},
    {"request": {"target": "task:a", "backoff_limit": -1}},
    {"request": {"target": "task:a", "backoff_limit": 1e-2}},
    {"request": {"target": "task:a", "config": []}},
    {"request": {"target": "task:a", "config": "text"}},
    {"request": {"target": "task:a", "runtime_target_kind": "moon"}},
    {"request": {"target": "task:a", "batch_id": "7"}},
    {"public_id": 7},
    {"title": "x" * 256},
    {"title": ["x"]},
    {"labels": ["a"]},
    {"labels": {"a": 1}},
    {"labels": {"": "a"}},
    {"labels": {"x" * 64: "a"}},
    {"labels": {"a": "x" * 256}},
    {"labels": {str(n): "" for n in range(33)}},
    {"trigger": "message"},
    {"trigger": {"conversation_id": "x"}},
    {"kind": "agent"},
    {"kind": "workflow", "request": {}},
    {"kind": "workflow", "request": {"target": "task:a"}},
]


@pytest.mark.parametrize("change", WRONG, ids=range(len(WRONG)))
async def test_a_creation_with_a_wrong_value_creates_nothing(driver, change):
    problem = await driver.refused(400, "INVALID_REQUEST", "POST", "/runs", {**driver.task(), **change})
    assert problem["errors"][0]["path"].startswith("$")
    assert await driver.nothing_stored()


@pytest.mark.parametrize("member", ["kind", "request"])
async def test_a_creation_without_a_required_member_creates_nothing(driver, member):
    body = driver.task()
    del body[member]
    problem = await driver.refused(400, "INVALID_REQUEST", "POST", "/runs", body)
    assert member in problem["detail"]
    assert await driver.nothing_stored()


WRONG_AGENTS = [
    {"mode": "robot"},
    {"initial_status": "waiting"},
    {"source_target_kind": "x"},
    {"agent_id": ""},
]
WRONG_AGENTS += [{"implementation_kind": "x" * 65}, {"worker_key": "x" * 129}, {"target": "task:a"}]


@pytest.mark.parametrize("request_", WRONG_AGENTS, ids=range(len(WRONG_AGENTS)))
async def test_an_agent_run_with_a_wrong_value_is_not_created(driver, request_):
    conversation_id = await driver.conversation()
    await driver.refused(
        400, "INVALID_REQUEST", "POST", "/runs", driver.agent(conversation_id, request=request_)
    )
    assert (await driver.get(f"/conversations/{conversation_id}"))["message_count"] == 0


A = {"type": "A"}
WRONG_APPENDS = [
    {},
    {"events": None},
    {"events": {}},
    {"events": []},
    {"events": [A] * 101},
    {"events": [A, None]},
    {"events": [A, "A"]},
    {"events": [A, [A]]},
    {"events": [A, {}]},
    {"events": [A, {"type": None}]},
    {"events": [A, {"type": 1}]},
    {"events": [A, {"type": ""}]},
    {"events": [A, {"type": "x" * 129}]},
    {"events": [A], "expected_previous_event_id": -1},
    {"events": [A], "expected_previous_event_id": 0.5},
    {"events": [A], "expected_previous_event_id": "0"},
    {"events": [A], "expected_previous_event_id": 10**30},
    {"events": [A], "expected_previous_external_event_sequence": -1},
    {"events": [A], "expected_previous_external_event_sequence": 0.5},
    {"events": [A], "expected_previous_external_event_sequence": 10**30},
    {"events": [A], "attempt": -1},
]


@pytest.mark.parametrize("body", WRONG_APPENDS, ids=range(len(WRONG_APPENDS)))
async def test_an_append_with_a_wrong_value_appends_nothing(driver, body):
    run, path = await driver.agent_run()
    for events in (f"{path}/events", f"/runs/{run['run_id']}/events"):
        problem = await driver.refused(400, "INVALID_REQUEST", "POST", events, body)
        assert problem["errors"][0]["path"].startswith("$")
    assert (await driver.run(run["run_id"]))["latest_event_id"] == 0


async def test_the_last_value_of_a_repeated_member_counts(api):
    run = await api.create(
        json.dumps(api.task("task:b")).encode().replace(b'"target"', b'"target": "task:a", "target"')
    )
    assert run["target"] == "task:b"
    path = f"/runs/{run['run_id']}/events"
    hidden = b'{"events": [{"type": "A", "type": "RUN_FINISHED"}]}'
    await api.refused(400, "EVENT_TYPE_REFUSED", "POST", path, hidden)
    await api.post(path, b'{"events": [{"type": "RUN_FINISHED", "type": "A"}]}')
    [event] = (await api.get(path))["data"]
    assert event["event_type"] == event["payload"]["type"] == "A"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "nonsense;"])
async def test_a_body_is_read_as_json_whatever_its_content_type(driver, content_type):
    headers = {"Content-Type": content_type}
    assert await driver.create(headers=headers)
    await driver.refused(400, "INVALID_REQUEST", "POST", "/runs", b"kind=task", headers=headers)


INTEGRAL = b'{"kind": "task", "owner": OWNER, "request": {"target": "task:t", "timeout_seconds": 5.0, "input": 1.50}}'


async def test_an_integer_may_be_written_with_a_zero_fraction(api):
    owner = json.dumps({"kind": "project", "id": api.project.id}).encode()
    run = (await api.post("/runs", INTEGRAL.replace(b"OWNER", owner), 202))["run"]
    assert run["timeout_seconds"] == 5
    response = await api.send("GET", f"/runs/{run['run_id']}")
    assert b'"input":1.50' in response.content, "what is passed through is left as it is"
    done = b'{"status": "completed", "exit_code": 0e5, "metadata": {"inputTokens": 7.0},'
    done += b' "artifacts": [{"name": "a", "size": 1e3}]}'
    assert (await api.post(f"/runs/{run['run_id']}/complete", done))["run"]["exit_code"] == 0
    assert (await api.get(f"/runs/{run['run_id']}/usage"))["run"]["input_tokens"] == 7


@pytest.mark.parametrize("text", [b"5.5", b'"5"', b"1e300", b"9007199254740993.0", b"0.0", b"true"])
async def test_values_that_are_not_integers_in_range_are_refused(driver, text):
    owner = json.dumps({"kind": "project", "id": driver.project.id}).encode()
    body = INTEGRAL.replace(b"OWNER", owner).replace(b"5.0", text)
    await driver.refused(400, "INVALID_REQUEST", "POST", "/runs", body)
    mixed = b'{"status": "completed", "exit_code": 1.0, "attempt": ' + text + b"}"
    await driver.refused(400, "INVALID_REQUEST", "POST", "/runs/unknown/complete", mixed)


@pytest.mark.parametrize("members", [{"size": 1.5}, {"size": -1.0}])
async def test_the_size_of_an_artifact_is_an_integer(driver, members):
    run = await driver.create()
    body = {"status": "completed", "artifacts": [{"name": "a", **members}]}
    problem = await driver.refused(400, "INVALID_REQUEST", "POST", f"/runs/{run['run_id']}/complete", body)
    assert problem["errors"][0]["path"] == "$.artifacts[0].size"


async def test_a_body_over_ten_mib_is_refused_with_and_without_its_length(api):
    fits = with_request(api, b'"tea"').ljust(limits.body_bytes_max)  # with spaces at its end
    for body in (fits + b" ", chunks(fits + b" ")):
        headers = {"Authorization": f"Bearer {api.keys['default']}"}
        response = await api.client.post("/runs", content=body, headers=headers)
        problem = api.problem(response, 413, "BODY_TOO_LARGE")
        assert problem["detail"] == "The body is larger than 10 MiB"
    assert await api.nothing_stored()
    assert (await api.send("POST", "/runs", fits)).status_code == 202


async def chunks(body):
    for start in range(0, len(body), 1 << 20):
        yield body[start : start + (1 << 20)]
