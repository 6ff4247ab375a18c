// Parts that are polled (`data-keeps`) keep the user's focus, selection and scroll position.
(() => {
  "use strict";

  const last = new WeakMap();
  let kept = null;

  // Form tokens differ in each response and are not visible.
  const plain = (html) => html.replace(/name="form_token" value="[^"]*"/g, "");

  function selects(part) {
    const selection = document.getSelection();
    return !!selection && !selection.isCollapsed && part.contains(selection.anchorNode);
  }

  document.addEventListener("htmx:beforeSwap", (event) => {
    const part = event.detail.target;
    if (!part.matches("[data-keeps]") || !event.detail.shouldSwap) return;
    const html = plain(event.detail.xhr.responseText);
    const writing = document.activeElement?.matches("input, select, textarea") && part.contains(document.activeElement);
    if (last.get(part) === html || selects(part) || writing) {
      event.detail.shouldSwap = false;
      return;
    }
    last.set(part, html);
    kept = {
      open: [...part.querySelectorAll("details[id]")].filter((one) => one.open).map((one) => one.id),
      shut: [...part.querySelectorAll("details[id]")].filter((one) => !one.open).map((one) => one.id),
      focus: part.contains(document.activeElement) ? focused(document.activeElement) : null,
      scrolled: [...part.querySelectorAll(".wide")].map((one) => one.scrollLeft),
    };
  });

  function focused(element) {
    if (element.id) return (part) => part.querySelector(`#${CSS.escape(element.id)}`);
    const near = element.closest("details[id]");
    if (near && element.matches("summary")) return (part) => part.querySelector(`#${CSS.escape(near.id)} > summary`);
    const href = element.getAttribute("href");
    if (href) return (part) => part.querySelector(`a[href="${CSS.escape(href)}"]`);
    const label = element.getAttribute("aria-label");
    return (part) => (label ? part.querySelector(`[aria-label="${CSS.escape(label)}"]`) : null);
  }

  document.addEventListener("htmx:afterSwap", (event) => {
    const part = event.detail.target;
    if (!part.matches("[data-keeps]") || !kept) return;
    for (const id of kept.open) part.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
    for (const id of kept.shut) part.querySelector(`#${CSS.escape(id)}`)?.removeAttribute("open");
    [...part.querySelectorAll(".wide")].forEach((one, place) => { one.scrollLeft = kept.scrolled[place] ?? 0; });
    kept.focus?.(part)?.focus({preventScroll: true});
    kept = null;
  });
})();
