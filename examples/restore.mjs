// Restore a picture from JavaScript, and watch the steps. Node 18 or newer, or a browser; no packages.
//
//     node examples/restore.mjs dark.jpg light.jpg [http://127.0.0.1:8000]

import { readFile, writeFile } from "node:fs/promises";
import { basename } from "node:path";

const [picture, out, server = "http://127.0.0.1:8000"] = process.argv.slice(2);
if (!out) {
  console.error("usage: node examples/restore.mjs PICTURE OUT [SERVER]");
  process.exit(2);
}

const headers = { Accept: "text/event-stream" };
if (process.env.RDDM_API_KEY) headers.Authorization = `Bearer ${process.env.RDDM_API_KEY}`;

// Sends the picture; asks again when the server is busy, as late as it says.
async function send(attempts = 5) {
  const body = new FormData();
  body.append("image", new Blob([await readFile(picture)]), basename(picture));
  const response = await fetch(`${server}/restore`, { method: "POST", headers, body });
  if ((response.status !== 429 && response.status !== 503) || attempts === 1) return response;
  await response.arrayBuffer();
  await new Promise((resolve) => setTimeout(resolve, 1000 * Number(response.headers.get("Retry-After") ?? 1)));
  return send(attempts - 1);
}

// Server-sent events: blocks of `event:` and `data:` lines, an empty line between them.
async function* events(stream) {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const blocks = (rest + text).replace(/\r\n/g, "\n").split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const field = (name) => block.split("\n").filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2)).join("\n");
      if (field("data")) yield { event: field("event"), data: JSON.parse(field("data")) };
    }
  }
}

const told = (problem) => new Error(`${problem.title} (${problem.status}): ${problem.detail}`);

async function restore() {
  const response = await send();
  if (!response.ok) throw told(await response.json());
  for await (const { event, data } of events(response.body)) {
    if (event === "error") throw told(data);
    if (event === "step") console.log(`step ${data.step} of ${data.steps} after ${(data.elapsed_ms / 1000).toFixed(2)} s`);
    if (event === "result") {
      await writeFile(out, Buffer.from(data.image, "base64"));
      return `${out}: ${data.model}, ${data.steps} steps, ${data.width} x ${data.height}`;
    }
  }
  throw new Error("The answer broke off before the result.");
}

try {
  console.log(await restore());
} catch (error) {
  console.error(error.cause ? `${error.message}: ${error.cause.message}` : error.message);
  process.exitCode = 1;
}
