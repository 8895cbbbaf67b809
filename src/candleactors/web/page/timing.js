/**
 * How patient the page is, in seconds. Each can be given in the page's address, `?poll_s=1`, which is how the tests
 * need not wait as long as people do.
 */

const given = new URLSearchParams(location.search);

/**
 * @param {string} name
 * @param {number} usual
 */
function seconds(name, usual) {
  const value = Number(given.get(name) ?? NaN);
  return value > 0 ? value : usual;
}

/** Between two looks over REST while there is no live connection; each is followed by a new try at one. */
export const POLL_S = seconds("poll_s", 15);
/** How long a live connection that broke may take to come back before REST is asked. */
export const GRACE_S = seconds("grace_s", 4);
/** Between two tries while the feed does not answer at all. */
export const RETRY_S = seconds("retry_s", 3);
/** Without a word of the feed, over either way, for so long, what is shown is old. */
export const STALE_S = seconds("stale_s", 60);
/** Between two looks at how the feed is. */
export const HEALTH_S = seconds("health_s", 5);
/** A page that nobody has seen for so long lets go of its connections: a browser has few for each feed. */
export const HIDDEN_S = seconds("hidden_s", 60);
