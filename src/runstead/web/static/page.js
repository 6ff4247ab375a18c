// What every page does with JavaScript. Without it all can be read, and every form works.
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

  function tellTimes(root = document) {
    const now = Date.now();
    for (const time of root.querySelectorAll("time[datetime]:not([data-exact])")) {
      const then = new Date(time.dateTime);
      time.textContent = ago(then, now);
      time.title = then.toLocaleString() + " · " + time.dateTime;
    }
  }

  tellTimes();
  setInterval(tellTimes, 10_000);
  document.addEventListener("htmx:afterSwap", () => tellTimes()); // before it is painted
  document.addEventListener("htmx:load", (event) => tellTimes(event.detail.elt.parentElement ?? document));

  document.addEventListener("submit", (event) => {
    const question = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
    if (question && !confirm(question)) event.preventDefault();
  });

  // A menu closes where the reader goes on elsewhere.
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
    const writing = event.target.closest("input, textarea, select, [contenteditable]");
    if (writing || event.ctrlKey || event.metaKey || event.altKey) return;
    const wanted = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (wanted) {
      event.preventDefault();
      wanted.focus();
      wanted.select?.();
    }
  });

  // An event stream that is opened again may tell once more what is on the page already: each message has a number.
  const seen = new WeakMap();
  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    const source = event.detail.target, number = Number(event.detail.lastEventId);
    if (!number) return;
    const place = event.target.closest("[sse-connect]") ?? event.target;
    const last = seen.get(place) ?? [0, null];
    if (number < last[0] || (number === last[0] && source !== last[1])) event.preventDefault();
    else seen.set(place, [number, source]);
  });
})();
