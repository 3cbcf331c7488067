// The page: asks for the fragment of its address, and lets what is in it live.

import { listen, say } from "/static/actions.js";
import { begin } from "/static/form.js";
import { keepFilled, listenForTurns, renew } from "/static/fragments.js";
import { forgetToken, hasToken, keepToken, takeToken } from "/static/service.js";
import { watch } from "/static/watch.js";

const content = document.getElementById("content");
const enter = document.getElementById("enter");
const leave = document.getElementById("leave");

let watching = null; // what ends the stream that is open

function start() {
  takeToken();
  enter.addEventListener("submit", (event) => {
    event.preventDefault();
    keepToken(enter.elements.token.value);
    location.reload();
  });
  leave.addEventListener("click", () => {
    forgetToken();
    location.assign("/");
  });
  if (!hasToken()) return askForToken("");
  leave.hidden = false;
  listen();
  listenForTurns();
  content.addEventListener("filled", onFilled);
  content.addEventListener("pointerover", showNode);
  content.addEventListener("click", showNode);
  document.addEventListener("visibilitychange", keepWatching);
  content.dataset.from = `/fragments${location.pathname}${location.search}`;
  keepFilled((refusal) => askForToken(refusal.message));
}

function askForToken(line) {
  delete content.dataset.from;
  content.replaceChildren();
  say(line);
  enter.hidden = false;
  leave.hidden = true;
  enter.elements.token.focus();
}

function onFilled(event) {
  if (event.target === content) {
    const form = content.querySelector("form[data-begins]");
    if (form !== null) begin(form);
    document.title = [content.querySelector("h1")?.textContent, "AutoKD"].filter(Boolean).join(" - ");
    keepWatching();
  }
  const news = event.target.querySelector("[data-news]")?.dataset.news;
  const place = document.getElementById("news");
  if (news && place.textContent !== news) place.textContent = news;
}

/** Watch the search while somebody looks: a browser has few connections, and the service few watchers. */
function keepWatching() {
  const path = content.querySelector("[data-watch]")?.dataset.watch;
  if (document.hidden || path === undefined) {
    watching?.abort();
    watching = null;
  } else if (watching === null) {
    watching = new AbortController();
    watch(path, watching.signal, () => renew());
  }
}

/** Say below a drawing what a node is, which the mouse is over or which was tapped. */
function showNode(event) {
  const node = event.target.closest?.("figure.drawing g:has(> title)");
  if (node) node.closest("figure").querySelector("figcaption").textContent = node.querySelector("title").textContent;
}

start();
