// Caption one image with the service and see it being written: `node client.mjs URL FILE`. Node 20 or later.
import { readFile } from "node:fs/promises";

const [url, path] = process.argv.slice(2);
const headers = { "Content-Type": "application/octet-stream", Accept: "text/event-stream" };
const reply = await fetch(`${url}/caption`, { method: "POST", headers, body: await readFile(path) });
if (!reply.ok) throw new Error((await reply.json()).error);
let waiting = "";
for await (const part of reply.body.pipeThrough(new TextDecoderStream())) {
  waiting += part;
  for (let end; (end = waiting.indexOf("\n\n")) >= 0; waiting = waiting.slice(end + 2)) {
    const [event, data] = waiting.slice(0, end).split("\ndata: ");
    const value = JSON.parse(data);
    if (event === "event: words") console.error(value);
    if (event === "event: error") throw new Error(value.error);
    if (event === "event: reply") console.log(`${value.caption} (plane, kind, organ: ${Math.round(100 * value.confidence)} %)`);
  }
}
