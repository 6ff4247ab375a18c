// An agent service made of the SDK's own parts: its routes, its tracker, its authentication.
import { createPublicKey, verify } from "node:crypto";
import { createServer } from "node:http";
import {
  createAgentServiceAuth,
  createAgentServiceRouteSet,
  createConversationRunEventQueueController,
  createDetachedRunTracker,
  finalizeConversationAgentRun,
} from "veryfront/agent";
import { url } from "./setting.mjs";

const decoded = (part) => JSON.parse(Buffer.from(part, "base64url").toString());

/** The server's public keys, as services are configured with them: PEM (SPKI) by algorithm. */
export async function publicKeys() {
  const { keys } = await (await fetch(`${url}/.well-known/jwks.json`)).json();
  const pem = (jwk) => createPublicKey({ key: jwk, format: "jwk" }).export({ type: "spki", format: "pem" });
  return Object.fromEntries(keys.map((jwk) => [jwk.alg, pem(jwk)]));
}

/** What the SDK's JWT extension does: the claims of an RS256 token that the key has signed. */
const authProvider = {
  async verifyWithPublicKey(token, pem) {
    const [header, claims, signature] = token.split(".");
    const good =
      decoded(header).alg === "RS256" &&
      verify("sha256", Buffer.from(`${header}.${claims}`), pem, Buffer.from(signature, "base64url"));
    if (!good) throw new Error("signature verification failed");
    return decoded(claims);
  },
};

/**
 * Serves until `stop()`. `work({ request, emit, signal })` answers a run: it emits events and returns, and the
 * run is completed; what it throws fails the run. `calls` holds every request, as it came.
 */
export async function startService(work) {
  const calls = [];
  const keys = await publicKeys();
  const auth = createAgentServiceAuth({
    getConfig: () => ({ VERYFRONT_API_URL: url, OAUTH_PUBLIC_KEY: keys.RS256, NODE_ENV: "production" }),
    authProvider,
  });
  const tokens = new Map(); // for the events of each run

  async function run({ execution: request, abortSignal: signal }) {
    const { runId, latestEventId, latestExternalEventSequence } = request.durableRootRun;
    const access = { apiUrl: url, authToken: tokens.get(runId) };
    const queue = createConversationRunEventQueueController({
      ...access,
      conversationId: request.conversationId,
      runId,
      latestEventId,
      latestExternalEventSequence,
      maxEventsPerBatch: 24,
    });
    const emit = async (...events) => {
      queue.enqueue(events);
      const { outcome, errorMessage } = await queue.flush();
      if (outcome !== "flushed") throw new Error(errorMessage ?? outcome);
    };
    const end = { apiUrl: url, authToken: request.authToken, runId };
    try {
      await work({ request, emit, signal });
    } catch (error) {
      if (signal.aborted) return; // cancelled: the server has ended it
      const terminalErrorMessage = error.message;
      return finalizeConversationAgentRun({ ...end, status: "failed", terminalErrorMessage });
    }
    return finalizeConversationAgentRun({ ...end, status: "completed", provider: "none", model: "none" });
  }

  const { routes } = createAgentServiceRouteSet({
    authenticateRequest: auth.authenticateRequest,
    verifyProjectAccess: auth.verifyProjectAccess,
    tracker: createDetachedRunTracker(),
    prepareExecution: async (request) => request,
    startDetachedExecution: run,
  });

  async function answer(call) {
    const { pathname } = new URL(call.path, "http://service");
    const [, runId] = pathname.match(/^\/api\/runs\/([^/]+)$/) ?? [];
    const path = runId ? "/api/runs/:runId" : pathname;
    const route = routes.find((each) => each.method === call.method && each.path === path);
    if (!route) return new Response(null, { status: 404 });
    const { method, headers, body } = call;
    if (!runId) tokens.set(JSON.parse(body).durableRootRun.runId, headers["x-veryfront-run-event-token"]);
    const request = new Request(`http://service${call.path}`, { method, headers, body: body || undefined });
    return route.handler(request, { runId });
  }

  const server = createServer(async (incoming, outgoing) => {
    let body = "";
    for await (const part of incoming.setEncoding("utf8")) body += part;
    const call = { method: incoming.method, path: incoming.url, headers: { ...incoming.headers }, body };
    calls.push(call);
    const response = await answer(call);
    call.status = response.status;
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    outgoing.end(await response.text());
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    calls,
    keys,
    baseUrl: `http://127.0.0.1:${server.address().port}`,
    stop: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
