// The list of runs: rows that follow what happens, keys that move through them, and what is done to checked ones.
(() => {
  "use strict";

  const list = document.getElementById("list"), body = document.getElementById("rows");
  const parted = () => body.dispatchEvent(new Event("runstead:parts", {bubbles: true}));

  // How long a run that goes on has taken so far.
  function tellRunning() {
    for (const one of body.querySelectorAll("[data-since]")) {
      const seconds = Math.max(0, Math.round((Date.now() - Number(one.dataset.since)) / 1000));
      const [d, h, min] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600), Math.floor(seconds / 60)];
      one.textContent = seconds < 60 ? `${seconds} s` : min < 60 ? `${min} min ${seconds % 60} s`
        : h < 48 ? `${h} h ${min % 60} min` : `${d} d ${h % 24} h`;
    }
  }
  tellRunning();
  setInterval(tellRunning, 1000);

  // Rows that the server tells of: each takes the place of the one with its number, or comes in its order.
  const rowsIn = (html) => {
    const made = document.createElement("template");
    made.innerHTML = html;
    return [...made.content.querySelectorAll("tr")];
  };
  // What a row looks like, but for what scripts have written into it.
  const look = (row) => {
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
      if (old) takeOut(old);
    } else if (!old) {
      if (row.classList.contains("left")) return;
      row.classList.add("new");
      const below = [...body.rows].find((one) => Number(one.dataset.seq) < Number(row.dataset.seq));
      body.insertBefore(row, below ?? null);
    } else if (look(old) !== look(row)) {
      const box = old.querySelector("input"), at = reachable(old).indexOf(document.activeElement);
      if (box) row.querySelector("input").checked = box.checked;
      old.replaceWith(row);
      if (at >= 0) (reachable(row)[at] ?? reachable(row)[0])?.focus({preventScroll: true});
    }
  }

  // A row is not taken from under the reader's hand: not one that is checked or has the focus, and none while the pointer
  // is over the list.
  const held = (row) => row.contains(document.activeElement) || row.querySelector("input:checked");
  function takeOut(row) {
    if (held(row)) row.classList.add("left");
    else row.remove();
  }
  setInterval(() => {
    if (body.matches(":hover")) return;
    for (const row of body.querySelectorAll("tr.left")) {
      row.dataset.age = Number(row.dataset.age ?? 0) + 1;
      if (row.dataset.age > 8 && !held(row)) row.remove();
    }
    tellNone();
  }, 1000);

  function tellNone() {
    document.getElementById("none").hidden = body.rows.length > 0;
  }

  function take(html, all) {
    const rows = rowsIn(html), ids = new Set(rows.map((row) => row.id));
    if (all) for (const one of [...body.rows]) if (!ids.has(one.id)) takeOut(one);
    rows.forEach(put);
    if (body.rows.length > 0) {
      document.getElementById("first")?.remove();
      list.hidden = document.getElementById("chart").hidden = false;
    }
    tellNone();
    tellRunning();
    tellChecked();
    parted();
  }

  // The stream; the button holds it (WCAG 2.2, 2.2.2). What happens meanwhile comes when it goes on.
  const button = document.getElementById("live");
  let stream = null;
  function say(state, text) {
    button.dataset.state = state;
    button.textContent = text;
    button.setAttribute("aria-pressed", String(state !== "held"));
  }
  function listen() {
    stream?.close();
    stream = new EventSource(list.dataset.live);
    stream.addEventListener("open", () => say("live", "Live"));
    stream.addEventListener("all", (event) => take(event.data, true));
    stream.addEventListener("rows", (event) => take(event.data, false));
    stream.addEventListener("older", (event) => {
      const older = document.getElementById("older");
      older.hidden = !event.data;
      if (event.data) older.href = event.data;
    });
    stream.addEventListener("news", () => document.dispatchEvent(new Event("runstead:news")));
    stream.addEventListener("error", () => {
      say("lost", "Connecting…");
      // The browser tries again by itself, but not where it was refused.
      if (stream.readyState === EventSource.CLOSED) setTimeout(() => button.dataset.state === "lost" && listen(), 5000);
    });
  }
  if (button) {
    button.hidden = false;
    say("lost", "Connecting…");
    listen();
    button.addEventListener("click", () => {
      if (button.dataset.state === "held") {
        say("lost", "Connecting…");
        listen();
      } else {
        stream.close();
        say("held", "Paused");
      }
    });
    // A page that is kept for the way back would follow for nobody.
    addEventListener("pagehide", () => stream.close());
    addEventListener("pageshow", (event) => event.persisted && button.dataset.state !== "held" && listen());
    document.addEventListener("runstead:unseen", () => stream.close());
    document.addEventListener("runstead:seen", () => button.dataset.state !== "held" && listen());
  }

  // What is done to checked rows.
  const all = document.getElementById("all")?.querySelector("input");
  const boxes = () => [...body.querySelectorAll("input[name=run]")];
  function tellChecked() {
    if (!all) return;
    const every = boxes(), checked = every.filter((one) => one.checked).length;
    all.checked = checked > 0 && checked === every.length;
    all.indeterminate = checked > 0 && checked < every.length;
    const count = document.getElementById("count"), said = checked ? `${checked} checked` : "";
    if (count.textContent !== said) count.textContent = said;
    for (const one of list.querySelectorAll("button[name=do]")) one.disabled = checked === 0;
  }
  if (all) {
    document.getElementById("all").hidden = false;
    all.addEventListener("change", () => {
      for (const one of boxes()) one.checked = all.checked;
      tellChecked();
    });
    body.addEventListener("change", tellChecked);
    list.addEventListener("submit", (event) => {
      const count = boxes().filter((one) => one.checked).length;
      const what = event.submitter.value === "cancel" ? "Cancel" : "Retry";
      event.submitter.dataset.confirm = `${what} ${count} run${count === 1 ? "" : "s"}?`; // page.js asks it
      list.elements.sure.value = "yes";
    });
    tellChecked();
  }

  // Keys.
  const current = () => document.activeElement?.closest?.("#rows tr");
  function move(by) {
    const rows = [...body.rows], at = rows.indexOf(current());
    const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by))];
    next?.querySelector(".name a").focus();
  }
  document.addEventListener("keydown", (event) => {
    const writing = event.target.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable]");
    if (writing || event.ctrlKey || event.metaKey || event.altKey || !window.runstead.keysOn()) return;
    const by = {j: 1, k: -1}[event.key] ?? (current() ? {ArrowDown: 1, ArrowUp: -1}[event.key] : undefined);
    const box = event.key === "x" && current()?.querySelector("input[name=run]");
    if (by) move(by);
    else if (box) box.click();
    else return;
    event.preventDefault();
  });
})();
