// veryfront/channels/control-plane: the SDK accepts the server's signatures, and no others.
import { createConversationRecord } from "veryfront/agent";
import { verifyControlPlaneJws } from "veryfront/channels/control-plane";
import { createDurableRunCanaryApiClient } from "veryfront/eval/agent-service";
import { startService } from "./push_service.mjs";
import { key, project, projectId, refusal, report, until, url } from "./setting.mjs";

const service = await startService(async () => {});
const { baseUrl } = service;
const registered = await fetch(`${url}/agent-runtimes/push-services`, {
  method: "POST",
  headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
  body: JSON.stringify({
    service_name: "silent",
    service_key: "silent",
    scope_kind: "project",
    project_id: projectId,
    base_url: baseUrl,
    invoke_url: `${baseUrl}/api/runs`,
  }),
});
if (!registered.ok) throw new Error(await registered.text());

const access = { apiUrl: url, authToken: key };
const { id: conversationId } = await createConversationRecord({ ...access, body: { project_id: projectId } });
const api = createDurableRunCanaryApiClient({
  ...access,
  agentId: "silent",
  projectId,
  requestTimeoutMs: 30_000,
});
const run = { conversationId, runId: "run-signed" };
await api.createDurableRootRun(run);
const { messageId } = await api.getRunSummary(run);
await api.startDurableRun({ ...run, messageId, prompt: "Schön 🌍", userMessageId: crypto.randomUUID() });
const call = await until(() => service.calls.find(({ method }) => method === "POST"), "the call");
await until(async () => (await api.getRunSummary(run)).status === "completed", "the end of the run");
service.stop();

const jws = call.headers["x-veryfront-control-plane-jws"];
const right = {
  audience: project,
  expectedProjectId: projectId,
  expectedSubject: run.runId,
  expectedSurface: "studio",
  maxAgeSeconds: 60,
  publicKeyPem: service.keys.EdDSA,
};
const claims = await verifyControlPlaneJws(jws, call.body, right);

const no = async (body, options) => (await refusal(verifyControlPlaneJws(jws, body, options))).message;
const [header, , signature] = jws.split(".");
const forged = Buffer.from(JSON.stringify({ ...claims, sub: "run-other" })).toString("base64url");
const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
const der = Buffer.from(await crypto.subtle.exportKey("spki", pair.publicKey)).toString("base64");

const changed = await refusal(verifyControlPlaneJws(`${header}.${forged}.${signature}`, call.body, right));

report({
  claims,
  path: call.path,
  header: JSON.parse(Buffer.from(header, "base64url")),
  refused: {
    body: await no(`${call.body} `, right),
    word: await no(call.body.replace("Schön", "Schon"), right),
    audience: await no(call.body, { ...right, audience: "another" }),
    project: await no(call.body, { ...right, expectedProjectId: conversationId }),
    subject: await no(call.body, { ...right, expectedSubject: "run-other" }),
    surface: await no(call.body, { ...right, expectedSurface: "a2a" }),
    key: await no(call.body, {
      ...right,
      publicKeyPem: `-----BEGIN PUBLIC KEY-----\n${der}\n-----END PUBLIC KEY-----`,
    }),
    claims: changed.message,
  },
});
