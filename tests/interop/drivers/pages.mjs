// veryfront/runs: a list longer than a page, read completely by cursors, while more runs are created.
import "veryfront/agent"; // registers the schema validator that veryfront/runs parses with
import { createRunsClient } from "veryfront/runs";
import { given, key, project, projectId, report, url } from "./setting.mjs";

const runs = createRunsClient({ apiUrl: url, authToken: key, projectReference: project });
const ids = Array.from({ length: given.count }, (_, number) => `page-${String(number).padStart(3, "0")}`);
for (let first = 0; first < ids.length; first += 25) {
  const some = ids.slice(first, first + 25);
  await Promise.all(some.map((publicId) => runs.createTaskRun({ projectId, publicId, target: "task:many" })));
}

const pages = [];
const listed = [];
for (let cursor; ; ) {
  const page = await runs.list({ cursor, limit: given.limit });
  pages.push(page.data.length);
  listed.push(...page.data.map((run) => run.run_id));
  if (page.page_info.next === null) break;
  cursor = page.page_info.next;
  await runs.createTaskRun({ projectId, publicId: `late-${pages.length}`, target: "task:late" });
}

runs.setProjectReference(projectId);
const byId = await runs.list();

report({ ids, pages, listed, byDefault: byId.data.map((run) => run.run_id) });
