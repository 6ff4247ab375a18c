// Shows encoded values decoded: an endpoint of the operator, which has the keys, decodes them for this browser. The
// server of this page never gets what it answers.
(() => {
  "use strict";

  const status = document.getElementById("codec"), values_max = 100;
  const known = new Map(); // the encoded text → the value
  let failed = false;

  const isEncoded = (value) => value !== null && typeof value === "object" && typeof value.$encoded === "string"
    && Object.keys(value).length === 1;

  function* encodedIn(value) {
    if (isEncoded(value)) yield value.$encoded;
    else if (value !== null && typeof value === "object") for (const one of Object.values(value)) yield* encodedIn(one);
  }

  function decoded(value) {
    if (isEncoded(value)) return known.has(value.$encoded) ? known.get(value.$encoded) : value;
    if (Array.isArray(value)) return value.map(decoded);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, decoded(one)]));
  }

  async function ask(texts) {
    const answer = await fetch(status.dataset.url, {
      method: "POST",
      credentials: "include",
      headers: {"Content-Type": "application/json"},
      body: JSON.stringify({values: texts.map((text) => ({$encoded: text}))}),
    });
    if (!answer.ok) throw new Error(`it answered ${answer.status}`);
    const {values} = await answer.json();
    if (!Array.isArray(values) || values.length !== texts.length) throw new Error("it did not answer each value");
    texts.forEach((text, index) => known.set(text, values[index]));
  }

  async function show() {
    const found = [];
    for (const element of document.querySelectorAll("main pre, main dd pre")) {
      if (!element.textContent.includes('"$encoded"')) continue;
      try {
        found.push([element, element.textContent, JSON.parse(element.textContent)]);
      } catch { /* the page shows only the beginning of the value */ }
    }
    const texts = [...new Set(found.flatMap(([, , value]) => [...encodedIn(value)]))].filter((text) => !known.has(text));
    try {
      if (!failed) for (let start = 0; start < texts.length; start += values_max) await ask(texts.slice(start, start + values_max));
    } catch (error) {
      failed = true; // a reload asks again
      status.textContent = `Values are shown encoded: ${status.dataset.url} did not decode them (${error.message})`;
    }
    for (const [element, text, value] of found) {
      const plain = decoded(value);
      const shown = typeof plain === "string" ? plain : JSON.stringify(plain, null, 2);
      if (element.textContent === text && ![...encodedIn(plain)].length) element.textContent = shown;
    }
  }

  document.addEventListener("htmx:load", show); // also after each update of the page
  document.addEventListener("htmx:afterSwap", show);
  show();
})();
