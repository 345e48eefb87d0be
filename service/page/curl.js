// "Copy as curl": the request on screen as one command line. A key is never written out.

import { heldKey } from "./key.js";

const dialog = document.querySelector("#curl-dialog");
const code = dialog.querySelector("code");
const copy = dialog.querySelector("[data-do=copy]");

const quoted = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;

// parts: {name: file name}; -F's own syntax needs " and \ escaped inside the quotes.
const formPart = ([name, file]) => `-F ${quoted(`${name}=@"${file.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`)}`;

export function command(url, parts, out) {
  const lines = ["curl --fail-with-body -X POST", ...Object.entries(parts).map(formPart)];
  if (heldKey()) lines.push('-H "Authorization: Bearer $RDDM_API_KEY"');
  if (out.endsWith(".json")) lines.push("-H 'Accept: application/json'");
  lines.push(`-o ${quoted(out)}`, quoted(url));
  return lines.join(" \\\n  ");
}

// The clipboard is closed to pages on plain http: the text is then selected, ready for Ctrl+C.
async function toClipboard() {
  try {
    await navigator.clipboard.writeText(code.textContent);
    copy.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code);
    copy.textContent = document.execCommand("copy") ? "Copied" : "Selected: press Ctrl+C";
  }
}

export function showCurl(text) {
  code.textContent = text;
  copy.textContent = "Copy";
  document.querySelector("#curl-note").textContent = heldKey()
    ? "Your key is left out: put it into the environment as RDDM_API_KEY."
    : "Run it in the folder that holds the picture.";
  dialog.showModal();
}

copy.addEventListener("click", toClipboard);
dialog.querySelector("[data-do=close]").addEventListener("click", () => dialog.close());
