/**
 * The live feed: the control log, over the service's own stream.
 *
 * The browser resumes a stream that was cut by itself, at its last id. When it gives up (a refusal is final for it) we
 * begin anew from there, or tell that the session is over.
 */

const CONTROLS = ["connection.established", "heartbeat.sent", "history.truncated", "ticket.expired", "connection.closed"];
const EVENTS = [
  "gateway.sampled",
  "gateway.stopped",
  "gateway.drain-requested",
  "policy.revised",
  "credential.revoked",
];
/** Every worker tells of itself once a second: so long without a word, and something is wrong. */
const SILENT_MS = 5000;
const LOOK_MS = 1000;
const AGAIN_MS = 2000;

export class Feed {
  #cursor = "earliest";
  #heard = Date.now();
  #told = Date.now();
  #source = null;

  /**
   * @param {string} url
   * @param {{event: (name: string, envelope: object) => void, state: (name: string, reason: string) => void,
   *   over: () => void}} observer told of each event, whether the feed is "live" or "lost", and when the session is over
   */
  constructor(url, observer) {
    this.url = url;
    this.observer = observer;
  }

  open() {
    this.#connect();
    setInterval(() => this.#look(), LOOK_MS);
  }

  #connect() {
    const source = new EventSource(`${this.url}?cursor=${this.#cursor}`);
    this.#source = source;
    for (const name of EVENTS) source.addEventListener(name, (message) => this.#event(name, message));
    for (const name of CONTROLS) source.addEventListener(name, (message) => this.#control(message));
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.#again(), AGAIN_MS);
    };
  }

  /** EventSource can't say what it was refused with: ask for something else, which can. */
  async #again() {
    const answer = await fetch("parts/status", { redirect: "error" }).catch(() => null);
    if (answer?.status === 401) this.observer.over();
    else this.#connect();
  }

  #event(name, message) {
    this.#hear(message);
    this.#told = Date.now();
    this.observer.event(name, JSON.parse(message.data));
    this.#look();
  }

  #control(message) {
    this.#hear(message);
  }

  #hear(message) {
    this.#heard = Date.now();
    if (message.lastEventId) this.#cursor = message.lastEventId;
  }

  #look() {
    const now = Date.now();
    if (now - this.#told < SILENT_MS) this.observer.state("live", "");
    else this.observer.state("lost", this.#reason(now));
  }

  #reason(now) {
    if (this.#source.readyState === EventSource.OPEN && now - this.#heard < 20000) {
      return "No gateway has told of itself for a while: Redis may be away. Figures and charts stand still.";
    }
    return "The live feed is lost: this page is not connected. It tries again by itself; figures and charts stand still.";
  }
}
