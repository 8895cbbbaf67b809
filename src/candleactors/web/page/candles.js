/** The candles and gaps of one stream that the page knows: each interval once, in order. */

/** @typedef {import("./types.js").Candle} Candle */
/** @typedef {import("./types.js").Gap} Gap */

/** What makes a revision one. */
const SAID = /** @type {const} */ (["open", "high", "low", "close", "volume", "complete", "missing"]);

export class Candles {
  constructor() {
    /** @type {Candle[]} */
    this.all = [];
    /** @type {Gap[]} */
    this.gaps = [];
  }

  /** @returns {Candle | undefined} */
  get last() {
    return this.all.at(-1);
  }

  /** @returns {Candle | undefined} */
  get lastClosed() {
    return this.all.findLast((candle) => candle.closed);
  }

  /**
   * @param {number} openMs
   * @returns {Candle | undefined}
   */
  at(openMs) {
    const candle = this.all[this.#place(openMs)];
    return candle?.open_time_ms === openMs ? candle : undefined;
  }

  /**
   * Returns the candles that open at `openMs` or later.
   *
   * @param {number} openMs
   */
  from(openMs) {
    return this.all.slice(this.#place(openMs));
  }

  /**
   * @param {number} openMs
   * @returns {Gap | undefined}
   */
  gapAt(openMs) {
    return this.gaps.find((gap) => gap.first_open_ms <= openMs && openMs <= gap.last_open_ms);
  }

  /**
   * Takes a candle in, and says what that changed: nothing, the end of the series, or something before it.
   *
   * @param {Candle} candle
   * @returns {"nothing" | "end" | "all"}
   */
  put(candle) {
    const place = this.#place(candle.open_time_ms);
    const known = this.all[place];
    if (known?.open_time_ms === candle.open_time_ms) {
      if (!supersedes(candle, known)) return "nothing";
      this.all[place] = candle;
      return place === this.all.length - 1 ? "end" : "all";
    }
    // A forming candle that is no longer the newest was closed long ago, or is a gap.
    if (!candle.closed && place < this.all.length) return "nothing";
    this.all.splice(place, 0, candle);
    return place === this.all.length - 1 ? "end" : "all";
  }

  /**
   * Takes in all open gaps; what began to form in one of them never closed.
   *
   * @param {Gap[]} gaps
   */
  setGaps(gaps) {
    this.gaps = gaps;
    this.all = this.all.filter((candle) => candle.closed || !this.gapAt(candle.open_time_ms));
  }

  /**
   * Returns whether a candle was missed live: fetched over REST although earlier ones had come by themselves.
   * What was there before the feed first listened is history, not a repair.
   *
   * @returns {Set<Candle>}
   */
  fetchedLater() {
    /** @type {Set<Candle>} */
    const found = new Set();
    let listened = false;
    for (const candle of this.all) {
      if (candle.source === "ws") listened = true;
      else if (candle.source === "rest" && listened) found.add(candle);
    }
    return found;
  }

  /**
   * Returns where a candle that opens at `openMs` is, or belongs.
   *
   * @param {number} openMs
   */
  #place(openMs) {
    let low = 0;
    let high = this.all.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.all[middle].open_time_ms < openMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/**
 * @param {Candle} candle
 * @param {Candle} known of the same interval
 */
function supersedes(candle, known) {
  if (candle.closed !== known.closed) return candle.closed;
  return !candle.closed || (candle.revision > known.revision && !isSame(candle, known));
}

/**
 * Whether two candles say the same: after a restart the feed tells some again, in case they were revised.
 *
 * @param {Candle} candle
 * @param {Candle} known
 */
function isSame(candle, known) {
  return SAID.every((name) => candle[name] === known[name]);
}
