/**
 * The ledger checks the promise on what really arrives: nothing missed, nothing repeated.
 *
 * Two independent checks. Ids must strictly increase past the cursor. And the producer numbers its
 * events inside `data`, per run: `n` must follow `n - 1`. A gap in either is counted, never hidden.
 * No DOM, no network: everything here can be tested with plain values.
 */

/** A run that began this much after our first cursor is new to us from its first event on. */
const CLOCK_SLACK_MS = 2000;

/**
 * Compare two cursors: first the milliseconds, then the sequence; both are below 2^53.
 * @param {string} a
 * @param {string} b
 * @returns {number} negative, zero or positive
 */
export function compare(a, b) {
  const [aMs, aSeq] = a.split("-").map(Number);
  const [bMs, bSeq] = b.split("-").map(Number);
  return aMs - bMs || aSeq - bSeq;
}

/**
 * The milliseconds in a cursor.
 * @param {string} cursor
 */
export function millisecondsOf(cursor) {
  return Number(cursor.split("-")[0]);
}

export class Ledger {
  /** The position up to which everything has been taken; null until the first one is known. */
  cursor = null;
  received = 0;
  missed = 0;
  repeated = 0;
  /** How often the service *said* that history was gone: declared, so not missed. */
  truncated = 0;
  #watchingSince = 0;
  /** @type {Map<string, number>} the last `n` per event type and run */
  #streams = new Map();

  /** Begin at a cursor; what came before it is none of our business. */
  begin(cursor) {
    this.cursor = cursor;
    this.#watchingSince = millisecondsOf(cursor);
    this.#streams.clear();
  }

  /**
   * Take one event.
   * @returns {boolean} whether it is new; a repeat is counted, and must not be shown
   */
  take(envelope) {
    if (compare(envelope.id, this.cursor) <= 0 || !this.#count(envelope)) {
      this.repeated += 1;
      return false;
    }
    this.cursor = envelope.id;
    this.received += 1;
    return true;
  }

  /** Move on to a cursor the service gave: past what is hidden from us. Never back. */
  advance(cursor) {
    if (compare(cursor, this.cursor) > 0) this.cursor = cursor;
  }

  /** The service says that it can't give everything after our cursor: it replaces it, lower or not. */
  truncate(cursor) {
    this.truncated += 1;
    this.begin(cursor);
  }

  /** Everything needed to go on after a reload, as plain JSON. */
  snapshot() {
    const { cursor, received, missed, repeated, truncated } = this;
    const streams = [...this.#streams];
    return { cursor, received, missed, repeated, truncated, since: this.#watchingSince, streams };
  }

  /** Go on from a snapshot. */
  restore({ cursor, received, missed, repeated, truncated, since, streams }) {
    Object.assign(this, { cursor, received, missed, repeated, truncated });
    this.#watchingSince = since;
    this.#streams = new Map(streams);
  }

  #count({ event, data }) {
    if (!isNumbered(data)) return true;
    const stream = `${event} ${data.run}`;
    const expected = this.#expected(stream, data);
    if (data.n < expected) return false;
    this.missed += data.n - expected;
    this.#streams.set(stream, data.n);
    return true;
  }

  #expected(stream, data) {
    const last = this.#streams.get(stream);
    if (last !== undefined) return last + 1;
    const bornHere = Date.parse(data.run_started_at) > this.#watchingSince + CLOCK_SLACK_MS;
    return bornHere ? 1 : data.n;
  }
}

function isNumbered(data) {
  return typeof data?.run === "string" && Number.isSafeInteger(data.n);
}
