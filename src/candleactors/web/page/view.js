/** One stream on the screen: its chart, the figures under the crosshair, its state and what is marked. */

import { get } from "./api.js";
import { Candles } from "./candles.js";
import { CandleChart } from "./chart.js";
import { find, make } from "./dom.js";
import { change, count, moment, price, volume } from "./format.js";
import { Live } from "./live.js";
import { whileVisible } from "./visibility.js";

/** @typedef {import("./types.js").Candle} Candle */
/** @typedef {import("./types.js").CandlePage} CandlePage */
/** @typedef {import("./types.js").Stream} Stream */

const OLDER = 1_000;
const STATES = {
  loading: "The history is being read.",
  live: "Candles come as the venue sends them.",
  starting: "The venue has not confirmed the stream yet.",
  repairing: "Candles are missing and being fetched.",
  waiting: "There is no room on the connections, or the venue's symbols are being read.",
  stale: "Nothing has come for a while.",
  parked: "The venue does not serve this stream.",
  reconnecting: "The connection to the feed is gone and being made anew.",
  polling: "There is no live connection: the feed is asked every few seconds, and the connection tried again.",
  refused: "The feed does not know this.",
};

export class StreamView {
  constructor() {
    this.#chart = new CandleChart(find("#chart", HTMLElement), {
      pointed: (openMs) => this.#point(openMs),
      older: () => this.#older(),
      marked: (counts) => this.#mark(counts),
    });
    whileVisible({ pause: () => this.#live?.stop(), resume: () => this.#live?.start() });
    Object.assign(window, { candleactors: this.#handle() });
  }

  #chart;
  #candles = new Candles();
  /** @type {Stream} */
  #stream = { venue: "", symbol: "", timeframe: "" };
  /** @type {Live | null} */
  #live = null;
  /** @type {number | null} */
  #pointedMs = null;
  #state = "loading";
  #reading = false;
  #exhausted = false;
  /** @type {Map<number, number>} */
  #takenMs = new Map();

  /** @param {Stream} stream */
  open(stream) {
    this.#live?.stop();
    this.#stream = stream;
    this.#candles = new Candles();
    this.#takenMs = new Map();
    this.#exhausted = this.#reading = false;
    this.#pointedMs = null;
    this.#chart.show(this.#candles, stream.timeframe.endsWith("s"));
    this.#figures();
    this.#live = new Live(stream, {
      candle: (candle) => this.#candle(candle),
      page: (page) => this.#page(page),
      gaps: () => this.#gaps(stream),
      state: (state, why) => this.#showState(state, why),
      lastClosedMs: () => this.#candles.lastClosed?.open_time_ms ?? null,
    });
    this.#live.start();
  }

  /** @param {Candle} candle */
  #candle(candle) {
    const changed = this.#candles.put(candle);
    if (changed === "nothing") return;
    if (candle.closed) this.#takenMs.set(candle.open_time_ms, Date.now());
    this.#chart.changed(changed);
    this.#figures();
  }

  /** @param {CandlePage} page */
  #page(page) {
    this.#stream = { ...this.#stream, symbol: page.symbol };
    for (const candle of page.candles) this.#candle(candle);
    find("#made", HTMLElement).textContent = page.made_from ? `made of ${page.made_from}` : "";
  }

  /** @param {Stream} stream */
  async #gaps(stream) {
    const answer = await get("api/gaps", stream).catch(() => null);
    if (!answer || stream.timeframe !== this.#stream.timeframe || stream.venue !== this.#stream.venue) return;
    const before = this.#candles.gaps;
    this.#candles.setGaps(answer.gaps);
    this.#chart.changed("all");
    for (const gap of before) {
      if (!this.#candles.gapAt(gap.first_open_ms)) this.#filled(gap.first_open_ms, gap.last_open_ms);
    }
  }

  /**
   * Reads what is now where there was a gap: while there was no live connection, nothing else tells.
   *
   * @param {number} start
   * @param {number} end
   */
  async #filled(start, end) {
    const candles = this.#candles;
    const page = await get("api/candles", { ...this.#stream, start, end, limit: OLDER }).catch(() => null);
    if (page && candles === this.#candles) this.#page(page);
  }

  async #older() {
    const first = this.#candles.all[0];
    if (this.#reading || this.#exhausted || !first) return;
    const candles = this.#candles;
    this.#reading = true;
    try {
      /** @type {CandlePage} */
      const page = await get("api/candles", { ...this.#stream, limit: OLDER, end: first.open_time_ms - 1 });
      if (candles !== this.#candles) return;
      for (const candle of page.candles) candles.put(candle);
      this.#exhausted = page.previous_end_ms === null;
      this.#chart.changed("all");
    } catch {
      // Whoever scrolls on asks again.
    } finally {
      if (candles === this.#candles) this.#reading = false;
    }
  }

  /** @param {number | null} openMs */
  #point(openMs) {
    this.#pointedMs = openMs;
    this.#figures();
  }

  /** Writes the figures of the candle under the crosshair, else of the newest. */
  #figures() {
    const { venue, symbol, timeframe } = this.#stream;
    const name = make("b", {}, symbol);
    const parts = [make("span", { class: "name" }, name, ` ${timeframe} `, make("small", {}, venue))];
    const gap = this.#pointedMs === null ? undefined : this.#candles.gapAt(this.#pointedMs);
    const candle = this.#pointedMs === null ? this.#candles.last : this.#candles.at(this.#pointedMs);
    if (candle) parts.push(...this.#of(candle));
    else if (gap) {
      const why = gap.reason === "venue" ? "the venue has none" : "not repaired yet";
      parts.push(make("span", { class: "flag" }, `gap of ${count(gap.count)}: ${why}`));
    }
    find("#figures", HTMLElement).replaceChildren(...parts);
  }

  /** @param {Candle} candle */
  #of(candle) {
    const { decimals } = this.#chart;
    const direction = Number(candle.close) >= Number(candle.open) ? "up" : "down";
    const figures = /** @type {const} */ (["open", "high", "low", "close"]).map((name) =>
      make("span", {}, `${name[0].toUpperCase()} `, make("i", { class: direction }, price(candle[name], decimals))),
    );
    figures.push(make("span", {}, "V ", make("i", { class: direction }, volume(candle.volume))));
    figures.push(make("span", { class: direction }, change(Number(candle.open), Number(candle.close))));
    figures.push(make("time", {}, `${moment(candle.open_time_ms)} UTC`));
    if (!candle.closed) figures.push(make("span", {}, "forming"));
    for (const flag of flags(candle)) figures.push(make("span", { class: "flag" }, flag));
    return figures;
  }

  /** @param {Record<string, number>} counts */
  #mark(counts) {
    for (const [kind, number] of Object.entries(counts)) {
      const item = find(`#marks [data-kind=${kind}]`, HTMLElement);
      item.classList.toggle("none", number === 0);
      const figure = /** @type {HTMLElement} */ (item.querySelector("b"));
      figure.textContent = String(number);
    }
    // Prices of the newest candle may have more decimals than those before.
    this.#figures();
  }

  /**
   * @param {string} state
   * @param {string | null} why
   */
  #showState(state, why) {
    this.#state = state;
    const badge = find("#state", HTMLElement);
    badge.dataset.state = state;
    badge.title = STATES[/** @type {keyof STATES} */ (state)] ?? "";
    badge.textContent = state;
    const notice = find("#notice", HTMLElement);
    const text = why ?? (state === "parked" ? STATES.parked : "");
    notice.hidden = !text;
    if (notice.textContent !== text) notice.textContent = text;
  }

  /** What tests, and curious people, may look at. */
  #handle() {
    const view = this;
    return Object.freeze({
      get state() {
        return view.#state;
      },
      candles: () => view.#candles.all.map((candle) => ({ ...candle })),
      gaps: () => view.#candles.gaps.map((gap) => ({ ...gap })),
      drawn: () => view.#chart.drawn(),
      /** When the page took in the closed candle that opened then, by the browser's clock. */
      takenMs: (/** @type {number} */ openMs) => view.#takenMs.get(openMs) ?? null,
    });
  }
}

/** @param {Candle} candle */
function flags(candle) {
  const found = [];
  if (candle.closed && !candle.complete) found.push(`incomplete: ${candle.missing} missing`);
  if (candle.revision > 0) found.push(`revised ${candle.revision}×`);
  if (candle.source === "rest") found.push("fetched over REST");
  if (candle.source === "filled") found.push("no trades");
  return found;
}
