// The server's OpenAPI document as a page of its own: nothing is fetched from another host, so it works where there is no internet.

const base = new URL("../", document.baseURI);
const TITLES = { pictures: "Pictures", jobs: "Jobs", models: "Models", openai: "As OpenAI's", health: "Health", admin: "Administration" };
const EXAMPLES = {
  "POST /restore": `curl -F image=@dark.jpg -o light.jpg '${base}restore?steps=3'`,
  "POST /generate": `curl -X POST -o sheet.png '${base}generate?n=9&grid=true&seed=7'`,
  "GET /jobs/{job}/events": `curl --no-buffer '${base}jobs/JOB/events'`,
  "GET /jobs/{job}/result": `curl -o light.jpg '${base}jobs/JOB/result'`,
  "POST /v1/images/edits": `curl -F image=@dark.png -F model=lowlight -F prompt=- '${base}v1/images/edits'`,
  "POST /v1/images/generations": `curl -H 'Content-Type: application/json' -d '{"prompt": "-", "n": 2}' '${base}v1/images/generations'`,
};

function element(tag, content = [], attributes = {}) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...[content].flat());
  return made;
}

// The document's `code` as code.
const prose = (text) => text.split("`").map((part, at) => (at % 2 ? element("code", part) : part));

// JSON's numbers end at 2^53: the largest seed comes out rounded, and is written as what it is.
const number = (value) => (value >= 2 ** 63 ? "2^63 - 1" : value >= 2 ** 53 ? `about ${value}` : String(value));

function kind(schema = {}) {
  const choices = (schema.anyOf ?? [schema]).filter((choice) => choice.type !== "null");
  return choices.map(plainKind).join(" or ");
}

function plainKind(schema) {
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.const !== undefined) return String(schema.const);
  if (schema.minimum !== undefined && schema.maximum !== undefined) return `${number(schema.minimum)} to ${number(schema.maximum)}`;
  if (schema.maxLength !== undefined) return `text, at most ${schema.maxLength}`;
  return schema.type ?? "any";
}

function parameterRow({ name, in: where, required, schema = {}, description }) {
  const fallback = schema.default !== undefined && schema.default !== "" && schema.default !== null ? `default ${schema.default}` : "";
  const notes = [where === "query" ? "" : where, required ? "required" : fallback].filter(Boolean).join(", ");
  return element("tr", [
    element("th", element("code", name), { scope: "row" }),
    element("td", [element("span", kind(schema)), ...(notes ? [element("small", notes)] : [])]),
    element("td", prose(description ?? schema.description ?? "")),
  ]);
}

function parameters(list, of) {
  if (!list?.length) return [];
  const head = element("thead", element("tr", ["Name", "Value", "Meaning"].map((title) => element("th", title, { scope: "col" }))));
  return [element("div", element("table", [head, element("tbody", list.map(parameterRow))]), { class: "scroll", tabindex: "0", role: "region", "aria-label": `Parameters of ${of}` })];
}

function answers(responses) {
  const items = Object.entries(responses).sort().map(([status, { description }]) =>
    element("li", [element("b", status, { class: status < 400 ? "good" : "bad" }), ` ${description}`]));
  return element("details", [element("summary", `Answers: ${Object.keys(responses).sort().join(", ")}`), element("ul", items)]);
}

function bodies({ requestBody }) {
  if (!requestBody) return [];
  const types = Object.keys(requestBody.content ?? {});
  return [element("p", ["Body: ", ...types.flatMap((type, at) => (at ? [", ", element("code", type)] : [element("code", type)]))], { class: "hint" })];
}

const example = (method, path) => EXAMPLES[`${method} ${path}`] ?? `curl ${method === "GET" ? "" : `-X ${method} `}'${base}${path.slice(1)}'`;
const anchor = (method, path) => `${method}${path.replace(/[^a-z0-9]+/gi, "-")}`.toLowerCase();

function operation({ method, path, details }) {
  const heading = element("h3", [element("span", method, { class: `method ${method.toLowerCase()}` }), element("code", path)]);
  return element("section", [
    heading,
    element("p", prose(details.description || details.summary || "")),
    ...parameters(details.parameters, `${method} ${path}`),
    ...bodies(details),
    element("pre", element("code", example(method, path)), { tabindex: "0" }),
    answers(details.responses ?? {}),
  ], { id: anchor(method, path) });
}

// A long path breaks after a slash, not within a word.
const breakable = (path) => path.split(/(?<=\/)/).flatMap((part, at) => (at ? [element("wbr"), part] : [part]));

function link({ method, path }) {
  const words = [element("span", method, { class: `method ${method.toLowerCase()}` }), element("span", breakable(path))];
  return element("li", element("a", words, { href: `#${anchor(method, path)}` }));
}

function operationsOf(paths) {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, details]) => ({ method: method.toUpperCase(), path, details, tag: details.tags?.[0] ?? "health" })));
}

function show({ info, paths }) {
  const all = operationsOf(paths);
  const tags = [...Object.keys(TITLES), ...all.map(({ tag }) => tag).filter((tag) => !(tag in TITLES))].filter((tag, at, list) => list.indexOf(tag) === at);
  const groups = tags.map((tag) => [TITLES[tag] ?? tag, all.filter((one) => one.tag === tag)]).filter(([, list]) => list.length);
  document.querySelector("#lead").textContent = `${info.description} Version ${info.version}. Errors are problem+json and say what is allowed.`;
  document.querySelector("#routes").replaceChildren(...groups.flatMap(([title, list]) => [element("h2", title), element("ul", list.map(link))]));
  document.querySelector("#operations").replaceChildren(...groups.flatMap(([title, list]) => [element("h2", title), ...list.map(operation)]));
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

try {
  const response = await fetch(new URL("openapi.json", base));
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  show(await response.json());
} catch (error) {
  document.querySelector("#operations").replaceChildren(element("p", `The OpenAPI document cannot be read: ${error.message}.`, { role: "alert" }));
}
