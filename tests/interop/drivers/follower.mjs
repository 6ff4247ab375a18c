// A follower whose connection is cut repeatedly, and that continues after its last event.
import { frames } from "./frames.mjs";
import { given, key, printLine, report, url } from "./setting.mjs";

const ids = [];
const values = [];
let connections = 0;
for (let ended = false; !ended; ) {
  connections += 1;
  let seen = 0;
  const limit = given.cuts[(connections - 1) % given.cuts.length];
  const last = ids.at(-1);
  const headers = { Authorization: `Bearer ${key}`, ...(last ? { "Last-Event-ID": String(last) } : {}) };
  const read = await frames(`${url}${given.path}`, headers, (frame) => {
    if (ids.length === 0 && seen === 0) printLine("open");
    return (seen += 1) >= limit && !["RunFinished", "RunError"].includes(frame.event);
  });
  ids.push(...read.found.map((frame) => frame.id));
  values.push(...read.found.map((frame) => frame.data.value ?? null));
  ended = read.ended;
}
report({ ids, values, connections });
