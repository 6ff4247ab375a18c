// veryfront/agent and veryfront/eval/agent-service: a service registers, gets runs, and gets a cancel.
import {
  createAgentServiceRegistrationLifecycle,
  createConversationRecord,
  resolveAgentServiceRegistrationInput,
} from "veryfront/agent";
import { createDurableRunCanaryApiClient } from "veryfront/eval/agent-service";
import { createRunsClient } from "veryfront/runs";
import { startService } from "./push_service.mjs";
import { answers, key, project, projectId, report, until, url } from "./setting.mjs";

const stopped = [];
const service = await startService(async ({ request, emit, signal }) => {
  const text = request.messages.at(-1).parts[0].text;
  if (text === "Break") throw new Error("It broke");
  const messageId = "m1";
  await emit({ type: "TEXT_MESSAGE_START", messageId, role: "assistant" });
  await emit({ type: "TEXT_MESSAGE_CONTENT", messageId, delta: `You said: ${text}` });
  if (text === "Work for long") {
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    stopped.push(request.durableRootRun.runId);
    throw signal.reason;
  }
  await emit({ type: "TEXT_MESSAGE_END", messageId });
});

const registration = await resolveAgentServiceRegistrationInput({
  config: {
    VERYFRONT_API_URL: url,
    VERYFRONT_API_TOKEN: key,
    VERYFRONT_PROJECT_ID: projectId,
    VERYFRONT_AGENT_SERVICE_URL: service.baseUrl,
    VERYFRONT_AGENT_SERVICE_REGISTRATION: "enabled",
    VERYFRONT_AGENT_SERVICE_HEARTBEAT_INTERVAL_MS: 100,
    POD_NAME: "pod-1",
  },
  serviceName: "echo",
  version: "1.2.3",
  runtime: "node",
});
const warnings = [];
const logger = { info: () => {}, warn: (...values) => warnings.push(values) };
const lifecycle = await createAgentServiceRegistrationLifecycle({ ...registration, logger });
const again = await createAgentServiceRegistrationLifecycle({ ...registration, logger });
again.stop();
await lifecycle.heartbeat();
const heard = ({ path, status }) => path.endsWith("/heartbeat") && status === 200;
await until(() => answers.filter(heard).length >= 4, "heartbeats");

const { id: conversationId } = await createConversationRecord({
  apiUrl: url,
  authToken: key,
  body: { project_id: projectId },
});
const api = createDurableRunCanaryApiClient({
  apiUrl: url,
  authToken: key,
  agentId: "echo",
  projectId,
  requestTimeoutMs: 30_000,
});
const runs = createRunsClient({ apiUrl: url, authToken: key, projectReference: project });
const summary = (runId) => api.getRunSummary({ conversationId, runId });

async function begin(runId, prompt) {
  await api.createDurableRootRun({ conversationId, runId });
  const { messageId } = await summary(runId);
  const userMessageId = crypto.randomUUID();
  await api.startDurableRun({ conversationId, runId, messageId, prompt, userMessageId });
}
const ended = (runId) =>
  until(async () => {
    const run = await summary(runId);
    return ["completed", "failed", "cancelled"].includes(run.status) ? run : null;
  }, `the end of ${runId}`);

await begin("run-echo", "Hello");
const echoed = await ended("run-echo");
await begin("run-broken", "Break");
const broken = await ended("run-broken");
await begin("run-long", "Work for long");
await until(async () => (await summary("run-long")).latestEventId >= 2, "the first events");
await runs.cancel("run-long");
await until(() => stopped.length > 0, "the service to get the cancel");

lifecycle.stop();
service.stop();
report({
  conversationId,
  service: lifecycle.service,
  again: again.serviceId,
  warnings,
  echoed,
  broken,
  stopped,
  calls: service.calls.map(({ method, path, status, body }) => ({
    method,
    path,
    status,
    body: body && JSON.parse(body),
  })),
});
