/** A `fetch` that keeps deadlines, repeats what is harmless, and raises errors of the server. */

import { APIError, ConnectionFailed } from "./errors.js";

const GRACE_MS = 500; // for the server's own 504 to arrive
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8_000;
const SWITCHED_OFF = "E4006";
const UNSENT = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN"]);
const PREDICTS = /^(\/api\/v1\/predict(\/batch)?|\/v2\/models\/.+\/infer)$/;
const KEYED = /^\/api\/v1\/batch\/(predict|files)$/;

export type Credential = string | (() => string | Promise<string>);

type Send = (request: Request, init: { signal: AbortSignal }) => Promise<Response>;

/** How a client calls. `fetch`, `sleep`, `now` and `random` are the platform's if not given. */
export interface Options {
  /** Address of the server, without a path. */
  baseUrl: string;
  apiKey?: Credential;
  bearerToken?: Credential;
  /** Of a call, all tries and pauses together; the deadline that predictions carry. */
  timeoutMs?: number;
  /** Tries after the first. */
  maxRetries?: number;
  fetch?: Send;
  sleep?: (ms: number) => Promise<void>;
  now?: () => number;
  random?: () => number;
}

/** Retries of one client: a tenth of its requests, and ten at once; outages stay single. */
class RetryBudget {
  #left = 10;

  deposit(): void {
    this.#left = Math.min(10, this.#left + 0.1);
  }

  take(): boolean {
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}

/** The `fetch` of a client. */
export function resilient(options: Options): (request: Request) => Promise<Response> {
  const send: Send = options.fetch ?? ((request, init) => fetch(request, init));
  const sleep = options.sleep ?? ((ms: number) => new Promise((done) => setTimeout(done, ms)));
  const now = options.now ?? (() => performance.now());
  const random = options.random ?? Math.random;
  const maxRetries = options.maxRetries ?? 2;
  const budget = new RetryBudget();

  return async (request) => {
    const { pathname } = new URL(request.url);
    const predicts = request.method === "POST" && PREDICTS.test(pathname);
    const keyed = request.method === "POST" && KEYED.test(pathname);
    const repeatable = predicts || keyed || request.method === "GET";
    const own = new Headers(request.headers);
    if (keyed && !own.has("idempotency-key")) own.set("idempotency-key", crypto.randomUUID());
    const asked = predicts ? Number(own.get("x-deadline-ms") ?? 0) : 0;
    const endsMs = now() + (asked || (options.timeoutMs ?? 30_000));
    budget.deposit();
    for (let tries = 0; ; tries++) {
      const leftMs = Math.max(1, Math.floor(endsMs - now()));
      const headers = await withCredentials(own, options);
      if (predicts) headers.set("x-deadline-ms", String(leftMs));
      const patienceMs = leftMs + (predicts ? GRACE_MS : 0);
      const copy = new Request(request.clone(), { headers });
      const failure = await attempt(send, copy, request.signal, patienceMs);
      if (failure instanceof Response) return failure;
      request.signal.throwIfAborted();
      const pauseMs = pause(failure, tries, random());
      if (
        tries >= maxRetries ||
        !worthAnother(failure, repeatable) ||
        now() + pauseMs >= endsMs ||
        !budget.take()
      ) {
        throw failure;
      }
      await sleep(pauseMs);
    }
  };
}

async function withCredentials(own: Headers, options: Options): Promise<Headers> {
  const headers = new Headers(own);
  if (options.apiKey) headers.set("x-api-key", await valueOf(options.apiKey));
  if (options.bearerToken) {
    headers.set("authorization", `Bearer ${await valueOf(options.bearerToken)}`);
  }
  return headers;
}

async function valueOf(credential: Credential): Promise<string> {
  return typeof credential === "string" ? credential : await credential();
}

/** One try. The timer is our own: a signal that a request only follows may be collected. */
async function attempt(
  send: Send,
  request: Request,
  given: AbortSignal,
  patienceMs: number,
): Promise<Response | APIError | ConnectionFailed> {
  const controller = new AbortController();
  const { signal } = controller;
  const giveUp = () => controller.abort(given.reason);
  given.addEventListener("abort", giveUp, { once: true });
  const timer = setTimeout(() => controller.abort(new Error("no answer in time")), patienceMs);
  try {
    given.throwIfAborted();
    const late = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    const response = await Promise.race([send(request, { signal }), late]);
    return response.status < 400 ? response : await APIError.of(response);
  } catch (error) {
    const code = (error as { cause?: { code?: string } }).cause?.code ?? "";
    return new ConnectionFailed(String(error), !UNSENT.has(code), error);
  } finally {
    clearTimeout(timer);
  }
}

function worthAnother(failure: APIError | ConnectionFailed, repeatable: boolean): boolean {
  if (failure instanceof ConnectionFailed) return repeatable || !failure.sent;
  if (failure.status === 429) return true; // refused before anything was done
  const busy = failure.status === 502 || failure.status === 503;
  return repeatable && busy && failure.errorCode !== SWITCHED_OFF;
}

function pause(failure: APIError | ConnectionFailed, tries: number, random: number): number {
  const backoffMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** tries) * (0.5 + random / 2);
  const askedS = failure instanceof APIError ? failure.retryAfterS : undefined;
  return Math.max(backoffMs, (askedS ?? 0) * 1_000);
}
