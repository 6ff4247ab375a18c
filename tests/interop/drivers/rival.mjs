// veryfront/agent: a worker that takes and finishes runs as fast as it can, for as long as there are any.
import { createExternalAgentWorkerClient } from "veryfront/agent";
import { given, heard, key, project, say, tell, url } from "./setting.mjs";

const client = createExternalAgentWorkerClient({ apiUrl: url, authToken: key });
const worker = await client.registerWorker({
  projectReference: project,
  implementationKind: "rival",
  workerKey: given.name,
});
say("ready");
await heard();

const won = [];
for (;;) {
  const run = await client.claimRun({ workerId: worker.id, leaseDurationSeconds: 60 });
  if (run === null) break;
  won.push(run.run_id);
  await client.appendRunEvents({
    conversationId: run.conversation_id,
    runId: run.run_id,
    events: [{ type: "CUSTOM", name: "done-by", value: given.name }],
    expectedPreviousExternalEventSequence: run.latest_external_event_sequence,
  });
  await client.completeRun({ runId: run.run_id, status: "completed" });
}
tell({ won });
