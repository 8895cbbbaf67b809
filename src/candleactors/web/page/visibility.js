/** Pauses what costs connections while nobody looks. */

import { HIDDEN_S } from "./timing.js";

/** @typedef {{pause: () => void, resume: () => void}} Pausable */

/**
 * @param {Pausable} work `pause` and `resume` are called in turn
 */
export function whileVisible(work) {
  let paused = false;
  let timer = 0;
  const pause = () => {
    if (!paused) work.pause();
    paused = true;
  };
  const resume = () => {
    clearTimeout(timer);
    if (paused) work.resume();
    paused = false;
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) timer = setTimeout(pause, HIDDEN_S * 1000);
    else resume();
  });
  // Left, but maybe kept by the browser to come back to.
  addEventListener("pagehide", pause);
  addEventListener("pageshow", resume);
}
