/**
 * What lets this page attach: a token, a cookie for the stock EventSource, and a negotiated ticket.
 *
 * Each is fetched when it is missing or about to end, and dropped when the service refuses it; the
 * cursor lives elsewhere, so a new session goes on exactly where the old one was.
 */

import { ask } from "./http.js";

/** What is nearer to its end than this share of its life is fetched anew. */
const MARGIN = 0.2;
const SUPPORTED = ["sse", "long-poll", "polling"];

export class Session {
  /** @type {{name: string, url: string}[]} the transports on offer, best first */
  offers = [];
  /** The session's name, as the service knows it. */
  name = null;
  /** How far the service's clock is ahead of ours, in milliseconds. */
  clockOffsetMs = 0;
  #token = new Perishable();
  #ticket = new Perishable();
  #pending = null;

  /**
   * Make sure that there is a token, a cookie and a ticket; one attempt at a time.
   * @param {string|null} cursor our position; without one, the answer's is "now"
   * @returns {Promise<string>} the cursor to go on from
   */
  ready(cursor) {
    this.#pending ??= this.#prepare(cursor).finally(() => {
      this.#pending = null;
    });
    return this.#pending;
  }

  get ticket() {
    return this.#ticket.value;
  }

  /** An answer carried a new ticket. */
  renewTicket(text) {
    this.#ticket.keep(text, this.#ticket.lifeMs);
  }

  /** The service refused what we hold, or said that it ends. */
  forget() {
    this.#token.drop();
    this.#ticket.drop();
  }

  /** @returns {number} the service's time, in Unix milliseconds */
  now() {
    return Date.now() + this.clockOffsetMs;
  }

  offer(name) {
    return this.offers.find((offer) => offer.name === name);
  }

  async #prepare(cursor) {
    if (this.#token.isStale()) await this.#authenticate();
    if (cursor === null || this.#ticket.isStale()) return this.#negotiate(cursor);
    return cursor;
  }

  async #authenticate() {
    const { token, expires_in_ms } = await ask("demo/session", { method: "POST" });
    await ask("api/v1/auth/ticket", { method: "POST", token, body: { cookie: true } });
    this.#token.keep(token, expires_in_ms);
    this.#ticket.drop();
  }

  async #negotiate(cursor) {
    const asked = Date.now();
    const body = { transports: SUPPORTED, client: { platform: "web", sdk: "gapless-demo/1" } };
    if (cursor !== null) body.cursor = cursor;
    const answer = await ask("api/v1/events/negotiate", this.#bearer(body));
    this.clockOffsetMs = clockOffset(Date.parse(answer.server_time), asked, Date.now());
    this.name = answer.session;
    this.offers = answer.decision.transports;
    this.#ticket.keep(answer.ticket, answer.ticket_expires_in_ms);
    return answer.cursor;
  }

  #bearer(body) {
    return { method: "POST", token: this.#token.value, body };
  }
}

/**
 * How far the service's clock is ahead of ours (all in Unix ms), if it is: a difference that the way of
 * the question and the answer can explain is none.
 */
function clockOffset(theirs, asked, answered) {
  const offset = theirs - (asked + answered) / 2;
  return Math.abs(offset) > (answered - asked) / 2 + 1 ? offset : 0;
}

/** A value with an end. */
class Perishable {
  value = null;
  lifeMs = 0;
  #staleAt = 0;

  keep(value, lifeMs) {
    this.value = value;
    this.lifeMs = lifeMs;
    this.#staleAt = Date.now() + lifeMs * (1 - MARGIN);
  }

  drop() {
    this.value = null;
  }

  isStale() {
    return this.value === null || Date.now() > this.#staleAt;
  }
}
