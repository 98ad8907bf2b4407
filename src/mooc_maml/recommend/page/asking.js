// Talks to the service that the page came from.
let key = null;
let needed = () => {};

export function useKey(text) {
  key = text;
}

export function onKeyNeeded(callback) {
  needed = callback;
}

// The answer's JSON; `body`: JSON text to send. Throws an Error with words for people.
export async function ask(address, body) {
  const headers = { ...(body && { "Content-Type": "application/json" }), ...(key && { "X-API-Key": key }) };
  let reply;
  try {
    reply = await fetch(address, { method: body ? "POST" : "GET", headers, body });
  } catch {
    throw new Error("The service does not answer. Is it still running?");
  }
  if (reply.ok) return reply.json();
  if (reply.status === 401) needed();
  const told = await reply.json().catch(() => null);
  const words = told?.error?.message ?? `the service answered ${reply.status}`;
  throw new Error(words[0].toUpperCase() + words.slice(1) + ".");
}
