// Calls of the public API: one request, its errors, and what the page remembers of the person.
const ROOT = new URL("../", import.meta.url);
const KEY = "sentigraph-key";

export const person = { key: sessionStorage.getItem(KEY) ?? "", name: "" };

/** Keeps the key in memory; in the tab's own storage as well where the person wants that. */
export function signIn(key, name, keep) {
  person.key = key;
  person.name = name;
  if (keep && key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** Address of a path of the API, for requests and for the code that the page shows. */
export const address = (path) => new URL(path.replace(/^\//, ""), ROOT).href;

/** An answer of 400 or more, or none (`status` 0). */
export class Failure extends Error {
  constructor(status, body) {
    super(body.error_message ?? `The server answered ${status}.`);
    this.status = status;
    this.code = body.error_code ?? "";
    this.context = body.context ?? {};
    this.id = body.correlation_id ?? "";
  }
}

/** One request; `body` is sent as JSON, a form as it is. Raises Failure. */
export async function request(method, path, body, more = {}) {
  const headers = { ...more.headers };
  if (person.key) headers["X-API-Key"] = person.key;
  if (person.name && method !== "GET") headers["X-Actor"] = person.name;
  let sent = body;
  if (body !== undefined && !(body instanceof FormData)) {
    headers["Content-Type"] = "application/json";
    sent = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(address(path), { method, headers, body: sent, signal: more.signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0, { error_message: "The server cannot be reached." });
  }
  if (answer.ok) return answer;
  throw new Failure(answer.status, await answer.json().catch(() => ({})));
}

/** The JSON of an answer; null where it has no body. */
export async function ask(method, path, body, more) {
  const answer = await request(method, path, body, more);
  return answer.status === 204 ? null : answer.json();
}

export const get = (path, signal) => ask("GET", path, undefined, { signal });
export const part = encodeURIComponent;
