// Strength and brightness, shown at once: the picture and its kept result mixed in linear light, as the server does for the file.

const MOST_PIXELS = 1_200_000; // what is shown; the file has them all
const ENTRIES = 1 << 14;

const toLight = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
const toValue = (light) => (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055);
const LIGHT = Float32Array.from({ length: 256 }, (_, level) => toLight(level / 255));
const LEVEL = Uint8ClampedArray.from({ length: ENTRIES + 1 }, (_, entry) => Math.round(255 * toValue(entry / ENTRIES)));
const level = (light) => LEVEL[Math.min(light, 1) * ENTRIES + 0.5 | 0];

// The pixels of both pictures in one size.
export async function pixelsOf(urls, size) {
  const shrunk = Math.min(1, Math.sqrt(MOST_PIXELS / (size.width * size.height)));
  const [width, height] = [size.width, size.height].map((side) => Math.max(1, Math.round(side * shrunk)));
  return Promise.all(urls.map((url) => drawn(url, width, height)));
}

async function drawn(url, width, height) {
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

// strength: the result's share, 0 to 1; stops: twice its light each; both ImageData of one size.
export function mixed(before, after, { strength, stops }) {
  const out = new ImageData(after.width, after.height);
  const gain = strength * 2 ** stops;
  const bright = LIGHT.map((light) => Math.min(light * 2 ** stops, 1) * strength);
  const rest = LIGHT.map((light) => light * (1 - strength));
  if (gain === 1 && strength === 1) out.data.set(after.data);
  else for (let at = 0; at < out.data.length; at++) {
    out.data[at] = at % 4 === 3 ? after.data[at] : level(bright[after.data[at]] + rest[before.data[at]]);
  }
  return out;
}
