/** The dashboard: what is looked at, and the panels beside it. */

import { find, make } from "./dom.js";
import { Health } from "./health.js";
import { toggles } from "./theme.js";
import { StreamView } from "./view.js";
import { MarketWatch } from "./watch.js";
import { get } from "./api.js";

/** @typedef {import("./types.js").Stream} Stream */

const NARROW = matchMedia("(max-width: 800px)");
const chooser = find("#chooser", HTMLFormElement);
const venue = find("#venue", HTMLSelectElement);
const symbol = find("#symbol", HTMLInputElement);
const timeframe = find("#timeframe", HTMLInputElement);
const view = new StreamView();

/** @param {string[]} names */
function venues(names) {
  const known = new Set([...venue.options].map((option) => option.value));
  for (const name of names) if (!known.has(name)) venue.append(make("option", { value: name }, name));
}

/**
 * Shows a stream, and writes it into the chooser.
 *
 * @param {Stream} stream
 */
function show(stream) {
  venues([stream.venue]);
  venue.value = stream.venue;
  symbol.value = stream.symbol;
  timeframe.value = stream.timeframe;
  for (const button of chooser.querySelectorAll("button[data-timeframe]")) {
    const pressed = button instanceof HTMLElement && button.dataset.timeframe === stream.timeframe;
    button.setAttribute("aria-pressed", String(pressed));
  }
  document.title = `${stream.symbol} ${stream.timeframe} · candleactors`;
  find("#embed", HTMLAnchorElement).href = `chart?${new URLSearchParams(stream)}`;
  view.open(stream);
}

/**
 * Shows a stream, in the address as well.
 *
 * @param {Stream} stream
 */
function open(stream) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(stream)) query.set(name, value);
  history.pushState(null, "", `?${query}`);
  show(stream);
}

/** Returns the stream that the chooser names. */
function chosen() {
  return { venue: venue.value, symbol: symbol.value.trim(), timeframe: timeframe.value.trim() };
}

/** Returns the stream that the address names, in part or in whole, or the first that is watched, one of minutes if any. */
async function wanted() {
  const query = new URLSearchParams(location.search);
  const named = { venue: query.get("venue"), symbol: query.get("symbol"), timeframe: query.get("timeframe") };
  if (named.venue && named.symbol && named.timeframe) return /** @type {Stream} */ (named);
  const { streams } = await get("api/streams");
  const minutes = streams.find((/** @type {Stream} */ one) => one.timeframe === "1m");
  const first = minutes ?? streams[0] ?? { venue: venue.options[0]?.value ?? "", symbol: "", timeframe: "1m" };
  return {
    venue: named.venue ?? first.venue,
    symbol: named.symbol ?? first.symbol,
    timeframe: named.timeframe ?? first.timeframe,
  };
}

async function begin() {
  const stream = await wanted();
  if (stream.symbol) show(stream);
  else symbol.focus();
}

chooser.addEventListener("submit", (event) => {
  event.preventDefault();
  open(chosen());
});
chooser.addEventListener("click", ({ target }) => {
  const size = target instanceof HTMLElement ? target.dataset.timeframe : undefined;
  if (!size) return;
  timeframe.value = size;
  open(chosen());
});
venue.addEventListener("change", () => symbol.select());
addEventListener("popstate", begin);
addEventListener("keydown", (event) => {
  if (event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || event.altKey) return;
  const target = { "/": symbol, t: timeframe }[event.key];
  if (!target) return;
  event.preventDefault();
  target.select();
});
toggles(find("#theme", HTMLButtonElement));
for (const panel of document.querySelectorAll("details")) panel.open = !NARROW.matches;
new Health(venues);
new MarketWatch(open, () => timeframe.value.trim() || "1m");
begin();
