/** Asks for the token, which then lives in a cookie that no script can read. */

/** @type {HTMLDialogElement | null} */
let dialog = null;

/**
 * Shows the form, once, however many requests were refused.
 *
 * @param {URL} session where the token is exchanged for the cookie
 */
export function login(session) {
  if (dialog) return;
  dialog = document.createElement("dialog");
  dialog.className = "login";
  dialog.innerHTML = `
    <form>
      <h2>Token</h2>
      <p id="login-why">This feed asks for the token that is in its configuration.</p>
      <label for="login-token">Token</label>
      <input id="login-token" type="password" autocomplete="current-password" required autofocus>
      <p class="problem" role="alert" hidden></p>
      <button>Enter</button>
    </form>`;
  dialog.setAttribute("aria-describedby", "login-why");
  // Without the token there is nothing to see behind it.
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  document.body.append(dialog);
  const form = /** @type {HTMLFormElement} */ (dialog.querySelector("form"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    enter(session, form);
  });
  dialog.showModal();
}

/**
 * @param {URL} session
 * @param {HTMLFormElement} form
 */
async function enter(session, form) {
  const input = /** @type {HTMLInputElement} */ (form.querySelector("input"));
  const problem = /** @type {HTMLElement} */ (form.querySelector(".problem"));
  problem.hidden = true;
  try {
    const response = await fetch(session, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token: input.value }),
    });
    if (response.ok) {
      location.reload();
      return;
    }
    problem.textContent = response.status === 401 ? "That is not the token." : `The feed answers ${response.status}.`;
  } catch {
    problem.textContent = "The feed does not answer.";
  }
  problem.hidden = false;
  input.select();
}
