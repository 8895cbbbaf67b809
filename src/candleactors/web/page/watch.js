/**
 * The market watch: every watched symbol with its last price. One live connection carries one timeframe of each. What only
 * readers like this one watch is not listed: it would keep itself alive.
 */

import { address, call, get } from "./api.js";
import { find, make } from "./dom.js";
import { change, decimals, moment, price } from "./format.js";
import { Queue } from "./queue.js";
import { repeat } from "./repeat.js";
import { HEALTH_S, POLL_S } from "./timing.js";
import { whileVisible } from "./visibility.js";

/** @typedef {import("./types.js").Candle} Candle */
/** @typedef {import("./types.js").Stream} Stream */
/** @typedef {import("./types.js").StreamStatus} StreamStatus */

const OWNER = "page";
const MOST = 100;
/** The worst first: a symbol is as well as the worst of its streams. */
const STATES = ["parked", "stale", "waiting", "repairing", "starting", "live"];
const DAY_MS = 86_400_000;
/** Between two looks at what a change counts from, where it is known and where it is not. */
const BASE_MS = 600_000;
const NO_BASE_MS = 20_000;
const PREFERRED = ["1m", "5m", "15m", "1h"];

class Row {
  /** @param {StreamStatus} status */
  constructor({ venue, symbol }) {
    this.venue = venue;
    this.symbol = symbol;
    /** @type {StreamStatus[]} */
    this.streams = [];
    this.last = "";
    this.decimals = 0;
    /** @type {Candle | null} */
    this.base = null;
    this.askedMs = 0;
    this.price = make("td", { class: "number" });
    this.change = make("td", { class: "number" });
    this.dot = make("i", { class: "dot" });
    this.link = make("a", {}, symbol);
    this.drop = make("button", { type: "button", class: "drop", "aria-label": `Stop watching ${symbol}` }, "×");
    this.element = make(
      "tr", {}, make("td", {}, this.dot), make("td", {}, this.link), this.price, this.change, make("td", {}, this.drop),
    );
  }

  /** The stream that is followed here: a minute's if there is one, for the price is then fresh and the work small. */
  get followed() {
    const preferred = PREFERRED.map((timeframe) => this.streams.find((one) => one.timeframe === timeframe));
    return preferred.find((one) => one) ?? this.streams[0];
  }

  get ours() {
    return this.streams.filter((one) => one.owners.includes(OWNER));
  }

  update() {
    const worst = STATES.find((state) => this.streams.some((one) => one.state === state)) ?? "starting";
    this.dot.dataset.state = worst;
    this.dot.title = this.streams.find((one) => one.state === worst)?.reason ?? worst;
    this.drop.hidden = !this.ours.length;
    this.link.href = `?${new URLSearchParams({ venue: this.venue, symbol: this.symbol, timeframe: this.followed.timeframe })}`;
    this.link.title = this.streams.map((one) => one.timeframe).join(" ");
    this.price.textContent = this.last && price(this.last, this.decimals);
    if (!this.base) return;
    const from = Number(this.base.open);
    this.change.textContent = change(from, Number(this.last));
    this.change.className = `number ${Number(this.last) >= from ? "up" : "down"}`;
    this.change.title = `since ${moment(this.base.open_time_ms)} UTC`;
  }

  /** Returns whether it is time to look what the change counts from, and takes it that this is done. */
  due() {
    const now = Date.now();
    if (now - this.askedMs < (this.base ? BASE_MS : NO_BASE_MS)) return false;
    this.askedMs = now;
    return true;
  }

  /** @param {string} last */
  take(last) {
    this.last = last;
    this.decimals = Math.max(this.decimals, decimals(last));
    this.update();
  }
}

export class MarketWatch {
  /**
   * @param {(stream: Stream) => void} open
   * @param {() => string} timeframe the one that is looked at
   */
  constructor(open, timeframe) {
    this.#open = open;
    this.#timeframe = timeframe;
    this.#look = repeat(HEALTH_S, () => this.#list());
    whileVisible({ pause: () => this.#close(), resume: () => this.#listen() });
    const form = find("#watch-add", HTMLFormElement);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#add(form);
    });
  }

  #open;
  #timeframe;
  #look;
  /** @type {Map<string, Row>} */
  #rows = new Map();
  /** @type {Map<string, HTMLElement>} */
  #groups = new Map();
  /** @type {EventSource | null} */
  #source = null;
  #following = "";
  #again = 0;
  #queue = new Queue(2);

  async #list() {
    /** @type {StreamStatus[]} */
    let streams;
    try {
      streams = (await get("api/streams")).streams;
    } catch {
      return;
    }
    for (const row of this.#rows.values()) row.streams = [];
    const lasting = streams.filter((one) => one.owners.some((owner) => !owner.startsWith("sse:")));
    let left = 0;
    for (const status of lasting) {
      const key = `${status.venue}:${status.symbol}`;
      if (!this.#rows.has(key)) {
        if (this.#rows.size === MOST) {
          left += 1;
          continue;
        }
        this.#rows.set(key, this.#row(status));
      }
      this.#rows.get(key)?.streams.push(status);
    }
    for (const [key, row] of this.#rows) {
      if (row.streams.length) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    for (const [venue, group] of this.#groups) {
      if (group.childElementCount > 1) continue;
      group.remove();
      this.#groups.delete(venue);
    }
    for (const row of this.#rows.values()) row.update();
    for (const row of this.#rows.values()) if (row.due()) this.#queue.add(() => this.#base(row));
    find("#watch-empty", HTMLElement).hidden = this.#rows.size > 0;
    find("#watch-left", HTMLElement).hidden = !left;
    find("#symbols", HTMLElement).replaceChildren(
      ...[...new Set([...this.#rows.values()].map((row) => row.symbol))].map((value) => make("option", { value })),
    );
    this.#listen();
  }

  /** @param {StreamStatus} status */
  #row(status) {
    const row = new Row(status);
    const stream = () => ({ venue: row.venue, symbol: row.symbol, timeframe: this.#timeframe() });
    row.link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      this.#open(stream());
    });
    row.drop.addEventListener("click", () => this.#drop(row));
    this.#group(row.venue).append(row.element);
    return row;
  }

  /**
   * Returns the part of the table that has a venue's symbols.
   *
   * @param {string} venue
   */
  #group(venue) {
    let group = this.#groups.get(venue);
    if (!group) {
      group = make("tbody", {}, make("tr", {}, make("th", { colspan: "5", scope: "rowgroup" }, venue)));
      this.#groups.set(venue, group);
      find("#watch", HTMLTableElement).append(group);
    }
    return group;
  }

  /**
   * Finds what a row's change counts from: the candle a day ago, or the first there is.
   *
   * @param {Row} row
   */
  async #base(row) {
    const { venue, symbol } = row;
    const start = Date.now() - DAY_MS;
    const [day, newest] = await Promise.all([
      get("api/candles", { venue, symbol, timeframe: "1h", start, limit: 30 }),
      get("api/candles", { venue, symbol, timeframe: row.followed.timeframe, limit: 1 }),
    ]);
    const [first] = day.candles;
    const [last] = newest.candles;
    row.base = first ?? row.base;
    for (const { open, close } of day.candles) row.decimals = Math.max(row.decimals, decimals(open), decimals(close));
    if (last && !row.last) row.take(last.close);
    row.update();
  }

  /** Follows what the rows want, if that is not what is followed already. */
  #listen() {
    const streams = [...this.#rows.values()]
      .map((row) => row.followed)
      .filter((one) => one.state !== "parked")
      .map((one) => `${one.venue}:${one.symbol}:${one.timeframe}`)
      .sort();
    const following = streams.join(" ");
    if (following === this.#following && this.#source) return;
    this.#close();
    if (!streams.length) return;
    this.#following = following;
    const source = (this.#source = new EventSource(address("api/candles/stream", { stream: streams })));
    source.addEventListener("candle_update", (event) => {
      /** @type {Candle} */
      const candle = JSON.parse(event.data);
      this.#rows.get(`${candle.venue}:${candle.symbol}`)?.take(candle.close);
    });
    source.onerror = () => {
      // A browser gives up when the answer is an error; while nobody answers it goes on by itself.
      if (source !== this.#source || source.readyState !== EventSource.CLOSED) return;
      this.#again = setTimeout(() => {
        this.#close();
        this.#listen();
      }, POLL_S * 1000);
    };
  }

  #close() {
    clearTimeout(this.#again);
    this.#source?.close();
    this.#source = null;
    this.#following = "";
  }

  /** @param {HTMLFormElement} form */
  async #add(form) {
    const input = find("#watch-symbol", HTMLInputElement);
    const venue = find("#venue", HTMLSelectElement).value;
    const streams = [`${venue}:${input.value.trim()}:${this.#timeframe()}`];
    await this.#steer(call("PUT", address("api/streams"), { body: { streams, owner: OWNER } }));
    if (!find("#watch-problem", HTMLElement).hidden) return;
    form.reset();
  }

  /** @param {Row} row */
  async #drop(row) {
    const stream = row.ours.map((one) => `${one.venue}:${one.symbol}:${one.timeframe}`);
    await this.#steer(call("DELETE", address("api/streams", { stream, owner: OWNER })));
  }

  /** @param {Promise<unknown>} request */
  async #steer(request) {
    const problem = find("#watch-problem", HTMLElement);
    try {
      await request;
      problem.hidden = true;
    } catch (error) {
      problem.textContent = error instanceof Error ? error.message : String(error);
      problem.hidden = false;
    }
    this.#look();
  }
}
