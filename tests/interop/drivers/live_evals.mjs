// veryfront/eval/agent-service: the client of live evals, for conversations and forms.
import { createConversationAgentRun, createInputRequest, getConversationRun } from "veryfront/agent";
import { createLiveEvalApiClient } from "veryfront/eval/agent-service";
import { key, projectId, refusal, report, url } from "./setting.mjs";

const access = { apiUrl: url, authToken: key };
const live = createLiveEvalApiClient({ ...access, projectId });
const requestTimeoutMs = 15_000;
const conversationId = await live.createConversation({ title: "An eval", requestTimeoutMs });
const on = { conversationId, requestTimeoutMs };

/** A run that asks; the eval's side waits for the form. */
async function asking(runId) {
  await createConversationAgentRun({ ...access, conversationId, agentId: "clerk", projectId, runId });
  const created = await createInputRequest({
    ...access,
    conversationId,
    runId,
    toolCallId: "ask",
    form: { title: "A name", fields: [{ type: "text", name: "name", label: "Name", required: true }] },
    expiresAt: new Date(Date.now() + 600_000).toISOString(),
  });
  const signal = new AbortController().signal;
  const found = await live.waitForOpenInputRequest({ ...on, abortSignal: signal, pollIntervalMs: 20 });
  return { created: created.id, found };
}

const before = await live.listOpenInputRequests(on);
const submitted = await asking("run-submitted");
const values = { name: "Ada" };
await live.submitInputResponse({ ...on, inputRequestId: submitted.found, values });
const cancelled = await asking("run-form-cancelled");
await live.cancelInputRequest({ ...on, inputRequestId: cancelled.found });
const after = await live.listOpenInputRequests(on);
const again = await refusal(live.submitInputResponse({ ...on, inputRequestId: cancelled.found, values }));

const run = await getConversationRun({ ...access, conversationId, runId: "run-submitted" });
await live.deleteConversation(on);
await live.deleteConversation(on);

report({ conversationId, before, submitted, cancelled, after, again: again.message, status: run.status });
