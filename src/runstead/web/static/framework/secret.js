// The page of a secret: removes it when the browser leaves the page, which may be cached.
(() => {
  "use strict";

  const secret = document.getElementById("secret");
  window.addEventListener("pagehide", () => { secret.textContent = "Shown only once"; });
})();
