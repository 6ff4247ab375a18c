"""`…/snapshot`: a snapshot of a run's log."""


async def say(api, path, *events):
    await api.post(f"{path}/events", {"events": list(events)})


async def test_a_fresh_run_has_an_empty_message_and_state(api):
    _, path = await api.agent_run()
    answer = await api.get(f"{path}/snapshot")
    assert list(answer) == ["after_event_id", "events"]
    assert answer["after_event_id"] == 0
    messages, state = answer["events"]
    assert (messages["event_id"], messages["event"]["type"]) == (None, "MESSAGES_SNAPSHOT")
    assert (state["event_id"], state["event"]["type"]) == (None, "STATE_SNAPSHOT")
    assert {"invokeAgentChildRuns", "inputRequestsByToolCallId"} <= set(state["event"]["snapshot"])


async def test_a_snapshot_has_the_messages_and_the_end(api):
    run, path = await api.agent_run()
    await say(
        api,
        path,
        {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "Hel"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "lo"},
        {"type": "TEXT_MESSAGE_END", "messageId": "m"},
        {"type": "TOOL_CALL_START", "toolCallId": "t", "toolCallName": "search"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "t", "delta": '{"q":1}'},
        {"type": "TOOL_CALL_END", "toolCallId": "t"},
        {
            "type": "TOOL_CALL_RESULT",
            "messageId": "r",
            "toolCallId": "t",
            "content": "found",
            "isError": False,
        },
        {"type": "STATE_DELTA", "delta": [{"op": "add", "path": "/mine", "value": 1}]},
    )
    await api.complete(run["run_id"], metadata={"model": "large"})
    answer = await api.get(f"{path}/snapshot")
    assert answer["after_event_id"] == 10
    messages, state, end = answer["events"]
    text = str(messages["event"])
    for part in ("Hello", "search", "found", "tool_call", "tool_result"):
        assert part in text
    assert state["event"]["snapshot"]["mine"] == 1
    assert (end["event_id"], end["event"]["type"]) == (10, "RUN_FINISHED")
    assert end["event"]["metadata"] == {"model": "large"}


async def test_a_failed_run_ends_its_snapshot_with_the_error(api):
    run, path = await api.agent_run()
    await api.complete(run["run_id"], "failed", terminal_error_message="It broke")
    end = (await api.get(f"{path}/snapshot"))["events"][-1]
    assert (end["event_id"], end["event"]["type"], end["event"]["message"]) == (1, "RUN_ERROR", "It broke")


async def test_malformed_events_do_not_break_a_snapshot(api):
    _, path = await api.agent_run()
    await say(
        api,
        path,
        {"type": "TEXT_MESSAGE_CONTENT", "delta": 7},
        {"type": "TOOL_CALL_ARGS", "toolCallId": ["t"], "delta": None},
        {"type": "STATE_DELTA", "delta": [{"op": "remove", "path": "/nowhere"}]},
        {"type": "STATE_SNAPSHOT", "snapshot": "text"},
        {"type": "MESSAGES_SNAPSHOT", "messages": 1e300},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "still here"},
    )
    answer = await api.get(f"{path}/snapshot")
    assert "still here" in str(answer["events"][0])


async def test_a_snapshot_reads_a_log_of_many_pages(driver):
    _, path = await driver.agent_run()
    for _ in range(12):
        piece = {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "x"}
        await driver.post(f"{path}/events", {"events": [piece] * 100})
    answer = await driver.get(f"{path}/snapshot")
    assert answer["after_event_id"] == 1_200
    assert "x" * 1_200 in str(answer["events"][0])


async def state(api, path):
    return (await api.get(f"{path}/snapshot"))["events"][1]["event"]["snapshot"]


async def test_the_state_holds_the_input_requests_of_the_run(api):
    run, path = await api.agent_run()
    where = f"{path.rpartition('/runs/')[0]}/input-requests"
    body = {"run_id": run["run_id"], "tool_call_id": "t1", "kind": "form", "title": "Who?"}
    body |= {"requested_responder_type": "human", "fields": [{"name": "n", "label": "N", "type": "text"}]}
    said = [{"op": "add", "path": "/inputRequestsByToolCallId/t1", "value": {"status": "draft", "mine": 1}}]
    await say(api, path, {"type": "STATE_DELTA", "delta": said})
    made = await api.post(where, body, 201)
    shown = (await state(api, path))["inputRequestsByToolCallId"]
    assert set(shown) == {"t1"}
    assert shown["t1"].pop("mine") == 1, "what the events say beside it stays"
    assert (shown["t1"]["id"], shown["t1"]["toolCallId"], shown["t1"]["status"]) == (made["id"], "t1", "open")
    assert shown["t1"]["fields"] == made["fields"]
    answer = await api.post(f"{where}/{made['id']}/responses", {"values": {"n": "Ada"}}, 201)
    shown = (await state(api, path))["inputRequestsByToolCallId"]["t1"]
    shown.pop("mine")
    assert (shown["status"], shown["submittedAt"]) == ("submitted", answer["submitted_at"])
    assert shown["latestResponse"] == answer["latest_response"]
    camel = {
        "".join(word.title() if at else word for at, word in enumerate(name.split("_"))) for name in answer
    }
    assert set(shown) == camel


async def test_the_state_holds_child_runs_under_the_calls_that_made_them(api):
    run, path = await api.agent_run()
    conversation = path.split("/")[2]
    trigger = {"conversation_id": conversation, "tool_call_id": "t1"}
    elsewhere = await api.conversation()
    body = api.agent(elsewhere, public_id="child", parent_run_id=run["run_id"], trigger=trigger)
    await api.create(body)
    await api.create(api.agent(elsewhere, public_id="free", parent_run_id=run["run_id"]))
    said = {
        "op": "add",
        "path": "/invokeAgentChildRuns/t1",
        "value": {"description": "D", "status": "pending"},
    }
    await say(api, path, {"type": "STATE_DELTA", "delta": [said]})
    await api.complete("child")
    child = await api.get(f"/conversations/{elsewhere}/runs/child")
    assert (await state(api, path))["invokeAgentChildRuns"] == {
        "t1": {
            "toolCallId": "t1",
            "childConversationId": elsewhere,
            "childRunId": "child",
            "childMessageId": child["message_id"],
            "childAgentId": "scribe",
            "status": "completed",
            "description": "D",
            "sourceTargetKind": None,
            "runtimeTargetKind": None,
            "targetEnvironmentId": None,
            "targetBranchId": None,
        }
    }
