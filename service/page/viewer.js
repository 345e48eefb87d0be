// Two pictures of one size in one frame: zoom, pan, and a line between before and after that stays put while one pans.

const CRISP = 2.5; // from here on pixels are shown as squares
const MOST = 32;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export class Viewer {
  constructor(root, onZoom) {
    this.root = root;
    this.onZoom = onZoom;
    this.before = root.querySelector(".before img");
    this.after = root.querySelector(".after img");
    this.painted = root.querySelector(".after canvas"); // pixels in place of the file of the after layer
    this.handle = root.querySelector(".handle");
    this.split = 50;
    this.mode = "compare";
    this.size = { width: 1, height: 1 };
    this.fitted = true;
    this.pointers = new Map();
    this.#listen();
  }

  // size: of the picture in its own pixels; both layers are drawn at it, whatever the files' own sizes.
  show({ before, after, size, mode }) {
    const resized = size.width !== this.size.width || size.height !== this.size.height;
    this.size = size;
    for (const [image, url] of [[this.before, before], [this.after, after]]) {
      if (url && image.src !== url) image.src = url;
      image.hidden = !url;
      image.style.width = `${size.width}px`;
      image.style.height = `${size.height}px`;
    }
    this.painted.hidden = true;
    this.setMode(mode);
    if (resized || this.fitted) this.fit();
    else this.#draw();
  }

  // Pixels in place of the file that is shown after.
  paint(pixels) {
    const { painted, size } = this;
    if (painted.width !== pixels.width || painted.height !== pixels.height) [painted.width, painted.height] = [pixels.width, pixels.height];
    painted.getContext("2d", { willReadFrequently: true }).putImageData(pixels, 0, 0);
    [painted.style.width, painted.style.height] = [`${size.width}px`, `${size.height}px`];
    painted.style.transform = this.after.style.transform;
    painted.hidden = false;
    this.after.hidden = true;
  }

  // Nothing to show: a file that the browser cannot read.
  blank() {
    this.before.hidden = this.after.hidden = this.painted.hidden = this.handle.hidden = true;
    for (const tag of this.root.querySelectorAll(".tag")) tag.hidden = true;
  }

  setMode(mode) {
    this.mode = mode;
    const compare = mode === "compare";
    this.handle.hidden = !compare;
    this.root.querySelector(".tag-before").hidden = mode === "after";
    this.root.querySelector(".tag-after").hidden = mode === "before";
    this.#split();
  }

  label(text) {
    this.root.querySelector(".tag-after").textContent = text;
  }

  fit() {
    const { clientWidth, clientHeight } = this.root;
    if (!clientWidth) return;
    this.scale = Math.min(clientWidth / this.size.width, clientHeight / this.size.height, 8);
    this.least = Math.min(this.scale, 1);
    this.#place((clientWidth - this.size.width * this.scale) / 2, (clientHeight - this.size.height * this.scale) / 2);
    this.fitted = true;
  }

  // Zooms about a point of the frame (default its middle).
  zoomTo(scale, x = this.root.clientWidth / 2, y = this.root.clientHeight / 2) {
    const next = clamp(scale, this.least / 2, MOST);
    const [left, top] = [x - ((x - this.x) * next) / this.scale, y - ((y - this.y) * next) / this.scale];
    this.scale = next;
    this.fitted = false;
    this.#place(left, top);
  }

  zoomBy(factor, x, y) {
    this.zoomTo(this.scale * factor, x, y);
  }

  panBy(dx, dy) {
    this.fitted = false;
    this.#place(this.x + dx, this.y + dy);
  }

  setSplit(percent) {
    this.split = clamp(percent, 0, 100);
    this.#split();
  }

  #place(x, y) {
    const { clientWidth, clientHeight } = this.root;
    const [width, height] = [this.size.width * this.scale, this.size.height * this.scale];
    this.x = width <= clientWidth ? (clientWidth - width) / 2 : clamp(x, clientWidth - width, 0);
    this.y = height <= clientHeight ? (clientHeight - height) / 2 : clamp(y, clientHeight - height, 0);
    this.root.toggleAttribute("data-pan", this.#pannable());
    this.#draw();
  }

  #pannable() {
    return this.size.width * this.scale > this.root.clientWidth + 1 || this.size.height * this.scale > this.root.clientHeight + 1;
  }

  #draw() {
    const move = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    this.before.style.transform = move;
    this.after.style.transform = move;
    this.painted.style.transform = move;
    this.root.toggleAttribute("data-crisp", this.scale >= CRISP);
    this.#split();
    this.onZoom(this.scale);
  }

  // While the picture does not fill the frame the line keeps to the picture, so that 0 and 100 are its edges.
  #line() {
    const left = Math.max(this.x || 0, 0);
    const right = Math.min((this.x || 0) + this.size.width * (this.scale || 1), this.root.clientWidth);
    return left + ((right - left) * this.split) / 100;
  }

  #split() {
    const line = this.#line();
    const [layerBefore, layerAfter] = [this.before.parentElement, this.after.parentElement];
    layerBefore.hidden = this.mode === "after" && !this.peeking;
    layerAfter.hidden = this.mode === "before" || this.peeking;
    layerAfter.style.clipPath = this.mode === "compare" ? `inset(0 0 0 ${line}px)` : "none";
    layerBefore.style.clipPath = this.mode === "compare" ? `inset(0 ${this.root.clientWidth - line}px 0 0)` : "none";
    this.handle.style.left = `${line}px`;
    this.handle.setAttribute("aria-valuenow", Math.round(this.split));
    this.handle.setAttribute("aria-valuetext", `${Math.round(this.split)} % original, ${100 - Math.round(this.split)} % restored`);
  }

  #splitAt(clientX) {
    const x = clientX - this.root.getBoundingClientRect().left;
    const left = Math.max(this.x, 0);
    const right = Math.min(this.x + this.size.width * this.scale, this.root.clientWidth);
    this.setSplit(((x - left) / (right - left)) * 100);
  }

  #peek(on) {
    this.peeking = on;
    this.#split();
  }

  #listen() {
    this.root.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.root.addEventListener("pointerdown", (event) => this.#down(event));
    this.root.addEventListener("pointermove", (event) => this.#moved(event));
    for (const end of ["pointerup", "pointercancel"]) this.root.addEventListener(end, (event) => this.#up(event));
    this.root.addEventListener("dblclick", (event) => this.#doubled(event));
    this.root.addEventListener("keydown", (event) => this.#key(event));
    this.root.addEventListener("keyup", (event) => event.key === " " && this.#peek(false));
    this.root.addEventListener("blur", () => this.peeking && this.#peek(false));
    new ResizeObserver(() => (this.fitted ? this.fit() : this.#place(this.x, this.y))).observe(this.root);
  }

  #at(event) {
    const box = this.root.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #wheel(event) {
    event.preventDefault();
    this.zoomBy(Math.exp(-clamp(event.deltaY, -120, 120) / 320), ...this.#at(event));
  }

  #doubled(event) {
    if (this.handle.contains(event.target)) return;
    if (this.fitted) this.zoomTo(Math.max(1, this.scale * 2), ...this.#at(event));
    else this.fit();
  }

  #down(event) {
    if (event.button > 0) return;
    this.root.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event);
    const onHandle = this.handle.contains(event.target);
    this.dragging = onHandle || (this.mode === "compare" && !this.#pannable()) ? "line" : "pan";
    if (onHandle) this.handle.focus({ preventScroll: true, focusVisible: false });
    if (this.dragging === "line") this.#splitAt(event.clientX);
    else this.root.toggleAttribute("data-panning", this.#pannable());
  }

  #moved(event) {
    const last = this.pointers.get(event.pointerId);
    if (!last) return;
    if (this.pointers.size === 2) this.#pinch(event, last);
    else if (this.dragging === "line") this.#splitAt(event.clientX);
    else this.panBy(event.clientX - last.clientX, event.clientY - last.clientY);
    this.pointers.set(event.pointerId, event);
  }

  #pinch(event, last) {
    const other = [...this.pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
    const apart = (pointer) => Math.hypot(pointer.clientX - other.clientX, pointer.clientY - other.clientY);
    const box = this.root.getBoundingClientRect();
    const middle = [(event.clientX + other.clientX) / 2 - box.left, (event.clientY + other.clientY) / 2 - box.top];
    this.zoomBy(apart(event) / Math.max(apart(last), 1), ...middle);
    this.panBy((event.clientX - last.clientX) / 2, (event.clientY - last.clientY) / 2);
  }

  #up(event) {
    this.pointers.delete(event.pointerId);
    this.root.removeAttribute("data-panning");
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = event.target === this.handle ? this.#handleKeys(event) : this.#frameKeys(event);
    const chosen = act[event.key] ?? this.#zoomKeys()[event.key];
    if (!chosen) return;
    event.preventDefault();
    chosen();
  }

  #handleKeys(event) {
    const step = event.shiftKey ? 10 : 2;
    const by = (amount) => () => this.setSplit(this.split + amount);
    return {
      ArrowLeft: by(-step), ArrowDown: by(-step), ArrowRight: by(step), ArrowUp: by(step), PageDown: by(-10), PageUp: by(10),
      Home: () => this.setSplit(0), End: () => this.setSplit(100),
    };
  }

  #frameKeys() {
    const by = (dx, dy) => () => this.panBy(dx, dy);
    return { ArrowLeft: by(60, 0), ArrowRight: by(-60, 0), ArrowUp: by(0, 60), ArrowDown: by(0, -60), " ": () => this.#peek(true) };
  }

  #zoomKeys() {
    return { "+": () => this.zoomBy(1.5), "=": () => this.zoomBy(1.5), "-": () => this.zoomBy(1 / 1.5), 0: () => this.fit(), 1: () => this.zoomTo(1) };
  }
}
