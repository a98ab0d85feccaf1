/** The page: a session, a ledger, a link and a view, put together; and what survives a reload. */

import { Ledger } from "./ledger.js";
import { Link } from "./link.js";
import { Session } from "./session.js";
import { View } from "./view.js";

const STORE = "gapless.demo.1";

const session = new Session();
const ledger = new Ledger();
const view = new View(
  state,
  (name) => link.use(name),
  () => session.now(),
);
const link = new Link(session, ledger, {
  event: (envelope, transport) => view.event(envelope, transport, latencyOf(envelope)),
  mark: (kind, text, cursor) => view.mark(kind, text, cursor),
  change: () => view.change(),
});

/** Everything that a test, or a curious person in the console, may want to know. */
function state() {
  const { transport, status, reason, reconnects, generation } = link;
  const { cursor, received, missed, repeated, truncated } = ledger;
  return {
    ...{ transport, status, reason, reconnects, generation },
    ...{ cursor, received, missed, repeated, truncated },
    latency_ms: view.latency(transport),
    session: session.name,
    offers: session.offers.map((offer) => offer.name),
    server_ahead_ms: session.clockOffsetMs,
  };
}

/** From the event's place in the log to this page, on the service's clock, in milliseconds. */
function latencyOf({ time }) {
  return Math.max(0, session.now() - Date.parse(time));
}

/** Cursor and expectations belong together: stored as one, they are right at whatever moment. */
function save() {
  if (ledger.cursor === null) return;
  const { transport, reconnects } = link;
  sessionStorage.setItem(STORE, JSON.stringify({ ledger: ledger.snapshot(), transport, reconnects }));
}

function load() {
  try {
    return JSON.parse(sessionStorage.getItem(STORE)) ?? {};
  } catch {
    return {};
  }
}

function begin() {
  const saved = load();
  if (saved.ledger) {
    ledger.restore(saved.ledger);
    link.reconnects = saved.reconnects;
    view.mark("reload", "page reloaded, going on", ledger.cursor);
  }
  link.begin(saved.transport);
}

addEventListener("pagehide", save);
addEventListener("pageshow", ({ persisted }) => persisted && link.use(link.transport));
globalThis.gapless = { state };
begin();
