// Actions in place: a form that makes a change is sent without leaving the page, its outcome is shown as a message, and
// the page is brought up to date where it is. Without JavaScript the same forms reload the page.
(() => {
  "use strict";

  // Change an existing part into the new one, with as few changes as possible.
  function morph(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE || old.nodeName !== fresh.nodeName) {
      if (old.nodeType === Node.TEXT_NODE && fresh.nodeType === Node.TEXT_NODE) {
        if (old.data !== fresh.data) old.data = fresh.data;
      } else {
        old.replaceWith(document.importNode(fresh, true));
      }
      return;
    }
    if (old.nodeName === "TIME" && old.dateTime === fresh.dateTime) return; // page.js shows its age
    for (const { name, value } of fresh.attributes) {
      if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    const kept = new Set([...fresh.children].map((one) => one.id).filter(Boolean));
    let at = old.firstChild;
    const skip = () => {
      while (at?.id && !kept.has(at.id)) {
        const gone = at;
        at = at.nextSibling;
        gone.remove();
      }
    };
    for (const wanted of fresh.childNodes) {
      skip();
      const same = wanted.id
        ? [...old.children].find((one) => one.id === wanted.id)
        : at && !at.id && at.nodeName === wanted.nodeName ? at : null;
      if (!same) {
        old.insertBefore(document.importNode(wanted, true), at);
        continue;
      }
      if (same === at) at = at.nextSibling;
      else old.insertBefore(same, at);
      morph(same, wanted);
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  }

  // Messages. The region is in the page from the beginning, so that screen readers announce what is added.
  const toasts = document.getElementById("toasts"), shown_ms = 10_000;
  function toast(text, refused = false) {
    const one = Object.assign(document.createElement("p"), {className: refused ? "refusal" : "flash"});
    if (refused) one.setAttribute("role", "alert");
    const close = Object.assign(document.createElement("button"), {type: "button", className: "link", textContent: "×"});
    close.setAttribute("aria-label", "Close the message");
    close.addEventListener("click", () => one.remove());
    one.append(Object.assign(document.createElement("span"), {textContent: text}), " ", close);
    toasts.append(one);
    while (toasts.children.length > 3) toasts.firstElementChild.remove();
    const hide = () => (one.matches(":hover, :focus-within") ? setTimeout(hide, 1_000) : one.remove());
    setTimeout(hide, shown_ms);
  }
  window.runstead = {...window.runstead, morph, toast};

  const carried = sessionStorage.getItem("runstead.toast"); // from the page before
  if (carried) {
    sessionStorage.removeItem("runstead.toast");
    toast(carried);
  }

  // Forms whose response is a page of its own have a token, and are sent by the browser.
  document.addEventListener("submit", (event) => {
    const form = event.target, button = event.submitter;
    if (event.defaultPrevented || form.method !== "post" || form.elements.form_token || !form.closest("main")) return;
    event.preventDefault();
    if (!busy.has(form)) send(form, button);
  });
  const busy = new WeakSet();

  async function send(form, button) {
    const address = button?.getAttribute("formaction") ?? form.getAttribute("action") ?? location.href;
    const body = new URLSearchParams(new FormData(form, button));
    busy.add(form);
    try {
      const answer = await fetch(address, {method: "POST", body, headers: {Accept: "text/html", "X-Runstead-Toast": "true"}});
      if (answer.headers.get("Content-Type")?.startsWith("application/json")) await done(await answer.json(), form);
      else if (answer.redirected) location.assign(answer.url);
      else {
        const page = pageOf(await answer.text());
        if (page.getElementById("main")) show(page);
        else toast(page.body.textContent.trim(), true);
      }
    } catch {
      toast("Not sent: the server was not reached. Try again.", true);
    } finally {
      busy.delete(form);
    }
  }

  async function done({flash, to}, form) {
    if (new URL(to, location).pathname !== location.pathname) {
      sessionStorage.setItem("runstead.toast", flash);
      location.assign(to);
      return;
    }
    toast(flash);
    for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
    form.reset();
    const answer = await fetch(location.href, {headers: {Accept: "text/html"}});
    if (new URL(answer.url).pathname !== location.pathname) location.assign(answer.url);
    else if (answer.ok) {
      const page = pageOf(await answer.text());
      if (document.dispatchEvent(new CustomEvent("runstead:changed", {cancelable: true, detail: page}))) show(page);
      else settle();
    }
  }

  const pageOf = (html) => new DOMParser().parseFromString(html, "text/html");
  function show(page) {
    const focused = document.activeElement;
    morph(document.getElementById("main"), page.getElementById("main"));
    settle();
    document.querySelector("main [role=alert]")?.scrollIntoView({block: "nearest"});
    if (focused && !focused.isConnected) document.getElementById("main").focus({preventScroll: true});
  }
  function settle() {
    htmx.process(document.getElementById("main"));
    document.dispatchEvent(new Event("runstead:parts"));
  }

  // Copy: the text before the button, or that of the element that it names.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copies]");
    if (!button) return;
    const source = button.dataset.copies ? document.getElementById(button.dataset.copies) : button.previousElementSibling;
    const text = source.dataset.value ?? source.textContent;
    try {
      if (navigator.clipboard) await navigator.clipboard.writeText(text);
      else copySelected(source, text); // a page without TLS has no clipboard
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not copied";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2_000);
  });
  function copySelected(source, text) {
    const field = Object.assign(document.createElement("textarea"), {value: text, className: "visually-hidden"});
    source.after(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    if (!copied) throw new Error("not copied");
  }
})();
