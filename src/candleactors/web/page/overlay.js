/** What is drawn over the candles: bands where some are missing, and marks at others. A primitive of lightweight-charts. */

/** @typedef {import("./types.js").Gap} Gap */
/** @typedef {"revised" | "fetched" | "incomplete"} Kind */
/** @typedef {{openMs: number, kind: Kind, price: number}} Mark at the top of a candle, or at its bottom if it is incomplete */
/** @typedef {import("./vendor/lightweight-charts.js").SeriesAttachedParameter<any>} Attached */
/** @typedef {import("./vendor/lightweight-charts.js").IPrimitivePaneView} PaneView */

const LABEL_PX = 11;
const DISTANCE_PX = 7;

export class Overlay {
  /** @type {Attached | null} */
  #attached = null;
  /** @type {Gap[]} */
  #gaps = [];
  /** @type {Mark[]} */
  #marks = [];
  /** @type {Record<Kind | "gap", string>} */
  #colours = { revised: "", fetched: "", incomplete: "", gap: "" };
  /** @type {PaneView[]} */
  #views = [
    { zOrder: () => "bottom", renderer: () => ({ draw: (target) => this.#drawGaps(target) }) },
    { zOrder: () => "top", renderer: () => ({ draw: (target) => this.#drawMarks(target) }) },
  ];

  /**
   * @param {Gap[]} gaps whose first and last interval have a place on the time scale
   * @param {Mark[]} marks
   */
  show(gaps, marks) {
    this.#gaps = gaps;
    this.#marks = marks;
    this.#attached?.requestUpdate();
  }

  /** @param {Record<Kind | "gap", string>} colours */
  paint(colours) {
    this.#colours = colours;
    this.#attached?.requestUpdate();
  }

  /** @param {Attached} attached */
  attached(attached) {
    this.#attached = attached;
  }

  detached() {
    this.#attached = null;
  }

  paneViews() {
    return this.#views;
  }

  /** @param {any} target */
  #drawGaps(target) {
    const half = this.#spacing() / 2;
    target.useMediaCoordinateSpace((/** @type {any} */ { context, mediaSize }) => {
      context.font = `${LABEL_PX}px system-ui, sans-serif`;
      let free = 0;
      for (const gap of this.#gaps) {
        const first = this.#x(gap.first_open_ms);
        const last = this.#x(gap.last_open_ms);
        if (first === null || last === null || last + half < 0 || first - half > mediaSize.width) continue;
        context.fillStyle = this.#colours.gap;
        context.fillRect(first - half, 0, last - first + 2 * half, mediaSize.height);
        if (first - half < free) continue;
        const label = `gap ${gap.count}`;
        context.fillStyle = this.#colours.incomplete;
        context.fillText(label, first - half + 2, mediaSize.height - 6);
        free = first - half + context.measureText(label).width + 6;
      }
    });
  }

  /** @param {any} target */
  #drawMarks(target) {
    const size = Math.min(3.5, Math.max(1.5, this.#spacing() * 0.3));
    target.useMediaCoordinateSpace((/** @type {any} */ { context, mediaSize }) => {
      for (const { openMs, kind, price } of this.#marks) {
        const x = this.#x(openMs);
        const edge = this.#attached?.series.priceToCoordinate(price) ?? null;
        if (x === null || edge === null || x < -size || x > mediaSize.width + size) continue;
        const y = kind === "incomplete" ? edge + DISTANCE_PX : edge - DISTANCE_PX;
        context.fillStyle = this.#colours[kind];
        context.beginPath();
        if (kind === "revised") context.arc(x, y, size, 0, 2 * Math.PI);
        else if (kind === "fetched") context.rect(x - size, y - size, 2 * size, 2 * size);
        else {
          context.moveTo(x, y - size);
          context.lineTo(x + size, y + size);
          context.lineTo(x - size, y + size);
        }
        context.fill();
      }
    });
  }

  /** @param {number} openMs */
  #x(openMs) {
    return this.#attached?.chart.timeScale().timeToCoordinate(/** @type {any} */ (openMs / 1000)) ?? null;
  }

  #spacing() {
    return this.#attached?.chart.timeScale().options().barSpacing ?? 0;
  }
}
