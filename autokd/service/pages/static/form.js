// The form that begins a search: its order, and what the order would offer, as it is changed.

import { attempt, say } from "/static/actions.js";
import { Refusal, request, send } from "/static/service.js";

const PAUSE = 400; // milliseconds without a change before the table is asked for

let newest = 0;

/** Let the form work once it is there. */
export function begin(form) {
  let timer;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => showOffers(form), PAUSE);
  });
  form.elements.recipe.addEventListener("change", (event) => {
    location.assign(`/new?recipe=${encodeURIComponent(event.target.value)}`);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(event.submitter, async () => {
      const job = await (await send("POST", "/api/searches", orderOf(form))).json();
      location.assign(`/searches/${job.search}`);
    });
  });
  showOffers(form);
}

/** The order that the form says: fields that differ from the recipe are settings. */
function orderOf(form) {
  const settings = {};
  for (const field of form.querySelectorAll("[data-key]")) {
    if (field.value !== field.defaultValue) settings[field.dataset.key] = field.value === "" ? null : Number(field.value);
  }
  for (const line of form.elements.further.value.split("\n")) {
    const [key, ...rest] = line.split("=");
    if (rest.length) settings[key.trim()] = valueOf(rest.join("=").trim());
    else if (key.trim()) throw new Refusal(0, `A further setting must be \`key = value\`, but got ${key.trim()}.`);
  }
  const name = form.elements.name.value.trim();
  return { recipe: form.elements.recipe.value, settings, ...(name && { name }) };
}

/** A value as TOML and JSON write it alike; other text is text. */
function valueOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

async function showOffers(form) {
  const mine = ++newest;
  const place = document.getElementById("offers");
  place.setAttribute("aria-busy", "true");
  try {
    const order = encodeURIComponent(JSON.stringify(orderOf(form)));
    const html = await (await request(`/fragments/offers?order=${order}`)).text();
    if (mine !== newest) return; // the form has changed since
    place.innerHTML = html;
    say("");
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (mine === newest) say(error.message);
  } finally {
    if (mine === newest) place.removeAttribute("aria-busy");
  }
}
