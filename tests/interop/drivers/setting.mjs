// Where the server is and who asks, as every driver needs it; and how a driver tells what it found.
import { createInterface } from "node:readline";

export const { url, key, project, projectId, given } = JSON.parse(process.env.INTEROP);

/** Every answer that came in, in order: `{ method, path, status }`. */
export const answers = [];
const send = globalThis.fetch;
globalThis.fetch = async (target, init) => {
  const response = await send(target, init);
  answers.push({
    method: init?.method ?? "GET",
    path: new URL(target).pathname,
    status: response.status,
  });
  return response;
};

/** How many answers had a status. */
export const answered = (status) => answers.filter((answer) => answer.status === status).length;

/** A line that says where the driver is. */
export const say = (line) => process.stdout.write(`${line}\n`);

/** The facts, as the last line. */
export const tell = (facts) => say(JSON.stringify(facts));

/** What a promise is refused with. */
export async function refusal(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("this should have been refused");
}

/** The next line from the test. */
export async function heard() {
  const lines = createInterface({ input: process.stdin });
  for await (const line of lines) {
    lines.close();
    return line;
  }
  throw new Error("the test went away");
}

/** What `attempt` returns once that is something; asks again until then. */
export async function until(attempt, what, seconds = 30) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const found = await attempt();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited ${seconds} s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
