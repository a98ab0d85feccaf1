/** The page: a feed, two charts, the dialog and the sliders, put together; and what each event of the feed refreshes. */

import { Charts } from "./charts.js";
import { openDialog } from "./dialog.js";
import { Feed } from "./feed.js";
import { watchRollouts } from "./rollouts.js";
import { Series } from "./series.js";
import { watchTimes } from "./times.js";

/** What of the page an event of the control log concerns: the name by which htmx refreshes it. */
const CONCERNS = {
  "policy.revised": "policy-revised",
  "gateway.sampled": "fleet-sampled",
  "gateway.stopped": "fleet-sampled",
  "gateway.drain-requested": "fleet-sampled",
  "credential.revoked": "credential-revoked",
};
const EVERYTHING = [...new Set(Object.values(CONCERNS))];

const series = new Series();
const charts = new Charts(series, document.getElementById("transports"));
const forms = watchRollouts(document.getElementById("rollouts"));
const feed = new Feed("events", { event, state, over });
/** How long it is said that something was done. */
const TOLD_MS = 12000;

let shown = 0;
let isOver = false;
let isWaiting = false;
let isBehind = true;

function event(name, envelope) {
  if (name === "gateway.sampled") series.take(envelope);
  if (name === "gateway.stopped") series.leave(envelope);
  draw();
  // What was said before the page was made is in it already.
  if (isBehind && Date.parse(envelope.time) < Number(document.body.dataset.now)) return;
  isBehind = false;
  refresh(CONCERNS[name]);
}

/** Draw at the next frame, once, however many events there were; a hidden page has none. */
function draw() {
  if (isWaiting) return;
  isWaiting = true;
  requestAnimationFrame(() => {
    isWaiting = false;
    charts.draw();
  });
}

/** Have htmx fetch anew what an event concerns. Nobody looks at a hidden page: it is refreshed when it is shown. */
function refresh(concern) {
  if (concern && !document.hidden) document.body.dispatchEvent(new CustomEvent(concern));
}

function refreshAll() {
  EVERYTHING.forEach(refresh);
}

function state(name, reason) {
  if (document.body.dataset.live === name) return;
  document.body.dataset.live = name;
  write("live-text", { live: "Live", connecting: "Connecting", lost: "Feed lost" }[name]);
  const banner = document.getElementById("feed-lost");
  banner.hidden = name !== "lost";
  write("feed-lost", name === "lost" ? reason : "");
  if (name === "live") refreshAll();
}

/** The session is over: lead to the door, once, whoever hears of it first. */
function over() {
  if (isOver) return;
  isOver = true;
  location.assign("sign-in?why=over");
}

/** Write a text, only when it is another: assistive technology notices every write. */
function write(id, text) {
  const element = document.getElementById(id);
  if (element.textContent !== text) element.textContent = text;
}

function told({ detail }) {
  dialog.close();
  forms.done();
  write("toast", detail.message);
  clearTimeout(shown);
  shown = setTimeout(write, TOLD_MS, "toast", "");
  refreshAll();
}

const dialog = openDialog(document.getElementById("dialog"), (form) => forms.asked(form));
document.body.addEventListener("console-over", over);
document.body.addEventListener("console-acted", told);
document.body.addEventListener("console-stale", () => {
  forms.done();
  refreshAll();
});
document.body.addEventListener("htmx:after:swap", ({ detail }) => {
  const target = detail.ctx.target;
  if (target?.id === "explanation") target.scrollIntoView({ block: "nearest" });
});
document.addEventListener("visibilitychange", () => {
  refreshAll();
  draw();
});
watchTimes();
feed.open();

/** Everything that a test, or a curious person, may want to know. */
globalThis.gaplessConsole = { state: () => ({ live: document.body.dataset.live, ...series.state() }) };
