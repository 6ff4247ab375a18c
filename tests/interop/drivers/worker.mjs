// veryfront/agent: an external worker completes one run, and fails another.
import { createExternalAgentWorkerClient } from "veryfront/agent";
import { answers, key, project, refusal, report, url } from "./setting.mjs";

const client = createExternalAgentWorkerClient({ apiUrl: url, authToken: key });
const registration = {
  projectReference: project,
  implementationKind: "claude-code",
  implementationDisplayName: "Claude Code",
  workerKey: "laptop:1",
  displayName: "My laptop",
  metadata: { cpus: 8 },
};
const worker = await client.registerWorker(registration);
const registeredAgain = await client.registerWorker(registration);
const heartbeat = await client.heartbeatWorker(worker.id);

const lease = { workerId: worker.id, leaseDurationSeconds: 60 };
const claimed = await client.claimRun(lease);
const on = { workerId: worker.id, runId: claimed.run_id };
const session = await client.recordSession({
  ...on,
  sessionKey: "session-1",
  status: "active",
  metadata: { cwd: "/src" },
});

const append = (events, expectedPreviousExternalEventSequence) =>
  client.appendRunEvents({
    conversationId: claimed.conversation_id,
    runId: claimed.run_id,
    events,
    expectedPreviousExternalEventSequence,
  });
await append(
  [
    { type: "RUN_STARTED", runId: claimed.run_id, threadId: claimed.conversation_id },
    { type: "TEXT_MESSAGE_START", messageId: "m1", role: "assistant" },
  ],
  claimed.latest_external_event_sequence,
);
await append([{ type: "TEXT_MESSAGE_CONTENT", messageId: "m1", delta: "Hello, " }], 2);
const stale = await refusal(append([{ type: "CUSTOM", name: "lost", value: 1 }], 1));
const renewed = await client.renewLease({ ...on, leaseDurationSeconds: 120 });
await append([{ type: "TEXT_MESSAGE_CONTENT", messageId: "m1", delta: "Ada" }], 3);
await append([{ type: "TEXT_MESSAGE_END", messageId: "m1" }], 4);

const ended = await client.recordSession({ ...on, sessionKey: "session-1", status: "completed" });
await client.completeRun({ runId: claimed.run_id, status: "completed" });
const late = await refusal(append([{ type: "CUSTOM", name: "late", value: 1 }], 5));

const second = await client.claimRun(lease);
await client.completeRun({
  runId: second.run_id,
  status: "failed",
  terminalErrorCode: "MODEL_OVERLOADED",
  terminalErrorMessage: "The model did not answer",
});
const nothing = await client.claimRun(lease);

const unregistered = createExternalAgentWorkerClient({ apiUrl: url, authToken: key });
report({
  worker,
  registeredAgain,
  heartbeat,
  claimed,
  session,
  ended,
  stale: JSON.parse(stale.message),
  late: JSON.parse(late.message),
  renewed,
  second: second.run_id,
  nothing,
  heartbeatOfOneThatNeverRegistered: (await unregistered.heartbeatWorker(worker.id)).id,
  redirects: answers.filter((answer) => answer.status >= 300 && answer.status < 400).length,
});
