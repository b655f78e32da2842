/**
 * Client of a sentigraph server, for Node and browsers.
 *
 * `api` has every operation of the server, typed by its OpenAPI document; the methods beside it are
 * those that take more than one request, or are used most.
 */

import createClient, { type Client as Api } from "openapi-fetch";
import { APIError, JobTimeout } from "./errors.js";
import { type Options, resilient } from "./retries.js";
import type { components, paths } from "./schema.js";

export { APIError, ConnectionFailed, JobTimeout } from "./errors.js";
export type { Credential, Options } from "./retries.js";
export type { components, operations, paths } from "./schema.js";

type Schemas = components["schemas"];
export type Prediction = Schemas["Prediction"];
export type BatchItem = Schemas["BatchItem"];
export type JobStatus = Schemas["JobStatus"];
export type JobItem = Schemas["JobItem"];

/** Of one prediction request. */
export interface PredictOptions {
  deadlineMs?: number;
  priority?: "interactive" | "bulk";
  routingKey?: string;
  signal?: AbortSignal;
}

const OPEN = new Set(["receiving", "pending", "processing"]);
const TOO_MANY_TEXTS = "E1005";

/** A server. Every method rejects with `APIError` or `ConnectionFailed`. */
export class Client {
  /** Every operation of the server. */
  readonly api: Api<paths>;
  readonly #sleep: (ms: number) => Promise<void>;
  readonly #now: () => number;

  constructor(options: Options) {
    this.api = createClient<paths>({
      baseUrl: options.baseUrl.replace(/\/+$/, ""),
      fetch: resilient(options),
    });
    this.#sleep = options.sleep ?? ((ms) => new Promise((done) => setTimeout(done, ms)));
    this.#now = options.now ?? (() => performance.now());
  }

  /** Classifies one text. */
  async predict(text: string, options: PredictOptions = {}): Promise<Prediction> {
    const answer = await this.api.POST("/api/v1/predict", { body: { text }, ...sent(options) });
    return whole(answer.data);
  }

  /**
   * Classifies any number of texts, in their order; a text that fails is an item with an `error`.
   * A server that takes fewer texts or bytes than `maxTexts` is sent fewer.
   */
  async *predictMany(
    texts: Iterable<string>,
    { maxTexts = 1_000, ...options }: PredictOptions & { maxTexts?: number } = {},
  ): AsyncGenerator<BatchItem> {
    let index = 0;
    for (const chunk of chunks(texts, maxTexts)) {
      const items = await this.#chunk(chunk, { priority: "bulk", ...options });
      for (const item of items) yield { ...item, index: index++ };
    }
  }

  async #chunk(texts: string[], options: PredictOptions): Promise<BatchItem[]> {
    try {
      const body = { texts };
      const answer = await this.api.POST("/api/v1/predict/batch", { body, ...sent(options) });
      return whole(answer.data).results;
    } catch (error) {
      const tooMany =
        error instanceof APIError && (error.status === 413 || error.errorCode === TOO_MANY_TEXTS);
      if (!tooMany || texts.length === 1) throw error;
    }
    const half = texts.length >> 1;
    const first = await this.#chunk(texts.slice(0, half), options);
    return first.concat(await this.#chunk(texts.slice(half), options));
  }

  /** Waits until a job has ended: completed, failed, cancelled or expired. */
  async waitForJob(jobId: string, timeoutMs = Number.POSITIVE_INFINITY): Promise<JobStatus> {
    const params = { path: { job_id: jobId } };
    const endsMs = this.#now() + timeoutMs;
    for (let pauseMs = 200; ; pauseMs = Math.min(10_000, pauseMs * 1.5)) {
      const answer = await this.api.GET("/api/v1/batch/status/{job_id}", { params });
      const status = whole(answer.data);
      if (!OPEN.has(status.status)) return status;
      if (this.#now() + pauseMs > endsMs) throw new JobTimeout(`job ${jobId}: ${status.status}`);
      await this.#sleep(pauseMs);
    }
  }

  /** All results there are, in the order of the texts; pages are read as they are needed. */
  async *jobResults(jobId: string, pageSize = 1_000): AsyncGenerator<JobItem> {
    for (let page = 1; ; page++) {
      const params = { path: { job_id: jobId }, query: { page, page_size: pageSize } };
      const answer = await this.api.GET("/api/v1/batch/results/{job_id}", { params });
      const found = whole(answer.data);
      yield* found.results;
      if (!found.has_more) return;
    }
  }
}

function sent(options: PredictOptions) {
  const header = {
    ...(options.deadlineMs === undefined ? {} : { "X-Deadline-Ms": options.deadlineMs }),
    ...(options.priority === undefined ? {} : { "X-Priority": options.priority }),
    ...(options.routingKey === undefined ? {} : { "X-Routing-Key": options.routingKey }),
  };
  return { params: { header }, ...(options.signal ? { signal: options.signal } : {}) };
}

/** Failures are thrown before, so an answer without a body is none. */
function whole<T>(data: T | undefined): T {
  if (data === undefined) throw new TypeError("the answer has no body");
  return data;
}

function* chunks(texts: Iterable<string>, most: number): Generator<string[]> {
  let chunk: string[] = [];
  for (const text of texts) {
    chunk.push(text);
    if (chunk.length === most) {
      yield chunk;
      chunk = [];
    }
  }
  if (chunk.length > 0) yield chunk;
}
