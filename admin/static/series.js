/**
 * What the gateways told of themselves, as rows of one second each: connections and latency by transport.
 *
 * Each worker tells once a second, at a moment of its own: a row sums up the latest word of each that has told lately.
 * Medians are weighted by connections; of the 95th percentiles the worst counts.
 */

const KEPT_S = 15 * 60;
/** Who has told nothing for so long is gone (as the fleet has it). */
const SILENT_MS = 4000;

export class Series {
  times = [];
  /** transport → {connections: [], p50: [], p95: []}, as long as `times` */
  transports = new Map();
  #latest = new Map();

  /** @param {{time: string, data: object}} envelope a `gateway.sampled` */
  take({ time, data }) {
    const ms = Date.parse(time);
    this.#latest.set(key(data), { ms, data });
    const second = Math.floor(ms / 1000);
    const last = this.times.at(-1);
    // A row without values, where nobody told anything: a gap is drawn as one.
    if (second - last > SILENT_MS / 1000) this.#begin(last + 1);
    if (last !== second) this.#begin(second);
    this.#write(ms);
  }

  /** @param {{data: object}} envelope a `gateway.stopped` */
  leave({ data }) {
    this.#latest.delete(key(data));
  }

  state() {
    const connections = {};
    for (const [name, columns] of this.transports) connections[name] = columns.connections.at(-1);
    return { seconds: this.times.length, connections };
  }

  #begin(second) {
    this.times.push(second);
    for (const columns of this.transports.values()) {
      for (const column of Object.values(columns)) column.push(null);
    }
    if (second - this.times[0] > KEPT_S) this.#forget();
  }

  #forget() {
    const oldest = this.times.at(-1) - KEPT_S;
    const gone = this.times.findIndex((time) => time >= oldest);
    this.times.splice(0, gone);
    for (const columns of this.transports.values()) {
      for (const column of Object.values(columns)) column.splice(0, gone);
    }
  }

  #columns(name) {
    if (!this.transports.has(name)) {
      const empty = () => this.times.map(() => null);
      this.transports.set(name, { connections: empty(), p50: empty(), p95: empty() });
    }
    return this.transports.get(name);
  }

  /** Write the row of this second anew, from all who have told lately. */
  #write(now) {
    const last = this.times.length - 1;
    const told = [...this.#latest.values()].filter(({ ms }) => now - ms < SILENT_MS).map(({ data }) => data);
    const names = new Set([...this.transports.keys(), ...told.flatMap(({ connections }) => Object.keys(connections))]);
    for (const name of names) {
      const columns = this.#columns(name);
      columns.connections[last] = sum(told.map(({ connections }) => connections[name] ?? 0));
      const heard = told.filter(({ latency_ms: latency }) => latency[name]);
      const weights = heard.map(({ connections }) => Math.max(1, connections[name] ?? 0));
      const medians = heard.map(({ latency_ms: latency }, i) => latency[name][0] * weights[i]);
      columns.p50[last] = heard.length ? sum(medians) / sum(weights) : null;
      columns.p95[last] = heard.length ? Math.max(...heard.map(({ latency_ms: latency }) => latency[name][1])) : null;
    }
  }
}

function key({ gateway, worker }) {
  return `${gateway} ${worker}`;
}

function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}
