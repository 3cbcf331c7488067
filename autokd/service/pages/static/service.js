// Requests to the service. The token comes from the address's fragment or a field, and is kept for this origin alone.

const KEY = "autokd-token";

/** What the service refused, or that it does not answer: one line, and the status, which is 0 without an answer. */
export class Refusal extends Error {
  constructor(status, line) {
    super(line);
    this.status = status;
  }
}

/** Keep the token of an address such as /#token=..., and remove it from the address. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return;
  keepToken(given);
  history.replaceState(null, "", location.pathname + location.search);
}

export const keepToken = (token) => localStorage.setItem(KEY, token.trim());
export const forgetToken = () => localStorage.removeItem(KEY);
export const hasToken = () => localStorage.getItem(KEY) !== null;

/** The response to a request that the service grants. */
export async function request(path, { headers = {}, ...options } = {}) {
  if (!hasToken()) throw new Refusal(401, "A token is needed.");
  const authorization = { Authorization: `Bearer ${localStorage.getItem(KEY)}` };
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...headers, ...authorization } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "The service does not answer.");
  }
  if (!response.ok) throw new Refusal(response.status, await reason(response));
  return response;
}

/** Send a value as JSON. */
export function send(method, path, value) {
  const headers = { "Content-Type": "application/json" };
  return request(path, value === undefined ? { method } : { method, headers, body: JSON.stringify(value) });
}

async function reason(response) {
  try {
    return (await response.json()).detail;
  } catch {
    return `The service answered with status ${response.status}.`;
  }
}
