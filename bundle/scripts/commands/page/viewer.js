// An image: slices of stored values, windowed here, with the map of a word or SAM's region over it.
import { getBlob, getBytes, getJson } from "./api.js";
import { make } from "./make.js";

const ARRAYS = { uint8: Uint8Array, int16: Int16Array, float32: Float32Array };
const KEPT = 400;

export class Viewer {
  constructor(image, told) {
    this.image = image;
    this.told = told; // hears of errors
    this.slices = new Map();
    this.zoom = 1; this.pan = [0, 0]; this.at = 0; this.heat = null; this.region = null; this.shown = null; this.asNetwork = true;
    this.moves = 0; // by the person who looks: what arrives later does not move their view
    this.canvas = make("canvas", { tabindex: 0, role: "img", "aria-label": `Picture of ${image.name}` });
    this.left = make("output"); this.right = make("output", { class: "corner" });
    this.slider = make("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Slice", oninput: () => this.go(Number(this.slider.value)) });
    this.presets = make("select", { "aria-label": "Window", onchange: () => this.preset(this.presets.value) });
    this.sliceRow = make("div", { class: "controls", hidden: true }, make("span", { text: "Slice" }), this.slider);
    this.seen = make("button", { type: "button", "aria-pressed": "true", text: "As the network saw it", onclick: () => this.network(!this.asNetwork) });
    this.stage = make("div", { class: "stage" }, this.canvas, this.left, this.right);
    this.element = make("div", {}, this.stage, this.sliceRow, make("div", { class: "controls" }, this.seen,
      make("label", {}, "Window ", this.presets),
      make("button", { type: "button", text: "+", "aria-label": "Zoom in", onclick: () => this.scale(1.25) }),
      make("button", { type: "button", text: "−", "aria-label": "Zoom out", onclick: () => this.scale(0.8) }),
      make("button", { type: "button", text: "Reset", onclick: () => this.reset() })));
    this.fillPresets([]);
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.stage);
  }

  // What the network was shown, at once; all slices follow.
  async open(request = {}) {
    const moves = this.moves;
    const asked = new URLSearchParams(Object.entries(request).filter(([, value]) => value != null));
    const blob = await getBlob(`/images/${this.image.id}/shown?${asked}`);
    this.shown = await createImageBitmap(blob);
    this.draw();
    const plane = request.plane || "auto";
    try { this.stack = await getJson(`/images/${this.image.id}/stack?plane=${plane}`); }
    catch (error) { this.told(error); return; }
    this.plane = plane;
    this.slider.max = this.stack.count - 1;
    this.sliceRow.hidden = this.stack.count < 2;
    this.sliceRow.firstChild.textContent = this.stack.along === "frame" ? "Frame" : "Slice";
    this.fillPresets(this.stack.presets);
    this.window = this.window || [(this.stack.low + this.stack.high) / 2, Math.max(1e-6, this.stack.high - this.stack.low)];
    if (moves === this.moves && (this.captioned !== undefined || !this.at)) this.at = this.captioned ?? Math.floor(this.stack.count / 2);
    await this.go(this.at, true);
  }

  // The reply of this image: its window, its slice, and where the picture lies in the square.
  captionedBy(reply) {
    const window = reply.window || {};
    this.resize = reply.resize;
    this.captioned = reply.slice?.length === 1 ? reply.slice[0] : reply.trace?.input?.frame?.[0] ?? 0;
    if (window.centre !== undefined) this.window = [window.centre, window.width];
    else if (window.low !== undefined) this.window = [(window.low + window.high) / 2, window.high - window.low];
    this.own = this.window && [...this.window];
    if (this.stack && this.asNetwork) this.go(this.captioned, true); else this.draw();
  }

  fillPresets(presets) {
    this.presets.replaceChildren(make("option", { value: "own", text: "as captioned" }),
      ...presets.map(({ name }) => make("option", { value: name, text: name.replace("_", " ") })), make("option", { value: "full", text: "full range" }),
      make("option", { value: "", text: "by hand", hidden: true }));
  }

  preset(name) {
    if (!this.stack) return;
    const found = this.stack.presets.find((one) => one.name === name);
    if (found) this.window = [found.centre, found.width];
    else if (name === "full") this.window = [(this.stack.low + this.stack.high) / 2, this.stack.high - this.stack.low];
    else if (this.own) this.window = [...this.own];
    this.network(false);
  }

  network(on) {
    this.asNetwork = on;
    this.seen.setAttribute("aria-pressed", String(on));
    if (on && this.captioned !== undefined && this.stack) this.go(this.captioned, true); else this.draw();
  }

  async go(number, keep = false) {
    if (!this.stack) return;
    if (!keep) this.moves++;
    this.at = Math.max(0, Math.min(this.stack.count - 1, number));
    this.slider.value = this.at;
    if (!keep && this.at !== this.captioned) this.asNetwork = false, this.seen.setAttribute("aria-pressed", "false");
    const wanted = this.at;
    try { await this.fetch(wanted); } catch (error) { this.told(error); return; }
    if (wanted === this.at) this.draw();
    for (const next of [wanted + 1, wanted - 1, wanted + 2]) if (next >= 0 && next < this.stack.count) this.fetch(next).catch(() => {});
  }

  fetch(number) {
    if (!this.slices.has(number)) {
      const path = `/images/${this.image.id}/stack/${number}?plane=${this.plane}`;
      const wanted = getBytes(path).then((bytes) => new ARRAYS[this.stack.type](bytes));
      wanted.catch(() => this.slices.delete(number));
      wanted.then((values) => { wanted.values = values; });
      this.slices.set(number, wanted);
      if (this.slices.size > KEPT) this.slices.delete(this.slices.keys().next().value);
    }
    return this.slices.get(number);
  }

  reset() { this.zoom = 1; this.pan = [0, 0]; if (this.own) this.window = [...this.own]; this.presets.value = "own"; this.network(true); }
  scale(by) { this.zoom = Math.max(1, Math.min(16, this.zoom * by)); if (this.zoom === 1) this.pan = [0, 0]; this.draw(); }

  // Values of the present slice as grey or colour.
  painted() {
    const values = this.slices.get(this.at)?.values;
    if (!values) return null;
    const { rows, columns, channels, inverted } = this.stack, [centre, width] = this.window;
    const picture = new ImageData(columns, rows), out = new Uint32Array(picture.data.buffer), count = rows * columns;
    const low = centre - width / 2, scale = 255 / Math.max(width, 1e-9);
    const level = (value) => { const v = (value - low) * scale; return inverted ? 255 - (v < 0 ? 0 : v > 255 ? 255 : v) : v < 0 ? 0 : v > 255 ? 255 : v; };
    if (channels === 1) for (let i = 0; i < count; i++) { const v = level(values[i]) | 0; out[i] = 0xff000000 | (v << 16) | (v << 8) | v; }
    else for (let i = 0; i < count; i++) out[i] = 0xff000000 | ((level(values[i + 2 * count]) | 0) << 16) | ((level(values[i + count]) | 0) << 8) | (level(values[i]) | 0);
    const canvas = new OffscreenCanvas(columns, rows);
    canvas.getContext("2d").putImageData(picture, 0, 0);
    return canvas;
  }

  // Where the picture lies on the canvas: x, y, width, height.
  place(width, height) {
    const [rows, columns] = this.stack ? [this.stack.rows * this.stack.aspect, this.stack.columns] : this.resize ? this.resize.to : [1, 1];
    const scale = Math.min(width / columns, height / rows) * this.zoom;
    return [(width - columns * scale) / 2 + this.pan[0], (height - rows * scale) / 2 + this.pan[1], columns * scale, rows * scale];
  }

  // The part of a picture over the network's square that holds the image.
  content(side) {
    if (!this.resize) return [0, 0, side, side];
    const k = side / this.resize.size, [rows, columns] = this.resize.to, [top, left] = this.resize.offset;
    return [left * k, top * k, columns * k, rows * k];
  }

  draw() {
    const scale = devicePixelRatio || 1, width = this.stage.clientWidth, height = this.stage.clientHeight;
    if (!width) return;
    const began = performance.now();
    if (this.canvas.width !== Math.round(width * scale)) { this.canvas.width = Math.round(width * scale); this.canvas.height = Math.round(height * scale); }
    const context = this.canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    const place = this.place(width, height), known = this.resize || this.stack === undefined;
    const painted = this.asNetwork && this.shown && known ? null : this.stack && this.painted();
    if (painted) context.drawImage(painted, ...place);
    else if (this.shown) context.drawImage(this.shown, ...this.content(this.shown.width), ...(this.resize || this.stack ? place : [0, 0, width, height]));
    if (this.asNetwork || !this.stack || this.at === this.captioned) for (const over of [this.heat, this.region]) if (over) context.drawImage(over, ...this.content(over.width), ...place);
    this.right.textContent = this.stack?.count > 1 ? `${this.at + 1} / ${this.stack.count}` : "";
    const [centre, wide] = this.window || [];
    const unit = this.stack?.units === "HU" ? " HU" : "";
    this.left.textContent = !painted && !this.shown ? "opening …" : this.asNetwork ? "as the network saw it" : centre === undefined ? "" : `${Math.round(centre)} / ${Math.round(wide)}${unit}`;
    this.took = performance.now() - began;
  }

  listen() {
    let from = null;
    this.stage.addEventListener("pointerdown", (event) => {
      if (!this.stack || (event.button && event.button !== 1)) return;
      from = { x: event.clientX, y: event.clientY, window: [...this.window], pan: [...this.pan], moving: event.shiftKey || event.button === 1 };
      this.stage.setPointerCapture(event.pointerId);
    });
    this.stage.addEventListener("pointermove", (event) => {
      if (!from) return;
      const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
      if (from.moving) this.pan = [from.pan[0] + dx, from.pan[1] + dy];
      else {
        if (Math.hypot(dx, dy) < 3) return;
        const step = Math.max(1e-6, (this.own?.[1] || this.stack.high - this.stack.low) / 250);
        this.window = [from.window[0] + dy * step, Math.max(step / 10, from.window[1] + dx * step)];
        this.asNetwork = false; this.seen.setAttribute("aria-pressed", "false"); this.presets.value = "";
      }
      this.draw();
    });
    for (const end of ["pointerup", "pointercancel"]) this.stage.addEventListener(end, () => { from = null; });
    this.stage.addEventListener("dblclick", () => this.reset());
    this.stage.addEventListener("wheel", (event) => {
      if (event.ctrlKey) { event.preventDefault(); this.scale(event.deltaY < 0 ? 1.15 : 1 / 1.15); }
      else if (this.stack?.count > 1) { event.preventDefault(); this.go(this.at + Math.sign(event.deltaY)); }
    }, { passive: false });
    this.canvas.addEventListener("keydown", (event) => {
      const moves = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 };
      if (event.key in moves && this.stack?.count > 1) this.go(this.at + moves[event.key]);
      else if (event.key === "+" || event.key === "=") this.scale(1.25);
      else if (event.key === "-") this.scale(0.8);
      else if (event.key === "0") this.reset();
      else return;
      event.preventDefault(); event.stopPropagation();
    });
  }
}

// A map [h][w] as a picture: nothing at its own mean or less, strongest at its peak; nothing where it prefers no place.
export function heatOf(map) {
  const flat = map.flat(), mean = flat.reduce((a, b) => a + b, 0) / flat.length, peak = Math.max(...flat);
  if (peak < 1.02 * mean) return null;
  const height = map.length, width = map[0].length, picture = new ImageData(width, height);
  flat.forEach((value, i) => {
    const level = Math.max(0, (value - mean) / (peak - mean));
    picture.data.set([255, 60 + 160 * level * level, 20, 190 * level], 4 * i);
  });
  const small = new OffscreenCanvas(width, height), large = new OffscreenCanvas(512, 512);
  small.getContext("2d").putImageData(picture, 0, 0);
  const context = large.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, 512, 512);
  return large;
}

// A mask, white inside, as the line around it.
export async function outlineOf(blob) {
  const bitmap = await createImageBitmap(blob), side = bitmap.width;
  const canvas = new OffscreenCanvas(side, side), context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const picture = context.getImageData(0, 0, side, side), data = picture.data, inside = (x, y) => x >= 0 && y >= 0 && x < side && y < side && data[4 * (y * side + x)] > 127;
  const out = new ImageData(side, side);
  for (let y = 0; y < side; y++) for (let x = 0; x < side; x++)
    if (inside(x, y) && !(inside(x - 1, y) && inside(x + 1, y) && inside(x, y - 1) && inside(x, y + 1))) out.data.set([57, 213, 255, 255], 4 * (y * side + x));
  context.putImageData(out, 0, 0);
  return canvas;
}
