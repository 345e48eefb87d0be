// The page itself: tabs, theme, drop and paste anywhere, and what the server says of itself.

import { models, readiness } from "./api.js";
import * as generateRoom from "./generate.js";
import { showProblem } from "./problems.js";
import * as restoreRoom from "./restore.js";
import { announce } from "./waiting.js";
import { knowFormats } from "./words.js";

const tabs = [...document.querySelectorAll("[role=tab]")];
const stage = document.querySelector("#stage");
const theme = document.querySelector("#theme");

// Tabs

function open(name, focus = false) {
  for (const tab of tabs) {
    const mine = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(mine));
    tab.tabIndex = mine ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !mine;
    if (mine && focus) tab.focus();
  }
  document.title = `RDDM Serve: ${name === "restore" ? "restore a picture" : "generate pictures"}`;
  history.replaceState(null, "", name === "restore" ? location.pathname : `#${name}`);
}

for (const tab of tabs) {
  tab.addEventListener("click", () => open(tab.getAttribute("aria-controls")));
  tab.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    open(tabs[(tabs.indexOf(tab) + 1) % tabs.length].getAttribute("aria-controls"), true);
  });
}
if (location.hash === "#generate") open("generate");

// Theme: as the system, then light, then dark

const NAMES = { "": "as the system", light: "light", dark: "dark" };
const NEXT = { "": "light", light: "dark", dark: "" };

function nameTheme() {
  const label = `Colours: ${NAMES[document.documentElement.dataset.theme ?? ""]}`;
  theme.setAttribute("aria-label", label);
  theme.title = label;
}

theme.addEventListener("click", () => {
  const next = NEXT[document.documentElement.dataset.theme ?? ""];
  if (next) document.documentElement.dataset.theme = next;
  else delete document.documentElement.dataset.theme;
  try {
    localStorage.setItem("rddm-theme", next);
  } catch {
    // the choice lasts as long as the page
  }
  nameTheme();
  announce(theme.title);
});
nameTheme();

// Drop and paste

const pictureIn = (transfer) => [...(transfer?.files ?? [])][0];
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");

function take(file) {
  open("restore");
  restoreRoom.choose(file);
}

document.addEventListener("dragover", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  open("restore");
  stage.toggleAttribute("data-over", true);
});
document.addEventListener("dragleave", (event) => event.relatedTarget === null && stage.removeAttribute("data-over"));
document.addEventListener("drop", (event) => {
  stage.removeAttribute("data-over");
  if (!carriesFiles(event)) return;
  event.preventDefault();
  if (pictureIn(event.dataTransfer)) take(pictureIn(event.dataTransfer));
});
document.addEventListener("paste", (event) => {
  if (event.target.closest?.("input, textarea") && !pictureIn(event.clipboardData)) return;
  if (pictureIn(event.clipboardData)) take(pictureIn(event.clipboardData));
});

// The server

let missed = []; // the alerts that say why the models are not known; they end with their reason
const STATES = { ready: "Ready", starting: "Not ready yet", away: "Not reachable" };

async function look() {
  const state = await readiness();
  const status = document.querySelector("#status");
  if (state === "ready" && ["starting", "away"].includes(status.dataset.status)) offer();
  status.dataset.status = state;
  status.querySelector("span").textContent = STATES[state];
  status.title = `Server: ${STATES[state]}`;
}

async function offer() {
  for (const alert of missed) alert.hidden = true;
  missed = [];
  try {
    const { default: preferred, auto = [], models: list, formats } = await models();
    knowFormats(formats);
    restoreRoom.offer(list.filter((model) => model.kind === "restore"), preferred, auto.length > 0);
    generateRoom.offer(list.filter((model) => model.kind === "generate"));
  } catch (problem) {
    if (!problem.title) throw problem;
    missed = [...document.querySelectorAll(".panel .alert")];
    for (const alert of missed) showProblem(alert, problem, offer);
  }
}

look();
setInterval(() => document.visibilityState === "visible" && look(), 20_000);
offer();
