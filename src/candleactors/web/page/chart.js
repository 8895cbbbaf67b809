/** Draws candles, volume, gaps and marks. Numbers are made of the texts only here, for drawing. */

import { CandlestickSeries, CrosshairMode, HistogramSeries, createChart } from "./vendor/lightweight-charts.js";
import { Candles } from "./candles.js";
import { decimals } from "./format.js";
import { Overlay } from "./overlay.js";
import { colour, onTheme } from "./theme.js";

/** @typedef {import("./types.js").Candle} Candle */
/** @typedef {import("./types.js").Gap} Gap */

/** So many bars before the first one that is seen, older ones are asked for. */
const AHEAD = 40;
const MOST_DECIMALS = 12;

export class CandleChart {
  /**
   * @param {HTMLElement} element
   * @param {object} told
   * @param {(openMs: number | null) => void} told.pointed the crosshair is on an interval, or nowhere
   * @param {() => void} told.older candles before the first one are wanted
   * @param {(kind: {gaps: number, revised: number, fetched: number, incomplete: number}) => void} told.marked
   */
  constructor(element, told) {
    this.decimals = 0;
    this.#told = told;
    this.#chart = createChart(element, {
      autoSize: true,
      crosshair: { mode: CrosshairMode.Normal },
      rightPriceScale: { borderVisible: false },
      timeScale: { borderVisible: false, timeVisible: true, rightOffset: 4, barSpacing: 8, minBarSpacing: 0.4 },
      localization: { locale: "en-GB", dateFormat: "yyyy-MM-dd" },
    });
    this.#bars = this.#chart.addSeries(CandlestickSeries, { borderVisible: false });
    this.#volume = this.#chart.addSeries(
      HistogramSeries,
      { priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false },
      1,
    );
    this.#chart.panes()[0].setStretchFactor(4);
    this.#chart.panes()[1].setStretchFactor(1);
    this.#bars.attachPrimitive(this.#overlay);
    this.#chart.subscribeCrosshairMove(({ time }) => told.pointed(time === undefined ? null : Number(time) * 1000));
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && range.from < AHEAD && this.#candles.all.length) told.older();
    });
    this.#paint();
    onTheme(() => {
      this.#paint();
      this.changed("all");
    });
  }

  #candles = new Candles();
  #told;
  #chart;
  #bars;
  #volume;
  #overlay = new Overlay();
  /** @type {"nothing" | "end" | "all"} */
  #change = "nothing";
  #drawnMs = 0;
  #colours = colours();

  /**
   * Shows the candles of another stream.
   *
   * @param {Candles} candles
   * @param {boolean} seconds whether the times of day need seconds
   */
  show(candles, seconds) {
    this.#candles = candles;
    this.#chart.timeScale().applyOptions({ secondsVisible: seconds });
    this.changed("all");
    this.toNewest();
  }

  /**
   * Draws what changed, before the browser next paints: many changes make one drawing.
   *
   * @param {"nothing" | "end" | "all"} what
   */
  changed(what) {
    if (what === "nothing") return;
    if (this.#change === "nothing") requestAnimationFrame(() => this.#draw());
    if (this.#change !== "all") this.#change = what;
  }

  /** Returns when the candles open that are drawn. */
  drawn() {
    return this.#bars.data().flatMap((one) => ("open" in one ? [Number(one.time) * 1000] : []));
  }

  /** Shows the newest candles, whatever was looked at before. */
  toNewest() {
    this.#chart.timeScale().resetTimeScale();
    this.#chart.timeScale().scrollToRealTime();
    this.#bars.priceScale().applyOptions({ autoScale: true });
  }

  #draw() {
    const change = this.#change;
    this.#change = "nothing";
    const end = this.#candles.from(this.#drawnMs);
    // The last bar that is drawn may have changed, and others may have followed it.
    if (change === "all" || end[0]?.open_time_ms !== this.#drawnMs || end.some((one) => precision(one) > this.decimals)) {
      this.#drawAll();
    } else {
      for (const candle of end) this.#update(candle);
    }
    this.#drawnMs = this.#candles.last?.open_time_ms ?? 0;
    this.#mark();
  }

  /** @param {Candle} candle */
  #update(candle) {
    this.#bars.update(bar(candle));
    this.#volume.update(this.#column(candle));
  }

  #drawAll() {
    const { all } = this.#candles;
    this.decimals = all.reduce((most, candle) => Math.max(most, precision(candle)), 0);
    this.#bars.applyOptions({
      priceFormat: { type: "price", precision: this.decimals, minMove: 1 / 10 ** this.decimals },
    });
    const gaps = this.#gaps();
    /** @type {Map<number, any>} */
    const bars = new Map();
    // An interval without a candle has a place on the time scale only if it is named.
    for (const gap of gaps) for (const ms of [gap.first_open_ms, gap.last_open_ms]) bars.set(ms, { time: ms / 1000 });
    const columns = new Map(bars);
    for (const candle of all) {
      bars.set(candle.open_time_ms, bar(candle));
      columns.set(candle.open_time_ms, this.#column(candle));
    }
    const inOrder = [...bars.keys()].sort((one, other) => one - other);
    this.#bars.setData(inOrder.map((ms) => bars.get(ms)));
    this.#volume.setData(inOrder.map((ms) => columns.get(ms)));
  }

  /** Returns the gaps between candles. */
  #gaps() {
    const firstMs = this.#candles.all.at(0)?.open_time_ms ?? Infinity;
    const lastMs = this.#candles.last?.open_time_ms ?? 0;
    return this.#candles.gaps.filter((gap) => firstMs < gap.last_open_ms && gap.first_open_ms < lastMs);
  }

  #mark() {
    const { all } = this.#candles;
    const fetched = this.#candles.fetchedLater();
    const gaps = this.#gaps();
    const told = { gaps: gaps.length, revised: 0, fetched: fetched.size, incomplete: 0 };
    /** @type {import("./overlay.js").Mark[]} */
    const marks = [];
    for (const candle of all) {
      const openMs = candle.open_time_ms;
      if (candle.closed && !candle.complete) {
        told.incomplete += 1;
        marks.push({ openMs, kind: "incomplete", price: Number(candle.low) });
      }
      if (candle.revision > 0) {
        told.revised += 1;
        marks.push({ openMs, kind: "revised", price: Number(candle.high) });
      } else if (fetched.has(candle)) {
        marks.push({ openMs, kind: "fetched", price: Number(candle.high) });
      }
    }
    this.#overlay.show(gaps, marks);
    this.#told.marked(told);
  }

  /** @param {Candle} candle */
  #column(candle) {
    const up = Number(candle.close) >= Number(candle.open);
    return {
      time: /** @type {any} */ (candle.open_time_ms / 1000),
      value: Number(candle.volume),
      color: up ? this.#colours.upVolume : this.#colours.downVolume,
    };
  }

  #paint() {
    this.#colours = colours();
    this.#chart.applyOptions({
      layout: {
        background: { color: this.#colours.panel },
        textColor: this.#colours.soft,
        fontSize: 11,
        panes: { separatorColor: this.#colours.line, separatorHoverColor: this.#colours.line },
      },
      grid: { vertLines: { color: this.#colours.grid }, horzLines: { color: this.#colours.grid } },
    });
    this.#bars.applyOptions({
      upColor: this.#colours.up,
      downColor: this.#colours.down,
      wickUpColor: this.#colours.up,
      wickDownColor: this.#colours.down,
    });
    this.#overlay.paint(this.#colours);
  }
}

/** Returns the colours that the style sheet has for the chart. */
function colours() {
  return {
    panel: colour("panel"),
    soft: colour("soft"),
    line: colour("line"),
    grid: colour("grid"),
    up: colour("up"),
    down: colour("down"),
    upVolume: colour("up-volume"),
    downVolume: colour("down-volume"),
    gap: colour("gap"),
    incomplete: colour("incomplete"),
    revised: colour("revised"),
    fetched: colour("fetched"),
  };
}

/** @param {Candle} candle */
function bar(candle) {
  return {
    time: /** @type {any} */ (candle.open_time_ms / 1000),
    open: Number(candle.open),
    high: Number(candle.high),
    low: Number(candle.low),
    close: Number(candle.close),
  };
}

/** @param {Candle} candle */
function precision({ open, high, low, close }) {
  return Math.min(MOST_DECIMALS, Math.max(decimals(open), decimals(high), decimals(low), decimals(close)));
}
