// veryfront/runs: every call of the runs client.
import "veryfront/agent"; // registers the schema validator that veryfront/runs parses with
import { createRunsClient } from "veryfront/runs";
import { answered, given, key, project, projectId, refusal, report, url } from "./setting.mjs";

const runs = createRunsClient({ apiUrl: url, authToken: key, projectReference: project });

const task = {
  projectId,
  publicId: "nightly-sync",
  name: "Nightly sync",
  target: "task:sync-data",
  runtimeTargetKind: "main_branch",
  config: { batchSize: 100 },
  timeoutSeconds: 60,
  backoffLimit: 2,
};
const created = await runs.createTaskRun(task);
const again = await runs.createTaskRun(task);
const child = await runs.createTaskRun({ projectId, target: "task:part", parentRunId: created.run.run_id });
const workflow = await runs.createWorkflowRun({
  projectId,
  workflowId: "publish",
  target: "workflow:publish",
  input: { articles: ["a", "b"] },
  startMode: "immediate",
});
const evaluation = await runs.createEvalRun({
  projectId,
  target: "eval:answers",
  runtimeTargetKind: "preview_branch",
  runtimeTargetBranchId: "6ec87dd1-a46d-4c3d-94e5-d6b06d3a41f5",
  input: ["case-1", "case-2"],
  config: { threshold: 0.9 },
});

const knowledge = {
  ids: await runs.knowledge.ingestByUploadIds({ projectId, uploadIds: ["u1", "u2"] }),
  paths: await runs.knowledge.ingestByUploadPaths({ projectId, uploadPaths: ["docs/a.md"], name: "Docs" }),
  prefix: await runs.knowledge.ingestByUploadPrefix({ projectId, uploadPrefix: "docs/" }),
};

const events = [];
for (let afterEventId; ; ) {
  const page = await runs.events(given.watched, { afterEventId, limit: 2 });
  events.push(...page.data);
  if (page.page_info.next === null) break;
  afterEventId = Number(page.page_info.next);
}

const cancelled = await runs.cancel(created.run.run_id);
const cancelledAgain = await runs.cancel(created.run.run_id);

const missing = await refusal(runs.get("no-such-run"));
runs.setRequestToken("vf_wrong_0000000000000000000000000000000000000000");
const stranger = await refusal(runs.get(created.run.run_id));
runs.clearRequestToken();

// Without arguments, the client takes the URL, the credential and the project from the environment.
process.env.VERYFRONT_API_URL = url;
process.env.VERYFRONT_API_TOKEN = key;
process.env.VERYFRONT_PROJECT_SLUG = project;
const fromEnvironment = await createRunsClient().list({ limit: 1 });

report({
  created,
  again,
  child: child.run,
  workflow: workflow.run,
  evaluation: evaluation.run,
  knowledge: Object.fromEntries(Object.entries(knowledge).map(([by, { run }]) => [by, run])),
  read: await runs.get(created.run.run_id),
  fromEnvironment: fromEnvironment.data.length,
  events,
  cancelled,
  cancelledAgain,
  missing: { slug: missing.slug, status: missing.status, asked: answered(404) },
  stranger: { status: stranger.status, asked: answered(401) },
});
