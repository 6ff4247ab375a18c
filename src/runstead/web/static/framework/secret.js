// The page of a secret: copies it, and removes it when the browser leaves the page, which may be cached.
(() => {
  "use strict";

  const secret = document.getElementById("secret"), copies = document.querySelector("[data-copies]");

  if (navigator.clipboard) {
    copies.hidden = false;
    copies.addEventListener("click", async () => {
      await navigator.clipboard.writeText(secret.textContent);
      copies.textContent = "Copied";
    });
  }
  window.addEventListener("pagehide", () => { secret.textContent = "Shown only once"; });
})();
