// What buttons do: calls of the service's JSON routes.
//
// data-send="METHOD PATH"  what is called, with data-body as its body, after data-sure was confirmed
// data-then="PATH"         where to go afterwards
// data-save="PATH"         a file of the service to be saved as data-name

import { renew } from "/static/fragments.js";
import { Refusal, request, send } from "/static/service.js";

/** Let the buttons of the page work. */
export function listen() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-send], button[data-save]");
    if (button !== null) attempt(button, () => ("save" in button.dataset ? save(button.dataset) : act(button.dataset)));
  });
}

/** Do something during which a button cannot be pressed again, and say in one line why it failed. */
export async function attempt(button, action) {
  say("");
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    await action();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    say(error.message);
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}

/** Show a line about what failed. */
export function say(line) {
  document.getElementById("failure").textContent = line;
}

async function act({ send: what, body, sure, then }) {
  if (sure && !confirm(sure)) return;
  const [method, path] = what.split(" ");
  await send(method, path, body && JSON.parse(body));
  if (then) location.assign(then);
  else renew("[data-from]:not(#content)");
}

async function save({ save: path, name }) {
  const address = URL.createObjectURL(await (await request(path)).blob());
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
