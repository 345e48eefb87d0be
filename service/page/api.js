// All calls to the server: addresses, the key, and every failure as a Problem.

import { events } from "./events.js";
import { askForKey, heldKey } from "./key.js";
import { Problem, problemOf, unreachable } from "./problems.js";

export function address(path, query = {}) {
  const url = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query)) if (value !== "" && value !== undefined && value !== null) url.searchParams.set(name, value);
  return url;
}

async function attempt(url, options) {
  const headers = { ...options.headers };
  if (heldKey()) headers.Authorization = `Bearer ${heldKey()}`;
  try {
    return await fetch(url, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable();
  }
}

// Answers the response when it is a success. 401 asks the person for a key, once per refusal.
export async function request(url, options = {}) {
  let response = await attempt(url, options);
  while (response.status === 401) {
    const problem = await problemOf(response);
    if (!(await askForKey(heldKey() ? problem.detail : ""))) throw problem;
    response = await attempt(url, options);
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

// Runs one piece of work: onStep per step; answers the envelope. body: FormData or null.
export async function run(path, query, body, { signal, onStep }) {
  const response = await request(address(path, query), { method: "POST", body, signal, headers: { Accept: "text/event-stream" } });
  try {
    for await (const { event, data } of events(response.body)) {
      if (event === "step") onStep(data);
      else if (event === "error") throw new Problem(data, data.retry_after ?? null);
      else if (event === "result") return data;
    }
  } catch (error) {
    if (error instanceof Problem || error.name === "AbortError") throw error;
    throw unreachable();
  }
  throw Object.assign(unreachable(), { detail: "The answer broke off before the result." });
}

export async function picture(path, query, body, signal) {
  const response = await request(address(path, query), { method: "POST", body, signal, headers: { Accept: "image/png" } });
  return response.blob();
}

export const models = async () => (await request(address("models"))).json();

// "ready", "starting" (the gateway answers, a model does not) or "away".
export async function readiness() {
  try {
    return (await fetch(address("readyz"))).ok ? "ready" : "starting";
  } catch {
    return "away";
  }
}

export function toBlob(base64, type) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new Blob([bytes], { type });
}
