/** What a person sees. It reads the model and writes the document, at most once a frame. */

import * as format from "./format.js";
import { Sparkline } from "./sparkline.js";
import { Tape } from "./tape.js";
import { Timeline } from "./timeline.js";

const NAMES = { sse: "SSE", "long-poll": "long-poll", polling: "polling" };
const LATENCIES = 30;
/** A short interruption isn't worth interrupting a screen reader's user for. */
const ANNOUNCE_AFTER_MS = 1500;

const STATUS = {
  connecting: () => "Connecting",
  connected: (transport) => `Connected over ${NAMES[transport]}`,
  reconnecting: () => "Reconnecting",
  offline: () => "Offline",
  stopped: () => "Stopped",
};

export class View {
  #tape = new Tape(byId("tape"));
  #charts = {
    cpu: new Sparkline(byId("cpu-chart"), { top: 100 }),
    memory: new Sparkline(byId("memory-chart"), { top: 100 }),
    net: new Sparkline(byId("net-chart")),
  };
  #timeline;
  #load = null;
  #task = null;
  #passBefore = null;
  #lastPass = null;
  /** @type {Record<string, number[]>} the last latencies, in ms, by transport */
  #latencies = { sse: [], "long-poll": [], polling: [] };
  #frame = 0;
  #announcing = 0;

  /**
   * @param {() => object} state the page's state, as `window.gapless.state()` gives it
   * @param {(transport: string) => void} choose called when a transport's button is pressed
   * @param {() => number} now the service's time, in Unix milliseconds
   */
  constructor(state, choose, now) {
    this.state = state;
    this.#timeline = new Timeline(byId("timeline"), now);
    for (const button of buttons()) {
      button.addEventListener("click", () => choose(button.dataset.transport));
    }
    for (const origin of document.querySelectorAll(".origin")) origin.textContent = location.origin;
    const pause = byId("pause");
    pause.addEventListener("click", () => this.#pause(pause));
  }

  /** The median of the last latencies over `transport`, in ms; null before the first. */
  latency(transport) {
    return format.median(this.#latencies[transport] ?? []);
  }

  event(envelope, transport, latencyMs) {
    this.#latencies[transport] = [...this.#latencies[transport], latencyMs].slice(-LATENCIES);
    this.#tape.event(envelope, transport);
    this.#timeline.add(Date.parse(envelope.time), transport);
    this.#take[envelope.event]?.(envelope);
    this.change();
  }

  mark(kind, text, cursor) {
    this.#tape.mark(kind, text, cursor);
    this.change();
  }

  /** Something changed: draw with the next frame. */
  change() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #take = {
    "host.load-sampled": ({ time, data }) => {
      const at = Date.parse(time);
      this.#load = data;
      this.#charts.cpu.add(at, data.cpu_percent);
      this.#charts.memory.add(at, memoryPercent(data));
      this.#charts.net.add(at, data.net_recv_bytes_per_s, data.net_sent_bytes_per_s);
    },
    "task.progress-updated": ({ time, data }) => {
      this.#task = { ...data, elapsedMs: Date.parse(time) - Date.parse(data.started_at) };
      if (!data.digest) return;
      this.#passBefore = this.#lastPass;
      this.#lastPass = this.#task;
    },
  };

  #draw() {
    const state = this.state();
    this.#drawStatus(state);
    this.#drawCounters(state);
    if (this.#load) this.#drawLoad(this.#load);
    if (this.#task) this.#drawTask(this.#task);
    this.#tape.draw();
  }

  #drawStatus({ status, transport, reason, offers }) {
    document.documentElement.dataset.status = status;
    const text = STATUS[status](transport);
    write("status-text", text);
    write("status-reason", reason);
    this.#announce(text);
    for (const button of buttons()) {
      const name = button.dataset.transport;
      button.setAttribute("aria-pressed", String(name === transport));
      button.disabled = offers.length > 0 && !offers.includes(name);
      write(`${name}-latency`, format.duration(this.latency(name)));
    }
  }

  #announce(text) {
    if (byId("announcement").dataset.next === text) return;
    byId("announcement").dataset.next = text;
    clearTimeout(this.#announcing);
    this.#announcing = setTimeout(() => write("announcement", text), ANNOUNCE_AFTER_MS);
  }

  #drawCounters(state) {
    write("cursor", state.cursor ?? "–");
    for (const name of ["received", "missed", "repeated", "reconnects", "truncated"]) {
      write(name, format.count(state[name]));
    }
    write("latency", format.duration(state.latency_ms));
    for (const name of ["missed", "repeated"]) {
      byId(name).parentElement.classList.toggle("bad", state[name] > 0);
    }
  }

  #drawLoad(load) {
    write("cpu", format.percent(load.cpu_percent));
    write("load", format.decimal(load.load_1m));
    write("memory", format.bytes(load.memory_used_bytes));
    write("memory-total", format.bytes(load.memory_total_bytes));
    write("net-received", format.rate(load.net_recv_bytes_per_s));
    write("net-sent", format.rate(load.net_sent_bytes_per_s));
    drawCores(load.per_cpu ?? []);
    for (const chart of Object.values(this.#charts)) chart.draw();
  }

  #drawTask(task) {
    byId("progress").value = task.percent;
    write("task-percent", format.percent(task.percent));
    write("task-files", `${format.count(task.files_done)} of ${format.count(task.files_total)}`);
    write("task-bytes", `${format.bytes(task.bytes_done)} of ${format.bytes(task.bytes_total)}`);
    write("task-rate", format.rate((task.bytes_done / Math.max(1, task.elapsedMs)) * 1000));
    write("task-current", task.digest ? "All files read." : task.current);
    this.#drawDigest();
  }

  #drawDigest() {
    const { digest, elapsedMs } = this.#lastPass ?? {};
    if (!digest) return;
    const isSame = this.#passBefore?.digest === digest;
    write("digest", digest);
    const compared = isSame ? ", same as the pass before" : ", changed since the pass before";
    write("digest-note", `Last pass: ${format.duration(elapsedMs)}${this.#passBefore ? compared : ""}`);
  }

  #pause(button) {
    const paused = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(paused));
    this.#tape.paused = this.#timeline.paused = paused;
    this.change();
  }
}

function drawCores(cores) {
  const box = byId("cores");
  while (box.children.length > cores.length) box.lastChild.remove();
  while (box.children.length < cores.length) box.append(document.createElement("i"));
  cores.forEach((value, i) => box.children[i].style.setProperty("--level", value / 100));
}

function memoryPercent({ memory_used_bytes: used, memory_total_bytes: total }) {
  return used == null || !total ? null : (100 * used) / total;
}

function buttons() {
  return document.querySelectorAll("button[data-transport]");
}

/** Write a text, only when it is another: assistive technology and selections notice every write. */
function write(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

function byId(id) {
  return document.getElementById(id);
}
