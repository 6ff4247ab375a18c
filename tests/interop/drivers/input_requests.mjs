// veryfront/agent: an agent asks a person, waits for the answer over the API, and continues with it.
import {
  buildInputRequestLifecycleDataEvent,
  createConversationAgentRun,
  createConversationRecord,
  createInputRequest,
  executeDurableHumanInputFlow,
  finalizeConversationAgentRun,
  getConversationRun,
  getInputRequest,
} from "veryfront/agent";
import { key, projectId, refusal, printLine, report, url } from "./setting.mjs";

const access = { apiUrl: url, authToken: key };
const { id: conversationId } = await createConversationRecord({ ...access, body: { project_id: projectId } });
const agent = { ...access, conversationId, agentId: "clerk", projectId };
const run = await createConversationAgentRun({ ...agent, runId: "run-that-asks" });

const choices = [
  { value: "m", label: "Medium", recommended: true },
  { value: "l", label: "Large", description: "Runs wide" },
];
const form = {
  title: "Your order",
  description: "So that we can send it",
  submitLabel: "Order",
  fields: [
    { type: "text", name: "name", label: "Name", required: true, minLength: 2, placeholder: "Ada" },
    { type: "email", name: "email", label: "E-mail", required: true },
    { type: "url", name: "page", label: "Page" },
    { type: "password", name: "code", label: "Code", secret: true },
    { type: "number", name: "count", label: "How many", min: 1, max: 9 },
    { type: "textarea", name: "note", label: "Note", rows: 5 },
    { type: "select", name: "size", label: "Size", options: choices },
    { type: "checkbox", name: "gift", label: "A gift", defaultValue: true },
    { type: "radio", name: "colour", label: "Colour", options: [{ value: "red", label: "Red" }] },
    { type: "confirm", name: "sure", label: "Sure?", confirmLabel: "Yes", denyLabel: "No" },
  ],
};
const expiresAt = new Date(Date.now() + 3_600_000).toISOString();

const seen = {};
const result = await executeDurableHumanInputFlow({
  runId: run.runId,
  threadId: conversationId,
  toolCallId: "ask-1",
  request: form,
  timeoutMs: 30_000,
  pollIntervalMs: 50,
  onRequest: ({ request }) =>
    createInputRequest({
      ...access,
      conversationId,
      runId: run.runId,
      toolCallId: "ask-1",
      form: request,
      expiresAt,
    }),
  onCreatedRequest: async (created) => {
    seen.created = created;
    seen.event = buildInputRequestLifecycleDataEvent({ action: "created", inputRequest: created }).name;
    seen.waiting = await getConversationRun({ ...access, conversationId, runId: run.runId });
    printLine(JSON.stringify({ conversationId, id: created.id }));
  },
  getSnapshot: ({ id }) => getInputRequest({ ...access, conversationId, inputRequestId: id }),
  resolveSnapshot: (snapshot) => {
    seen.last = snapshot;
    if (snapshot.status === "submitted") return { submitted: true, values: snapshot.latestResponse.values };
    return snapshot.status === "open" ? null : { submitted: false, values: {} };
  },
});
seen.running = await getConversationRun({ ...access, conversationId, runId: run.runId });

const unknown = await refusal(
  getInputRequest({ ...access, conversationId, inputRequestId: "2f4a4b1e-0000-4000-8000-000000000000" }),
);
const end = { runId: run.runId, status: "completed", provider: "p", model: "m" };
await finalizeConversationAgentRun({ ...access, ...end });

report({ seen, result: result.result, unknown: JSON.parse(unknown.message).status, form });
