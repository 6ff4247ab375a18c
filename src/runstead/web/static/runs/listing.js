// The list of runs: live rows, keyboard navigation, and actions on checked rows.
(() => {
  "use strict";

  const list = document.getElementById("list"), body = document.getElementById("rows");
  const dispatchParts = () => body.dispatchEvent(new Event("runstead:parts", {bubbles: true}));

  // The duration so far of runs that have not ended.
  function showDurations() {
    for (const one of body.querySelectorAll("[data-since]")) {
      const seconds = Math.max(0, Math.round((Date.now() - Number(one.dataset.since)) / 1000));
      const [d, h, min] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600), Math.floor(seconds / 60)];
      one.textContent = seconds < 60 ? `${seconds} s` : min < 60 ? `${min} min ${seconds % 60} s`
        : h < 48 ? `${h} h ${min % 60} min` : `${d} d ${h % 24} h`;
    }
  }
  showDurations();
  setInterval(showDurations, 1000);

  // Rows from the server: each replaces the row with its number, or is inserted in order.
  const rowsIn = (html) => {
    const made = document.createElement("template");
    made.innerHTML = html;
    return [...made.content.querySelectorAll("tr")];
  };
  // A row's HTML without the text that scripts have written into it.
  const appearance = (row) => {
    const copy = row.cloneNode(true);
    for (const one of copy.querySelectorAll("time, [data-since]")) {
      one.textContent = "";
      one.removeAttribute("title");
    }
    return copy.className + copy.innerHTML;
  };
  const reachable = (row) => [...row.querySelectorAll("a, input")];

  function put(row) {
    const old = document.getElementById(row.id);
    if ("gone" in row.dataset) {
      if (old) removeRow(old);
    } else if (!old) {
      if (row.classList.contains("unmatched")) return;
      row.classList.add("new");
      const below = [...body.rows].find((one) => Number(one.dataset.seq) < Number(row.dataset.seq));
      body.insertBefore(row, below ?? null);
    } else if (appearance(old) !== appearance(row)) {
      const box = old.querySelector("input"), at = reachable(old).indexOf(document.activeElement);
      if (box) row.querySelector("input").checked = box.checked;
      old.replaceWith(row);
      if (at >= 0) (reachable(row)[at] ?? reachable(row)[0])?.focus({preventScroll: true});
    }
  }

  // A row that is checked or has the focus is not removed, and no row while the pointer is over the list.
  const held = (row) => row.contains(document.activeElement) || row.querySelector("input:checked");
  function removeRow(row) {
    if (held(row)) row.classList.add("unmatched");
    else row.remove();
  }
  setInterval(() => {
    if (body.matches(":hover")) return;
    for (const row of body.querySelectorAll("tr.unmatched")) {
      row.dataset.age = Number(row.dataset.age ?? 0) + 1;
      if (row.dataset.age > 8 && !held(row)) row.remove();
    }
    showEmpty();
  }, 1000);

  function showEmpty() {
    document.getElementById("none").hidden = body.rows.length > 0;
  }

  function update(html, all) {
    const rows = rowsIn(html), ids = new Set(rows.map((row) => row.id));
    if (all) for (const one of [...body.rows]) if (!ids.has(one.id)) removeRow(one);
    rows.forEach(put);
    if (body.rows.length > 0) {
      document.getElementById("first")?.remove();
      list.hidden = document.getElementById("chart").hidden = false;
    }
    showEmpty();
    showDurations();
    showChecked();
    dispatchParts();
  }

  // The stream. The button pauses it (WCAG 2.2, 2.2.2); missed changes arrive when it continues.
  const button = document.getElementById("live");
  let stream = null;
  function showState(state, text) {
    button.dataset.state = state;
    button.textContent = text;
    button.setAttribute("aria-pressed", String(state !== "paused"));
  }
  function listen() {
    stream?.close();
    stream = new EventSource(list.dataset.live);
    stream.addEventListener("open", () => showState("live", "Live"));
    stream.addEventListener("all", (event) => update(event.data, true));
    stream.addEventListener("rows", (event) => update(event.data, false));
    stream.addEventListener("older", (event) => {
      const older = document.getElementById("older");
      older.hidden = !event.data;
      if (event.data) older.href = event.data;
    });
    stream.addEventListener("news", () => document.dispatchEvent(new Event("runstead:news")));
    stream.addEventListener("error", () => {
      showState("lost", "Connecting…");
      // The browser reconnects by itself, except after an error response.
      if (stream.readyState === EventSource.CLOSED) setTimeout(() => button.dataset.state === "lost" && listen(), 5000);
    });
  }
  if (button) {
    button.hidden = false;
    showState("lost", "Connecting…");
    listen();
    button.addEventListener("click", () => {
      if (button.dataset.state === "paused") {
        showState("lost", "Connecting…");
        listen();
      } else {
        stream.close();
        showState("paused", "Paused");
      }
    });
    // A page in the back/forward cache needs no stream.
    addEventListener("pagehide", () => stream.close());
    addEventListener("pageshow", (event) => event.persisted && button.dataset.state !== "paused" && listen());
    document.addEventListener("runstead:hidden", () => stream.close());
    document.addEventListener("runstead:visible", () => button.dataset.state !== "paused" && listen());
  }

  // A later page has no stream: its rows are read again.
  async function reread() {
    if (document.hidden) return;
    const answer = await fetch(location.href).catch(() => null);
    if (!answer?.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const rows = page.getElementById("rows");
    if (rows) update(rows.innerHTML, true);
  }
  if (!button) setInterval(reread, 5_000);

  // Actions on checked rows.
  const all = document.getElementById("all")?.querySelector("input");
  const boxes = () => [...body.querySelectorAll("input[name=run]")];
  function showChecked() {
    if (!all) return;
    const every = boxes(), checked = every.filter((one) => one.checked).length;
    all.checked = checked > 0 && checked === every.length;
    all.indeterminate = checked > 0 && checked < every.length;
    const count = document.getElementById("count"), label = checked ? `${checked} checked` : "";
    if (count.textContent !== label) count.textContent = label;
    for (const one of list.querySelectorAll("button[name=do]")) one.disabled = checked === 0;
  }
  if (all) {
    document.getElementById("all").hidden = false;
    all.addEventListener("change", () => {
      for (const one of boxes()) one.checked = all.checked;
      showChecked();
    });
    body.addEventListener("change", showChecked);
    list.addEventListener("submit", (event) => {
      const count = boxes().filter((one) => one.checked).length;
      const what = event.submitter.value === "cancel" ? "Cancel" : "Retry";
      event.submitter.dataset.confirm = `${what} ${count} run${count === 1 ? "" : "s"}?`; // page.js asks
      list.elements.sure.value = "yes";
    });
    showChecked();
  }

  // After an action, the stream brings the rows; a page without one is read again.
  document.addEventListener("runstead:changed", (event) => {
    event.preventDefault();
    for (const one of boxes()) one.checked = false;
    showChecked();
    if (!button || button.dataset.state === "paused") update(event.detail.getElementById("rows").innerHTML, true);
  });

  // `x` checks the row; page.js moves through them.
  document.addEventListener("keydown", (event) => {
    const writing = event.target.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]");
    if (writing || event.ctrlKey || event.metaKey || event.altKey || !window.runstead.keysOn()) return;
    const box = event.key === "x" && document.activeElement?.closest?.("#rows tr")?.querySelector("input[name=run]");
    if (!box) return;
    box.click();
    event.preventDefault();
  });
})();
