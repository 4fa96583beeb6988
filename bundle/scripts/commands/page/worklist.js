// The list of opened images: it fills while it is read, is searched, sorted, paused and exported.
import { getBlob } from "./api.js";
import { bar, make, percent, save, sureness } from "./make.js";
import { notCaptioned, stepText } from "./panel.js";

const byId = (id) => document.getElementById(id);

export class Worklist {
  constructor(chosen) {
    this.items = []; this.shown = []; this.chosen = chosen; this.current = null;
    this.list = byId("list"); this.search = byId("search"); this.sort = byId("sort");
    this.search.addEventListener("input", () => this.refresh());
    this.sort.addEventListener("change", () => this.refresh());
    byId("export").addEventListener("click", () => this.export());
    this.near = new IntersectionObserver((entries) => entries.forEach(({ isIntersecting, target }) => { if (isIntersecting) this.thumbnail(target.item); }), { rootMargin: "600px" });
    this.list.addEventListener("keydown", (event) => {
      const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -1e9, End: 1e9 };
      if (!(event.key in moves)) return;
      event.preventDefault(); event.stopPropagation();
      this.move(moves[event.key]);
    });
  }

  add(items) {
    byId("work").hidden = false;
    document.body.classList.add("busy");
    for (const item of items) {
      item.order = this.items.length;
      this.items.push(item);
      item.row = make("li", { role: "option", id: `case${item.order}`, "aria-selected": "false", onclick: () => this.select(item) });
      item.row.item = item;
      this.near.observe(item.row);
      this.draw(item);
    }
    this.refresh();
  }

  draw(item) {
    const { reply } = item, state = item.error ? "error" : !reply ? "waiting" : reply.abstained || reply.withheld ? "withheld" : "";
    const text = item.error || item.text || reply?.caption || (reply?.withheld && notCaptioned(reply)) || item.words || stepText(item.step);
    const sure = sureness(reply);
    item.blank ||= make("div", { class: "blank" });
    const parts = [item.small || item.blank, make("div", {}, make("div", { class: "text" + (item.error ? " wrong" : ""), text }),
      make("div", { class: "meta" }, reply?.modality && make("span", { class: "tag", text: reply.modality }),
        state && state !== "waiting" && make("span", { class: "tag bad", text: state }), sure != null && !state && bar(sure), sure != null && make("span", { text: percent(sure) }),
        make("span", { class: "name", text: item.name, title: item.name })))];
    item.row.replaceChildren(...parts);
  }

  // Done with an item: its row, the count, and its place where the list is sorted by doubt.
  done(item) {
    this.draw(item);
    this.near.unobserve(item.row); this.near.observe(item.row);
    if (this.sort.value === "order" && !this.search.value) this.count(); else this.later();
  }

  later() { this.timer ||= setTimeout(() => { this.timer = null; this.refresh(); }, 400); }

  async thumbnail(item) {
    if (item.small || item.error || !item.reply) return;
    item.small = item.blank;
    try {
      const bitmap = await createImageBitmap(await getBlob(`/images/${item.id}/shown?side=136`));
      const canvas = make("canvas", { class: "blank", width: 136, height: 136, "aria-hidden": "true" });
      canvas.getContext("2d").drawImage(bitmap, 0, 0, 136, 136);
      item.small = canvas;
      this.draw(item);
    } catch { item.small = null; }
  }

  refresh() {
    const wanted = this.search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const doubt = (item, none) => sureness(item.reply) ?? none;
    const orders = { order: () => 0, unsure: (a, b) => doubt(a, 2) - doubt(b, 2), sure: (a, b) => doubt(b, -1) - doubt(a, -1),
      name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }) };
    const said = (item) => `${item.name} ${item.text || item.reply?.caption || item.error || ""} ${item.reply?.modality || ""}`.toLowerCase();
    this.shown = this.items.filter((item) => wanted.every((part) => said(item).includes(part))).sort((a, b) => orders[this.sort.value](a, b) || a.order - b.order);
    this.list.replaceChildren(...this.shown.map((item) => item.row));
    this.count();
  }

  count() {
    const among = (fits) => this.items.filter(fits).length;
    const done = among((item) => item.reply || item.error), failed = among((item) => item.error), held = among(({ reply }) => reply && (reply.abstained || reply.withheld));
    byId("count").textContent = [`${done} of ${this.items.length} done`, failed && `${failed} not readable`, held && `${held} withheld`,
      this.shown.length < this.items.length && `${this.shown.length} shown`].filter(Boolean).join(", ");
  }

  select(item) {
    if (!item) return;
    this.current?.row.setAttribute("aria-selected", "false");
    this.current = item;
    item.row.setAttribute("aria-selected", "true");
    this.list.setAttribute("aria-activedescendant", item.row.id);
    item.row.scrollIntoView({ block: "nearest" });
    this.chosen(item);
  }

  move(by) {
    const at = this.shown.indexOf(this.current);
    this.select(this.shown[Math.max(0, Math.min(this.shown.length - 1, at + by))]);
  }

  export() {
    const lines = this.items.filter((item) => item.reply || item.error).map((item) => {
      const { explanation, id, ...record } = item.reply || { image: item.name, caption: null, error: item.error };
      const edited = item.text !== undefined && item.text !== record.caption;
      const hidden = (record.abstained || record.withheld) && !edited && !item.confirmed;
      return JSON.stringify({ ...record, caption: hidden ? null : item.text ?? record.caption, edited });
    });
    save(new Blob([lines.join("\n") + "\n"], { type: "application/jsonl" }), "captions.jsonl");
  }
}
