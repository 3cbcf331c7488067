// Elements that are filled with fragments of HTML from the service.
//
// data-from="PATH"     where an element's content comes from; while it is empty, what is there stays
// data-live            it is asked for again when the search has changed
// data-every="SECONDS" it is asked for again after so long
//
// An element in the content has data-again="SECONDS" while there is more to come: then, too, the content is asked for
// again after so long.

import { Refusal, request } from "/static/service.js";

const LOOK = 250; // milliseconds
const SHARE = 20; // an element rests so many times as long as its content took: a slow one is asked for rarely

const states = new WeakMap();
let onRefusal = () => {};

/** Fill the elements of the page from now on; a function hears of a token that is void. */
export function keepFilled(heard) {
  onRefusal = heard;
  setInterval(fillDue, LOOK);
  fillDue();
}

/** Let live elements be asked for again: the search has changed. */
export function renew(selector = "[data-live]") {
  for (const element of document.querySelectorAll(selector)) stateOf(element).isStale = true;
}

/** Let the buttons work that turn the page of what is around them: data-turn="PATH" becomes its data-from. */
export function listenForTurns() {
  document.addEventListener("click", ({ target }) => {
    const button = target.closest("button[data-turn]");
    if (button === null) return;
    const element = button.closest("[data-from]");
    element.dataset.from = button.dataset.turn;
    Object.assign(stateOf(element), { isStale: true, due: 0 });
  });
}

function fillDue() {
  if (document.hidden) return;
  for (const element of document.querySelectorAll("[data-from]")) {
    const state = stateOf(element);
    if (element.dataset.from && !state.isBusy && state.isStale && performance.now() >= state.due) fill(element, state);
  }
}

function stateOf(element) {
  if (!states.has(element)) states.set(element, { isBusy: false, isStale: true, due: 0, html: null });
  return states.get(element);
}

async function fill(element, state) {
  const began = performance.now();
  state.isBusy = true;
  state.isStale = false;
  try {
    const html = await (await request(element.dataset.from)).text();
    if (html !== state.html) replace(element, html);
    state.html = html;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    complain(element, state, error);
  } finally {
    const now = performance.now();
    const again = element.dataset.every ?? element.querySelector(":scope > [data-again]")?.dataset.again;
    state.isBusy = false;
    state.isStale ||= again !== undefined;
    state.due = now + Math.max(1000 * (again ?? 0), SHARE * (now - began));
    element.removeAttribute("aria-busy");
  }
}

function complain(element, state, refusal) {
  if (refusal.status === 401) return onRefusal(refusal);
  state.isStale = refusal.status === 0 || refusal.status >= 500; // it may be better later
  if (state.html !== null && state.isStale) return; // what is there stays
  const line = document.createElement("p");
  line.className = "refusal";
  line.textContent = refusal.message;
  element.replaceChildren(line);
  state.html = null;
}

/** Replace what is in an element, but for what the user has opened or is in. */
function replace(element, html) {
  const opened = [...element.querySelectorAll("details[open][id]")].map((each) => each.id);
  const focused = element.contains(document.activeElement) ? document.activeElement.id : "";
  const template = document.createElement("template");
  template.innerHTML = html;
  element.replaceChildren(template.content);
  for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
  if (focused) document.getElementById(focused)?.focus();
  element.dispatchEvent(new CustomEvent("filled", { bubbles: true }));
}
