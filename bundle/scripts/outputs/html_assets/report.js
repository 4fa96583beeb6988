"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const cases = data.cases;
const byId = (id) => document.getElementById(id);
const list = byId("list"), detail = byId("detail"), search = byId("search"), filter = byId("filter"), sort = byId("sort");
const maps = new Map();
const rows = [];
let shown = [], at = -1, word = -1, branch = null, view = 0;

function make(tag, options = {}, ...children) {
  const { text, ...rest } = options;
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(rest)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  if (text !== undefined) element.textContent = text;
  element.append(...children.filter(Boolean));
  return element;
}

const percent = (value) => (value === null || value === undefined ? "–" : Math.round(100 * value) + " %");
const sureness = (one) => one.doubts?.kind;
const status = (one) => (one.error ? "error" : one.abstained || one.withheld ? "withheld" : "caption");
const sentence = (one) => one.error || (one.withheld ? `Withheld: ${one.withheld}` : one.caption) || "";
const paths = (one) => [].concat(one.image);
const tint = (p) => `rgba(var(--low), ${(0.6 * (1 - p)).toFixed(3)})`;

// Thumbnails are loaded as their rows come near. The browser's own loading="lazy" loads them all where rows have no
// layout yet when it first looks.
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    const picture = target.querySelector("img[data-src]");
    if (!isIntersecting || !picture) continue;
    picture.src = picture.dataset.src;
    delete picture.dataset.src;
    near.unobserve(target);
  }
}, { rootMargin: "800px", scrollMargin: "800px" });

function row(one, index) {
  const picture = one.pictures.length
    ? make("img", { decoding: "async", alt: "", width: 68, height: 68, "data-src": one.pictures[0] })
    : make("div", { class: "blank" });
  const bar = make("span", { class: "bar" }, make("i"));
  bar.firstChild.style.width = 100 * (sureness(one) || 0) + "%";
  const element = make("li", { role: "option", id: "case" + index, "aria-selected": "false",
    onclick: () => { select(shown.indexOf(index)); list.focus({ preventScroll: true }); reveal(); } },
    picture,
    make("div", {},
      make("div", { class: "text" + (one.error ? " wrong" : ""), text: sentence(one) }),
      make("div", { class: "meta" },
        one.modality ? make("span", { class: "tag", text: one.modality }) : null,
        status(one) !== "caption" ? make("span", { class: "tag bad", text: status(one) }) : null,
        one.error ? null : bar,
        one.error ? null : make("span", { title: one.doubts.text, text: `plane, kind, organ: ${one.doubts.kind_text}` + (one.doubts.finding == null ? "" : `; finding: ${one.doubts.finding_text}`) }),
        make("span", { class: "name", text: one.name, title: paths(one).join("\n") }))));
  near.observe(element);
  return element;
}

function refresh() {
  const wanted = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const kind = filter.value;
  const order = {
    order: (a, b) => a - b,
    unsure: (a, b) => (sureness(cases[a]) ?? 2) - (sureness(cases[b]) ?? 2),
    sure: (a, b) => (sureness(cases[b]) ?? -1) - (sureness(cases[a]) ?? -1),
    name: (a, b) => cases[a].name.localeCompare(cases[b].name, undefined, { numeric: true }),
    caption: (a, b) => sentence(cases[a]).localeCompare(sentence(cases[b])),
  }[sort.value];
  const current = shown[at];
  shown = cases.map((_, index) => index).filter((index) => {
    const one = cases[index];
    if (kind.startsWith("is:") && status(one) !== kind.slice(3)) return false;
    if (kind.startsWith("of:") && one.modality !== kind.slice(3)) return false;
    return wanted.every((part) => one.haystack.includes(part));
  }).sort((a, b) => order(a, b) || a - b);
  list.replaceChildren(...shown.map((index) => rows[index]));
  byId("count").textContent = shown.length === cases.length ? `${cases.length} cases` : `${shown.length} of ${cases.length}`;
  if (!shown.length) { at = -1; detail.replaceChildren(make("p", { class: "empty", text: "No case fits." })); return; }
  select(Math.max(0, shown.indexOf(current)));
}

function select(position) {
  if (position < 0 || position >= shown.length) return;
  rows.forEach((element) => { if (element.getAttribute("aria-selected") === "true") element.setAttribute("aria-selected", "false"); });
  at = position; word = -1; view = 0;
  const element = rows[shown[at]];
  element.setAttribute("aria-selected", "true");
  list.setAttribute("aria-activedescendant", element.id);
  element.scrollIntoView({ block: "nearest" });
  show();
}

// On a narrow page the case lies below the list.
function reveal() {
  if (matchMedia("(max-width: 760px)").matches) detail.scrollIntoView({ block: "start" });
}

function show() {
  const index = shown[at], one = cases[index];
  detail.classList.toggle("maps", Boolean(one.maps));
  const stage = stageOf(one);
  const text = make("div", {},
    make("p", { class: "caption" + (one.error ? " wrong" : "") }, ...(one.words.length && one.caption ? wordsOf(one) : [sentence(one)])),
    one.words.length && one.caption ? make("p", { class: "legend" }, make("span", { text: "unlikely word" }), make("i"), make("span", { text: "likely word" })) : null,
    factsOf(one),
    make("details", {}, make("summary", { text: "How this image was read" }), make("pre", { text: JSON.stringify(one.input, null, 1) })),
    make("details", {}, make("summary", { text: "Model, weights, settings" }), make("pre", { text: JSON.stringify(data.run, null, 1) })));
  detail.replaceChildren(make("div", { class: "columns" }, stage, text));
  if (one.maps && !maps.has(index)) document.head.append(make("script", { src: one.maps }));
  else drawMap();
}

function wordsOf(one) {
  const given = one.prompt ? [make("span", { title: "given, not written by the network", text: one.prompt }), " "] : [];
  return given.concat(one.words.flatMap(([text, p], number) => {
    const title = `${percent(p)} likely` + (one.maps ? ": click to see where it looked" : "");
    const element = make("button", { class: "word", type: "button", tabindex: one.maps ? 0 : -1, title, "aria-pressed": String(number === word),
      onclick: () => { if (one.maps) choose(word === number ? -1 : number); }, text });
    element.style.background = tint(p);
    return [element, " "];
  })).concat(restOf(one) ? [make("span", { class: "rest", text: restOf(one) })] : []);
}

// A name, what the reader noted of one window, or a window a view.
function windowOf(window) {
  if (window == null || typeof window === "string") return window;
  return Array.isArray(window) ? [...new Set(window.map(windowOf))].join(", ") : window.text || window.name;
}

const chance = (value, text) => text + (value == null ? "" : " likely right (calibrated)");

// Words of a finding that the network did not write itself, and the full stop of a sentence that was cut.
function restOf(one) {
  const said = one.words.map(([text]) => text).join(" "), caption = one.caption.slice(one.prompt ? one.prompt.length : 0).trim();
  return caption.startsWith(said) ? caption.slice(said.length) : "";
}

function factsOf(one) {
  const facts = [
    ["Plane, kind, organ", one.error ? null : chance(one.doubts.kind, one.doubts.kind_text)],
    ["Finding", one.error ? null : chance(one.doubts.finding, one.doubts.finding_text)],
    ["Considered", (one.findings || []).map((found) => `${found.finding} ${percent(found.probability)}${found.stated ? " (stated)" : ""}`).join("\n")],
    ["Similar cases", (one.similar || []).slice(0, 5).map((near) => `${near.text}  (distance ${near.distance.toFixed(2)}; ${near.source})`).join("\n")],
    ["Samples agree", one.agreement == null ? null : percent(one.agreement)],
    ["Modality", one.modality], ["Window", windowOf(one.window)], ["While reading", (one.notes || []).join("; ")],
    ["Slice", one.slice == null ? null : [].concat(one.slice).join(", ")],
    ["File", paths(one).join("\n")],
    ...Object.entries(one.output_errors || {}).map(([name, text]) => [`Output ${name}`, text]),
  ].filter(([, value]) => value);
  return make("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { text: value })]));
}

function stageOf(one) {
  if (!one.pictures.length) return make("div", { class: "stage" });
  const pictures = one.pictures.slice(1);
  const image = make("img", { src: pictures[view], alt: one.caption || "", decoding: "async" });
  const box = make("div", {}, make("div", { class: "stage" }, image, make("canvas", { id: "map", width: 512, height: 512 })));
  if (pictures.length > 1) box.append(make("div", { class: "switch" }, ...pictures.map((_, number) =>
    make("button", { type: "button", text: `view ${number + 1}`, "aria-pressed": String(number === view), onclick: () => { view = number; show(); } }))));
  box.append(make("div", { class: "switch", id: "branches" }));
  return box;
}

function choose(number) {
  const one = cases[shown[at]];
  if (!one.maps) return;
  word = Math.max(-1, Math.min(one.words.length - 1, number));
  detail.querySelectorAll(".word").forEach((element, index) => element.setAttribute("aria-pressed", String(index === word)));
  drawMap();
}

function addMaps(index, found) { maps.set(index, found); if (shown[at] === index) drawMap(); }

function drawMap() {
  const found = maps.get(shown[at]), canvas = byId("map"), bar = byId("branches");
  if (!found || !canvas || !bar) return;
  const names = Object.keys(found);
  if (!names.includes(branch)) branch = names[0];
  const map = word < 0 ? null : found[branch].words[word];  // null: the word names nothing visible
  const hint = word < 0 ? "choose a word to see where it looked" : map === null ? "names nothing visible" : "";
  bar.replaceChildren(...(names.length > 1 ? names : []).map((name) => make("button", { type: "button", "aria-pressed": String(name === branch),
    text: name + (map === null ? "" : ` ${percent(found[name].share[word])}`), onclick: () => { branch = name; drawMap(); } })), make("span", { text: hint }));
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (map === null) return;
  const [height, width] = found[branch].size, bytes = atob(map);
  const first = bytes.length > width * height ? view * width * height : 0;  // maps of all views follow each other
  const small = make("canvas", { width, height }), inner = small.getContext("2d"), pixels = inner.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const value = bytes.charCodeAt(first + i) / 255;
    pixels.data.set([255, 60 + 160 * value * value, 20, 190 * value], 4 * i);
  }
  inner.putImageData(pixels, 0, 0);
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

function start() {
  cases.forEach((one, index) => {
    one.haystack = [one.name, sentence(one), one.modality || "", ...paths(one)].join(" ").toLowerCase();
    rows.push(row(one, index));
  });
  const kinds = [...new Set(cases.map(status))], modalities = [...new Set(cases.map((one) => one.modality).filter(Boolean))].sort();
  const labels = { caption: "captioned", withheld: "withheld", error: "not captioned" };
  filter.append(make("option", { value: "", text: "all" }),
    ...(kinds.length > 1 ? kinds.map((kind) => make("option", { value: "is:" + kind, text: labels[kind] })) : []),
    ...modalities.map((name) => make("option", { value: "of:" + name, text: name })));
  search.addEventListener("input", refresh);
  filter.addEventListener("change", refresh);
  sort.addEventListener("change", refresh);
  document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  byId("theme").addEventListener("click", theme);
  document.addEventListener("keydown", key);
  refresh();
  list.focus({ preventScroll: true });
}

function theme() {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = (root.dataset.theme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = ["INPUT", "SELECT"].includes(document.activeElement.tagName);
  if (event.key === "Escape") { if (document.activeElement === search) search.value = "", refresh(); list.focus(); return; }
  const moving = ["ArrowDown", "ArrowUp"].includes(event.key);
  if (typing && !(document.activeElement === search && moving)) return;
  const page = 8;
  const moves = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1, PageDown: page, PageUp: -page };
  if (event.key === "/") { search.focus(); search.select(); }
  else if (event.key in moves) select(Math.max(0, Math.min(shown.length - 1, at + moves[event.key])));
  else if (event.key === "Home") select(0);
  else if (event.key === "End") select(shown.length - 1);
  else if (event.key === "ArrowRight") choose(word + 1);
  else if (event.key === "ArrowLeft") choose(word - 1);
  else if (event.key === "t") theme();
  else return;
  event.preventDefault();
}

start();
