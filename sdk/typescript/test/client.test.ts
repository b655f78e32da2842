/** The client over a scripted `fetch`, with a clock that only its pauses move. */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { APIError, Client, ConnectionFailed, JobTimeout, type Options } from "../src/index.js";

type Step = Response | Error | ((request: Request) => Promise<Response>);

const PREDICTION = { label: "POSITIVE", score: 0.9, model_version: 1 };

function json(body: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return Response.json(body, { status, headers });
}

function failure(status: number, code = "", headers: Record<string, string> = {}): Response {
  const body = { error_code: code, error_message: "no", correlation_id: "c-1", context: { a: 1 } };
  return json(body, status, headers);
}

function scripted(script: Step[], options: Partial<Options> = {}) {
  const requests: Request[] = [];
  const pauses: number[] = [];
  let nowMs = 0;
  const client = new Client({
    baseUrl: "http://test/",
    fetch: async (request) => {
      requests.push(request);
      const step = script.length > 1 ? script.shift() : script[0];
      if (step instanceof Error) throw step;
      return typeof step === "function" ? step(request) : (step as Response).clone();
    },
    sleep: async (ms) => {
      pauses.push(ms);
      nowMs += ms;
    },
    now: () => nowMs,
    random: () => 1,
    ...options,
  });
  return { client, requests, pauses };
}

function refused(code: string): Error {
  return new TypeError("fetch failed", { cause: { code } });
}

test("Retry-After is honoured and the deadline shrinks by it", async () => {
  const busy = failure(429, "E4005", { "retry-after": "3" });
  const asked = scripted([busy, failure(503, "E2001"), json(PREDICTION)], { timeoutMs: 10_000 });
  assert.equal((await asked.client.predict("hello")).label, "POSITIVE");
  assert.deepEqual(asked.pauses, [3_000, 500]);
  const deadlines = asked.requests.map((request) => request.headers.get("x-deadline-ms"));
  assert.deepEqual(deadlines, ["10000", "7000", "6500"]);
  assert.equal(await asked.requests[2]?.json().then((body) => body.text), "hello");
});

test("no retry where the wait would pass the deadline", async () => {
  const asked = scripted([failure(429, "E4005", { "retry-after": "30" })]);
  await assert.rejects(asked.client.predict("hello", { deadlineMs: 5_000 }), (error) => {
    assert(error instanceof APIError);
    assert.deepEqual([error.status, error.errorCode, error.retryAfterS], [429, "E4005", 30]);
    assert.deepEqual([error.correlationId, error.context], ["c-1", { a: 1 }]);
    return true;
  });
  assert.equal(asked.requests.length, 1);
  assert.equal(asked.requests[0]?.headers.get("x-deadline-ms"), "5000");
});

test("only what may succeed is tried again", async () => {
  const cases: [Step, number][] = [
    [failure(422, "E1003"), 1],
    [failure(500, "E2002"), 1],
    [failure(504, "E2003"), 1],
    [failure(503, "E4006"), 1],
    [failure(503, "E2001"), 3],
    [new Response("<html>", { status: 502 }), 3],
    [refused("ECONNRESET"), 3],
  ];
  for (const [step, tries] of cases) {
    const asked = scripted([step]);
    await assert.rejects(asked.client.predict("hello"));
    assert.equal(asked.requests.length, tries);
  }
});

test("a promotion is sent twice only if nothing was done", async () => {
  const params = { path: { model_id: "m", version: "2" } };
  const cases: [Step, number][] = [
    [failure(503), 1],
    [failure(429), 3],
    [refused("ECONNRESET"), 1],
    [refused("ECONNREFUSED"), 3],
  ];
  for (const [step, tries] of cases) {
    const asked = scripted([step]);
    const body = { to_status: "production" as const, reason: "", retire: false };
    const path = "/api/v1/models/{model_id}/versions/{version}/promote";
    await assert.rejects(asked.client.api.POST(path, { params, body }));
    assert.equal(asked.requests.length, tries);
  }
});

test("all tries of a submission carry one key", async () => {
  const asked = scripted([refused("ECONNRESET"), failure(503), json({ job_id: "j" }, 202)]);
  const body = { texts: ["a"], priority: "medium" as const, webhook_url: "" };
  await asked.client.api.POST("/api/v1/batch/predict", { body });
  const keys = asked.requests.map((request) => request.headers.get("idempotency-key"));
  assert.equal(keys.length, 3);
  assert.equal(new Set(keys).size, 1);
  assert(keys[0]);
});

test("an outage is not multiplied", async () => {
  const asked = scripted([failure(503, "E2001")]);
  for (let i = 0; i < 100; i++) await assert.rejects(asked.client.predict("hello"));
  assert(asked.requests.length >= 110 && asked.requests.length <= 121);
});

test("credentials are asked for each try", async () => {
  const keys = ["old", "new"];
  const asked = scripted([failure(429), json(PREDICTION)], {
    apiKey: async () => keys.shift() ?? "",
    bearerToken: "t",
  });
  await asked.client.predict("hello");
  assert.deepEqual(
    asked.requests.map((request) => request.headers.get("x-api-key")),
    ["old", "new"],
  );
  assert.equal(asked.requests[0]?.headers.get("authorization"), "Bearer t");
});

test("any number of texts keeps its order, cut to what the server takes", async () => {
  const asked = scripted([
    async (request) => {
      const { texts } = (await request.json()) as { texts: string[] };
      if (texts.length > 3) return failure(422, "E1005");
      const results = texts.map((label, index) => ({ index, prediction: { label }, error: null }));
      return json({ results });
    },
  ]);
  const texts = Array.from({ length: 11 }, (_, i) => `text ${i}`);
  const found = [];
  for await (const item of asked.client.predictMany(texts, { maxTexts: 5 })) found.push(item);
  assert.deepEqual(
    found.map((item) => item.index),
    texts.map((_, i) => i),
  );
  assert.deepEqual(
    found.map((item) => item.prediction?.label),
    texts,
  );
  assert.equal(asked.requests[0]?.headers.get("x-priority"), "bulk");
});

test("jobs are waited for and read page by page", async () => {
  const asked = scripted([
    json({ status: "receiving" }),
    json({ status: "pending" }),
    json({ status: "completed" }),
  ]);
  assert.equal((await asked.client.waitForJob("j")).status, "completed");
  assert.deepEqual(asked.pauses, [200, 300]);
  const open = scripted([json({ status: "processing" })]);
  await assert.rejects(open.client.waitForJob("j", 1_000), JobTimeout);
  const paged = scripted([
    json({ results: [{ index: 0 }], has_more: true }),
    json({ results: [{ index: 1 }], has_more: false }),
  ]);
  const found = [];
  for await (const item of paged.client.jobResults("j", 1)) found.push(item.index);
  assert.deepEqual(found, [0, 1]);
});

test("a caller can give up", async () => {
  const early = scripted([failure(503, "E2001")]);
  await assert.rejects(early.client.predict("hello", { signal: AbortSignal.abort() }));
  assert.equal(early.requests.length, 0);
  const controller = new AbortController();
  const asked = scripted([
    async () => {
      controller.abort(new Error("enough"));
      return failure(503, "E2001");
    },
  ]);
  await assert.rejects(asked.client.predict("hello", { signal: controller.signal }), /enough/);
  assert.equal(asked.requests.length, 1);
});

test("over real connections: a late answer and no server", async () => {
  const server = createServer((_, response) => {
    setTimeout(() => response.end("{}"), 20_000).unref();
  }).listen(0, "127.0.0.1");
  await new Promise((done) => server.once("listening", done));
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const late = new Client({ baseUrl, maxRetries: 0 });
  await assert.rejects(late.predict("hello", { deadlineMs: 50 }), (error) => {
    return error instanceof ConnectionFailed && error.sent;
  });
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
  const gone = new Client({ baseUrl, maxRetries: 0 });
  await assert.rejects(gone.predict("hello"), (error) => {
    return error instanceof ConnectionFailed && !error.sent;
  });
});
