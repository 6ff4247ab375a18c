// veryfront/agent: messages of users in a conversation, and an agent run with a message for the handover.
import {
  bootstrapConversationAgentRun,
  createConversationMessage,
  createConversationRecord,
  ensureConversationProjectLink,
  finalizeConversationAgentRun,
  persistConversationUserMessage,
  persistLatestConversationUserMessage,
} from "veryfront/agent";
import { given, key, projectId, refusal, report, url } from "./setting.mjs";

const access = { apiUrl: url, authToken: key };
const parent = await createConversationRecord({ ...access, body: { project_id: projectId } });
const inParent = { ...access, conversationId: parent.id };

const question = {
  role: "user",
  parts: [{ type: "text", text: "Who is Ada?" }],
  idempotency_key: "question-1",
  metadata: { from: "test" },
};
const asked = await createConversationMessage({ ...inParent, body: question });
const askedAgain = await createConversationMessage({ ...inParent, body: question });

const shown = {
  id: "ui-1",
  role: "user",
  parts: [
    { type: "text", text: "And this?" },
    { type: "source-url", sourceId: "s1", title: "A page", url: "https://example.com/" },
  ],
};
const persisted = await persistConversationUserMessage({
  ...inParent,
  message: shown,
  parentMessageId: asked.id,
});
const failures = [];
const refused = await refusal(
  persistConversationUserMessage({
    ...inParent,
    conversationId: given.unknown,
    message: shown,
    onFailure: (failure) => failures.push({ status: failure.status, messageId: failure.messageId }),
  }),
);
await persistLatestConversationUserMessage({
  ...inParent,
  enabled: true,
  messages: [
    { id: asked.id, role: "assistant", parts: [{ type: "text", text: "Ada is a programmer." }] },
    { id: "ui-2", role: "user", parts: [{ type: "text", text: "Thanks" }] },
  ],
});

const handed = await bootstrapConversationAgentRun({
  ...access,
  agentId: "researcher",
  parentConversationId: parent.id,
  ensureProjectId: projectId,
  conversationBody: { project_id: projectId, type: "agent_task", title: "Look Ada up" },
  handoffMessageBody: { role: "user", parts: [{ type: "text", text: "Look Ada up" }] },
  runId: "run-handed-over",
});
await finalizeConversationAgentRun({
  ...access,
  runId: handed.run.runId,
  status: "completed",
  provider: "anthropic",
  model: "claude-opus",
  usage: { inputTokens: 5, outputTokens: 7 },
});

await ensureConversationProjectLink({ ...inParent, projectId });
const linked = await refusal(ensureConversationProjectLink({ ...inParent, projectId: given.unknown }));

report({
  parent: parent.id,
  asked: asked.id,
  askedAgain: askedAgain.id,
  persisted: persisted.id,
  refused: refused.message,
  failures,
  handed,
  linked: linked.message,
});
