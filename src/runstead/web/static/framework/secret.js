// A secret that is shown once: it can be copied, and is not left behind in a page that the browser keeps.
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
  window.addEventListener("pagehide", () => { secret.textContent = "It was shown once"; });
})();
