/** The health panel: how the feed is, in figures. */

import { get } from "./api.js";
import { find, make } from "./dom.js";
import { age, count, latency } from "./format.js";
import { repeat } from "./repeat.js";
import { HEALTH_S } from "./timing.js";

/** @typedef {import("./types.js").ConnectionStatus} ConnectionStatus */
/** @typedef {import("./types.js").FeedStatus} FeedStatus */
/** @typedef {import("./types.js").GapCounts} GapCounts */
/** @typedef {import("./types.js").VenueStatus} VenueStatus */

export class Health {
  /** @param {(venues: string[]) => void} venues is told which there are */
  constructor(venues) {
    this.#venues = venues;
    repeat(HEALTH_S, () => this.#look());
  }

  #venues;

  async #look() {
    /** @type {[FeedStatus | null, GapCounts | null]} */
    const [status, gaps] = await Promise.all([
      get("system/status").catch(() => null),
      get("api/gaps/summary").catch(() => null),
    ]);
    const overall = find("#health-overall", HTMLElement);
    overall.dataset.state = status ? (status.healthy ? "live" : "stale") : "parked";
    overall.textContent = status ? (status.healthy ? "healthy" : "in trouble") : "does not answer";
    if (!status) return;
    this.#venues(status.venues.map((one) => one.venue));
    find("#health-body", HTMLElement).replaceChildren(feed(status, gaps), ...status.venues.map(venue));
  }
}

/**
 * @param {FeedStatus} status
 * @param {GapCounts | null} gaps
 */
function feed(status, gaps) {
  const restarts = Object.entries(status.restarts ?? {});
  const store = status.store.error ?? (status.store.pending ? `${count(status.store.pending)} rows wait` : "in step");
  return facts([
    ["up for", age(status.uptime_s)],
    ["store", store, status.store.error ? "bad" : ""],
    ["actors", `${status.actors.filter((one) => one.state === "up").length} of ${status.actors.length} up`],
    ["restarts", count(sum(restarts.map(([, times]) => times))), "", restarts.map((one) => one.join(": ")).join("\n")],
    ["open gaps", gaps ? open(gaps) : "–"],
    ["repaired today", gaps ? `${count(gaps.repaired_24h.candles)} in ${count(gaps.repaired_24h.streams)} streams` : "–"],
  ]);
}

/** @param {VenueStatus} status */
function venue(status) {
  const parked = Object.entries(status.parked);
  const { candles, latency: close } = status;
  const head = make(
    "h3", {}, make("i", { class: "dot", "data-state": status.healthy ? "live" : "stale" }), ` ${status.venue}`,
  );
  const figures = facts([
    ["streams", `${count(status.confirmed)} of ${count(status.subscriptions)} confirmed`],
    ["made of others", count(status.derived)],
    ["no room / parked", `${count(status.waiting)} / ${count(parked.length)}`, parked.length ? "bad" : "",
      parked.map((one) => one.join(": ")).join("\n")],
    ["close to reader", close ? `${latency(close.p50_ms)}, p99 ${latency(close.p99_ms)}` : "–", "",
      "The median of the last minutes, and what one of a hundred exceeds"],
    ["repairs", `${count(candles.filled ?? 0)} filled, ${count(status.repairing)} under way`],
    ["revised / gaps", `${count(candles.revisions ?? 0)} / ${count(candles.gaps ?? 0)}`],
    ["reconnects", `${count(sum(Object.values(status.reconnects ?? {})))}, ${count(status.rotations)} planned`, "",
      Object.entries(status.reconnects ?? {}).map((one) => one.join(": ")).join("\n")],
    ["REST weight", `${count(status.budget.rest_used)} of ${count(status.budget.rest_limit)}`],
    ["clock", status.clock_offset_ms === null ? "–" : `${status.clock_offset_ms} ms off`],
    ["messages", count(status.messages)],
  ]);
  const connections = make("ul", { class: "connections" }, ...status.connections.map(connection));
  return make("section", {}, head, figures, connections);
}

/** @param {ConnectionStatus} status */
function connection(status) {
  const state = !status.connected ? "parked" : status.sick.length ? "stale" : status.retiring ? "repairing" : "live";
  const doing = !status.connected ? "connecting" : status.retiring ? "retiring" : `up ${age(status.uptime_s)}`;
  const meter = make("meter", { max: String(status.capacity), value: String(status.streams) });
  meter.setAttribute("aria-label", `Streams on connection ${status.index}`);
  return make(
    "li", { title: status.last_disconnect ? `Last disconnect: ${status.last_disconnect}` : "" },
    make("i", { class: "dot", "data-state": state }), make("span", {}, `#${status.index}`), meter,
    make("span", { class: "number" }, `${count(status.streams)}/${count(status.capacity)}`),
    make("span", {}, doing), make("span", { class: "number" }, `heard ${age(status.last_message_age_s)} ago`),
  );
}

/** @param {GapCounts} gaps */
function open({ open: { gaps, candles, venue, unrepaired } }) {
  if (!gaps) return "none";
  return `${count(gaps)} of ${count(candles)} candles (${count(venue)} the venue's, ${count(unrepaired)} unrepaired)`;
}

/** @param {[string, string, string?, string?][]} rows a name, what it is, a class and a remark */
function facts(rows) {
  const list = make("dl");
  for (const [name, value, kind = "", remark = ""] of rows) {
    list.append(make("dt", {}, name), make("dd", { class: kind, title: remark }, value));
  }
  return list;
}

/** @param {number[]} numbers */
function sum(numbers) {
  return numbers.reduce((one, other) => one + other, 0);
}
