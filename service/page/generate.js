// The generate panel: pictures out of noise, each with the seed that draws it again.

import { address, run, toBlob } from "./api.js";
import { command, showCurl } from "./curl.js";
import { showProblem } from "./problems.js";
import { Waiting, announce } from "./waiting.js";
import { ending, facts, isSeed, milliseconds, sides } from "./words.js";

const panel = document.querySelector("#generate");
const find = (selector) => panel.querySelector(selector);
const [gallery, growing, empty, alert, outcome] = [".gallery", ".growing", ".gallery-empty", ".alert", ".outcome"].map(find);
const [generator, steps, count, seed, grid, go, cancel] =
  ["#generator", "#generate-steps", "#count", "#generate-seed", "#grid", "#generate-go", "#generate-cancel"].map(find);
const waiting = new Waiting(find(".gallery-frame"));

let models = [];
let running = null;
let last = null; // {query, envelope}
let urls = [];

export function offer(list) {
  models = list;
  generator.replaceChildren(...models.map((entry) => new Option(entry.name, entry.name)));
  generator.disabled = steps.disabled = go.disabled = models.length === 0;
  if (models.length) settle();
  else {
    generator.replaceChildren(new Option("No model is loaded"));
    find("#generate-hint").textContent = "This server has no model that generates pictures. Whoever runs it can load one.";
  }
}

const model = () => models.find((entry) => entry.name === generator.value);

function settle() {
  const { steps: range, size, licence } = model();
  [steps.min, steps.max, steps.value] = [range.min, range.max, range.default];
  find("#generate-steps-value").textContent = range.default;
  const [height, width] = size.image_size ?? [];
  find("#generator-hint").textContent = [width && `${sides({ width, height })} pixels.`, `${licence}.`].filter(Boolean).join(" ");
}

function settings() {
  const sheet = grid.checked && Number(count.value) > 1;
  return { model: generator.value, steps: steps.value, n: count.value, seed: seed.value.trim(), grid: sheet ? "true" : "" };
}

function valid() {
  const good = seed.value.trim() === "" || isSeed(seed.value.trim());
  seed.setAttribute("aria-invalid", String(!good));
  if (good) return true;
  seed.focus();
  find("#generate-seed-hint").textContent = "A seed is a whole number from 0 to 9223372036854775807.";
  return false;
}

function begin() {
  running = new AbortController();
  alert.hidden = gallery.hidden = outcome.hidden = empty.hidden = true;
  panel.dataset.state = "running";
  waiting.begin("Waiting for a turn");
  go.hidden = true;
  cancel.hidden = false;
}

function finish() {
  running = null;
  waiting.end();
  growing.hidden = true;
  go.hidden = false;
  cancel.hidden = true;
  empty.hidden = !gallery.hidden;
}

async function generate() {
  if (running || !valid()) return;
  const query = settings();
  begin();
  try {
    const envelope = await run("generate", query, null, { signal: running.signal, onStep: grow });
    settled(query, envelope);
  } catch (problem) {
    failed(problem);
  } finally {
    finish();
  }
}

function failed(problem) {
  panel.dataset.state = problem.name === "AbortError" ? "empty" : "error";
  if (problem.name === "AbortError") return announce("Cancelled.");
  if (!problem.title) throw problem;
  return showProblem(alert, problem, generate);
}

function grow({ step, steps: all, preview }) {
  waiting.step(step, all);
  growing.src = preview;
  growing.hidden = false;
}

function settled(query, envelope) {
  // JSON's numbers lose the last digits of a long seed: one that was typed is kept as text.
  const first = BigInt(query.seed || envelope.seed);
  last = { query: { ...query, seed: String(first) }, envelope };
  for (const url of urls) URL.revokeObjectURL(url);
  urls = [];
  const pictures = (envelope.images ?? [envelope]).map(({ image }, index) => ({ image, seed: String(first + BigInt(index)) }));
  const sheet = query.grid === "true";
  gallery.classList.toggle("sheet", sheet || pictures.length === 1);
  gallery.replaceChildren(...pictures.map((picture) => card(picture, envelope, sheet)));
  gallery.hidden = false;
  report(envelope, first, pictures.length);
  panel.dataset.state = "done";
  go.textContent = "Generate again";
}

function card({ image, seed: own }, envelope, sheet) {
  const url = URL.createObjectURL(toBlob(image, envelope.media_type));
  urls.push(url);
  const [item, figure, shown, under, link, again] = ["li", "figure", "img", "figcaption", "a", "button"].map((tag) => document.createElement(tag));
  [shown.src, shown.alt] = [url, sheet ? `A sheet of pictures from seed ${own}` : `Generated picture, seed ${own}`];
  [link.href, link.download, link.textContent] = [url, `${envelope.model}-${own}.${ending(envelope.media_type)}`, "Save"];
  [again.type, again.textContent, again.title] = ["button", `Seed ${own}`, "Use this seed"];
  again.addEventListener("click", () => { seed.value = own; announce(`Seed ${own} is set.`); });
  under.append(again, link);
  figure.append(shown, under);
  item.append(figure);
  return item;
}

function report(envelope, first, number) {
  const time = Object.values(envelope.timings).reduce((sum, part) => sum + part, 0);
  facts(find(".facts"), [
    ["Pictures", `${number === 1 ? "" : `${number} of `}${sides(envelope)}`],
    ["Time", milliseconds(time)],
    ["Steps", String(envelope.steps)],
    ["First seed", String(first)],
    ["Model", `${envelope.model} ${String(envelope.digest).slice(0, 8)}`],
  ]);
  outcome.hidden = false;
  announce(`Done in ${milliseconds(time)}.`);
}

function curl() {
  const { query, envelope } = last;
  const separate = Number(query.n) > 1 && !query.grid;
  showCurl(command(address("generate", query).href, {}, separate ? "pictures.json" : `${envelope.model}-${query.seed}.png`));
}

generator.addEventListener("change", settle);
steps.addEventListener("input", () => { find("#generate-steps-value").textContent = steps.value; });
count.addEventListener("input", () => { find("#count-value").textContent = count.value; });
seed.addEventListener("input", () => seed.removeAttribute("aria-invalid"));
find("form").addEventListener("submit", (event) => { event.preventDefault(); generate(); });
cancel.addEventListener("click", () => running?.abort());
find("#generate-curl").addEventListener("click", curl);
