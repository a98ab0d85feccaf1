/** Times as people say them, "3 min ago"; the full one stays in the title, and for machines. */

const EVERY_MS = 10000;
const UNITS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];
const words = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });

export function watchTimes() {
  const write = () => document.querySelectorAll("time[datetime]").forEach(say);
  write();
  setInterval(write, EVERY_MS);
  document.body.addEventListener("htmx:after:swap", write);
}

function say(element) {
  const seconds = (Date.parse(element.dateTime) - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ["second", 1];
  const text = unit === "second" ? (seconds > 0 ? "in a moment" : "just now") : words.format(Math.trunc(seconds / size), unit);
  if (element.textContent !== text) element.textContent = text;
}
