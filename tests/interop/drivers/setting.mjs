// The server's URL and the credential for every driver, and how a driver reports its facts.
import { createInterface } from "node:readline";

export const { url, key, project, projectId, given } = JSON.parse(process.env.INTEROP);

/** All answers in order: `{ method, path, status }`. */
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

/** The number of answers with this status. */
export const answered = (status) => answers.filter((answer) => answer.status === status).length;

/** Prints a line for the test. */
export const printLine = (line) => process.stdout.write(`${line}\n`);

/** Prints the facts as the last line. */
export const report = (facts) => printLine(JSON.stringify(facts));

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
