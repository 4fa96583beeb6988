// What the page asks of the service. Every request goes to the page's own address.
let token = sessionStorage.getItem("token") || "";

export class Refused extends Error {
  constructor(status, sentence) { super(sentence); this.status = status; }
}
export class Gone extends Error {}

async function ask(path, options = {}) {
  const headers = { ...(options.headers || {}), ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  let reply;
  try { reply = await fetch(path, { ...options, headers }); }
  catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Gone("the service does not answer");
  }
  if (reply.status === 401) {
    const given = window.prompt("This service asks for a token:");
    if (given) { token = given.trim(); sessionStorage.setItem("token", token); return ask(path, options); }
  }
  if (!reply.ok) {
    let sentence = `the service failed (HTTP ${reply.status})`;
    try { sentence = (await reply.json()).error || sentence; } catch { /* not JSON: the status says it */ }
    throw new Refused(reply.status, sentence);
  }
  return reply;
}

export const getJson = async (path, options) => (await ask(path, options)).json();
export const getBlob = async (path, options) => (await ask(path, options)).blob();
export const getBytes = async (path, options) => (await ask(path, options)).arrayBuffer();
export const postJson = (path, value) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });

// Caption an image; tell(kind, value) hears "step" and "words". Gives the reply.
export async function caption(request, tell, signal) {
  const reply = await ask("/caption", { method: "POST", signal, body: JSON.stringify(request),
    headers: { "Content-Type": "application/json", Accept: "text/event-stream" } });
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let waiting = ""; ;) {
    let part;
    try { part = await reader.read(); }
    catch (error) { if (error.name === "AbortError") throw error; throw new Gone("the service went away"); }
    if (part.done) throw new Gone("the service went away");
    waiting += part.value;
    for (let end; (end = waiting.indexOf("\n\n")) >= 0; waiting = waiting.slice(end + 2)) {
      const [event, data] = waiting.slice(0, end).split("\ndata: ");
      const kind = event.replace("event: ", ""), value = JSON.parse(data);
      if (kind === "reply") return value;
      if (kind === "error") throw new Refused(value.status, value.error);
      tell(kind, value);
    }
  }
}

// Send files; many go in several requests. told(sent, all) hears how far it is. Gives the images found in them.
export async function upload(files, told) {
  const most = 64, size = 96 * 2 ** 20;
  let into = "", sent = 0;
  for (let at = 0; at < files.length;) {
    const form = new FormData();
    let bytes = 0, count = 0;
    do {
      const { file, name } = files[at++];
      form.append("file", file, name);
      bytes += file.size; count++;
    } while (at < files.length && count < most && bytes + files[at].file.size < size);
    const more = at < files.length;
    const found = await getJson(`/images?into=${encodeURIComponent(into)}&more=${more}`, { method: "POST", body: form });
    into = found.upload; sent += count;
    told(sent, files.length);
    if (!more) return found.images;
  }
  return [];
}
