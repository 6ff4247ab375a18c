// @ag-ui/client: its transport reads the server's stream, and its agent builds the same messages as the server.
import { HttpAgent, runHttpRequest, transformHttpEventStream } from "@ag-ui/client";
import { given, key, refusal, report, url } from "./setting.mjs";

const headers = { Authorization: `Bearer ${key}` };
const stream = (runId) => `${url}/runs/${runId}/stream`;

const events = [];
await new Promise((resolve, reject) =>
  transformHttpEventStream(runHttpRequest(() => fetch(stream(given.runId), { headers }))).subscribe({
    next: (event) => events.push(event.type),
    error: reject,
    complete: resolve,
  }),
);

/** An agent that shows a run which is there already: it asks for the run's stream and posts nothing. */
const agentOf = (runId) =>
  new HttpAgent({
    url: stream(runId),
    headers,
    fetch: (address, { signal, headers: { Authorization } }) =>
      fetch(address, { signal, headers: { Authorization } }),
  });

const agent = agentOf(given.runId);
const heard = [];
await agent.runAgent({}, { onEvent: ({ event }) => void heard.push(event.type) });

const failing = agentOf(given.failing);
const errors = [];
await failing.runAgent({}, { onRunErrorEvent: ({ event }) => void errors.push([event.message, event.code]) });

const missing = await refusal(agentOf("no-such-run").runAgent({}, { onRunFailed: () => undefined }));

report({
  events,
  heard,
  messages: agent.messages,
  state: agent.state,
  errors,
  missing: missing.status,
});
