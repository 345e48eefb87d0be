// Runs before the first paint, so that a chosen theme never flashes the other one. Storage may be closed: then the system decides.
(() => {
  try {
    const chosen = localStorage.getItem("rddm-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // a browser that refuses storage still shows the page
  }
})();
