/** Runs asynchronous work, a few pieces at a time. */

export class Queue {
  /** @param {number} width */
  constructor(width) {
    this.#free = width;
  }

  #free;
  /** @type {(() => Promise<void>)[]} */
  #waiting = [];

  /** @param {() => Promise<void>} work */
  add(work) {
    this.#waiting.push(work);
    this.#next();
  }

  async #next() {
    if (!this.#free) return;
    const work = this.#waiting.shift();
    if (!work) return;
    this.#free -= 1;
    try {
      await work();
    } catch {
      // Whoever needs it will ask again.
    } finally {
      this.#free += 1;
      this.#next();
    }
  }
}
