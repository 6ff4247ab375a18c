// veryfront/agent: a worker stops renewing, another one finishes its run, and the first one writes too late.
import { createExternalAgentWorkerClient } from "veryfront/agent";
import { key, project, refusal, report, until, url } from "./setting.mjs";

async function worker(workerKey) {
  const client = createExternalAgentWorkerClient({ apiUrl: url, authToken: key });
  const { id } = await client.registerWorker({
    projectReference: project,
    implementationKind: "forgetful",
    workerKey,
  });
  const append = (run, value, sequence) =>
    client.appendRunEvents({
      conversationId: run.conversation_id,
      runId: run.run_id,
      events: [{ type: "CUSTOM", name: "by", value }],
      expectedPreviousExternalEventSequence: sequence,
    });
  return { id, client, append, claim: () => client.claimRun({ workerId: id, leaseDurationSeconds: 5 }) };
}

const [first, second] = [await worker("first"), await worker("second")];
const lost = await first.claim();
await first.client.recordSession({ workerId: first.id, runId: lost.run_id, sessionKey: "of-the-first" });
await first.append(lost, "first", 0);
const taken = await second.claim();
const found = await until(second.claim, "the lease to run out");

const renewed = await first.client.renewLease({
  workerId: first.id,
  runId: lost.run_id,
  leaseDurationSeconds: 5,
});
const stale = await refusal(first.append(lost, "too late", 0));
await second.append(found, "second", found.latest_external_event_sequence);
await second.client.completeRun({ runId: found.run_id, status: "completed" });
await first.client.completeRun({
  runId: lost.run_id,
  status: "failed",
  terminalErrorCode: "LATE",
  terminalErrorMessage: "The first worker gave up",
});

report({
  workers: [first.id, second.id],
  lost,
  taken,
  found,
  renewed,
  stale: JSON.parse(stale.message),
});
