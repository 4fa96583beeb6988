// The page: opening images, captioning them one after the other, showing one or two.
import { caption, getJson, Gone, Refused, upload } from "./api.js";
import { make } from "./make.js";
import { downloadDocument, Panel } from "./panel.js";
import { Worklist } from "./worklist.js";

const byId = (id) => document.getElementById(id);
const AT_ONCE = 4;
let panel = null, pinned = null, paused = false, running = 0, waiting = [];

const page = {
  documents: [],
  trouble,
  captionAgain(item, request) { item.request = { ...item.request, ...request }; restart(item); },
  compareButton: (item) => make("button", { type: "button", text: "Compare", title: "keep this one beside the next", onclick: () => compare(item) }),
  async document(item, kind) {
    try { await downloadDocument(item, kind); }
    catch (error) {
      if (error.status !== 404) throw error;
      const { text, confirmed } = item; // no longer kept there: made again, which gives the same caption
      await run(item); item.text = text; item.confirmed = confirmed;
      await downloadDocument(item, kind);
    }
  },
};
const worklist = new Worklist(show);

function show(item) {
  byId("empty").hidden = true;
  panel = item.panel = new Panel(item, page);
  explain(item);
  const two = pinned && pinned !== item;
  for (const one of [pinned, item]) if (one) one.panel.compare.textContent = one === pinned ? "Close" : "Compare";
  byId("panels").classList.toggle("two", Boolean(two));
  byId("panels").replaceChildren(...(two ? [pinned.panel.element, panel.element] : [panel.element]));
  if (matchMedia("(max-width: 760px)").matches) byId("detail").scrollIntoView({ block: "start" });
}

function compare(item) {
  pinned = pinned === item ? null : item;
  show(worklist.current || item);
}

// Maps take longer than a caption, so they come after it, and only for an image that is open.
async function explain(item) {
  if (!item.reply?.caption || item.reply.explanation || item.explaining) return;
  item.explaining = true; item.panel?.update();
  try {
    const reply = await caption({ image: item.id, ...item.request, explain: true }, () => {});
    item.reply = { ...item.reply, explanation: reply.explanation, id: reply.id };
  } catch (error) { trouble(error); }
  item.explaining = false; item.panel?.update();
}

function restart(item) {
  Object.assign(item, { reply: null, error: null, words: "", step: "wait", text: undefined, confirmed: false, regions: {}, small: null });
  waiting.unshift(item); worklist.draw(item); worklist.count();
  if (worklist.current === item) item.panel.afresh();
  next();
}

function next() {
  while (!paused && running < AT_ONCE && waiting.length) run(waiting.shift());
}

async function run(item) {
  running++;
  const started = performance.now();
  const hear = (kind, value) => {
    if (kind === "step") { item.step = value; item.readable ||= value !== "read"; }
    else { item.words = value; item.firstWords ||= performance.now() - started; }
    if (!item.reply) { item.panel?.update(); if (kind === "step") worklist.draw(item); }
  };
  const gone = () => { item.step = "wait"; waiting.unshift(item); paused = true; };
  try {
    item.reply = await caption({ image: item.id, ...item.request }, hear);
    item.error = null;
  } catch (error) {
    if (error instanceof Gone) { gone(); trouble(error); }
    else if (error.status === 503) { waiting.push(item); setTimeout(next, 1500); running--; return; }
    else item.error = error.message;
  }
  running--;
  worklist.done(item); item.panel?.update();
  if (item === worklist.current) explain(item);
  next();
}

function add(images) {
  const items = images.map(({ id, name }) => ({ id, name, step: "wait", words: "", request: {} }));
  if (!items.length) { say("There is no image in it."); return; }
  waiting.push(...items);
  worklist.add(items);
  next();
  worklist.select(items[0]);
}

async function open(files) {
  if (!files.length) return;
  say(`Sending ${files.length} ${files.length === 1 ? "file" : "files"} …`);
  try {
    const images = await upload(files, (sent, all) => say(sent < all ? `Sent ${sent} of ${all} files …` : ""));
    say(""); add(images);
  } catch (error) { trouble(error); }
}

function say(text) { byId("banner").textContent = text; byId("banner").hidden = !text; }

function trouble(error) {
  if (!(error instanceof Gone)) { say(error instanceof Refused ? error.message : `Something failed here: ${error.message}`); return; }
  say("The service does not answer. Trying again …");
  page.looking ||= setInterval(async () => {
    try { await getJson("/health"); } catch { return; }
    clearInterval(page.looking); page.looking = null;
    say(""); paused = byId("pause").getAttribute("aria-pressed") === "true"; next();
  }, 1500);
}

// Files of what was dropped, folders walked through, with their paths.
async function dropped(transfer) {
  const entries = [...transfer.items].map((one) => one.webkitGetAsEntry?.()).filter(Boolean), files = [];
  if (!entries.length) return [...transfer.files].map((file) => ({ file, name: file.name }));
  const walk = async (entry) => {
    if (entry.isFile) { const file = await new Promise((good, bad) => entry.file(good, bad)); files.push({ file, name: entry.fullPath.slice(1) }); return; }
    const reader = entry.createReader();
    for (let some; (some = await new Promise((good, bad) => reader.readEntries(good, bad))).length;) for (const inner of some) await walk(inner);
  };
  for (const entry of entries) await walk(entry);
  return files.filter(({ name }) => !name.split("/").some((part) => part.startsWith(".")));
}

function listen() {
  const named = (list) => [...list].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
  for (const [button, input] of [["pick", "files"], ["pickFolder", "folder"]]) {
    byId(button).addEventListener("click", () => byId(input).click());
    byId(input).addEventListener("change", () => { open(named(byId(input).files)); byId(input).value = ""; });
  }
  document.addEventListener("dragover", (event) => { event.preventDefault(); byId("drop").classList.add("over"); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) byId("drop").classList.remove("over"); });
  document.addEventListener("drop", async (event) => { event.preventDefault(); byId("drop").classList.remove("over"); open(await dropped(event.dataTransfer)); });
  document.addEventListener("paste", (event) => open([...event.clipboardData.files].map((file) => ({ file, name: file.name || "pasted.png" }))));
  byId("pause").addEventListener("click", () => { paused = !paused; byId("pause").setAttribute("aria-pressed", String(paused)); byId("pause").textContent = paused ? "Go on" : "Pause"; next(); });
  byId("theme").addEventListener("click", theme);
  document.addEventListener("keydown", key);
}

function theme() {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = (root.dataset.theme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "SELECT", "TEXTAREA"].includes(document.activeElement.tagName)) return;
  const moves = { ArrowDown: () => worklist.move(1), ArrowUp: () => worklist.move(-1), ArrowRight: () => panel?.step_(1), ArrowLeft: () => panel?.step_(-1),
    "/": () => byId("search").focus(), t: theme };
  if (event.key in moves) { moves[event.key](); event.preventDefault(); }
}

async function start() {
  listen();
  try {
    const health = await getJson("/health");
    page.documents = health.documents;
    byId("model").textContent = `model ${health.model_version ?? ""}`;
    const samples = await getJson("/samples");
    byId("samples").hidden = false;
    byId("samples").append(...samples.images.map((image) => make("button", { type: "button", text: image.name, onclick: () => add([image]) })));
    const served = await getJson("/folder");
    byId("served").hidden = !served.images.length;
    byId("served").textContent = `The served folder (${served.images.length})`;
    byId("served").addEventListener("click", () => add(served.images));
  } catch (error) { trouble(error); }
}

Object.assign(window, { captioning: { worklist, panel: () => panel } }); // for whoever drives the page
start();
