// The page itself: theme, the section that is being read, and buttons to copy.

const root = document.documentElement;

// `light`, `dark`, or nothing: as the system has it. A browser may forbid to remember it.
function setTheme(theme) {
  if (theme) root.dataset.theme = theme;
  else delete root.dataset.theme;
  try {
    localStorage.setItem("charlm-theme", theme);
  } catch {}
}
try {
  setTheme(localStorage.getItem("charlm-theme") ?? "");
} catch {}
document.querySelector(".theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  setTheme(dark ? "light" : "dark");
});

// The link of the section that is being read is marked in the navigation.
const links = new Map(Array.from(document.querySelectorAll("nav a"), (link) => [link.hash.slice(1), link]));
const observer = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      const link = links.get(target.id);
      if (isIntersecting) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  },
  { rootMargin: "-20% 0px -80% 0px" },
);
document.querySelectorAll("main > section").forEach((section) => observer.observe(section));

// Return a button that shows for a moment that it has done its work.
function actionButton(label, done, action) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "action";
  button.textContent = label;
  button.addEventListener("click", async () => {
    await action();
    button.textContent = done;
    setTimeout(() => (button.textContent = label), 1500);
  });
  return button;
}

for (const text of document.querySelectorAll("pre")) {
  text.before(actionButton("Copy", "Copied", () => navigator.clipboard.writeText(text.textContent)));
}
