// veryfront/agent: a worker that claims and completes runs as fast as it can, until there are none.
import { createExternalAgentWorkerClient } from "veryfront/agent";
import { given, heard, key, project, printLine, report, url } from "./setting.mjs";

const client = createExternalAgentWorkerClient({ apiUrl: url, authToken: key });
const worker = await client.registerWorker({
  projectReference: project,
  implementationKind: "rival",
  workerKey: given.name,
});
printLine("ready");
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
report({ won });
