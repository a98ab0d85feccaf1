/** One way to ask the service for JSON, and one kind of error for everything it refuses. */

const TIMEOUT_MS = 10000;

/** An answer other than 200: its status, and the problem it carries (RFC 9457). */
export class Refusal extends Error {
  constructor(response, problem) {
    super(problem.title ?? `The service answered ${response.status}.`);
    this.status = response.status;
    this.problem = problem;
    this.retryAfterMs = seconds(response.headers.get("Retry-After")) * 1000;
  }
}

/**
 * Ask, and return the JSON of the answer.
 * @param {string} url
 * @param {{method?: string, token?: string, body?: object, signal?: AbortSignal, timeoutMs?: number,
 *   credentials?: RequestCredentials}} options
 * @throws {Refusal} for every status but 2xx
 * @throws {TypeError|DOMException} when the network fails, the time is over, or `signal` aborts
 */
export async function ask(url, options = {}) {
  const response = await fetch(url, {
    method: options.method ?? "GET",
    headers: headers(options),
    body: options.body && JSON.stringify(options.body),
    credentials: options.credentials ?? "same-origin",
    cache: "no-store",
    signal: deadline(options.timeoutMs ?? TIMEOUT_MS, options.signal),
  });
  if (!response.ok) throw new Refusal(response, await response.json().catch(() => ({})));
  return response.json();
}

function headers({ token, body }) {
  const given = { Accept: "application/json, application/problem+json" };
  if (token) given.Authorization = `Bearer ${token}`;
  if (body) given["Content-Type"] = "application/json";
  return given;
}

function deadline(ms, signal) {
  const timeout = AbortSignal.timeout(ms);
  return signal ? AbortSignal.any([signal, timeout]) : timeout;
}

/** `Retry-After` in seconds; a date or nothing is 0. */
function seconds(value) {
  return /^\d+$/.test(value ?? "") ? Number(value) : 0;
}
