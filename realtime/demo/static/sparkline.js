/** Small line charts, drawn by hand: the last minute of one or two figures, placed by their time. */

const SPAN_MS = 60000;
const WIDTH = 240;
const HEIGHT = 48;
const PADDING = 3;
const SVG = "http://www.w3.org/2000/svg";

export class Sparkline {
  #points = [];
  #lines;
  #area;
  #top;

  /**
   * @param {SVGSVGElement} svg the empty drawing
   * @param {{top?: number}} options `top`: the value at the upper edge; without it, the largest seen
   */
  constructor(svg, { top } = {}) {
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    this.#top = top;
    this.#area = path(svg, "area");
    this.#lines = [path(svg, "line"), path(svg, "line second")];
  }

  /** Add figures taken at `at` (Unix ms); null where there is none. */
  add(at, ...values) {
    this.#points.push({ at, values });
    const oldest = at - SPAN_MS;
    this.#points = this.#points.filter((point) => point.at >= oldest);
  }

  /** The largest of all figures shown. */
  get largest() {
    return Math.max(0, ...this.#points.flatMap(({ values }) => values));
  }

  draw() {
    const scale = this.#top ?? (this.largest * 1.15 || 1);
    this.#lines.forEach((line, series) => {
      line.setAttribute("d", trace(this.#coordinates(series, scale)));
    });
    this.#area.setAttribute("d", filled(this.#coordinates(0, scale)));
  }

  #coordinates(series, scale) {
    const newest = this.#points.at(-1)?.at ?? 0;
    return this.#points
      .filter(({ values }) => values[series] != null)
      .map(({ at, values }) => [
        WIDTH * (1 - (newest - at) / SPAN_MS),
        HEIGHT - PADDING - (HEIGHT - 2 * PADDING) * Math.min(1, values[series] / scale),
      ]);
  }
}

function path(svg, name) {
  const element = document.createElementNS(SVG, "path");
  element.setAttribute("class", name);
  return svg.appendChild(element);
}

function trace(points) {
  return points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}

function filled(points) {
  if (points.length < 2) return "";
  const [first, last] = [points[0][0], points.at(-1)[0]];
  return `${trace(points)}L${last.toFixed(1)} ${HEIGHT}L${first.toFixed(1)} ${HEIGHT}Z`;
}
