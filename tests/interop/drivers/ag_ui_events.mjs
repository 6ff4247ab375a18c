// @ag-ui/core: every event of a stream or a snapshot matches the schemas of AG-UI.
import { EventType } from "@ag-ui/core";
import { EventSchemas } from "@ag-ui/core/schemas";
import { frames } from "./frames.mjs";
import { given, key, report, url } from "./setting.mjs";

const headers = { Authorization: `Bearer ${key}` };

const parse = (event) => {
  const parsed = EventSchemas.safeParse(event);
  return parsed.success ? null : { event, issues: parsed.error.issues };
};

const streams = {};
for (const path of given.streams) {
  const { found, ended, type } = await frames(`${url}${path}`, headers);
  streams[path] = {
    ended,
    type,
    ids: found.map((frame) => frame.id),
    names: found.map((frame) => frame.event),
    types: found.map((frame) => frame.data.type),
    refused: found.map((frame) => parse(frame.data)).filter(Boolean),
  };
}

const response = await fetch(`${url}${given.snapshot}`, { headers });
const snapshot = await response.json();

report({
  streams,
  snapshot: {
    types: snapshot.events.map(({ event }) => event.type),
    refused: snapshot.events.map(({ event }) => parse(event)).filter(Boolean),
  },
  known: Object.values(EventType),
});
