// Live updates of a run's page. The server sends the parts that changed, and this script puts them in place: opened
// details, typed text, choices and selections stay.
(() => {
  "use strict";

  const parts_max = 1_000, lines_max = 5_000;
  const byId = (id) => document.getElementById(id), {morph} = window.runstead;

  // Append to the transcript or the log. A delta has an offset: text that is already there is not added twice.
  function join(list, piece) {
    const there = byId(piece.id);
    if (!there) {
      list.append(document.importNode(piece, true));
      return;
    }
    there.className = piece.className;
    for (const part of piece.querySelectorAll("[data-part]")) {
      const mine = there.querySelector(`[data-part="${part.dataset.part}"]`);
      if (mine.textContent !== part.textContent) mine.textContent = part.textContent;
      mine.hidden = part.hidden;
    }
    const delta = piece.querySelector("[data-offset]"), mine = there.querySelector("[data-offset]");
    const length = mine.textContent.length, added = delta.textContent.slice(Math.max(length - Number(delta.dataset.offset), 0));
    if (added && mine.lastChild) mine.lastChild.appendData(added);
    else if (added) mine.textContent = added;
    mine.hidden = delta.hidden;
  }

  function put(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    const frame = byId("log-frame"), page = document.documentElement;
    const at_end = page.scrollTop > 0 && page.scrollTop + page.clientHeight > page.scrollHeight - 40;
    for (const part of template.content.children) {
      const list = part.dataset.into ? byId(part.dataset.into) : null;
      if (list) {
        for (const piece of part.children) join(list, piece);
        const most = list.id === "log" ? lines_max : parts_max;
        while (list.children.length > most) list.firstElementChild.remove();
      } else if (part.id && byId(part.id)) {
        morph(byId(part.id), part);
      }
    }
    search();
    showFocus();
    showIcon();
    htmx.trigger(document.body, "htmx:load", { elt: document.body }); // shows the age of times again
    if (frame && byId("log-follow")?.checked) frame.scrollTop = frame.scrollHeight;
    else if (at_end && byId("transcript")) page.scrollTop = page.scrollHeight;
  }

  // The icon of the tab shows the state of the run.
  function showIcon() {
    const link = document.querySelector("link[rel=icon]"), {icon} = byId("run-head").dataset;
    if (link.getAttribute("href") !== icon) link.setAttribute("href", icon);
  }

  // After an action: the stream brings the other parts.
  document.addEventListener("runstead:changed", (event) => {
    if (!byId("live")) return;
    event.preventDefault();
    for (const id of ["run-head", "run-actions"]) morph(byId(id), event.detail.getElementById(id));
    showIcon();
  });

  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    if (event.detail.type !== "parts") return;
    event.preventDefault();
    put(event.detail.data);
  });

  // The row that runs now, or failed, is brought into view, until the user scrolls the rows.
  let scrolled = false;
  function showFocus() {
    const frame = byId("waterfall"), row = frame?.querySelector(".row.focus");
    if (!row || scrolled) return;
    const below = row.getBoundingClientRect().bottom - frame.getBoundingClientRect().bottom;
    if (below > 0) frame.scrollTop += below + 32;
  }
  for (const type of ["wheel", "touchmove", "keydown", "pointerdown"]) {
    byId("waterfall")?.addEventListener(type, () => { scrolled = true; }, {passive: true});
  }
  showFocus();

  // Zoom: the server lays out each part of the timeline. A part replaces the shown one without a reload, and the stream
  // continues with it.
  let asked = null;
  async function zoomTo(address) {
    if (!byId("zoom-in")) {
      location.assign(address); // the overview leads to the timeline
      return;
    }
    asked?.abort();
    asked = new AbortController();
    try {
      const answer = await fetch(address, {signal: asked.signal});
      if (!answer.ok || answer.redirected) throw new Error("no page");
      const text = await answer.text(), page = new DOMParser().parseFromString(text, "text/html");
      scrolled = false;
      morph(byId("run-timeline"), page.getElementById("run-timeline"));
      if (byId("live") && page.getElementById("live")) htmx.swap("#live", text, {swapStyle: "outerHTML", swapDelay: 0, settleDelay: 0}, {select: "#live"});
      history.replaceState(null, "", address);
      showFocus();
      document.dispatchEvent(new Event("htmx:afterSwap")); // shows the age of times again
      byId("zoom-status").textContent = byId("zoom-part")?.textContent ?? "The whole timeline";
    } catch (error) {
      if (error.name !== "AbortError") location.assign(address);
    }
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-zoom]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (!link.ariaDisabled) zoomTo(link.href);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !runstead.keysOn() || event.target.closest("input, textarea, select")) return;
    const key = event.key === "=" ? "+" : event.key;
    document.querySelector(`a[data-zoom="${CSS.escape(key)}"]`)?.click();
  });

  // A range is selected by drawing over the bars or the axis; Escape gives it up.
  let drawn = null;
  const giveUp = () => {
    drawn?.shade.remove();
    drawn = null;
  };
  document.addEventListener("pointerdown", (event) => {
    const frame = event.target.closest(".waterfall"), track = event.target.closest(".track, .axis svg");
    if (!frame || !track || event.button || event.pointerType === "touch") return;
    event.preventDefault();
    giveUp();
    const shade = Object.assign(document.createElement("div"), {className: "selection"});
    drawn = {frame, box: track.getBoundingClientRect(), from: event.clientX, to: event.clientX, shade};
  });
  document.addEventListener("pointermove", (event) => {
    if (!drawn) return;
    const {frame, box, from, shade} = drawn;
    drawn.to = Math.min(Math.max(event.clientX, box.left), box.right);
    shade.style.left = `${Math.min(from, drawn.to) - frame.getBoundingClientRect().left - frame.clientLeft}px`;
    shade.style.width = `${Math.abs(drawn.to - from)}px`;
    shade.style.height = `${frame.scrollHeight}px`;
    if (!shade.isConnected) frame.append(shade);
  });
  document.addEventListener("pointerup", () => {
    if (!drawn) return;
    const {frame, box, from, to} = drawn;
    giveUp();
    if (Math.abs(to - from) < 5) return;
    const since = Number(frame.dataset.from), span = Number(frame.dataset.to) - since;
    const at = (x) => Math.round(since + (x - box.left) / box.width * span);
    zoomTo(`${frame.dataset.zoomAt}&begin=${at(Math.min(from, to))}&end=${at(Math.max(from, to))}`);
  });
  document.addEventListener("pointercancel", giveUp);
  document.addEventListener("keydown", (event) => event.key === "Escape" && giveUp());

  // The log: searched while typing, filtered by level, and followed while its end is visible. The server searches what
  // the page does not have.
  const levels = ["debug", "info", "warning", "error", "critical"];
  function search() {
    const field = byId("log-find"), empty = document.querySelector("[data-empty=log]");
    if (!field) return;
    const wanted = field.value.trim().toLowerCase(), least = levels.indexOf(byId("log-level").value);
    for (const line of byId("log").children) {
      const level = line.className ? levels.indexOf(line.className) : 1;
      line.hidden = level < least || (Boolean(wanted) && !line.textContent.toLowerCase().includes(wanted));
    }
    if (wanted || least >= 0) empty.textContent = "No matching lines.";
  }
  document.addEventListener("input", (event) => {
    if (event.target.id === "log-find") search();
  });
  document.addEventListener("change", (event) => {
    if (event.target.id !== "log-level") return;
    if ("submit" in event.target.dataset) event.target.form.requestSubmit();
    else search();
  });
  document.addEventListener("change", (event) => {
    if (event.target.id === "log-follow" && event.target.checked) byId("log-frame").scrollTop = byId("log-frame").scrollHeight;
  });
  byId("log-frame")?.addEventListener("scroll", (event) => {
    const frame = event.target;
    byId("log-follow").checked = frame.scrollTop + frame.clientHeight >= frame.scrollHeight - 8;
  });
  if (byId("log-follow")?.checked) byId("log-frame").scrollTop = byId("log-frame").scrollHeight;

  // The duration so far, in the server's format.
  function took(ms) {
    const seconds = ms / 1000, minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60);
    if (seconds < 60) return `${seconds.toFixed(1)} s`;
    if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
    return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
  }
  setInterval(() => {
    for (const one of document.querySelectorAll("[data-since]")) {
      one.textContent = took(Math.max(Date.now() - Number(one.dataset.since), 0));
    }
  }, 1_000);
})();
