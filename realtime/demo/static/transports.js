/**
 * The three ways to carry the log to this page. Each is a loop over one *port*, which belongs to one
 * generation of the link: once the link has moved on, whatever a port still reports is ignored.
 *
 * None of them holds a position. They attach at `port.cursor` and hand on what comes.
 */

import { Backoff, pause } from "./backoff.js";
import { Refusal, ask } from "./http.js";

/** The application's events that this page takes. EventSource has to be told each by name. */
export const EVENTS = ["host.load-sampled", "task.progress-updated", "note.added"];

const CONTROLS = [
  "connection.established",
  "heartbeat.sent",
  "history.truncated",
  "transport.changed",
  "gateway.drain-started",
  "ticket.expired",
  "connection.replaced",
  "connection.closed",
];

const FIRST_BYTE_MS = 5000;
const HEARTBEAT_MS = 15000;
const HOLD_MS = 25000;
const INTERVAL_MS = 5000;
/** An empty answer sooner than this was no wait at all: don't turn it into a busy loop. */
const TOO_SOON_MS = 250;

/** A stock EventSource with the cookie; the browser reconnects by itself, we only when it gives up. */
async function sse(port) {
  const backoff = new Backoff();
  while (port.live) {
    try {
      await port.prepare();
      const reason = await stream(port, backoff);
      if (!port.live) return;
      port.down(reason);
      if (reason === "network is back") continue;
      // EventSource gives up on every status but 200 and can't say which: assume the cookie's end.
      if (reason === "refused") port.session.forget();
    } catch (error) {
      port.down(reasonOf(error));
    }
    await pause(backoff.next(), port.signal);
  }
}

/**
 * One EventSource, until it has to be replaced.
 * @returns {Promise<string>} why: "refused" for good, "silent", "network is back", or "left"
 */
function stream(port, backoff) {
  return new Promise((resolve) => {
    const source = new EventSource(address("sse", port));
    const end = (reason) => {
      source.close();
      clearTimeout(watchdog);
      removeEventListener("online", back);
      port.signal.removeEventListener("abort", left);
      resolve(reason);
    };
    const back = () => end("network is back");
    const left = () => end("left");
    // Healthy is a line on which something *arrives*: a proxy may answer 200 and stay mute.
    const offer = port.session.offer("sse");
    let watchdog = setTimeout(end, offer?.first_byte_timeout_ms ?? FIRST_BYTE_MS, "silent");
    const heard = (take) => (message) => {
      clearTimeout(watchdog);
      watchdog = setTimeout(end, 2 * (offer?.heartbeat_ms ?? HEARTBEAT_MS), "silent");
      backoff.reset();
      port.up();
      take(JSON.parse(message.data));
    };
    for (const name of EVENTS) source.addEventListener(name, heard(port.event));
    for (const name of CONTROLS) source.addEventListener(name, heard(port.control));
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) end("refused");
      else port.down("interrupted");
    };
    addEventListener("online", back);
    port.signal.addEventListener("abort", left);
  });
}

/** Held requests, one after the other. The first isn't held: it shows at once that the line works. */
async function longPoll(port) {
  const hold = port.session.offer("long-poll")?.hold_ms ?? HOLD_MS;
  await pull("long-poll", port, {
    parameters: (isFirst) => ({ hold_ms: isFirst ? 0 : hold }),
    timeoutMs: hold + 10000,
    wait: (answer, tookMs) => (answer.events.length || tookMs > TOO_SOON_MS ? 0 : TOO_SOON_MS),
  });
}

/** A request now and then, as often as the service asks for it. */
async function polling(port) {
  await pull("polling", port, {
    parameters: () => ({}),
    timeoutMs: 15000,
    wait: (answer) => (answer.more ? 0 : (answer.next_poll_ms ?? INTERVAL_MS)),
  });
}

async function pull(name, port, pace) {
  const backoff = new Backoff();
  let isFirst = true;
  while (port.live) {
    try {
      await port.prepare();
      const asked = performance.now();
      const url = address(name, port, { ...pace.parameters(isFirst), ticket: port.session.ticket });
      const answer = await ask(url, {
        signal: port.signal,
        timeoutMs: pace.timeoutMs,
        credentials: "omit",
      });
      if (!port.live) return;
      isFirst = false;
      backoff.reset();
      port.up();
      port.answer(answer);
      await pause(pace.wait(answer, performance.now() - asked), port.signal);
    } catch (error) {
      if (!port.live) return;
      isFirst = true;
      await recover(port, error, backoff);
    }
  }
}

/** What each refusal asks for, before the loop tries again. */
const REMEDIES = {
  401: (port) => port.session.forget(),
  409: (port, { problem }) => port.move(problem.decision?.transports?.[0]?.name),
};

async function recover(port, error, backoff) {
  port.down(reasonOf(error));
  REMEDIES[error.status]?.(port, error);
  const asked = (error.retryAfterMs ?? 0) * (1 + Math.random() / 4);
  await pause(Math.max(asked, backoff.next()), port.signal);
}

/** Words for a person: what the service said, or that it could not be asked. */
export function reasonOf(error) {
  return error instanceof Refusal ? `${error.status}: ${error.message}` : "no answer";
}

function address(name, port, parameters = {}) {
  const known = { cursor: port.cursor, events: EVENTS.join(","), ...parameters };
  return `${port.session.offer(name)?.url ?? PATHS[name]}?${new URLSearchParams(known)}`;
}

const PATHS = {
  sse: "api/v1/events/stream",
  "long-poll": "api/v1/events/long-poll",
  polling: "api/v1/events/poll",
};

export const TRANSPORTS = { sse, "long-poll": longPoll, polling };
