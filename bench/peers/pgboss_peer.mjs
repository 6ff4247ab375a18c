// pg-boss: a job is sent, fetched by a worker of this process, stores ten rows of a table of ours, and is completed.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import pg from "pg";
import PgBoss from "pg-boss";

const { values: options } = parseArgs({
  options: {
    concurrency: { type: "string", default: "16" },
    seconds: { type: "string", default: "5" },
    directory: { type: "string" },
    postgres: { type: "string" },
  },
});
const [concurrency, seconds] = [Number(options.concurrency), Number(options.seconds)];
const events = JSON.stringify(
  Array.from({ length: 10 }, (_, step) => ({
    type: "CUSTOM", name: "progress", value: { step, note: ".".repeat(136) },
  })),
);
const pool = new pg.Pool({ connectionString: options.postgres, max: 20 });
await pool.query("CREATE TABLE events (job text, payload jsonb)");
const boss = new PgBoss({ connectionString: options.postgres, max: 20 });
boss.on("error", (error) => console.error(error));
await boss.start();
await boss.createQueue("bench");
const start = performance.now() + 1000;
const end = start + seconds * 1000;
let ended = 0;

async function caller() {
  while (performance.now() < end) {
    await boss.send("bench", { name: "bench" });
    let jobs = [];
    while (!(jobs = await boss.fetch("bench")).length) if (performance.now() > end + 5000) return;
    const [job] = jobs;
    await pool.query("INSERT INTO events SELECT $1, jsonb_array_elements($2::jsonb)", [job.id, events]);
    await boss.complete("bench", job.id);
    const now = performance.now();
    ended += start <= now && now < end ? 1 : 0;
  }
}
await Promise.all(Array.from({ length: concurrency }, caller));
const found = JSON.parse(readFileSync(new URL("./node_modules/pg-boss/package.json", import.meta.url)));
console.log(JSON.stringify({ version: found.version, lifecycles_per_s: Math.round((ended / seconds) * 10) / 10 }));
process.exit(0);
