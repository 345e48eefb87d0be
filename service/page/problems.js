// What went wrong, in words for a person: the server's own sentence, and what to do about it.

const ADVICE = {
  malformed: "Open the picture in any editor, save it again as PNG or JPEG, and send that.",
  "too-large": "Make the picture smaller, or ask for fewer steps.",
  "unsupported-media": "Save it as PNG, JPEG, WebP, AVIF or TIFF, and send that.",
  "invalid-value": "Change the value and start again.",
  "not-acceptable": "Choose another format under “Seed, format, metadata”.",
  "slow-sender": "The connection was too slow for the upload. Try again, or send a smaller picture.",
  "unknown-model": "The model may have been unloaded. Reload the page to see which ones there are.",
  "not-found": "Reload the page and start again.",
  "queue-full": "Others are being served.",
  "engine-unavailable": "The server is up, but the engine behind it is not. This is usually short.",
  "deadline-exceeded": "The server is busy. Fewer steps or a smaller picture take less time.",
  unauthorised: "Enter the key that whoever runs the server gave you.",
  forbidden: "This key may not do that. Ask whoever runs the server.",
  "bad-answer": "This is the server's fault, not yours. Try again; if it stays, report the number below.",
  internal: "This is the server's fault, not yours. Try again; if it stays, report the number below.",
};
const BY_STATUS = {
  400: "malformed", 401: "unauthorised", 403: "forbidden", 404: "not-found", 406: "not-acceptable", 408: "slow-sender", 413: "too-large",
  415: "unsupported-media", 422: "invalid-value", 429: "queue-full", 503: "engine-unavailable", 504: "deadline-exceeded",
};

export class Problem extends Error {
  // body: an RFC 9457 object; retryAfter: seconds or null.
  constructor(body, retryAfter = null) {
    super(body.detail || body.title);
    this.status = body.status;
    this.title = body.title;
    this.detail = body.detail || "";
    this.slug = String(body.type || "").split(":").pop();
    if (!(this.slug in ADVICE)) this.slug = BY_STATUS[body.status] || "internal";
    this.requestId = body.request_id || null;
    this.retryAfter = retryAfter;
  }

  get advice() {
    const wait = this.retryAfter ? ` The server asks to wait ${seconds(this.retryAfter)}.` : "";
    return ADVICE[this.slug] + wait;
  }
}

const seconds = (count) => (count === 1 ? "1 second" : `${Math.ceil(count)} seconds`);

// Retry-After is a number of seconds or a date.
export function retryAfter(value, now = Date.now()) {
  if (value === null || value === "") return null;
  const wait = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - now) / 1000;
  return Number.isFinite(wait) && wait > 0 ? wait : null;
}

export async function problemOf(response) {
  const wait = retryAfter(response.headers.get("Retry-After"));
  const id = response.headers.get("X-Request-Id");
  if ((response.headers.get("Content-Type") || "").includes("json")) {
    try {
      return new Problem({ status: response.status, request_id: id, title: "The server refused", ...(await response.json()) }, wait);
    } catch {
      // a body that claims to be JSON and is not: the status alone has to do
    }
  }
  return new Problem({ status: response.status, title: `The server answered ${response.status}`, request_id: id }, wait);
}

export const unreachable = () =>
  Object.assign(new Problem({ status: 503, title: "The server cannot be reached", detail: "No answer came back." }), {
    slug: "engine-unavailable",
    unreachable: true,
  });

const sentence = (text) => text.replace(/^./, (letter) => letter.toUpperCase()).replace(/[^.!?]$/, "$&.");

// Fills an .alert element; given what "Try again" means.
export function showProblem(alert, problem, retry) {
  alert.querySelector("h2").textContent = problem.title;
  alert.querySelector(".alert-detail").textContent = sentence(problem.detail);
  alert.querySelector(".alert-advice").textContent = problem.unreachable
    ? "Check that it is running and that you are connected, then try again."
    : problem.advice;
  alert.querySelector(".alert-request").textContent = problem.requestId ? `Request ${problem.requestId}` : "";
  alert.querySelector("[data-do=retry]").onclick = () => { alert.hidden = true; retry(); };
  alert.querySelector("[data-do=dismiss]").onclick = () => { alert.hidden = true; };
  alert.hidden = false;
}
