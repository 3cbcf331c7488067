// The stream of a search's events and progress, read by fetch, since EventSource sends no token.

import { Refusal, request } from "/static/service.js";

const REST = 2000; // milliseconds before a stream that ended is opened again

/** Call a function at each event, from the last one on when the stream was cut off, until the signal aborts. */
export async function watch(path, signal, onEvent) {
  let last = null;
  while (!signal.aborted) {
    try {
      const response = await request(path, { signal, headers: last === null ? {} : { "Last-Event-ID": last } });
      for await (const event of events(response.body)) {
        last = event.id ?? last;
        onEvent(event);
      }
    } catch (error) {
      if (error instanceof Refusal && error.status >= 400 && error.status < 500) return; // it is gone
    }
    if (!signal.aborted) await new Promise((resume) => setTimeout(resume, REST));
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (text + value).split(/\r?\n\r?\n/);
    text = parts.pop();
    for (const part of parts) yield parsed(part);
  }
}

function parsed(part) {
  const event = {};
  for (const line of part.split(/\r?\n/)) {
    const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
    if (name) event[name] = value; // lines that begin with a colon only keep the connection
  }
  return event;
}
