/** Does something again and again while somebody looks. */

import { whileVisible } from "./visibility.js";

/**
 * @param {number} seconds between the end of one time and the next
 * @param {() => Promise<void>} work must not fail
 * @returns {() => Promise<void>} does it now
 */
export function repeat(seconds, work) {
  let timer = 0;
  let turn = 0;
  const now = async () => {
    const mine = ++turn;
    clearTimeout(timer);
    await work();
    if (mine === turn) timer = setTimeout(now, seconds * 1000);
  };
  const pause = () => {
    turn += 1;
    clearTimeout(timer);
  };
  whileVisible({ pause, resume: now });
  now();
  return now;
}
