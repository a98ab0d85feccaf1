/**
 * How events travel: above, when each came into the log; below, when it came to this page. Over SSE
 * the lines stand upright, over polling they lean and arrive in bunches; none is ever left out.
 */

const SPAN_MS = 30000;
const EDGE = 4;
const REDRAW_MS = 200;
const REDRAW_CALMLY_MS = 1000;

export class Timeline {
  #canvas;
  #arrivals = [];
  #now;
  #isPaused = false;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => number} now the service's time, in Unix milliseconds
   */
  constructor(canvas, now) {
    this.#canvas = canvas;
    this.#now = now;
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    setInterval(() => this.#draw(), isCalm ? REDRAW_CALMLY_MS : REDRAW_MS);
  }

  set paused(value) {
    this.#isPaused = value;
  }

  /** An event of `logged` (Unix ms) has come by `transport`. */
  add(logged, transport) {
    const arrived = this.#now();
    this.#arrivals.push({ logged, arrived, transport });
    this.#arrivals = this.#arrivals.filter((one) => one.arrived > arrived - SPAN_MS);
  }

  #draw() {
    if (this.#isPaused || document.hidden) return;
    const { width, height } = this.#fit();
    const pen = this.#canvas.getContext("2d");
    const style = getComputedStyle(this.#canvas);
    const x = (at) => width - EDGE - ((this.#now() - at) / SPAN_MS) * width;
    pen.clearRect(0, 0, width, height);
    drawLanes(pen, width, height, style.getPropertyValue("--line"));
    for (const { logged, arrived, transport } of this.#arrivals) {
      pen.strokeStyle = pen.fillStyle = style.getPropertyValue(`--${transport}`);
      drawWay(pen, x(logged), x(arrived), height);
    }
  }

  /** Make the bitmap as fine as the screen; return the size in CSS pixels. */
  #fit() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const ratio = devicePixelRatio;
    const [fineWidth, fineHeight] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.#canvas.width !== fineWidth) this.#canvas.width = fineWidth;
    if (this.#canvas.height !== fineHeight) this.#canvas.height = fineHeight;
    this.#canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    return { width, height };
  }
}

function drawLanes(pen, width, height, colour) {
  pen.fillStyle = colour;
  for (const y of [EDGE, height - EDGE]) pen.fillRect(0, y - 0.5, width, 1);
}

function drawWay(pen, fromX, toX, height) {
  pen.globalAlpha = 0.45;
  pen.lineWidth = 1.25;
  pen.beginPath();
  pen.moveTo(fromX, EDGE);
  pen.lineTo(toX, height - EDGE);
  pen.stroke();
  pen.globalAlpha = 1;
  for (const [x, y] of [[fromX, EDGE], [toX, height - EDGE]]) {
    pen.beginPath();
    pen.arc(x, y, 2.5, 0, 2 * Math.PI);
    pen.fill();
  }
}
