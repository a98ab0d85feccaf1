/** Two charts over one time axis; colours are the page's own, and follow it from light to dark. */

const HEIGHT = 180;
const SPAN_S = 15 * 60;
const DASH = [5, 4];

/** A chart shows at least so much, or a service that has just begun has its first minute at the edge. */
const LEAST_S = 2 * 60;

const KINDS = [
  { id: "connections-chart", key: "connections-key", unit: "", isStacked: true, columns: ["connections"] },
  { id: "latency-chart", key: "latency-key", unit: " ms", isStacked: false, columns: ["p50", "p95"] },
];

export class Charts {
  #drawn = [];
  #names = [];

  /**
   * @param {import("./series.js").Series} series
   * @param {Element} transports the cards that give each transport its colour
   */
  constructor(series, transports) {
    this.series = series;
    this.transports = transports;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#build());
    new ResizeObserver(() => this.#resize()).observe(document.getElementById(KINDS[0].id));
  }

  draw() {
    if (document.hidden || this.series.times.length === 0) return;
    if (this.#names.length !== this.series.transports.size) this.#build();
    for (const { plot, kind } of this.#drawn) plot.setData(this.#data(kind));
  }

  #build() {
    for (const { plot } of this.#drawn) plot.destroy();
    this.#names = [...this.series.transports.keys()].sort((one, other) => this.#tone(one) - this.#tone(other));
    this.#drawn = KINDS.map((kind) => ({ kind, plot: this.#plot(kind) }));
  }

  #plot(kind) {
    const box = document.getElementById(kind.id);
    const style = getComputedStyle(document.body);
    const soft = style.getPropertyValue("--soft").trim();
    const line = style.getPropertyValue("--line").trim();
    const axis = { stroke: soft, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const options = {
      width: box.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      cursor: { y: false, points: { size: 6 } },
      scales: { x: { range: (_, first, most) => span(first, most) }, y: { range: (_, __, most) => [0, top(most)] } },
      axes: [
        { ...axis, size: 26, values: (_, ticks) => ticks.map(clock), space: 80 },
        { ...axis, size: 50, values: (_, ticks) => ticks.map((tick) => `${tick.toLocaleString("en")}${kind.unit}`) },
      ],
      series: [{}, ...this.#lines(kind).map(({ name, dash }) => this.#line(name, dash, kind.isStacked))],
      bands: kind.isStacked ? this.#names.slice(1).map((_, i) => ({ series: [i + 1, i + 2] })) : [],
      hooks: { setCursor: [(plot) => this.#key(kind, plot.cursor.idx)] },
    };
    return new uPlot(options, this.#data(kind), box);
  }

  #line(name, dash, isFilled) {
    const stroke = this.#colour(name);
    const fill = isFilled ? `${stroke}40` : undefined;
    return { stroke, fill, width: dash ? 1.2 : 1.8, dash, spanGaps: !isFilled, points: { show: false } };
  }

  #colour(name) {
    return getComputedStyle(document.body).getPropertyValue(`--tone-${this.#tone(name)}`).trim();
  }

  #tone(name) {
    return this.transports.querySelector(`[data-transport="${CSS.escape(name)}"]`)?.dataset.tone ?? "5";
  }

  #lines({ columns }) {
    return this.#names.flatMap((name) => columns.map((column, i) => ({ name, column, dash: i ? DASH : undefined })));
  }

  #data(kind) {
    this.#key(kind, null);
    const columns = this.#lines(kind).map(({ name, column }) => this.series.transports.get(name)[column]);
    return [this.series.times, ...(kind.isStacked ? stacked(columns) : columns)];
  }

  /** Write the values at the cursor, or the latest, beside the names: the chart's own legend has no room for words. */
  #key(kind, index) {
    const list = document.getElementById(kind.key);
    const names = this.#names.filter((name) => kind.columns.some((column) => this.#value(name, column, null) != null));
    while (list.children.length > names.length) list.lastChild.remove();
    while (list.children.length < names.length) list.append(item());
    names.forEach((name, i) => {
      const [mark, text, figure] = list.children[i].children;
      mark.dataset.tone = this.#tone(name);
      text.textContent = name;
      const values = kind.columns.map((column) => this.#value(name, column, index));
      figure.textContent = values.map((value) => (value == null ? "–" : figureOf(value, kind.unit))).join(" / ");
    });
  }

  #value(name, column, index) {
    const values = this.series.transports.get(name)[column];
    return index == null ? values.findLast((one) => one !== null) : values[index];
  }

  #resize() {
    for (const { plot, kind } of this.#drawn) {
      plot.setSize({ width: document.getElementById(kind.id).clientWidth, height: HEIGHT });
    }
  }
}

function item() {
  const made = document.createElement("li");
  made.append(document.createElement("i"), document.createElement("span"), document.createElement("b"));
  return made;
}

/** Lay columns on top of each other: the first is the sum of all, the last is itself. */
function stacked(columns) {
  const sums = columns.map((column) => [...column]);
  for (let i = sums.length - 2; i >= 0; i--) {
    sums[i] = sums[i].map((value, row) => (value === null ? null : value + (sums[i + 1][row] ?? 0)));
  }
  return sums;
}

function figureOf(value, unit) {
  return `${Math.round(value).toLocaleString("en")}${unit}`;
}

function span(first, most) {
  return [Math.max(most - SPAN_S, Math.min(first, most - LEAST_S)), most];
}

/** Leave some room above the highest line, and end on a round number. */
function top(most) {
  const room = Math.max(4, (most ?? 0) * 1.15);
  const step = 10 ** Math.floor(Math.log10(room)) / 2;
  return Math.ceil(room / step) * step;
}

function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
}
