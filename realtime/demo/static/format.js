/** Numbers and times as a person reads them. A figure that isn't there is a dash. */

const NONE = "–";
const integers = new Intl.NumberFormat("en");
const STEPS = ["B", "kB", "MB", "GB", "TB"];

export const count = (value) => (value == null ? NONE : integers.format(value));

export const percent = (value) => (value == null ? NONE : `${value.toFixed(value < 10 ? 1 : 0)} %`);

export const decimal = (value) => (value == null ? NONE : value.toFixed(2));

/** 1234567 → "1.2 MB" (powers of ten). */
export function bytes(value) {
  if (value == null) return NONE;
  let step = 0;
  let rest = value;
  while (rest >= 999.5 && step < STEPS.length - 1) {
    rest /= 1000;
    step += 1;
  }
  return `${rest.toFixed(step === 0 || rest >= 99.5 ? 0 : 1)} ${STEPS[step]}`;
}

export const rate = (value) => (value == null ? NONE : `${bytes(value)}/s`);

/** Milliseconds: "12 ms", from a second on "3.4 s". */
export function duration(ms) {
  if (ms == null) return NONE;
  if (ms < 1) return "< 1 ms";
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** The local time of day, to the millisecond, of an ISO time. */
export function clock(iso) {
  const at = new Date(iso);
  const parts = [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => `${part}`.padStart(2, "0"));
  return `${parts.join(":")}.${`${at.getMilliseconds()}`.padStart(3, "0")}`;
}

/** The value in the middle; null of nothing. */
export function median(values) {
  if (values.length === 0) return null;
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
