/** The API's description, made readable by Swagger UI. */

import { get } from "./api.js";
import { onTheme, theme, toggles } from "./theme.js";
import { find } from "./dom.js";

function dress() {
  document.documentElement.classList.toggle("dark-mode", theme() === "dark");
}

dress();
onTheme(dress);
toggles(find("#theme", HTMLButtonElement));
// Not left to Swagger UI: with a token, it is asked for first. No validator: that would tell a third party.
const spec = await get("openapi.json");
/** @type {any} */ (window).SwaggerUIBundle({ spec, dom_id: "#docs", validatorUrl: null, deepLinking: true });
