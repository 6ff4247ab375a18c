// veryfront/agent: agent runs in a conversation, from creation to each outcome.
import {
  appendConversationRunEvents,
  AppendConversationRunEventsError,
  createConversationAgentRun,
  createConversationRecord,
  fetchConversationRecord,
  finalizeConversationAgentRun,
  getConversationRun,
  isIgnorableConversationRunAppendError,
  monitorConversationRunStatus,
} from "veryfront/agent";
import { createRunsClient } from "veryfront/runs";
import { answers, key, projectId, refusal, report, url } from "./setting.mjs";

const access = { apiUrl: url, authToken: key };
const conversation = await createConversationRecord({
  ...access,
  body: { project_id: projectId, type: "agent_task", title: "Greetings", metadata: { source: "test" } },
});
const record = await fetchConversationRecord({ ...access, conversationId: conversation.id });
const missing = await refusal(
  fetchConversationRecord({ ...access, conversationId: "2f4a4b1e-0000-4000-8000-000000000000" }),
);

const agent = { ...access, conversationId: conversation.id, agentId: "greeter", projectId };
const create = (runId, more) => createConversationAgentRun({ ...agent, runId, ...more });
const ends = (runId, status, more) => finalizeConversationAgentRun({ ...access, runId, status, ...more });

const running = await create("run-hosted");
const forWorker = await create("run-for-worker", { implementationKind: "claude-code" });
const onBranch = await create("run-on-branch", { branchId: "6ec87dd1-a46d-4c3d-94e5-d6b06d3a41f5" });
const child = await create("run-child", { parentRunId: running.runId });
const named = await createConversationAgentRun(agent);
const personal = await create("run-without-project", { projectId: null });

const appended = await appendConversationRunEvents({
  ...access,
  conversationId: conversation.id,
  runId: running.runId,
  expectedPreviousEventId: running.latestEventId,
  expectedPreviousExternalEventSequence: running.latestExternalEventSequence,
  events: [
    { type: "RUN_STARTED", runId: running.runId, threadId: conversation.id },
    // The client splits this event, because the API would refuse it for its size.
    { type: "TEXT_MESSAGE_CONTENT", messageId: "m1", delta: "x".repeat(300 * 1024) },
  ],
});

await ends("run-hosted", "completed", {
  provider: "anthropic",
  model: "claude-opus",
  usage: { inputTokens: 12, outputTokens: 34 },
  finishReason: "stop",
});
await ends("run-for-worker", "failed", { terminalErrorCode: "TIMED_OUT", terminalErrorMessage: "Too slow" });
await ends("run-on-branch", "cancelled", { terminalErrorCode: "USER", terminalErrorMessage: "Not any more" });
await ends("run-on-branch", "completed", { provider: "anthropic", model: "claude-opus" });

const late = await refusal(
  appendConversationRunEvents({
    ...access,
    conversationId: conversation.id,
    runId: "run-hosted",
    events: [{ type: "CUSTOM", name: "late", value: 1 }],
  }),
);

// A host follows its run while another client cancels it.
let polls = 0;
const terminal = [];
const watching = monitorConversationRunStatus({
  ...access,
  conversationId: conversation.id,
  runId: named.runId,
  pollIntervalMs: 20,
  onPollError: (error) => terminal.push(String(error)),
  onTerminal: (state) => terminal.push({ name: state.name, status: state.status, runId: state.run.runId }),
});
const seen = () => answers.filter((answer) => answer.path.endsWith(`/runs/${named.runId}`)).length;
while ((polls = seen()) < 3) await new Promise((resolve) => setTimeout(resolve, 10));
await createRunsClient({ apiUrl: url, authToken: key }).cancel(named.runId);
await watching;

report({
  conversation,
  record,
  missing: missing.message,
  created: { running, forWorker, onBranch, child, named, personal },
  appended,
  hosted: await getConversationRun({ ...access, conversationId: conversation.id, runId: "run-hosted" }),
  late: {
    isItsOwn: late instanceof AppendConversationRunEventsError,
    ignorable: isIgnorableConversationRunAppendError(late),
    status: late.status,
    detail: late.detail,
  },
  polls,
  terminal,
});
