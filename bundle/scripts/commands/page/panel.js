// One image with its caption: words, doubts, what was read, editing and documents.
import { getBlob, postJson } from "./api.js";
import { bar, facts, make, percent, save } from "./make.js";
import { heatOf, outlineOf, Viewer } from "./viewer.js";

const STEPS = { send: "sending", wait: "waiting for its turn", read: "reading the file", qformer: "asking the image", generate: "writing the caption",
  prefill: "writing the caption", explain: "finding where each word looked", sample: "drawing other captions" };
const SAM = "detail"; // the branch whose map SAM's mask decoder is given, where branches have maps of their own
export const stepText = (step) => STEPS[step] || (step?.startsWith("encode") ? `looking at the image (${step.slice(7)})` : step || "");
export const notCaptioned = (reply) => `Not captioned: ${reply.withheld.split(":")[0]}`;
const withheldText = (reply) => reply.caption === "" ? `${notCaptioned(reply)}. If it is one, write its caption, or start the service with --set anything=true.`
  : `Withheld from programs: ${reply.withheld || "the model is less sure than it is asked to be"}. Read it, and edit or confirm it.`;
const tint = (p) => `rgba(var(--low), ${(0.6 * (1 - p)).toFixed(3)})`;

export class Panel {
  constructor(item, page) {
    this.item = item; this.page = page; this.word = -1; this.branch = null; this.outline = false;
    this.viewer = new Viewer(item, (error) => page.trouble(error));
    this.text = make("div", { class: "text-side" });
    this.compare = page.compareButton(item);
    this.view = make("button", { type: "button", text: "Caption this view", title: "with this slice and window", onclick: () => this.again() });
    this.element = make("article", { class: "case" }, make("h2", {}, make("span", { text: item.name }), this.view, this.compare), make("div", { class: "columns" }, this.viewer.element, this.text));
    this.update();
  }

  again() {
    const { viewer } = this, request = {};
    if (viewer.stack?.along === "slice") request.slice = viewer.at;
    if (!viewer.asNetwork && viewer.stack?.channels === 1 && viewer.presets.value !== "own") request.window = `${+viewer.window[0].toPrecision(6)}/${+viewer.window[1].toPrecision(6)}`;
    this.page.captionAgain(this.item, request);
  }

  // Captioned anew: the picture stays where it is until the reply comes.
  afresh() {
    this.opened = this.item.readable = false; this.word = -1; this.held = undefined; this.editing = false;
    this.viewer.heat = this.viewer.region = null; this.viewer.captioned = undefined;
    this.update();
  }

  update() {
    const { item } = this;
    if (!this.opened && (item.readable || item.reply)) {
      this.opened = true;
      this.viewer.open(item.request).catch((error) => this.page.trouble(error));
    }
    this.viewer.element.hidden = this.view.hidden = Boolean(item.error && !this.viewer.shown); // there is nothing to look at
    if (item.error) this.text.replaceChildren(make("p", { class: "caption wrong", text: item.error }), make("div", { class: "actions" }, make("button", { type: "button", text: "Try again", onclick: () => this.again() })));
    else if (!item.reply) this.growing();
    else this.finished();
  }

  // Kept elements: only texts change while the caption grows.
  growing() {
    if (!this.grown?.isConnected) {
      this.grown = make("p", { class: "caption growing", "aria-live": "off" });
      this.step = make("p", { class: "progress", role: "status" });
      this.text.replaceChildren(this.step, this.grown);
    }
    this.step.textContent = stepText(this.item.step);
    this.grown.textContent = this.item.words || "";
  }

  finished() {
    const { item } = this, { reply } = item, edited = item.text !== undefined && item.text !== reply.caption;
    this.viewer.captionedBy(reply);
    this.viewer.canvas.setAttribute("aria-label", `Picture of ${item.name}: ${item.text ?? reply.caption}`);
    const unsure = reply.abstained || reply.withheld, none = !(item.text ?? reply.caption);
    this.text.replaceChildren(...[
      unsure && make("p", { class: "withheld", text: withheldText(reply) }),
      this.editing ? this.editor() : !none && this.captionOf(edited),
      !this.editing && !edited && reply.caption && make("p", { class: "legend" }, make("span", { text: "unlikely word" }), make("i"), make("span", { text: "likely word" })),
      ...(reply.caption ? [this.branches(), this.doubts()] : []), this.actions(unsure, edited, none && !this.editing), this.why(), this.read(), this.model()].filter(Boolean));
    this.paint();
  }

  captionOf(edited) {
    const { item } = this, { reply } = item, found = reply.explanation;
    if (edited) return make("p", { class: "caption", text: item.text });
    if (!found) return make("p", { class: "caption", text: reply.caption });
    const given = reply.prompt ? [make("span", { class: "given", title: "given, not written by the network", text: reply.prompt }), " "] : [];
    const said = found.words.join(" "), own = (reply.caption || "").slice(reply.prompt ? reply.prompt.length : 0).trim();
    const rest = own.startsWith(said) ? own.slice(said.length) : ""; // a finding of a similar case, the full stop of a sentence that was cut
    return make("p", { class: "caption maps" }, ...given, ...found.words.flatMap((text, number) => {
      const p = Math.exp(found.logprobs[number]);
      const element = make("button", { class: "word", type: "button", text, title: `${percent(p)} likely`, "aria-pressed": String(number === this.word),
        onmouseenter: () => this.look(number), onfocus: () => this.look(number), onmouseleave: () => this.look(this.held ?? -1),
        onclick: () => { this.held = this.held === number ? undefined : number; this.look(number); } });
      element.style.background = tint(p);
      return [element, " "];
    }), rest && make("span", { class: "rest", text: rest }));
  }

  look(number) {
    this.word = number;
    this.text.querySelectorAll(".word").forEach((element, index) => element.setAttribute("aria-pressed", String(index === number)));
    this.paint();
  }

  step_(by) { if (this.item.reply?.explanation) { this.held = Math.max(-1, Math.min(this.item.reply.explanation.words.length - 1, this.word + by)); this.look(this.held); } }

  branches() {
    const found = this.item.reply.explanation;
    if (!found) return make("p", { class: "soft", text: this.item.explaining ? "Finding where each word looked …" : "" });
    const names = Object.keys(found.maps), own = names.includes(SAM);
    this.shares = new Map(names.map((name) => [name, make("button", { type: "button", onclick: () => { this.branch = name; this.outline &&= !own || name === SAM; this.paint(); } })]));
    this.hint = make("span", {});
    const outline = () => { this.outline = !this.outline; if (this.outline && own) this.branch = SAM; this.paint(); };
    this.outlineButton = make("button", { type: "button", text: "SAM's outline", title: `around where the ${own ? `${SAM} branch` : "network"} looked most`, onclick: outline });
    return make("div", { class: "switch" }, ...(names.length > 1 ? this.shares.values() : []), this.item.reply.id && names.length && this.outlineButton, this.hint);
  }

  // The branch that was chosen; else the one that the word rests on most, or without a word, the caption.
  branchShown(found) {
    if (this.branch in found.maps) return this.branch;
    const rests = (name) => found.share[name][this.word] ?? found.share[name].reduce((a, b) => a + b, 0);
    return Object.keys(found.maps).reduce((most, name) => rests(name) > rests(most) ? name : most);
  }

  paint() {
    const { viewer } = this, found = this.item.reply?.explanation;
    viewer.heat = viewer.region = null;
    if (found && this.shares) {
      const branch = this.branchShown(found);
      for (const [name, button] of this.shares) {
        button.setAttribute("aria-pressed", String(name === branch));
        button.textContent = name + (found.maps[name][this.word] ? ` ${percent(found.share[name][this.word])}` : "");
      }
      this.outlineButton.setAttribute("aria-pressed", String(this.outline));
      let map = this.word < 0 ? null : found.maps[branch][this.word];
      if (map && Array.isArray(map[0]?.[0])) map = map[0]; // the first of several views
      viewer.heat = map ? heatOf(map) : null;
      this.hint.textContent = this.word < 0 ? "hover or tab to a word to see where it looked" : map ? viewer.heat ? "" : "looked everywhere alike" : "names nothing visible";
      if (this.outline && map) this.drawRegion(this.word);
    }
    viewer.draw();
  }

  async drawRegion(word) {
    const { item } = this;
    item.regions ||= {};
    try { item.regions[word] ||= await outlineOf(await getBlob(`/captions/${item.reply.id}/region/${word}`)); }
    catch (error) { this.hint.textContent = error.message; return; }
    if (word === this.word && this.outline) { this.viewer.region = item.regions[word]; this.viewer.draw(); }
  }

  doubts() {
    const { reply } = this.item, rows = [];
    const row = (name, value, more) => rows.push(make("b", { text: name }), bar(value), make("span", { text: `${percent(value)} ${more}` }));
    const unknown = (name, text) => rows.push(make("b", { text: name }), bar(0), make("span", { text }));
    const stated = (reply.findings || []).some((one) => one.stated);
    if (reply.confidence != null) row("Plane, kind, organ", reply.confidence, "likely right, calibrated");
    else unknown("Plane, kind, organ", "not calibrated");
    if (reply.finding_confidence != null) row("Finding", reply.finding_confidence, "likely right, calibrated");
    else unknown("Finding", stated ? "not calibrated: nothing vouches for it" : "not stated");
    const candidates = (reply.findings || []).map((one) => {
      return make("li", { text: `${one.finding} ${percent(one.probability)}${one.stated ? " (stated)" : ""}` });
    });
    const similar = (reply.similar || []).map((near) => make("li", { title: near.source, text: `${near.text} (distance ${near.distance.toFixed(2)})` }));
    return make("div", {}, make("div", { class: "doubts" }, ...rows),
      candidates.length > 0 && make("details", {}, make("summary", { text: "Candidates for the finding" }), make("ul", {}, ...candidates)),
      similar.length > 0 && make("details", {}, make("summary", { text: "Similar training cases, nearest first" }), make("ul", {}, ...similar)));
  }

  editor() {
    const area = make("textarea", { "aria-label": "Caption" });
    area.value = this.item.text ?? this.item.reply.caption ?? "";
    area.addEventListener("input", () => { this.item.text = area.value; });
    setTimeout(() => area.focus());
    return area;
  }

  actions(unsure, edited, none) {
    const { item } = this, { reply } = item, confirm = make("input", { type: "checkbox", onchange: () => { item.confirmed = confirm.checked; } });
    confirm.checked = Boolean(item.confirmed);
    const said = make("span", { class: "soft", role: "status" });
    const edit = make("button", { type: "button", text: none ? "Write a caption" : this.editing ? "Done" : "Edit", onclick: () => { this.editing = !this.editing; this.finished(); } });
    if (none) return make("div", { class: "actions" }, edit);
    const download = async (kind) => {
      said.textContent = "";
      try { await this.page.document(item, kind); } catch (error) { said.textContent = error.message; }
    };
    return make("div", { class: "actions" }, edit,
      edited && make("button", { type: "button", text: "As written", onclick: () => { item.text = undefined; this.editing = false; this.finished(); } }),
      make("button", { type: "button", text: "Copy", onclick: async () => { await navigator.clipboard.writeText(item.text ?? item.reply.caption); said.textContent = "copied"; } }),
      unsure && reply.caption && make("label", { class: "soft" }, confirm, " I read it and stand by it"),
      make("span", { class: "gap" }), make("span", { class: "soft", text: "Download" }),
      ...this.page.documents.map(({ kind, title }) => make("button", { type: "button", text: title, "data-kind": kind, onclick: () => download(kind) })), said);
  }

  why() {
    const { reply } = this.item, found = reply.explanation, reasons = [];
    if (found) {
      const weak = found.words.map((word, i) => [word, Math.exp(found.logprobs[i])]).filter(([, p]) => p < 0.5).sort((a, b) => a[1] - b[1]).slice(0, 5);
      if (weak.length) reasons.push(`Words that could well be others: ${weak.map(([word, p]) => `${word.replace(/[.,;]+$/, "")} (${percent(p)})`).join(", ")}.`);
      reasons.push(...found.notes);
    }
    if (reply.support != null && reply.support < 0.5) reasons.push(`A second reading of the image gives plane, kind and organ together ${percent(reply.support)}.`);
    if (reply.agreement != null) reasons.push(`Captions that were drawn besides agree with it to ${percent(reply.agreement)}.`);
    if (reply.finding_confidence == null && (reply.findings || []).some((one) => one.stated)) reasons.push("No calibration says how often its findings are right.");
    return reasons.length > 0 && make("details", { open: Boolean(reply.abstained || reply.withheld) || (reply.confidence ?? 1) < 0.5 }, make("summary", { text: "Why not sure" }), make("ul", {}, ...reasons.map((text) => make("li", { text }))));
  }

  read() {
    const { reply } = this.item, input = reply.trace?.input || {}, acquisition = input.acquisition || {};
    const notes = reply.notes || input.notes || [];
    const told = [["Kind", [reply.modality, input.modality_source && `(${input.modality_source})`].filter(Boolean).join(" ")], ["Body part", input.body_part],
      ["Plane", reply.plane], ["Window", reply.window?.text ?? reply.window], ["Slice", reply.slice?.map((n) => n + 1).join(", ")],
      ["Pixel", input.spacing_mm?.map((v) => `${+v.toFixed(3)} mm`).join(" × ")], ["Series", input.series && Object.entries(input.series).filter(([, v]) => typeof v !== "object" && v !== "").map(([k, v]) => `${k.replaceAll("_", " ")} ${v}`).join(", ")],
      ...Object.entries(acquisition).map(([name, value]) => [name.replaceAll("_", " "), typeof value === "object" ? JSON.stringify(value) : String(value)]), ["Reader", input.reader]];
    return make("div", {}, make("details", {}, make("summary", { text: "What the file said" }), facts(told)),
      make("details", { open: notes.length > 0 }, make("summary", { text: `What had to be believed while reading (${notes.length})` }),
        notes.length ? make("ul", {}, ...notes.map((text) => make("li", { text }))) : make("p", { class: "soft", text: "Nothing: the file says it all." })));
  }

  model() {
    const { reply } = this.item;
    const seconds = Object.entries(reply.seconds || {}).map(([name, value]) => `${name} ${value.toFixed(2)} s`).join(", ");
    return make("details", {}, make("summary", { text: "Model, weights, time" }), facts([["Version", reply.model_version], ["Time", seconds],
      ...Object.entries(reply.weights || {}).map(([name, hash]) => [name, hash.slice(0, 16) + " …"])]));
  }
}

export async function downloadDocument(item, kind) {
  const reply = await postJson(`/captions/${item.reply.id}/documents/${kind}`, { text: item.text ?? item.reply.caption, confirmed: Boolean(item.confirmed) });
  const name = /filename="?([^";]+)/.exec(reply.headers.get("content-disposition") || "")?.[1] || `${kind}.txt`;
  save(await reply.blob(), name);
}
