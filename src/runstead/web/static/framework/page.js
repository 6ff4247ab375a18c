// Shared by all pages. Without JavaScript everything is readable, and every form works.
(() => {
  "use strict";

  const spans = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]];

  function ago(then, now) {
    const seconds = Math.round((now - then) / 1000), size = Math.abs(seconds);
    if (size < 5) return "now";
    const [unit, name] = spans.find(([unit]) => size >= unit) ?? [1, "s"];
    const text = `${Math.floor(size / unit)} ${name}`;
    return seconds > 0 ? `${text} ago` : `in ${text}`;
  }

  // On hover: the time in the user's zone, which it names, and in UTC.
  const local = new Intl.DateTimeFormat(undefined, {dateStyle: "medium", timeStyle: "long"});
  function showTimes(root = document) {
    const now = Date.now();
    for (const time of root.querySelectorAll("time[datetime]")) {
      const then = new Date(time.dateTime);
      if (!("exact" in time.dataset)) time.textContent = ago(then, now);
      time.title = `${local.format(then)} · ${time.dateTime}`;
    }
  }

  showTimes();
  setInterval(showTimes, 10_000);
  document.addEventListener("runstead:parts", (event) => showTimes(event.target)); // inserted by one of our scripts
  document.addEventListener("htmx:afterSwap", () => showTimes()); // before it is painted
  document.addEventListener("htmx:load", (event) => showTimes(event.detail.elt.parentElement ?? document));

  document.addEventListener("submit", (event) => {
    const question = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
    if (question && !confirm(question)) event.preventDefault();
  });

  // A click anywhere in a row opens what the row is about, with the keys and buttons that open a link in a new tab.
  const linkIn = (row) => row?.querySelector(":scope > th[scope=row] > a, :scope > .name > a");
  const rowAt = (event) => {
    const elsewhere = event.target.closest("a, button, input, select, label, summary, pre") || !getSelection().isCollapsed;
    return elsewhere ? null : event.target.closest("tbody tr");
  };
  document.addEventListener("click", (event) => {
    const {ctrlKey, metaKey, shiftKey} = event;
    linkIn(rowAt(event))?.dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true, ctrlKey, metaKey, shiftKey}));
  });
  document.addEventListener("auxclick", (event) => {
    const link = event.button === 1 && linkIn(rowAt(event));
    if (link) open(link.href, "_blank", "noopener");
  });

  // Filters: a chip acts at once, and fields without a value stay out of the address.
  document.addEventListener("change", (event) => {
    if (event.target.matches(".filters .pills input")) event.target.form.requestSubmit();
  });
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "get") return;
    const empty = [...event.target.elements].filter((one) => one.name && !one.value && !one.disabled);
    for (const one of empty) one.disabled = true;
    setTimeout(() => { for (const one of empty) one.disabled = false; });
  });

  // Single-key shortcuts can be switched off (WCAG 2.2, 2.1.4), since speech input types letters.
  const keys = document.getElementById("keys");
  const keysOn = () => localStorage.getItem("runstead.keys") !== "off" && !keys?.open;
  if (keys) {
    const on = document.getElementById("keys-on"), show = document.getElementById("show-keys");
    on.checked = keysOn();
    on.addEventListener("change", () => localStorage.setItem("runstead.keys", on.checked ? "on" : "off"));
    show.hidden = false;
    show.addEventListener("click", () => {
      show.closest("details").open = false;
      keys.showModal();
    });
  }
  window.runstead = {...window.runstead, keysOn};

  // The choice of colours; theme.js has already applied it.
  const theme = document.getElementById("theme");
  if (theme) {
    const choice = document.getElementById("theme-choice");
    theme.hidden = false;
    choice.value = document.documentElement.dataset.theme ?? "";
    choice.addEventListener("change", () => {
      localStorage.setItem("runstead.theme", choice.value);
      if (choice.value) document.documentElement.dataset.theme = choice.value;
      else delete document.documentElement.dataset.theme;
      document.dispatchEvent(new Event("runstead:theme"));
    });
  }

  // What would fill the first screen of a phone is folded there, except filters in use.
  const narrow = matchMedia("(max-width: 44rem)");
  const fold = () => {
    for (const one of document.querySelectorAll("details.fold:not([data-used])")) one.open = !narrow.matches;
  };
  fold();
  narrow.addEventListener("change", fold);

  // `j` and `k` move through the rows of the first list; `g` and a letter open a page.
  let went = 0;
  const focusedRow = () => document.activeElement?.closest?.("main tbody tr");
  function move(by) {
    const rows = [...document.querySelectorAll("main tbody tr:not([hidden])")].filter(linkIn), at = rows.indexOf(focusedRow());
    const next = at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by));
    linkIn(rows[next])?.focus();
  }

  // A menu closes on a click elsewhere.
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      for (const menu of document.querySelectorAll("details.menu[open]")) {
        menu.open = false;
        menu.querySelector("summary").focus();
      }
    }
    const writing = event.target.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
    if (writing || event.ctrlKey || event.metaKey || event.altKey || !keysOn()) return;
    if (event.key === "?" && keys && !keys.open) keys.showModal();
    const goes = went && performance.now() - went < 1_500 && document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
    went = event.key === "g" ? performance.now() : 0;
    if (goes) {
      event.preventDefault();
      goes.click();
      return;
    }
    const by = {j: 1, k: -1}[event.key] ?? (focusedRow() ? {ArrowDown: 1, ArrowUp: -1}[event.key] : undefined);
    if (by) {
      event.preventDefault();
      move(by);
      return;
    }
    const wanted = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (wanted) {
      event.preventDefault();
      wanted.focus();
      wanted.select?.();
    }
  });

  // A stream that reconnects may repeat messages. Each message has a number: skip those that the page has.
  const seen = new WeakMap();
  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    const source = event.detail.target, number = Number(event.detail.lastEventId);
    if (!number) return;
    const place = event.target.closest("[sse-connect]") ?? event.target;
    const last = seen.get(place) ?? [0, null];
    if (number < last[0] || (number === last[0] && source !== last[1])) event.preventDefault();
    else seen.set(place, [number, source]);
  });

  // A browser allows six connections to a server, and each live page holds one. A hidden tab closes its stream after a
  // while, and opens it again when it becomes visible.
  const followed = new Map();
  let timer = 0, suspended = false;
  document.addEventListener("htmx:sseOpen", (event) => followed.set(event.target, event.detail.source));
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.visibilityState === "hidden") {
      timer = setTimeout(() => {
        suspended = true;
        document.dispatchEvent(new Event("runstead:hidden"));
        for (const source of followed.values()) source.close();
      }, 20_000);
    } else if (suspended) {
      suspended = false;
      document.dispatchEvent(new Event("runstead:visible"));
      for (const place of followed.keys()) {
        if (!place.isConnected) followed.delete(place);
        else for (const part of [place, ...place.querySelectorAll("[sse-swap]")]) htmx.trigger(part, "htmx:afterProcessNode");
      }
    }
  });
})();
