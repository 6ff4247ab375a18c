// Server-sent events (WHATWG HTML), as a browser parses them: `{ id, event, data }`, without comments.

/** Every frame of a stream until it ends; `stop(frame)` cuts the connection, and drops what else came. */
export async function frames(address, headers, stop = () => false) {
  const response = await fetch(address, { headers });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  const found = [];
  const decoder = new TextDecoder();
  let text = "";
  for await (const part of response.body) {
    text += decoder.decode(part, { stream: true });
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const read = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      if (read("data") === undefined) continue; // a comment
      const frame = { id: Number(read("id")), event: read("event"), data: JSON.parse(read("data")) };
      found.push(frame);
      // Leaving the loop closes the connection.
      if (stop(frame)) return { found, ended: false };
    }
  }
  return { found, ended: true, type: response.headers.get("content-type") };
}
