/** Numbers and times as people read them. Prices stay texts: what is shown is what the venue said. */

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/**
 * Returns how many decimals a price has, without zeros at its end.
 *
 * @param {string} text
 */
export function decimals(text) {
  const point = text.indexOf(".");
  return point < 0 ? 0 : text.slice(point + 1).replace(/0+$/, "").length;
}

/**
 * Returns a price with at least `count` decimals, of which no digit is rounded.
 *
 * @param {string} text
 * @param {number} count
 */
export function price(text, count) {
  const [whole, fraction = ""] = text.split(".");
  const digits = fraction.replace(/0+$/, "").padEnd(count, "0");
  return digits ? `${whole}.${digits}` : whole;
}

/**
 * Returns a volume without zeros at its end.
 *
 * @param {string} text
 */
export function volume(text) {
  return price(text, 0);
}

/**
 * @param {number} from
 * @param {number} to
 */
export function change(from, to) {
  if (!from) return "";
  const percent = ((to - from) / from) * 100;
  return `${percent >= 0 ? "+" : "−"}${Math.abs(percent).toFixed(2)} %`;
}

/**
 * Returns a moment in UTC, with seconds where they say something.
 *
 * @param {number} ms
 */
export function moment(ms) {
  const text = new Date(ms).toISOString();
  return `${text.slice(0, 10)} ${ms % MINUTE_MS ? text.slice(11, 19) : text.slice(11, 16)}`;
}

/**
 * @param {number | null} seconds
 */
export function age(seconds) {
  if (seconds === null) return "–";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  const ms = seconds * 1000;
  if (ms < 2 * HOUR_MS) return `${Math.round(ms / MINUTE_MS)} min`;
  return ms < 2 * DAY_MS ? `${Math.round(ms / HOUR_MS)} h` : `${Math.round(ms / DAY_MS)} d`;
}

/** @param {number} number */
export function count(number) {
  return number.toLocaleString("en", { maximumFractionDigits: 0 });
}

/**
 * Returns a duration in milliseconds, short.
 *
 * @param {number | null} ms
 */
export function latency(ms) {
  if (ms === null) return "–";
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
