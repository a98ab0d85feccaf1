/** The tape: the last events as they came, newest first, with the switches between them. */

import { clock } from "./format.js";

const LENGTH = 30;

export class Tape {
  #body;
  #pending = [];
  #isPaused = false;

  /** @param {HTMLTableSectionElement} body the rows go here */
  constructor(body) {
    this.#body = body;
  }

  /** Whether the rows stand still; what comes meanwhile is shown afterwards. */
  set paused(value) {
    this.#isPaused = value;
  }

  event(envelope, transport) {
    this.#push(() => eventRow(envelope, transport));
  }

  mark(kind, text, cursor) {
    this.#push(() => markRow(kind, text, cursor));
  }

  draw() {
    if (this.#isPaused || this.#pending.length === 0) return;
    this.#body.prepend(...this.#pending.reverse().map((row) => row()));
    this.#pending = [];
    while (this.#body.rows.length > LENGTH) this.#body.deleteRow(-1);
  }

  #push(row) {
    this.#pending.push(row);
    if (this.#pending.length > LENGTH) this.#pending.shift();
  }
}

function eventRow({ id, time, event, scope, data }, transport) {
  const row = document.createElement("tr");
  row.append(
    cell("time", clock(time)),
    cell("via", badge(transport)),
    cell("event", event, numbered(data)),
    cell("scope", scope),
    cell("id", id),
  );
  return row;
}

function markRow(kind, text, cursor) {
  const row = document.createElement("tr");
  row.className = `mark ${kind}`;
  const content = cell("note", element("strong", text), element("span", ` at ${cursor}`));
  content.colSpan = 5;
  row.append(content);
  return row;
}

/** The event's own number, or the text of a note. */
function numbered(data) {
  const text = data?.n === undefined ? (data?.text ?? "") : `#${data.n}`;
  return element("small", text === "" ? "" : ` ${text}`);
}

function badge(transport) {
  const span = element("span", transport);
  span.className = "badge";
  span.dataset.transport = transport;
  return span;
}

function cell(name, ...content) {
  const td = element("td", "");
  td.className = name;
  td.append(...content);
  return td;
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
