// Before anything is drawn, so that no page flashes in colours that were not chosen: light, dark, or as the system has it.
try {
  const chosen = localStorage.getItem("runstead.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // No storage, no choice.
}
