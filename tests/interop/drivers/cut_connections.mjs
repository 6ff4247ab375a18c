// The guide's own `follow`, over a network that breaks every connection in the middle of a frame.
import { given, key, report, url } from "./setting.mjs";

const { follow } = await import(given.follow);
const send = globalThis.fetch;
let connections = 0;
globalThis.fetch = async (target, init) => {
  connections += 1;
  if (connections === 1) throw new TypeError("fetch failed");
  const response = await send(target, init);
  if (!response.ok || connections > given.cuts) return response;
  let left = given.bytes;
  const cut = new TransformStream({
    transform(part, controller) {
      controller.enqueue(part.subarray(0, left));
      left -= part.length;
      if (left < 0) controller.error(new TypeError("terminated"));
    },
  });
  return new Response(response.body.pipeThrough(cut), response);
};

const headers = { Authorization: `Bearer ${key}` };
const values = [];
for await (const event of follow(`${url}/runs/${given.runId}/stream`, headers)) {
  values.push(event.value ?? event.type);
}

const made = connections;

let refused;
try {
  for await (const event of follow(`${url}/runs/no-such-run/stream`, headers)) values.push(event);
} catch (error) {
  refused = error.status;
}
report({ values, connections: made, refused });
