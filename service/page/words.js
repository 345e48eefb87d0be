// Names and numbers as people read them.

const TASKS = {
  auto: ["Automatic", "Looks what is wrong, and does what helps; a picture that is fine comes back as it came."],
  lowlight: ["Low light", "Brings up pictures that were taken too dark."],
  derain: ["Rain", "Takes rain streaks out."],
  raindrop: ["Raindrops", "Takes drops on the lens out."],
  deblur: ["Blur", "Sharpens what moved or was out of focus."],
  shadow: ["Shadow", "Evens shadows out."],
  denoise: ["Noise", "Takes grain out."],
  clean: ["Noise and JPEG", "Takes grain and the blocks of JPEG out."],
  dehaze: ["Haze", "Takes haze out."],
  upscale: ["Enlargement", "Makes a picture twice as large."],
  inpaint: ["Missing parts", "Fills what the mask marks."],
};

const bare = (name) => name.replace(/[-_]+/g, " ").replace(/^./, (letter) => letter.toUpperCase());

// Two models of one task are distinguished by their names.
export function taskName(model, all) {
  const [title] = TASKS[model.task] ?? [bare(model.task)];
  return all.filter((other) => other.task === model.task).length > 1 ? `${title}: ${model.name}` : title;
}

const FAULTS = { noise: "noise", jpeg: "JPEG blocks", drops: "drops", rain: "rain", haze: "haze", dark: "darkness" };

// The two likeliest faults of an analysis, in per cent.
export function faultsSeen({ probabilities }) {
  const likeliest = Object.entries(probabilities).sort(([, a], [, b]) => b - a).slice(0, 2);
  return likeliest.map(([fault, share]) => `${FAULTS[fault] ?? fault} ${Math.round(100 * share)} %`).join(", ");
}

export function taskHint(model) {
  if (model.task === "auto") return TASKS.auto[1];
  const names = [model.name, ...(model.aliases ?? [])];
  const known = names.length > 1 ? `Model ${model.name}, asked for as ${names.join(", ").replace(/, ([^,]*)$/, " or $1")}` : `Model ${model.name}`;
  return [TASKS[model.task]?.[1], `${known}, ${model.licence}.`].filter(Boolean).join(" ");
}

export function bytes(count) {
  if (count < 1000) return `${count} B`;
  return count < 1e6 ? `${Math.round(count / 1000)} KB` : `${(count / 1e6).toFixed(1)} MB`;
}

export const milliseconds = (count) => (count < 1000 ? `${Math.round(count)} ms` : `${(count / 1000).toFixed(count < 1e4 ? 2 : 1)} s`);
export const sides = ({ width, height }) => `${width} × ${height}`;
export const megapixels = (pixels) => `${pixels < 1e7 ? (pixels / 1e6).toFixed(1) : Math.floor(pixels / 1e6)} megapixels`;

// The formats as the server lists them.
let formats = [];
export function knowFormats(list) {
  formats = list;
}
export const writtenFormats = () => formats.filter(({ written }) => written);
export const readSuffixes = () => formats.flatMap(({ suffixes }) => suffixes);
export const readTitles = () => formats.map(({ title }) => title).join(", ").replace(/, ([^,]*)$/, " or $1");
export const ending = (type) => formats.find(({ media_types: types }) => types.includes(type))?.suffixes[0].slice(1) ?? "bin";
export const stem = (name) => name.replace(/\.[^.]*$/, "") || "picture";

const SEED_LIMIT = 2n ** 63n;
export const isSeed = (text) => /^\d{1,19}$/.test(text) && BigInt(text) < SEED_LIMIT;

// Fills a <dl> with [term, text] pairs.
export function facts(list, pairs) {
  list.replaceChildren(...pairs.flatMap(([term, text]) => {
    const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
    [dt.textContent, dd.textContent] = [term, text];
    return [dt, dd];
  }));
}
