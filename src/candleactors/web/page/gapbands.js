/** Bands over the chart where candles are missing: a primitive of lightweight-charts. */

/** @typedef {import("./types.js").Gap} Gap */

const LABEL_PX = 11;

export class GapBands {
  /** @type {import("./vendor/lightweight-charts.js").SeriesAttachedParameter<any> | null} */
  #chart = null;
  /** @type {Gap[]} */
  #gaps = [];
  #fill = "";
  #text = "";

  /**
   * Shows `gaps`, whose first and last interval have a place on the time scale.
   *
   * @param {Gap[]} gaps
   */
  show(gaps) {
    this.#gaps = gaps;
    this.#chart?.requestUpdate();
  }

  /**
   * @param {string} fill
   * @param {string} text
   */
  paint(fill, text) {
    this.#fill = fill;
    this.#text = text;
    this.#chart?.requestUpdate();
  }

  /** @param {import("./vendor/lightweight-charts.js").SeriesAttachedParameter<any>} chart */
  attached(chart) {
    this.#chart = chart;
  }

  detached() {
    this.#chart = null;
  }

  paneViews() {
    /** @type {import("./vendor/lightweight-charts.js").IPrimitivePaneView} */
    const view = { zOrder: () => "bottom", renderer: () => ({ draw: (target) => this.#draw(target) }) };
    return [view];
  }

  /** @param {any} target */
  #draw(target) {
    const scale = this.#chart?.chart.timeScale();
    if (!scale) return;
    const half = scale.options().barSpacing / 2;
    target.useMediaCoordinateSpace((/** @type {any} */ { context, mediaSize }) => {
      context.font = `${LABEL_PX}px system-ui, sans-serif`;
      let free = 0;
      for (const gap of this.#gaps) {
        const first = scale.timeToCoordinate(/** @type {any} */ (gap.first_open_ms / 1000));
        const last = scale.timeToCoordinate(/** @type {any} */ (gap.last_open_ms / 1000));
        if (first === null || last === null || last + half < 0 || first - half > mediaSize.width) continue;
        context.fillStyle = this.#fill;
        context.fillRect(first - half, 0, last - first + 2 * half, mediaSize.height);
        const label = `gap ${gap.count}`;
        if (first - half < free) continue;
        context.fillStyle = this.#text;
        context.fillText(label, first - half + 2, mediaSize.height - 6);
        free = first - half + context.measureText(label).width + 6;
      }
    });
  }
}
