// Applies the chosen colours before the first paint, so that no page flashes in other colours.
try {
  const chosen = localStorage.getItem("runstead.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Without storage the system's colours apply.
}
