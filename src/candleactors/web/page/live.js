/**
 * Follows one stream: history over REST, then server-sent events, and REST again for as long as those fail.
 *
 *     loading ── history ──> listening ──> (the stream's own state: live, starting, repairing, stale, …)
 *                                │  ▲
 *                         broken │  │ connected
 *                                ▼  │
 *                          reconnecting ── after a while, or when refused ──> polling ──> each time tries to listen
 *
 * A browser's EventSource comes back by itself, with the id of the last event, after a connection broke. It gives up when
 * the answer is an error, and does not notice when a connection is silently dead: both are handled here.
 */

import { ApiError, address, get } from "./api.js";
import { GRACE_S, POLL_S, RETRY_S, STALE_S } from "./timing.js";

/** @typedef {import("./types.js").Candle} Candle */
/** @typedef {import("./types.js").CandlePage} CandlePage */
/** @typedef {import("./types.js").Gap} Gap */
/** @typedef {import("./types.js").Stream} Stream */
/** @typedef {import("./types.js").StreamStatus} StreamStatus */

/**
 * Who is told.
 *
 * @typedef {object} Listener
 * @property {(candle: Candle) => void} candle one came, closed or forming, new or revised
 * @property {(page: CandlePage) => void} page a page of closed ones came over REST
 * @property {() => void} gaps there may be other gaps than before
 * @property {(state: string, why: string | null) => void} state
 * @property {() => number | null} lastClosedMs says when the last closed candle opened that is known
 */

const HISTORY = 500;
const PAGE = 2_000;
const MOST_PAGES = 50;
/** States of a stream that the next heartbeat would tell too late: it is asked for meanwhile. */
const PASSING = new Set(["starting", "waiting", "repairing"]);
const LOOK_MS = 1_000;

export class Live {
  /**
   * @param {Stream} stream
   * @param {Listener} listener
   */
  constructor(stream, listener) {
    this.state = "loading";
    this.#stream = stream;
    this.#listener = listener;
  }

  /** @type {Stream} */
  #stream;
  /** @type {Listener} */
  #listener;
  #ended = new AbortController();
  /** @type {EventSource | null} */
  #source = null;
  #connected = false;
  #polling = false;
  #id = "";
  #refusals = 0;
  #timer = 0;
  #look = 0;
  #heardMs = Date.now();
  #heartbeatS = 15;

  /** Begins, or goes on after `stop`. */
  start() {
    this.stop();
    this.#ended = new AbortController();
    this.#heardMs = Date.now();
    this.#look = setInterval(() => this.#watch(), LOOK_MS);
    this.#show(this.#listener.lastClosedMs() === null ? "loading" : "reconnecting");
    this.#begin();
  }

  /** Lets go of everything. */
  stop() {
    this.#ended.abort();
    clearInterval(this.#look);
    clearTimeout(this.#timer);
    this.#polling = false;
    this.#close();
  }

  async #begin() {
    const { signal } = this.#ended;
    try {
      await this.#catchUp(signal);
    } catch (error) {
      if (!signal.aborted && !this.#refused(error)) this.#later(RETRY_S, () => this.#tick());
      return;
    }
    if (!signal.aborted) this.#listen();
  }

  /** Reads over REST what closed since, and tries to listen again; on and on, until that works. */
  async #tick() {
    const { signal } = this.#ended;
    this.#polling = true;
    let waitS = POLL_S;
    try {
      await this.#catchUp(signal);
      this.#heardMs = Date.now();
      if (!this.#connected) this.#show("polling");
    } catch (error) {
      if (signal.aborted || this.#refused(error)) return;
      waitS = RETRY_S;
      if (!this.#connected) this.#show(Date.now() - this.#heardMs > STALE_S * 1000 ? "stale" : "reconnecting");
    }
    if (signal.aborted || this.#connected) return;
    this.#later(waitS, () => this.#tick());
    this.#listen();
  }

  /** @param {AbortSignal} signal */
  async #catchUp(signal) {
    const lastMs = this.#listener.lastClosedMs();
    // The last one is read again: it may have been revised.
    /** @type {Record<string, number>} */
    let query = lastMs === null ? { limit: HISTORY } : { limit: PAGE, start: lastMs };
    for (let count = 0; count < MOST_PAGES; count++) {
      /** @type {CandlePage} */
      const page = await get("api/candles", { ...this.#stream, ...query }, signal);
      if (signal.aborted) return;
      this.#listener.page(page);
      if (page.next_start_ms === null) break;
      query = { limit: PAGE, start: page.next_start_ms };
    }
    this.#listener.gaps();
  }

  #listen() {
    this.#close();
    const lastMs = this.#listener.lastClosedMs();
    const since = this.#id || (lastMs === null ? null : lastMs + 1);
    const source = new EventSource(address("api/candles/stream", { ...this.#stream, since }));
    this.#source = source;
    /** @type {(name: string, take: (data: any) => void) => void} */
    const on = (name, take) =>
      source.addEventListener(name, (event) => {
        this.#heardMs = Date.now();
        if (event.lastEventId) this.#id = event.lastEventId;
        take(JSON.parse(event.data));
      });
    on("connected", (data) => this.#live(data));
    on("heartbeat", (data) => this.#showStream(data.streams[0]));
    on("candle_update", (candle) => this.#candle(candle));
    on("gap", () => this.#listener.gaps());
    on("revision", (event) => this.#revision(event));
    on("lagged", () => {});
    source.onerror = () => this.#lost(source);
  }

  /** @param {{heartbeat_s: number, streams: StreamStatus[]}} data */
  #live(data) {
    this.#connected = true;
    this.#polling = false;
    this.#refusals = 0;
    clearTimeout(this.#timer);
    this.#heartbeatS = data.heartbeat_s;
    this.#showStream(data.streams[0]);
  }

  /** @param {Candle} candle */
  #candle(candle) {
    this.#listener.candle(candle);
    // Only the venue can say how a candle forms: whatever the last heartbeat said, it speaks again.
    if (!candle.closed && ["starting", "waiting", "stale"].includes(this.state)) this.#show("live");
  }

  /** @param {Candle | Gap} event */
  #revision(event) {
    if ("open" in event) this.#listener.candle(event);
    this.#listener.gaps();
  }

  /** @param {EventSource} source */
  #lost(source) {
    if (source !== this.#source) return;
    const refused = source.readyState === EventSource.CLOSED;
    // An id may be refused, by a feed that was set up anew for example; an instant never is.
    if (refused && ++this.#refusals > 1) this.#id = "";
    this.#connected = false;
    if (this.#polling) {
      this.#close();
      return;
    }
    this.#show("reconnecting");
    clearTimeout(this.#timer);
    this.#later(refused ? 0 : GRACE_S, () => this.#tick());
  }

  /** Looks for what no event tells: that there are none any more, and what a stream that was starting has become. */
  async #watch() {
    if (!this.#connected) return;
    if (Date.now() - this.#heardMs > 2 * this.#heartbeatS * 1000) {
      this.#connected = false;
      this.#close();
      this.#show("reconnecting");
      this.#tick();
    } else if (PASSING.has(this.state)) {
      const { signal } = this.#ended;
      const known = await get("api/streams", {}, signal).catch(() => null);
      const status = known?.streams.find((/** @type {StreamStatus} */ one) => this.#isOurs(one));
      if (status && this.#connected && !signal.aborted) this.#showStream(status);
    }
  }

  /** @param {StreamStatus} status */
  #isOurs(status) {
    const { venue, symbol, timeframe } = this.#stream;
    return status.venue === venue && status.symbol === symbol && status.timeframe === timeframe;
  }

  /** @param {StreamStatus} status */
  #showStream(status) {
    // Answers have the venue's own spelling of a symbol.
    this.#stream = { venue: status.venue, symbol: status.symbol, timeframe: status.timeframe };
    this.#show(status.state, status.reason);
  }

  /**
   * Ends everything where the feed will never say anything else.
   *
   * @param {unknown} error
   */
  #refused(error) {
    if (!(error instanceof ApiError && error.final)) return false;
    this.stop();
    this.#show("refused", error.message);
    return true;
  }

  #close() {
    this.#source?.close();
    this.#source = null;
    this.#connected = false;
  }

  /**
   * @param {number} seconds
   * @param {() => void} work
   */
  #later(seconds, work) {
    this.#timer = setTimeout(work, seconds * 1000);
  }

  /**
   * @param {string} state
   * @param {string | null} why
   */
  #show(state, why = null) {
    this.state = state;
    this.#listener.state(state, why);
  }
}
