/**
 * The link: which transport is in use, whether it works, and what to do when the service says so.
 *
 * Everything that was started before the last switch belongs to an older *generation*: its requests
 * are aborted, and what still comes of them is ignored. An event that was on its way then is not
 * lost: the cursor has not passed it, so the next transport brings it.
 */

import { Backoff, pause } from "./backoff.js";
import { TRANSPORTS, reasonOf } from "./transports.js";

/** A moved client doesn't move at once with all the others. */
const SHORTEST_MOVE_MS = 50;

export class Link {
  generation = 0;
  /** The transport in use; null before the first. */
  transport = null;
  /** "connecting", "connected", "reconnecting", "offline" or "stopped". */
  status = "connecting";
  /** Why it isn't connected, in words; empty when it is. */
  reason = "";
  reconnects = 0;
  #abort = new AbortController();
  #later = 0;

  /**
   * @param {import("./session.js").Session} session
   * @param {import("./ledger.js").Ledger} ledger
   * @param {{event: Function, mark: Function, change: Function}} observer told of each new event,
   *   of what a person should see between events, and of every change of state
   */
  constructor(session, ledger, observer) {
    this.session = session;
    this.ledger = ledger;
    this.observer = observer;
    addEventListener("offline", () => this.#lost());
    addEventListener("online", () => this.#lost());
  }

  /** Prepare a session, then begin on `preferred`, or on what the service offers first. */
  async begin(preferred) {
    const backoff = new Backoff();
    while (this.session.offers.length === 0) {
      try {
        await this.#prepare();
      } catch (error) {
        this.#down(reasonOf(error));
        await pause(backoff.next(), this.#abort.signal);
      }
    }
    this.use(preferred ?? this.session.offers[0].name);
  }

  /** Move to a transport, at the cursor. */
  use(name) {
    const from = this.transport;
    if (from && from !== name) this.observer.mark("switch", `${from} → ${name}`, this.ledger.cursor);
    this.#start(name, "connecting");
  }

  /** Stop, until a transport is chosen again. */
  stop(reason) {
    this.#next();
    this.#set("stopped", reason);
  }

  #start(name, status) {
    const generation = this.#next();
    this.transport = name;
    this.#set(status, "");
    TRANSPORTS[name](this.#port(generation));
  }

  /** End the generation before; return the number of the one that begins. */
  #next() {
    this.#abort.abort();
    this.#abort = new AbortController();
    clearTimeout(this.#later);
    this.generation += 1;
    return this.generation;
  }

  /** What one generation's transport may see and do. */
  #port(generation) {
    const { ledger, session } = this;
    const isLive = () => generation === this.generation;
    const guarded = (act) => (...given) => (isLive() ? act(...given) : undefined);
    return {
      signal: this.#abort.signal,
      session,
      get live() {
        return isLive();
      },
      get cursor() {
        return ledger.cursor;
      },
      prepare: () => this.#prepare(),
      up: guarded(() => this.#up()),
      down: guarded((reason) => this.#down(reason)),
      event: guarded((envelope) => this.#event(envelope)),
      control: guarded((envelope) => this.#obey(envelope)),
      answer: guarded((answer) => this.#answer(answer)),
      move: guarded((name) => this.#move(name)),
    };
  }

  async #prepare() {
    const { ledger, session } = this;
    const cursor = await session.ready(ledger.cursor);
    if (ledger.cursor === null) ledger.begin(cursor);
  }

  #up() {
    if (this.status === "connected") return;
    if (this.status !== "connecting") {
      this.reconnects += 1;
      this.observer.mark("reconnect", `${this.transport} again`, this.ledger.cursor);
    }
    this.#set("connected", "");
  }

  #down(reason) {
    this.#set(navigator.onLine ? "reconnecting" : "offline", reason);
  }

  /** The browser's word on the network only counts while nothing comes through. */
  #lost() {
    if (this.status === "reconnecting" || this.status === "offline") this.#down(this.reason);
  }

  #set(status, reason) {
    this.status = status;
    this.reason = reason;
    this.observer.change();
  }

  #event(envelope) {
    if (this.ledger.take(envelope)) this.observer.event(envelope, this.transport);
    this.observer.change();
  }

  /** An answer of long-poll or polling. Truncation replaces the cursor before the events go on. */
  #answer({ events, control = [], cursor, ticket }) {
    const isTruncation = ({ event }) => event === "history.truncated";
    if (ticket) this.session.renewTicket(ticket);
    control.filter(isTruncation).forEach((envelope) => this.#obey(envelope));
    events.forEach((envelope) => this.#event(envelope));
    this.ledger.advance(cursor);
    control.filter((envelope) => !isTruncation(envelope)).forEach((envelope) => this.#obey(envelope));
    this.observer.change();
  }

  #obey({ event, data }) {
    Link.#control[event]?.call(this, data ?? {});
    this.observer.change();
  }

  /** Move to what the service offers; it answers "not offered" to what it doesn't. */
  #move(name) {
    if (name in TRANSPORTS && name !== this.transport) this.use(name);
  }

  #moveWithin(ms, name) {
    clearTimeout(this.#later);
    const wait = SHORTEST_MOVE_MS + Math.random() * (ms ?? 0);
    this.#later = setTimeout(() => this.#move(name), wait);
  }

  #restartWithin(ms) {
    clearTimeout(this.#later);
    const wait = SHORTEST_MOVE_MS + Math.random() * (ms ?? 0);
    this.#later = setTimeout(() => this.#start(this.transport, "reconnecting"), wait);
  }

  /** What each control event asks of a client (PROTOCOL §2), called on the link. */
  static #control = {
    "connection.established"({ cursor }) {
      this.ledger.advance(cursor);
    },
    "heartbeat.sent"({ cursor }) {
      this.ledger.advance(cursor);
    },
    "history.truncated"({ cursor }) {
      this.ledger.truncate(cursor);
      this.observer.mark("truncated", "history gone, as told", cursor);
    },
    "transport.changed"({ decision, within_ms }) {
      this.session.offers = decision.transports;
      this.#moveWithin(within_ms, decision.transports[0]?.name);
    },
    "gateway.drain-started"({ within_ms }) {
      this.#restartWithin(within_ms);
    },
    "ticket.expired"() {
      this.session.forget();
      this.#restartWithin(1000);
    },
    "connection.replaced"({ code }) {
      this.stop(code ?? "replaced by another connection");
    },
    "connection.closed"({ code }) {
      this.stop(code ?? "closed by the service");
    },
  };
}
