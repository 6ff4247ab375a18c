// veryfront/eval/agent-service: the SDK's own check of a deployment, against a service that answers the runs.
import { readFile } from "node:fs/promises";
import { createAgentServiceRegistrationLifecycle, createConversationRecord } from "veryfront/agent";
import {
  createDurableRunCanaryRunner,
  createDurableRunTokenGrowthCanaryCase,
  runDurableRunCanaryCli,
} from "veryfront/eval/agent-service";
import { startService } from "./push_service.mjs";
import { given, key, projectId, report, url } from "./setting.mjs";

const access = { apiUrl: url, authToken: key };

// An agent that writes the requested file, and then reports it.
const service = await startService(async ({ request, emit }) => {
  const prompt = request.messages.at(-1).parts[0].text;
  const toolCallId = crypto.randomUUID();
  if (prompt.includes("Never mind")) throw new Error("The agent does not like this");
  if (prompt.includes("canary setup")) {
    const input = { path: ".veryfront-token-growth-canary.txt", content: "marker\n".repeat(4000) };
    await emit({ type: "TOOL_CALL_START", toolCallId, toolCallName: "create_file" });
    await emit({ type: "TOOL_CALL_ARGS", toolCallId, delta: JSON.stringify(input) });
    await emit({ type: "TOOL_CALL_END", toolCallId });
    await emit({ type: "TOOL_CALL_RESULT", messageId: `tool:${toolCallId}`, toolCallId, content: "written" });
  }
  const messageId = request.durableRootRun.messageId;
  await emit({ type: "TEXT_MESSAGE_START", messageId, role: "assistant" });
  await emit({ type: "TEXT_MESSAGE_CONTENT", messageId, delta: "Done." });
  await emit({ type: "TEXT_MESSAGE_END", messageId });
});
const lifecycle = await createAgentServiceRegistrationLifecycle({
  ...access,
  serviceName: "canary",
  serviceKey: "canary",
  scopeKind: "project",
  projectId,
  agentId: "canary",
  baseUrl: service.baseUrl,
  invokeUrl: `${service.baseUrl}/api/runs`,
  heartbeatIntervalMs: 1_000,
});

const conversation = () => createConversationRecord({ ...access, body: { project_id: projectId } });
const config = { ...access, agentId: "canary", projectId, requestTimeoutMs: 30_000 };
const cleaned = [];
const grown = await conversation();
const growth = createDurableRunTokenGrowthCanaryCase({
  conversationId: grown.id,
  cleanup: async ({ runId }) => void cleaned.push(runId),
});
const { id: unhappy } = await conversation();
const failing = {
  id: "unhappy",
  label: "A run that fails",
  prepare: async () => ({
    conversationId: unhappy,
    prompt: "Never mind",
    followUpPrompt: "Go on",
    validate: () => {},
    cleanup: async () => {},
  }),
};

const runner = createDurableRunCanaryRunner(config);
const [passed, failed] = await Promise.all([runner.runCase(growth), runner.runCase(failing)]);

const log = [];
const { id: inCli } = await conversation();
const code = await runDurableRunCanaryCli({
  env: {
    VERYFRONT_API_URL: url,
    VERYFRONT_TOKEN: key,
    AG_UI_EVAL_PROJECT_ID: projectId,
    DURABLE_CANARY_TIMEOUT_MS: "30000",
    DURABLE_CANARY_REPORT_PATH: given.report,
  },
  agentId: "canary",
  createCases: () => [createDurableRunTokenGrowthCanaryCase({ conversationId: inCli })],
  log: (line) => log.push(line),
});

lifecycle.stop();
service.stop();
report({
  conversationId: grown.id,
  passed,
  failed,
  cleaned,
  code,
  log,
  report: JSON.parse(await readFile(given.report, "utf8")),
});
