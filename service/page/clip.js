// A clip comes in, frames are shown before and after while it is restored, then a slider lies over the two playing clips.

import { address, request } from "./api.js";
import { events } from "./events.js";
import { heldKey } from "./key.js";
import { taskName } from "./words.js";

const find = (name) => document.getElementById(name);
const [file, task, steady, codec, go, cancel, download, said, progress, stage, controls, split, play] =
  ["file", "task", "steady", "codec", "go", "cancel", "download", "said", "progress", "stage", "controls", "split", "play"].map(find);
const [before, after, beforeFrame, afterFrame] = ["before", "after", "before-frame", "after-frame"].map(find);

let chosen = null;
let job = null; // the address of the one in work
let result = null; // address of the restored clip

const say = (text) => { said.textContent = text; };
const server = (path, query) => address(`..${path}`, query);

function choose(picked) {
  if (!picked || job) return;
  if (before.src) URL.revokeObjectURL(before.src);
  [chosen, result] = [picked, null];
  before.src = URL.createObjectURL(picked);
  after.removeAttribute("src");
  frames(null);
  [stage.hidden, download.hidden, controls.hidden, go.disabled] = [false, true, true, false];
  setSplit(100);
  say(`${picked.name} is open.`);
}

// The current frame before and after, or the clips themselves.
function frames(step) {
  const shown = step?.before && step.preview;
  [beforeFrame.hidden, afterFrame.hidden, before.hidden, after.hidden] = [!shown, !shown, Boolean(shown), Boolean(shown)];
  if (shown) [beforeFrame.src, afterFrame.src] = [step.before, step.preview];
}

function setSplit(percent) {
  split.value = percent;
  stage.style.setProperty("--split", `${percent}%`);
}

async function restore() {
  if (!chosen || job) return;
  const query = { task: task.value, steady: steady.value, codec: codec.value };
  [go.hidden, cancel.hidden, progress.hidden, download.hidden] = [true, false, false, true];
  progress.removeAttribute("value");
  say("Sending the clip.");
  try {
    const headers = { "Content-Type": chosen.type || "application/octet-stream" };
    const made = await (await request(server("/restore/video", query), { method: "POST", body: chosen, headers })).json();
    job = made.links;
    await watch();
    await show(made.clip.container);
  } catch (problem) {
    if (!problem.title) throw problem;
    say(`${problem.title}. ${problem.detail ?? ""}`);
    frames(null);
  } finally {
    job = null;
    [go.hidden, cancel.hidden, progress.hidden] = [false, true, true];
  }
}

async function watch() {
  setSplit(50);
  controls.hidden = false;
  const answer = await request(server(job.events));
  for await (const { event, data } of events(answer.body)) {
    if (event === "error") throw data;
    if (event !== "step") continue;
    progress.max = data.steps || 1;
    if (data.steps) progress.value = data.step;
    say(data.steps ? `Frame ${data.step} of ${data.steps}` : `Frame ${data.step}`);
    frames(data);
  }
}

async function show(container) {
  const ended = await (await request(server(job.self))).json();
  if (ended.status !== "succeeded") return say("Cancelled.");
  result = await playable(job);
  [download.href, download.download, download.hidden] = [result, `${chosen.name.replace(/\.[^.]*$/, "")}-restored.${container}`, false];
  after.src = result;
  frames(null);
  say(`Done: ${ended.steps} frames, ${ended.model}, steadying ${ended.clip.steady}. ${ended.clip.notes.join(". ")}`);
  return together();
}

// The clip's own address, which is read a part at a time as it plays. A video element sends no key: where one is needed, the server
// signs an address for it.
async function playable(links) {
  if (!heldKey()) return String(server(links.result));
  const signed = await (await request(server(`${links.self}/link`), { method: "POST" })).json();
  return String(server(signed.links.result));
}

// Both clips from the start; the restored one follows the other.
async function together() {
  before.currentTime = after.currentTime = 0;
  play.textContent = "Pause";
  await Promise.allSettled([before.play(), after.play()]);
}

before.addEventListener("timeupdate", () => {
  if (!after.hidden && Math.abs(after.currentTime - before.currentTime) > 0.08) after.currentTime = before.currentTime;
});
play.addEventListener("click", () => {
  const paused = before.paused;
  for (const clip of [before, after]) if (clip.src) (paused ? clip.play() : clip.pause());
  play.textContent = paused ? "Pause" : "Play";
});
split.addEventListener("input", () => setSplit(split.value));
file.addEventListener("change", () => choose(file.files[0]));
cancel.addEventListener("click", () => job && request(server(job.self), { method: "DELETE" }));
document.querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); restore(); });
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => { event.preventDefault(); choose(event.dataTransfer?.files[0]); });

const { default: preferred, auto = [], models: list } = await (await request(server("/models"))).json();
const restorers = list.filter((model) => model.kind === "restore" && !model.needs_mask);
const automatic = { name: "auto", task: "auto" };
const offered = auto.length ? [automatic, ...restorers] : restorers;
task.replaceChildren(...offered.map((model) => new Option(taskName(model, offered), model.name, false, model.name === preferred)));
