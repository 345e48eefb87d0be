// The restore panel: a picture comes in, steps arrive, before and after are compared, the residual and the strip are looked at.

import { mixed, pixelsOf } from "./adjust.js";
import { address, picture, request, run, toBlob } from "./api.js";
import { command, showCurl } from "./curl.js";
import { Problem, showProblem } from "./problems.js";
import { Viewer } from "./viewer.js";
import { Waiting, announce } from "./waiting.js";
import {
  bytes, ending, facts, faultsSeen, isSeed, megapixels, milliseconds, readSuffixes, readTitles, sides, stem, taskHint, taskName, writtenFormats,
} from "./words.js";

const panel = document.querySelector("#restore");
const find = (selector) => panel.querySelector(selector);
const [stage, drop, frame, toolbar, film, caption, alert, outcome] =
  [".stage", ".drop", ".viewer", ".toolbar", ".film", ".caption", ".alert", ".outcome"].map(find);
const [file, task, steps, seed, format, metadata, mask, go, cancel, download] =
  ["#file", "#task", "#steps", "#seed", "#format", "#metadata", "#mask", "#go", "#cancel", "#download"].map(find);
const [thens, strength, brightness, best] = ["#thens", "#strength", "#brightness", "#best"].map(find);
const MOST_TASKS = 3;
const segments = [...panel.querySelectorAll("[data-view]")];

const waiting = new Waiting(stage);
const viewer = new Viewer(frame, (scale) => { find(".zoom-level").textContent = `${Math.round(scale * 100)} %`; });
const FURTHER = ["residual", "steps"]; // views that are answers of their own
const CAPTIONS = {
  compare: "Drag the line, or move it with the arrow keys. Double-click, pinch or the wheel look closer.",
  after: "Hold the space bar to see the original in its place.",
  before: "The picture as it came.",
  residual: "What the model took away: mid grey where nothing changed, darker where the result is brighter.",
  steps: "The picture on its way: the start of the diffusion on the left, the result on the right.",
};

// Pictures to try, by task; all drawn by this project.
const SAMPLES = {
  lowlight: { path: "static/sample-lowlight.jpg", name: "still-life.jpg", words: "Try this one: a still life, four stops too dark." },
  derain: { path: "static/sample-derain.jpg", name: "garden.jpg", words: "Try this one: a garden in the rain." },
};

let models = [];
let chosen = null; // {file, url, size or null: this browser cannot show it}
let done = null; // {url, shown, size, query, files, previews, pixels?, residual?, steps?} of the last result, as the models made it
let running = null; // AbortController

// What the server plans by itself stands among the models as one of its own.
const AUTO = "auto";
const isAuto = () => task.value === AUTO;
const autoModel = () => ({ name: AUTO, task: AUTO, size: models[0].size, steps: { min: 1, max: 1, default: 1 } });
const model = () => (isAuto() ? autoModel() : models.find((candidate) => candidate.name === task.value));
const laterTasks = () => [...thens.children].map(({ value }) => value).filter(Boolean);
const chain = () => (isAuto() ? [autoModel()] : [task.value, ...laterTasks()].map((name) => models.find((candidate) => candidate.name === name)).filter(Boolean));

function urlOf(blob) {
  return { url: URL.createObjectURL(blob), blob };
}

async function sizeOf(url) {
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
    return { width: image.naturalWidth, height: image.naturalHeight };
  } catch {
    return null;
  }
}

// Settings

export function offer(list, preferred, plans) {
  models = list;
  const named = models.map((entry) => new Option(taskName(entry, models), entry.name));
  task.replaceChildren(...(plans ? [new Option("Automatic", AUTO)] : []), ...named);
  task.value = plans ? AUTO : models.some((entry) => entry.name === preferred) ? preferred : models[0]?.name ?? "";
  task.disabled = steps.disabled = models.length === 0;
  offerFormats();
  offerThens();
  if (models.length) settle();
  else task.replaceChildren(new Option("No model is loaded"));
  ready();
}

function settle() {
  const { steps: range, size } = model();
  [steps.min, steps.max, steps.value] = [range.min, range.max, range.default];
  steps.disabled = chain().length > 1 || isAuto(); // each takes its own number
  find("#steps-value").textContent = steps.disabled ? "Each its own" : range.default;
  find("#task-hint").textContent = chain().map(taskHint).join(" ");
  find("#limits").textContent = size?.max_pixels ? `Up to ${megapixels(size.max_pixels)}.` : "";
  find("#mask-field").hidden = !chain().some((entry) => entry.takes_mask);
  find("#brightness-field").hidden = !chain().some((entry) => entry.takes_brightness);
  showSample();
}

// What is done after the first task: one more choice than are made, so that another can be added.
function offerThens() {
  const made = isAuto() ? [] : laterTasks();
  const offered = models.length > 1 && !isAuto() ? [...made, ""].slice(0, MOST_TASKS - 1) : [];
  thens.replaceChildren(...offered.map((name, index) => {
    const select = document.createElement("select");
    select.setAttribute("aria-label", `Task ${index + 2}`);
    select.append(new Option("And nothing more", ""), ...models.map((entry) => new Option(`Then: ${taskName(entry, models)}`, entry.name)));
    select.value = name;
    select.addEventListener("change", () => { offerThens(); settle(); thens.children[index]?.focus(); });
    return select;
  }));
}

function offerFormats() {
  format.replaceChildren(format.options[0], ...writtenFormats().map(({ name, title }) => new Option(title, name)));
  find("#formats").textContent = `: ${readTitles()}`;
  file.accept = ["image/*", ...readSuffixes()].join(",");
}

function showSample() {
  const sample = sampleFor(model());
  find("#sample").hidden = !sample;
  if (!sample) return;
  find("#sample img").src = address(sample.path).href;
  find("#sample-words").textContent = sample.words;
}

// The chosen task's own picture; for a task without one, that of another model that is there.
function sampleFor(wanted) {
  const others = Object.keys(SAMPLES).map((task) => models.find((entry) => entry.task === task));
  const suited = [wanted, ...others].find((entry) => entry?.task in SAMPLES);
  return suited && { ...SAMPLES[suited.task], model: suited.name };
}

function settings() {
  return {
    task: chain().map(({ name }) => name).join(","),
    steps: steps.disabled ? "" : steps.value,
    seed: seed.value.trim(),
    quality: best.checked ? "best" : "",
    format: format.value,
    metadata: metadata.value,
  };
}

// {part: file}: the picture, and the mask where the model takes one.
function parts() {
  const masked = chain().some((entry) => entry.takes_mask) && mask.files.length;
  return masked ? { image: chosen.file, mask: mask.files[0] } : { image: chosen.file };
}

// The body is made anew for every request.
function form(files) {
  const body = new FormData();
  for (const [name, part] of Object.entries(files)) body.append(name, part, part.name);
  return body;
}

function ready() {
  go.disabled = !chosen || models.length === 0 || running !== null;
}

// A picture comes in

export async function choose(picked) {
  running?.abort();
  clear();
  if (chosen) URL.revokeObjectURL(chosen.url);
  const url = URL.createObjectURL(picked);
  chosen = { file: picked, url, size: null };
  chosen.size = await sizeOf(url);
  if (chosen.url !== url) return;
  const { size } = chosen;
  find(".picked-name").textContent = picked.name;
  find(".picked-size").textContent = [size && sides(size), bytes(picked.size)].filter(Boolean).join(", ");
  find(".picked").hidden = false;
  drop.hidden = true;
  frame.hidden = false;
  find(".unseen-name").textContent = picked.name;
  unseen(size === null);
  state("ready");
  if (size) stage.style.aspectRatio = Math.min(Math.max(size.width / size.height, 0.75), 1.9);
  if (size) viewer.fitted = true;
  if (size) viewer.show({ before: url, after: null, size, mode: "before" });
  announce(`${picked.name} is open.`);
  ready();
}

// The file's name stands where the browser cannot show the file itself.
function unseen(blank) {
  find(".unseen").hidden = !blank;
  find(".zoom").hidden = blank;
  if (blank) viewer.blank();
}

function clear() {
  fetching?.abort();
  download.textContent = "Download";
  for (const entry of [done?.url, done?.adjusted, done?.residual?.url, done?.steps?.url]) if (entry) URL.revokeObjectURL(entry);
  done = null;
  alert.hidden = film.hidden = caption.hidden = outcome.hidden = true;
  toolbar.hidden = false;
  film.replaceChildren();
  mark("before");
}

function state(name) {
  panel.dataset.state = name;
  go.textContent = name === "done" ? "Restore again" : "Restore";
  const unseen = chosen?.size ? [] : ["compare", "before"];
  for (const segment of segments) {
    const { view } = segment.dataset;
    const several = (done?.query.task.includes(",") || done?.query.task === AUTO) && FURTHER.includes(view); // they are one model's own
    segment.disabled = name === "done" ? unseen.includes(view) || several : view !== "before";
  }
}

// The work

function begin(text) {
  running = new AbortController();
  waiting.begin(text);
  go.hidden = true;
  cancel.hidden = false;
}

function beginAnew() {
  clear();
  mark("after");
  state("running");
  if (chosen.size) viewer.show({ before: chosen.url, after: null, size: chosen.size, mode: "before" });
  begin("Sending the picture");
}

function finish() {
  running = null;
  waiting.end();
  go.hidden = false;
  cancel.hidden = true;
  ready();
}

// One piece of work at a time: shows its problem, and offers to do the same again.
async function work(what, after) {
  const mine = running;
  try {
    await what(mine);
  } catch (problem) {
    if (problem.name === "AbortError") announce("Cancelled.");
    else failed(problem, after);
  } finally {
    if (running === mine) finish();
  }
}

function failed(problem, retry) {
  if (!problem.title) throw problem;
  showProblem(alert, problem, retry);
  if (done) return;
  mark("before");
  state(chosen ? "error" : "empty");
}

export async function restore() {
  if (!chosen || running) return;
  if (!valid() || tooLarge()) return;
  const [query, files] = [settings(), parts()];
  beginAnew();
  await work(async ({ signal }) => {
    const previews = [];
    const onStep = (step) => signal.aborted || arrived(step, previews);
    const envelope = await run("restore", query, form(files), { signal, onStep });
    signal.throwIfAborted();
    await settled(envelope, { query, files, previews }, signal);
  }, restore);
  if (done && isAdjusted()) await adjust().then(fetchAdjusted);
  if (!done && chosen.size) viewer.show({ before: chosen.url, after: null, size: chosen.size, mode: "before" });
  if (!done) {
    film.hidden = true;
    unseen(chosen.size === null);
    if (panel.dataset.state === "running") state("ready");
  }
}

function valid() {
  const good = isSeed(seed.value.trim());
  seed.setAttribute("aria-invalid", String(!good));
  if (good) return true;
  find(".more").open = true;
  seed.focus();
  find("#seed-hint").textContent = "A seed is a whole number from 0 to 9223372036854775807.";
  return false;
}

// Known before a byte is sent: the server would say the same after the upload.
function tooLarge() {
  const most = model().size?.max_pixels ?? Infinity;
  if (!chosen.size || chosen.size.width * chosen.size.height <= most) return false;
  const detail = `The picture has ${sides(chosen.size)} pixels; at most ${megapixels(most)} are taken.`;
  failed(new Problem({ status: 413, title: "The picture is too large", detail }), restore);
  return true;
}

function arrived({ step, steps: all, preview, width, height }, previews) {
  previews.push({ url: preview, name: `Step ${step}` });
  waiting.step(step, all);
  unseen(false);
  viewer.label(`Step ${step}`);
  viewer.show({ before: chosen.size && chosen.url, after: preview, size: chosen.size ?? { width, height }, mode: "after" });
  frames(previews);
}

async function settled(envelope, asked, signal) {
  const { blob, url } = urlOf(toBlob(envelope.image, envelope.media_type));
  const seen = await sizeOf(url);
  signal.throwIfAborted();
  const size = chosen.size ?? seen ?? { width: envelope.width, height: envelope.height };
  // A browser that cannot show the format shows the last preview; the download is the whole result.
  done = { ...asked, url, shown: seen ? url : asked.previews.at(-1)?.url, size };
  const name = `${stem(chosen.file.name)}-restored.${ending(envelope.media_type)}`;
  [download.href, download.download] = [url, name];
  frames(asked.previews);
  report(envelope, blob, size, seen);
  state("done");
  viewer.setSplit(50);
  look(chosen.size ? "compare" : "after");
  announce(`Done in ${milliseconds(total(envelope.timings))}.`);
}

// Strength and brightness: shown at once from the kept result, and the file made anew from it by the server, without the models

const turned = () => ({ strength: strength.value / 100, stops: find("#brightness-field").hidden ? 0 : Number(brightness.value) });
const isAdjusted = () => turned().strength !== 1 || turned().stops !== 0;

function adjustment() {
  const { strength: share, stops } = turned();
  return { strength: share === 1 ? "" : share, brightness: stops === 0 ? "" : stops };
}

function tellAdjustment() {
  const { stops } = turned();
  find("#strength-value").textContent = `${strength.value} %`;
  find("#brightness-value").textContent = stops === 0 ? "Automatic" : `${stops > 0 ? "+" : "\u2212"}${Math.abs(stops).toFixed(1)}`;
}

async function adjust() {
  tellAdjustment();
  const mine = done;
  if (!mine?.shown || !chosen.size) return;
  mine.pixels ??= pixelsOf([chosen.url, mine.shown], mine.size);
  const [before, after] = await mine.pixels;
  if (done !== mine || FURTHER.includes(panel.querySelector("[aria-checked=true][data-view]").dataset.view)) return;
  viewer.label("Restored");
  press(mine.previews.length);
  viewer.paint(mixed(before, after, turned()));
}

let fetching = null; // AbortController

async function fetchAdjusted() {
  fetching?.abort();
  const mine = done;
  if (!mine) return;
  const { signal } = (fetching = new AbortController());
  download.removeAttribute("href");
  download.textContent = "Writing the file";
  try {
    const options = { method: "POST", body: form(mine.files), signal, headers: { Accept: "image/*" } };
    const { url } = urlOf(await (await request(address("restore", { ...mine.query, ...adjustment() }), options)).blob());
    if (mine.adjusted) URL.revokeObjectURL(mine.adjusted);
    mine.adjusted = download.href = url;
    announce("The file is as shown.");
  } catch (problem) {
    if (problem.name !== "AbortError") failed(problem, fetchAdjusted);
  } finally {
    if (!signal.aborted) download.textContent = "Download";
  }
}

const total = (timings) => Object.values(timings).reduce((sum, time) => sum + time, 0);

function report(envelope, blob, size, seen) {
  const { timings, analysis } = envelope;
  if (analysis) find("#brightness-field").hidden = !models.some((entry) => entry.takes_brightness && envelope.model.split(", ").includes(entry.name));
  facts(find(".facts"), [
    ["Picture", `${sides(size)}, ${bytes(blob.size)}`],
    ["Time", milliseconds(total(timings))],
    ...(timings.sample === undefined ? [] : [["Sampling", milliseconds(timings.sample)]]),
    ...(analysis ? [["Seen", faultsSeen(analysis)], ["Done", envelope.changed ? analysis.plan.join(", then ") : "nothing: as it came"]] : []),
    ...(envelope.model ? [["Steps", String(envelope.steps)], ["Seed", done.query.seed]] : []),
    ...(envelope.model ? [["Model", `${envelope.model} ${String(envelope.digest).slice(0, 8)}`]] : []),
    ...(seen ? [] : [["Shown", "a preview: this browser cannot show the file"]]),
  ]);
  outcome.hidden = false;
}

// Looking at it

function mark(view) {
  for (const segment of segments) {
    segment.setAttribute("aria-checked", String(segment.dataset.view === view));
    segment.tabIndex = segment.dataset.view === view ? 0 : -1;
  }
}

function press(index) {
  [...film.querySelectorAll("button")].forEach((button, at) => button.setAttribute("aria-pressed", String(at === index)));
}

// Residual and strip are further answers of the server, asked for when first looked at.
async function look(view) {
  mark(view);
  caption.hidden = false;
  caption.textContent = CAPTIONS[view];
  if (FURTHER.includes(view)) await lookFurther(view);
  else lookAt(done ? done.shown : null, view, "Restored", done?.previews.length ?? -1);
  if (done && !FURTHER.includes(view) && isAdjusted()) await adjust();
}

function lookAt(after, mode, label, pressed) {
  viewer.label(label);
  press(pressed);
  const size = done?.size ?? chosen.size;
  if (size) viewer.show({ before: chosen.size && chosen.url, after, size, mode });
}

async function lookFurther(view) {
  const mine = done; // a picture chosen meanwhile has no part in this
  if (!mine[view]) {
    if (running) return;
    begin(view === "residual" ? "Asking for the residual" : "Asking for the steps");
    await work(async ({ signal }) => {
      const answer = urlOf(await picture("restore", { ...mine.query, format: "", return: view }, form(mine.files), signal));
      mine[view] = { url: answer.url, size: await sizeOf(answer.url) };
    }, () => look(view));
  }
  if (done !== mine) return undefined;
  if (!mine[view]) return look(chosen.size ? "compare" : "after");
  if (panel.querySelector(`[data-view=${view}]`).getAttribute("aria-checked") !== "true") return undefined;
  viewer.label(view === "residual" ? "Residual" : "Steps");
  press(-1);
  return viewer.show({ before: null, after: done[view].url, size: done[view].size, mode: "after" });
}

function frames(previews) {
  film.replaceChildren(...previews.map(({ url, name }, index) => shot(url, name, index)));
  if (done) film.append(shot(done.shown, "Result", previews.length));
  film.hidden = false;
  press(done ? previews.length : previews.length - 1);
}

function shot(url, name, index) {
  const [item, button, image] = ["li", "button", "img"].map((tag) => document.createElement(tag));
  [button.type, image.src, image.alt] = ["button", url, ""];
  button.append(image, name);
  button.addEventListener("click", () => lookAtStep(url, name, index));
  item.append(button);
  return item;
}

function lookAtStep(url, name, index) {
  if (!done) return;
  const view = chosen.size ? "compare" : "after";
  mark(view);
  caption.textContent = CAPTIONS[view];
  lookAt(url, view, name === "Result" ? "Restored" : name, index);
}

// What people do

// The field is emptied, so that picking the same file again is a change again.
function picked() {
  const [first] = file.files;
  file.value = "";
  if (first) choose(first);
}

function listen() {
  file.addEventListener("change", picked);
  task.addEventListener("change", () => { offerThens(); settle(); });
  for (const slider of [strength, brightness]) {
    slider.addEventListener("input", adjust);
    slider.addEventListener("change", fetchAdjusted);
  }
  steps.addEventListener("input", () => { find("#steps-value").textContent = steps.value; });
  seed.addEventListener("input", () => seed.removeAttribute("aria-invalid"));
  find("form").addEventListener("submit", (event) => { event.preventDefault(); restore(); });
  cancel.addEventListener("click", () => running?.abort());
  find("#sample").addEventListener("click", trySample);
  find("#curl").addEventListener("click", curl);
  for (const button of panel.querySelectorAll("[data-do=choose]")) button.addEventListener("click", () => file.click());
  for (const segment of segments) segment.addEventListener("click", () => look(segment.dataset.view));
  find(".segments").addEventListener("keydown", turn);
  find(".zoom").addEventListener("click", ({ target }) => zoom(target.closest("[data-zoom]")?.dataset.zoom));
}

function curl() {
  const names = Object.fromEntries(Object.entries(done.files).map(([part, { name }]) => [part, name]));
  showCurl(command(address("restore", { ...done.query, ...adjustment() }).href, names, download.download));
}

// The arrow keys move within the views, as in any group of radio buttons.
function turn(event) {
  const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  const open = segments.filter((segment) => !segment.disabled);
  const next = open[(open.indexOf(document.activeElement) + by + open.length) % open.length];
  next.focus();
  look(next.dataset.view);
}

function zoom(what) {
  if (what === "in") viewer.zoomBy(1.5);
  if (what === "out") viewer.zoomBy(1 / 1.5);
  if (what === "fit") viewer.fit();
  if (what === "pixels") viewer.zoomTo(1);
}

async function trySample() {
  const sample = sampleFor(model());
  if (!isAuto() && sample.model !== task.value) {
    task.value = sample.model;
    offerThens();
    settle();
  }
  try {
    const blob = await (await request(address(sample.path))).blob();
    await choose(new File([blob], sample.name, { type: blob.type }));
  } catch (problem) {
    return failed(problem, trySample);
  }
  return restore();
}

listen();
