// Elements and numbers as the page writes them. Texts reach the page as text, never as markup.
export function make(tag, options = {}, ...children) {
  const { text, ...rest } = options;
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(rest)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  if (text !== undefined) element.textContent = text;
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}
export const percent = (value) => (value == null ? "–" : Math.round(100 * value) + " %");
export const sureness = (reply) => reply?.confidence ?? null;
export function bar(value) {
  const element = make("span", { class: "bar", "aria-hidden": "true" }, make("i"));
  element.firstChild.style.width = 100 * (value || 0) + "%";
  return element;
}
export function facts(pairs) {
  const told = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return make("dl", { class: "facts" }, ...told.flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { text: value })]));
}
export function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
