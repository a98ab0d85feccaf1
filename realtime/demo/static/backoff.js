/** Waiting: jittered, growing, and over at once when the network is back or nobody waits any more. */

const BASE_MS = 1000;
const MAX_MS = 30000;

export class Backoff {
  #failures = 0;

  /** Something arrived: the next failure starts from the beginning. */
  reset() {
    this.#failures = 0;
  }

  /**
   * The wait after one more failure: between half and all of 1, 2, 4 … 30 s.
   * @returns {number} milliseconds
   */
  next() {
    const longest = Math.min(MAX_MS, BASE_MS * 2 ** Math.min(this.#failures, 10));
    this.#failures += 1;
    return longest * (0.5 + Math.random() / 2);
  }
}

/**
 * Wait; ends early when the browser says it is online again, or when `signal` aborts.
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
export function pause(ms, signal) {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    addEventListener("online", done);
    signal.addEventListener("abort", done);
  });
}
