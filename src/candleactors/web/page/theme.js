/** Dark or light: as the system has it, until somebody chooses. */

const KEY = "candleactors.theme";
const system = matchMedia("(prefers-color-scheme: dark)");
/** @type {Set<() => void>} */
const listeners = new Set();

/** Returns the theme that is shown. */
export function theme() {
  const chosen = document.documentElement.dataset.theme;
  return chosen === "dark" || chosen === "light" ? chosen : system.matches ? "dark" : "light";
}

/**
 * Returns the colour that the style sheet has for a name, as the current theme has it.
 *
 * @param {string} name
 */
export function colour(name) {
  const probe = document.createElement("i");
  probe.hidden = true;
  probe.style.color = `var(--${name})`;
  document.documentElement.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/**
 * Calls `listener` whenever another theme is shown.
 *
 * @param {() => void} listener
 */
export function onTheme(listener) {
  listeners.add(listener);
}

/**
 * Shows a theme, and remembers it if somebody chose it here.
 *
 * @param {string | null} name dark or light, else the system's
 * @param {{remember?: boolean}} [how]
 */
export function setTheme(name, { remember = false } = {}) {
  if (name === "dark" || name === "light") document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
  if (remember && name) keep(name);
  for (const listener of listeners) listener();
}

/** @param {HTMLElement} button */
export function toggles(button) {
  button.addEventListener("click", () => setTheme(theme() === "dark" ? "light" : "dark", { remember: true }));
}

/** @param {string} name */
function keep(name) {
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // Storage may be forbidden, in an embedded chart for example: then nothing is remembered.
  }
}

function kept() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

system.addEventListener("change", () => setTheme(document.documentElement.dataset.theme ?? null));
setTheme(new URLSearchParams(location.search).get("theme") ?? kept());
