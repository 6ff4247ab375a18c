// Polled lists are not replaced while text in them is selected.
(() => {
  "use strict";

  document.addEventListener("htmx:beforeSwap", (event) => {
    const place = event.detail.target, marked = document.getSelection();
    if (!place.matches?.("tbody[hx-get]")) return;
    if (marked && !marked.isCollapsed && place.contains(marked.anchorNode)) event.detail.shouldSwap = false;
  });
})();
