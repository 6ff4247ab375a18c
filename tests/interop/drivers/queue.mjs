// veryfront/agent: a host appends through its queue, while another writer appends to the same run.
import {
  appendConversationRunEvents,
  createConversationAgentRun,
  createConversationRecord,
  createConversationRunEventQueueController,
} from "veryfront/agent";
import { answers, given, key, projectId, refusal, report, url } from "./setting.mjs";

const access = { apiUrl: url, authToken: key };
const { id: conversationId } = await createConversationRecord({ ...access, body: { project_id: projectId } });
const { runId, latestEventId, latestExternalEventSequence } = await createConversationAgentRun({
  ...access,
  conversationId,
  agentId: "writer",
  projectId,
});
const queue = createConversationRunEventQueueController({
  ...access,
  conversationId,
  runId,
  latestEventId,
  latestExternalEventSequence,
  maxEventsPerBatch: 24,
});

// The other writer steps in between two batches of the queue, whose next cursor is then wrong: at most three
// times in one flush, which is how often the queue reads its cursor anew before it gives up.
const CUTS_PER_FLUSH_MAX = 3;
let [cuts, cutsInFlush, batches] = [0, 0, 0];
const send = globalThis.fetch;
globalThis.fetch = async (target, init) => {
  const body = init?.method === "POST" ? String(init.body) : "";
  if (body.includes('"by":"queue"') && cutsInFlush < CUTS_PER_FLUSH_MAX && (batches += 1) % 3 === 0) {
    cutsInFlush += 1;
    const event = { type: "CUSTOM", name: "note", value: { by: "other", number: cuts++ } };
    await appendConversationRunEvents({ ...access, conversationId, runId, events: [event] });
  }
  return send(target, init);
};

const outcomes = {};
const pieces = 500;
for (let first = 0; first < given.count; first += pieces) {
  cutsInFlush = 0;
  queue.enqueue(
    Array.from({ length: Math.min(pieces, given.count - first) }, (_, place) => ({
      type: "CUSTOM",
      name: "note",
      value: { by: "queue", number: first + place },
    })),
  );
  // Two at the same time: the queue sends one after the other.
  const flushed = await Promise.all([queue.flush(), queue.flush()]);
  for (const { outcome } of flushed) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
}

const mismatches = answers.filter((answer) => answer.status === 400).length;
const after = queue.getSnapshot();

// Where the other writer appends too often within one flush, the queue gives up and reports it.
const unfortunate = createConversationRunEventQueueController({
  ...access,
  conversationId,
  runId,
  ...after,
  maxEventsPerBatch: 24,
  maxCursorResyncsPerFlush: 0,
});
await appendConversationRunEvents({
  ...access,
  conversationId,
  runId,
  events: [{ type: "CUSTOM", name: "note", value: { by: "other", number: cuts++ } }],
});
unfortunate.enqueue([{ type: "CUSTOM", name: "note", value: { by: "unfortunate", number: 0 } }]);
const gaveUp = await unfortunate.flush();

const mismatch = await refusal(
  appendConversationRunEvents({
    ...access,
    conversationId,
    runId,
    expectedPreviousExternalEventSequence: 1,
    events: [{ type: "CUSTOM", name: "note", value: { by: "stale", number: 0 } }],
  }),
);

report({
  runId,
  outcomes,
  mismatches,
  cuts,
  after,
  gaveUp,
  mismatch: { status: mismatch.status, detail: mismatch.detail },
});
