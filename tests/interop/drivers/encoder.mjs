// veryfront/agent and the guide's agent: the SDK's events of a model's stream are appended and shown.
import { EventSchemas } from "@ag-ui/core/schemas";
import {
  appendConversationRunEvents,
  ConversationRunEventEncoder,
  createConversationAgentRun,
  createConversationRecord,
  finalizeConversationAgentRun,
  prepareConversationRunChunkEvents,
} from "veryfront/agent";
import { frames } from "./frames.mjs";
import { given, key, projectId, report, url } from "./setting.mjs";

const access = { apiUrl: url, authToken: key };
const { id: conversationId } = await createConversationRecord({ ...access, body: { project_id: projectId } });
const agent = { ...access, conversationId, agentId: "greeter", projectId };
const { runId, messageId } = await createConversationAgentRun(agent);

const chunks = [
  { type: "start", messageId },
  { type: "reasoning-start", id: "r1" },
  { type: "reasoning-delta", id: "r1", delta: "Who is it?" },
  { type: "reasoning-end", id: "r1" },
  { type: "text-start", id: "t1" },
  { type: "text-delta", id: "t1", delta: "Hello, " },
  { type: "text-delta", id: "t1", delta: "Ada" },
  { type: "text-end", id: "t1" },
  { type: "tool-input-start", toolCallId: "c1", toolName: "lookup" },
  { type: "tool-input-delta", toolCallId: "c1", inputTextDelta: '{"name":"Ada"}' },
  { type: "tool-input-available", toolCallId: "c1", toolName: "lookup", input: { name: "Ada" } },
  { type: "tool-output-available", toolCallId: "c1", output: { found: true } },
  { type: "data-progress", data: { done: 1 } },
  { type: "finish", finishReason: "stop" },
];
const started = { type: "RUN_STARTED", runId, threadId: conversationId };
const events = [started, ...prepareConversationRunChunkEvents(chunks, new ConversationRunEventEncoder())];
await appendConversationRunEvents({
  ...access,
  conversationId,
  runId,
  expectedPreviousExternalEventSequence: 0,
  events,
});
await finalizeConversationAgentRun({ ...access, runId, status: "completed", provider: "p", model: "m" });

const headers = { Authorization: `Bearer ${key}` };
const address = `${url}/runs/${runId}/stream`;
const { found } = await frames(address, headers);
const { agentOf } = await import(given.agent);
const http = agentOf(address, headers, runId);
await http.runAgent();

report({
  conversationId,
  runId,
  sent: events.map((event) => event.type),
  streamed: found.map((frame) => frame.data.type),
  refused: found.filter((frame) => !EventSchemas.safeParse(frame.data).success).map((frame) => frame.data),
  messages: http.messages,
});
