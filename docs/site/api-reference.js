// Renders the OpenAPI document of the server that serves this page, in the colours of the site.
"use strict";

const page = document.getElementById("swagger-ui");
// The theme's styles are for Markdown.
document.querySelector(".md-content").append(page);

function followTheme() {
  const dark = document.body.dataset.mdColorScheme === "slate";
  document.documentElement.classList.toggle("dark-mode", dark);
}

followTheme();
new MutationObserver(followTheme).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });

SwaggerUIBundle({
  url: new URL("../../openapi.json", location.href).href,
  domNode: page,
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  docExpansion: "none",
  filter: true,
});
